// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The driver: how devices are found, and what a context of one can do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dmae.h"

/* RDMA_DRIVER_DMAE of the kernel's rdma/ib_user_ioctl_verbs.h. */
#define DMAE_DRIVER_ID 0x646d6165

static int query_device_ex(struct ibv_context *context,
			   const struct ibv_query_device_ex_input *input,
			   struct ibv_device_attr_ex *attr, size_t size)
{
	struct ib_uverbs_ex_query_device_resp resp = {};
	size_t resp_size = sizeof(resp);

	/* There is no firmware to have a version. */
	return ibv_cmd_query_device_any(context, input, attr, size, &resp,
					&resp_size);
}

static int query_port(struct ibv_context *context, uint8_t port,
		      struct ibv_port_attr *attr)
{
	struct ibv_query_port cmd = {};

	return ibv_cmd_query_port(context, port, attr, &cmd, sizeof(cmd));
}

static struct ibv_pd *alloc_pd(struct ibv_context *context)
{
	struct ib_uverbs_alloc_pd_resp resp = {};
	struct ibv_alloc_pd cmd = {};
	struct ibv_pd *pd;
	int ret;

	pd = calloc(1, sizeof(*pd));
	if (!pd)
		return NULL;
	ret = ibv_cmd_alloc_pd(context, pd, &cmd, sizeof(cmd), &resp,
			       sizeof(resp));
	if (ret) {
		free(pd);
		errno = ret;
		return NULL;
	}
	return pd;
}

static int dealloc_pd(struct ibv_pd *pd)
{
	int ret = ibv_cmd_dealloc_pd(pd);

	if (!ret)
		free(pd);
	return ret;
}

static void free_context(struct ibv_context *ibctx)
{
	struct dmae_context *context = to_dcontext(ibctx);

	for (int i = 0; i < DMAE_QP_LEAVES; i++)
		free(context->qps[i]);
	pthread_mutex_destroy(&context->qps_lock);
	verbs_uninit_context(&context->ibv);
	free(context);
}

static const struct verbs_context_ops context_ops = {
	.advise_mr = ibv_cmd_advise_mr,
	.alloc_pd = alloc_pd,
	.create_ah = dmae_create_ah,
	.create_cq = dmae_create_cq,
	.create_cq_ex = dmae_create_cq_ex,
	.create_qp = dmae_create_qp,
	.create_qp_ex = dmae_create_qp_ex,
	.create_srq = dmae_create_srq,
	.dealloc_pd = dealloc_pd,
	.dereg_mr = dmae_dereg_mr,
	.destroy_ah = dmae_destroy_ah,
	.destroy_cq = dmae_destroy_cq,
	.destroy_qp = dmae_destroy_qp,
	.destroy_srq = dmae_destroy_srq,
	.free_context = free_context,
	.modify_qp = dmae_modify_qp,
	.modify_srq = dmae_modify_srq,
	.poll_cq = dmae_poll_cq,
	.post_recv = dmae_post_recv,
	.post_send = dmae_post_send,
	.post_srq_recv = dmae_post_srq_recv,
	.query_device_ex = query_device_ex,
	.query_port = query_port,
	.query_qp = dmae_query_qp,
	.query_srq = dmae_query_srq,
	.reg_dmabuf_mr = dmae_reg_dmabuf_mr,
	.reg_mr = dmae_reg_mr,
	.req_notify_cq = ibv_cmd_req_notify_cq,
	.rereg_mr = dmae_rereg_mr,
};

static struct verbs_context *alloc_context(struct ibv_device *device,
					   int cmd_fd, void *private_data)
{
	struct ib_uverbs_get_context_resp resp = {};
	struct ibv_get_context cmd = {};
	struct dmae_context *context;

	static_assert(offsetof(struct dmae_context, ibv) == 0, "comes first");
	context = _verbs_init_and_alloc_context(device, cmd_fd,
						sizeof(*context), 0,
						DMAE_DRIVER_ID);
	if (!context)
		return NULL;
	if (ibv_cmd_get_context(&context->ibv, &cmd, sizeof(cmd), &resp,
				sizeof(resp))) {
		verbs_uninit_context(&context->ibv);
		free(context);
		return NULL;
	}
	pthread_mutex_init(&context->qps_lock, NULL);
	verbs_set_ops(&context->ibv, &context_ops);
	return &context->ibv;
}

static struct verbs_device *alloc_device(struct verbs_sysfs_dev *sysfs)
{
	return calloc(1, sizeof(struct verbs_device));
}

static void uninit_device(struct verbs_device *device)
{
	free(device);
}

/* The name is for kernels that do not tell a device's driver. */
static const struct verbs_match_ent match_table[] = {
	{ .kind = VERBS_MATCH_DRIVER_ID, .u.driver_id = DMAE_DRIVER_ID },
	{ .kind = VERBS_MATCH_MODALIAS, .u.modalias = "rdma_device:*Ndmae*" },
	{}
};

static const struct verbs_device_ops device_ops = {
	.name = "dmae",
	.match_min_abi_version = DMAE_UVERBS_ABI_VERSION,
	.match_max_abi_version = DMAE_UVERBS_ABI_VERSION,
	.match_table = match_table,
	.alloc_context = alloc_context,
	.alloc_device = alloc_device,
	.uninit_device = uninit_device,
};

static __attribute__((constructor)) void register_driver(void)
{
	if (dmae_fits_libibverbs())
		VERBS_REGISTER_DRIVER(&device_ops);
}
