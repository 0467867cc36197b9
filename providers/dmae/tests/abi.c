// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Is libibverbs' private interface what verbs-private.h says? Each function of
 * it is called with arguments that differ, and what arrives at the kernel, and
 * what the structures hold then, is compared. After its arguments come two more
 * that cannot be used: a function that has more parameters than we know of uses
 * them. The order of struct verbs_context_ops is ops-order.c's.
 */
#include <err.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake-kernel.h"
#include "verbs-private.h"

/* No address, of anything. */
#define POISON ((void *)0xdead00000000dead)

static const char *function;	/* the one that is looked at */
static sigjmp_buf trap;

/* Volatile, so that the compiler does not see what is called with too much. */
static int (*volatile call)();
static void *(*volatile call_pointer)();

/* The compiler checks the prototype, the call has what comes after it. */
#define CALL_BY(by, f, ...)						\
	(function = #f, (void)sizeof(typeof(f(__VA_ARGS__)) *), by = (void *)(f),	\
	 by(__VA_ARGS__, POISON, POISON))
#define CALL(...) CALL_BY(call, __VA_ARGS__)

#define CHECK(what)							\
	do {								\
		if (!(what))						\
			errx(1, "%s: not so: %s", function, #what);	\
	} while (0)

#define EXPECT(what, value)						\
	do {								\
		uint64_t is = (uint64_t)(what), should = (uint64_t)(value); \
									\
		if (is != should)					\
			errx(1, "%s: %s is %#jx, not %#jx", function, #what, \
			     (uintmax_t)is, (uintmax_t)should);		\
	} while (0)

/* The request that has to have arrived. */
#define REQUEST(number, name)						\
	const struct ib_uverbs_##name *req = (const void *)kernel.request; \
									\
	EXPECT(kernel.command, number);					\
	EXPECT(kernel.request_size, sizeof(*req))

#define RESPONSE(to)							\
	do {								\
		CHECK(kernel.response == (void *)(to));			\
		EXPECT(kernel.response_size, sizeof(*(to)));		\
	} while (0)

#define ANSWER(with) (kernel.answer = &(with), kernel.answer_size = sizeof(with))

/* The kernel's answer with what dmae adds to it. */
#define WITH_DRIVER_DATA(name)						\
	struct {							\
		struct ib_uverbs_##name ibv;				\
		uint32_t driver[6];					\
	}

/* What lies behind a structure, and stays as it is. */
struct guard {
	unsigned char bytes[256];
};

static void set_guard(struct guard *guard)
{
	memset(guard, 0xa5, sizeof(*guard));
}

static void check_guard(const struct guard *guard)
{
	for (size_t i = 0; i < sizeof(guard->bytes); i++)
		if (guard->bytes[i] != 0xa5)
			errx(1, "%s: writes %zu bytes behind a structure",
			     function, i);
}

static void crashed(int signal)
{
	siglongjmp(trap, signal);
}

/* ---- how a device is found and opened ---- */

struct guarded_device {
	struct verbs_device ibv;
	struct guard guard;
};

struct guarded_context {
	struct verbs_context ibv;
	struct guard guard;
	bool freed;
};

static bool device_gone;

static struct verbs_device *alloc_device(struct verbs_sysfs_dev *sysfs)
{
	struct guarded_device *device = calloc(1, sizeof(*device));

	CHECK(sysfs && device);
	set_guard(&device->guard);
	return &device->ibv;
}

static void uninit_device(struct verbs_device *device)
{
	device_gone = true;
	check_guard(&((struct guarded_device *)device)->guard);
	free(device);
}

static int poll_cq(struct ibv_cq *cq, int num, struct ibv_wc *wc)
{
	return num + 1;
}

static void free_context(struct ibv_context *ibctx)
{
	struct guarded_context *context = (struct guarded_context *)
		verbs_get_ctx(ibctx);

	check_guard(&context->guard);
	verbs_uninit_context(&context->ibv);
	free(context);
}

static const struct verbs_context_ops context_ops = {
	.poll_cq = poll_cq,
	.free_context = free_context,
};

static struct verbs_context *alloc_context(struct ibv_device *device,
					   int cmd_fd, void *private_data)
{
	struct verbs_device *vdev = (struct verbs_device *)device;
	struct ib_uverbs_get_context_resp resp = {};
	struct ibv_get_context cmd = {};
	struct guarded_context *context;

	CHECK(cmd_fd >= 0 && !private_data);
	context = CALL_BY(call_pointer, _verbs_init_and_alloc_context, device,
			  cmd_fd, sizeof(*context), (struct verbs_context *)0,
			  23u);
	CHECK(context);
	CHECK(context->ibv.context.device == device);
	EXPECT(context->ibv.context.cmd_fd, cmd_fd);
	set_guard(&context->guard);

	EXPECT(CALL(ibv_cmd_get_context, &context->ibv, &cmd, sizeof(cmd),
		    &resp, sizeof(resp)), 0);
	EXPECT(kernel.ioctl.method_id, UVERBS_METHOD_GET_CONTEXT);
	EXPECT(kernel.ioctl.driver_id, 23);
	EXPECT(kernel.ioctl.num_attrs, 2);
	EXPECT(context->ibv.context.num_comp_vectors, FAKE_COMP_VECTORS);
	EXPECT(vdev->core_support, FAKE_CORE_SUPPORT);

	CALL(verbs_set_ops, &context->ibv, &context_ops);
	return &context->ibv;
}

/* The first and the second do not match. */
static const struct verbs_match_ent match_table[] = {
	{ .kind = VERBS_MATCH_DRIVER_ID, .u.driver_id = 23 },
	{ .kind = VERBS_MATCH_PCI, .vendor = 1, .device = 2 },
	{ .kind = VERBS_MATCH_MODALIAS, .u.modalias = "rdma_device:*N" FAKE_DEVICE },
	{}
};

static const struct verbs_device_ops device_ops = {
	.name = "abi",
	.match_min_abi_version = FAKE_DEVICE_ABI - 1,
	.match_max_abi_version = FAKE_DEVICE_ABI + 1,
	.match_table = match_table,
	.alloc_context = alloc_context,
	.alloc_device = alloc_device,
	.uninit_device = uninit_device,
};

static struct ibv_context *open_device(void)
{
	struct ibv_context *context;
	struct verbs_device *device;
	struct ibv_device **list;
	struct ibv_cq cq = {};
	int num;

	CALL(VERBS_REGISTER_DRIVER, &device_ops);
	list = ibv_get_device_list(&num);
	CHECK(list && num == 1);
	device = (struct verbs_device *)list[0];
	CHECK(!strcmp(list[0]->name, FAKE_DEVICE));
	CHECK(device->ops == &device_ops);
	CHECK(device->sysfs);
	EXPECT(device->refcount, 2);
	context = ibv_open_device(list[0]);
	CHECK(context);
	ibv_free_device_list(list);
	cq.context = context;
	EXPECT(ibv_poll_cq(&cq, 41, NULL), 42);
	return context;
}

static void close_device(struct ibv_context *context)
{
	struct ibv_device **list;

	function = "verbs_uninit_context";
	EXPECT(ibv_close_device(context), 0);
	fake_kernel_unplug();
	function = "uninit_device";
	list = ibv_get_device_list(NULL);
	CHECK(device_gone);
	if (list)
		ibv_free_device_list(list);
}

static void check_device(struct ibv_context *context)
{
	struct ib_uverbs_ex_query_device_resp answer = {
		.base.max_qp = 0x101, .base.max_pd = 0x102,
		.response_length = sizeof(answer), .max_dm_size = 0x103,
	}, resp;
	struct ibv_query_device_ex_input input = {};
	struct ibv_device_attr_ex attr;
	size_t resp_size = sizeof(resp);

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_query_device_any, context, &input, &attr,
		    sizeof(attr), &resp, &resp_size), 0);
	REQUEST(IB_USER_VERBS_CMD_FLAG_EXTENDED |
		IB_USER_VERBS_EX_CMD_QUERY_DEVICE, ex_query_device);
	EXPECT(req->comp_mask, 0);
	RESPONSE(&resp);
	EXPECT(resp_size, sizeof(answer));
	EXPECT(attr.orig_attr.max_qp, 0x101);
	EXPECT(attr.orig_attr.max_pd, 0x102);
	EXPECT(resp.max_dm_size, 0x103);
}

static void check_port(struct ibv_context *context)
{
	struct ib_uverbs_query_port_resp answer = {
		.max_msg_sz = 0x111, .gid_tbl_len = 0x112, .state = 4,
	};
	struct ibv_query_port cmd = {};
	struct ibv_port_attr attr = {};

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_query_port, context, (uint8_t)3, &attr, &cmd,
		    sizeof(cmd)), 0);
	REQUEST(IB_USER_VERBS_CMD_QUERY_PORT, query_port);
	EXPECT(req->port_num, 3);
	EXPECT(attr.max_msg_sz, 0x111);
	EXPECT(attr.gid_tbl_len, 0x112);
	EXPECT(attr.state, 4);
}

/* ---- objects ---- */

static void alloc_pd(struct ibv_context *context, struct ibv_pd *pd)
{
	struct ib_uverbs_alloc_pd_resp answer = { .pd_handle = 0x201 }, resp;
	struct ibv_alloc_pd cmd = {};

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_alloc_pd, context, pd, &cmd, sizeof(cmd), &resp,
		    sizeof(resp)), 0);
	REQUEST(IB_USER_VERBS_CMD_ALLOC_PD, alloc_pd);
	CHECK(req);
	RESPONSE(&resp);
	EXPECT(pd->handle, 0x201);
	CHECK(pd->context == context);
}

static void dealloc_pd(struct ibv_pd *pd)
{
	EXPECT(CALL(ibv_cmd_dealloc_pd, pd), 0);
	REQUEST(IB_USER_VERBS_CMD_DEALLOC_PD, dealloc_pd);
	EXPECT(req->pd_handle, 0x201);
}

static void check_mr(struct ibv_pd *pd)
{
	struct ib_uverbs_reg_mr_resp answer = {
		.mr_handle = 0x301, .lkey = 0x302, .rkey = 0x303,
	}, resp;
	struct { struct verbs_mr mr; struct guard guard; } a = {};
	struct ibv_reg_mr cmd = {};

	set_guard(&a.guard);
	a.mr.mr_type = a.mr.access = -1;
	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_reg_mr, pd, (void *)0x311000, (size_t)0x312,
		    (uint64_t)0x313000, 0x314, &a.mr, &cmd, sizeof(cmd), &resp,
		    sizeof(resp)), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_REG_MR, reg_mr);
		EXPECT(req->start, 0x311000);
		EXPECT(req->length, 0x312);
		EXPECT(req->hca_va, 0x313000);
		EXPECT(req->pd_handle, pd->handle);
		EXPECT(req->access_flags, 0x314);
	}
	RESPONSE(&resp);
	EXPECT(a.mr.ibv_mr.handle, 0x301);
	EXPECT(a.mr.ibv_mr.lkey, 0x302);
	EXPECT(a.mr.ibv_mr.rkey, 0x303);
	CHECK(a.mr.ibv_mr.context == pd->context);
	EXPECT(a.mr.mr_type, 0);
	EXPECT(a.mr.access, 0x314);

	EXPECT(CALL(ibv_cmd_dereg_mr, &a.mr), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_DEREG_MR, dereg_mr);
		EXPECT(req->mr_handle, 0x301);
	}
	check_guard(&a.guard);
}

static void check_rereg_mr(struct ibv_pd *pd)
{
	struct ib_uverbs_rereg_mr_resp answer = {
		.lkey = 0x322, .rkey = 0x323
	}, resp;
	struct verbs_mr mr = {
		.ibv_mr = { .context = pd->context, .handle = 0x321 },
	};
	uint32_t flags = IBV_REREG_MR_CHANGE_PD | 0x40;
	struct ibv_rereg_mr cmd = {};

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_rereg_mr, &mr, flags, (void *)0x331000,
		    (size_t)0x332, (uint64_t)0x333000, 0x334, pd, &cmd,
		    sizeof(cmd), &resp, sizeof(resp)), 0);
	REQUEST(IB_USER_VERBS_CMD_REREG_MR, rereg_mr);
	EXPECT(req->mr_handle, 0x321);
	EXPECT(req->flags, flags);
	EXPECT(req->start, 0x331000);
	EXPECT(req->length, 0x332);
	EXPECT(req->hca_va, 0x333000);
	EXPECT(req->pd_handle, pd->handle);
	EXPECT(req->access_flags, 0x334);
	RESPONSE(&resp);
	EXPECT(mr.ibv_mr.lkey, 0x322);
	EXPECT(mr.ibv_mr.rkey, 0x323);
}

#define EXPECT_ATTR(id, value)						\
	do {								\
		const struct ib_uverbs_attr *attr = fake_kernel_attr(id); \
									\
		CHECK(attr);						\
		EXPECT(attr->data, value);				\
	} while (0)

static void check_dmabuf_mr(struct ibv_pd *pd)
{
	struct { struct verbs_mr mr; struct guard guard; } a = {};

	set_guard(&a.guard);
#if VERBS_RELEASE >= 54
	EXPECT(CALL(ibv_cmd_reg_dmabuf_mr, pd, (uint64_t)0x341000, (size_t)0x342,
		    (uint64_t)0x343000, 0x344, 0x345, &a.mr, NULL), 0);
#else
	EXPECT(CALL(ibv_cmd_reg_dmabuf_mr, pd, (uint64_t)0x341000, (size_t)0x342,
		    (uint64_t)0x343000, 0x344, 0x345, &a.mr), 0);
#endif
	EXPECT(kernel.ioctl.method_id, UVERBS_METHOD_REG_DMABUF_MR);
	EXPECT(kernel.ioctl.num_attrs, 9);
	EXPECT_ATTR(UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, pd->handle);
	EXPECT_ATTR(UVERBS_ATTR_REG_DMABUF_MR_OFFSET, 0x341000);
	EXPECT_ATTR(UVERBS_ATTR_REG_DMABUF_MR_LENGTH, 0x342);
	EXPECT_ATTR(UVERBS_ATTR_REG_DMABUF_MR_IOVA, 0x343000);
	EXPECT_ATTR(UVERBS_ATTR_REG_DMABUF_MR_FD, 0x344);
	EXPECT_ATTR(UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, 0x345);
	EXPECT(a.mr.ibv_mr.handle, FAKE_MR_HANDLE);
	EXPECT(a.mr.ibv_mr.lkey, FAKE_LKEY);
	EXPECT(a.mr.ibv_mr.rkey, FAKE_RKEY);
	CHECK(a.mr.ibv_mr.pd == pd);
	check_guard(&a.guard);

#if VERBS_RELEASE >= 54
	/* NULL says nothing about an argument that nobody looks at. */
	signal(SIGSEGV, crashed);
	if (!sigsetjmp(trap, 1)) {
		ibv_cmd_reg_dmabuf_mr(pd, 0, 1, 0, 0, 0, &a.mr, POISON);
		errx(1, "%s: does not have the last argument", function);
	}
#endif
}

static void check_advise_mr(struct ibv_pd *pd)
{
	struct ibv_sge sges[3] = { { .addr = 0x351 } };

	EXPECT(CALL(ibv_cmd_advise_mr, pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
		    0x352u, sges, 3u), 0);
	EXPECT(kernel.ioctl.method_id, UVERBS_METHOD_ADVISE_MR);
	EXPECT(kernel.ioctl.num_attrs, 4);
	EXPECT_ATTR(UVERBS_ATTR_ADVISE_MR_PD_HANDLE, pd->handle);
	EXPECT_ATTR(UVERBS_ATTR_ADVISE_MR_ADVICE,
		    IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE);
	EXPECT_ATTR(UVERBS_ATTR_ADVISE_MR_FLAGS, 0x352);
	EXPECT_ATTR(UVERBS_ATTR_ADVISE_MR_SGE_LIST, (uintptr_t)sges);
	EXPECT(fake_kernel_attr(UVERBS_ATTR_ADVISE_MR_SGE_LIST)->len,
	       sizeof(sges));
}

static void create_cq(struct ibv_context *context, struct ibv_cq *cq)
{
	struct ib_uverbs_create_cq_resp answer = {
		.cq_handle = 0x401, .cqe = 0x402,
	};
	struct ibv_comp_channel channel = { .context = context, .fd = 0x403 };
	WITH_DRIVER_DATA(create_cq_resp) resp;
	struct ibv_create_cq cmd = {};

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_create_cq, context, 0x411, &channel, 0x412, cq, &cmd,
		    sizeof(cmd), &resp.ibv, sizeof(resp)), 0);
	REQUEST(IB_USER_VERBS_CMD_CREATE_CQ, create_cq);
	EXPECT(req->user_handle, (uintptr_t)cq);
	EXPECT(req->cqe, 0x411);
	EXPECT(req->comp_channel, 0x403);
	EXPECT(req->comp_vector, 0x412);
	RESPONSE(&resp);
	EXPECT(cq->handle, 0x401);
	EXPECT(cq->cqe, 0x402);
}

static void check_notify(struct ibv_cq *cq)
{
	EXPECT(CALL(ibv_cmd_req_notify_cq, cq, 1), 0);
	REQUEST(IB_USER_VERBS_CMD_REQ_NOTIFY_CQ, req_notify_cq);
	EXPECT(req->cq_handle, 0x401);
	EXPECT(req->solicited_only, 1);
}

static void destroy_cq(struct ibv_cq *cq)
{
	EXPECT(CALL(ibv_cmd_destroy_cq, cq), 0);
	REQUEST(IB_USER_VERBS_CMD_DESTROY_CQ, destroy_cq);
	EXPECT(req->cq_handle, 0x401);
}

static void create_srq(struct ibv_pd *pd, struct ibv_srq *srq)
{
	struct ib_uverbs_create_srq_resp answer = {
		.srq_handle = 0x501, .max_wr = 0x502, .max_sge = 0x503,
	};
	struct ibv_srq_init_attr attr = {
		.attr = { .max_wr = 0x511, .max_sge = 0x512, .srq_limit = 0x513 },
	};
	WITH_DRIVER_DATA(create_srq_resp) resp;
	struct ibv_create_srq cmd = {};

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_create_srq, pd, srq, &attr, &cmd, sizeof(cmd),
		    &resp.ibv, sizeof(resp)), 0);
	REQUEST(IB_USER_VERBS_CMD_CREATE_SRQ, create_srq);
	EXPECT(req->user_handle, (uintptr_t)srq);
	EXPECT(req->pd_handle, pd->handle);
	EXPECT(req->max_wr, 0x511);
	EXPECT(req->max_sge, 0x512);
	EXPECT(req->srq_limit, 0x513);
	RESPONSE(&resp);
	EXPECT(srq->handle, 0x501);
	EXPECT(attr.attr.max_wr, 0x502);
	EXPECT(attr.attr.max_sge, 0x503);
}

static void check_srq(struct ibv_srq *srq)
{
	struct ib_uverbs_query_srq_resp answer = {
		.max_wr = 0x521, .max_sge = 0x522, .srq_limit = 0x523,
	};
	struct ibv_srq_attr attr = { .max_wr = 0x531, .srq_limit = 0x532 };
	struct ibv_modify_srq modify = {};
	struct ibv_query_srq query = {};

	EXPECT(CALL(ibv_cmd_modify_srq, srq, &attr, 0x533, &modify,
		    sizeof(modify)), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_MODIFY_SRQ, modify_srq);
		EXPECT(req->srq_handle, 0x501);
		EXPECT(req->attr_mask, 0x533);
		EXPECT(req->max_wr, 0x531);
		EXPECT(req->srq_limit, 0x532);
	}
	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_query_srq, srq, &attr, &query, sizeof(query)), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_QUERY_SRQ, query_srq);
		EXPECT(req->srq_handle, 0x501);
	}
	EXPECT(attr.max_wr, 0x521);
	EXPECT(attr.max_sge, 0x522);
	EXPECT(attr.srq_limit, 0x523);
	EXPECT(CALL(ibv_cmd_destroy_srq, srq), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_DESTROY_SRQ, destroy_srq);
		EXPECT(req->srq_handle, 0x501);
	}
}

static void create_qp(struct ibv_pd *pd, struct ibv_cq *cq, struct ibv_srq *srq,
		      struct verbs_qp *qp)
{
	struct ib_uverbs_create_qp_resp answer = {
		.qp_handle = 0x601, .qpn = 0x602, .max_send_wr = 0x603,
		.max_inline_data = 0x604,
	};
	struct ibv_qp_init_attr_ex attr = {
		.qp_context = qp, .send_cq = cq, .recv_cq = cq, .srq = srq,
		.cap = { 0x611, 0x612, 0x613, 0x614, 0x615 },
		.qp_type = IBV_QPT_RC, .sq_sig_all = 1,
		.comp_mask = IBV_QP_INIT_ATTR_PD, .pd = pd,
	};
	WITH_DRIVER_DATA(create_qp_resp) resp;
	struct ibv_create_qp cmd = {};

	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_create_qp_ex, pd->context, qp, &attr, &cmd,
		    sizeof(cmd), &resp.ibv, sizeof(resp)), 0);
	REQUEST(IB_USER_VERBS_CMD_CREATE_QP, create_qp);
	EXPECT(req->user_handle, (uintptr_t)qp);
	EXPECT(req->pd_handle, pd->handle);
	EXPECT(req->send_cq_handle, cq->handle);
	EXPECT(req->srq_handle, srq->handle);
	EXPECT(req->max_send_wr, 0x611);
	EXPECT(req->max_inline_data, 0x615);
	EXPECT(req->sq_sig_all, 1);
	EXPECT(req->qp_type, IBV_QPT_RC);
	RESPONSE(&resp);
	EXPECT(qp->qp.handle, 0x601);
	EXPECT(qp->qp.qp_num, 0x602);
	CHECK(qp->qp.qp_context == qp && qp->qp.pd == pd && qp->qp.srq == srq);
	EXPECT(attr.cap.max_send_wr, 0x603);
	EXPECT(attr.cap.max_inline_data, 0x604);
	EXPECT(qp->comp_mask, 0);

	function = "ibv_qp_to_qp_ex";
	CHECK(!ibv_qp_to_qp_ex(&qp->qp));
	qp->comp_mask |= VERBS_QP_EX;
	CHECK(ibv_qp_to_qp_ex(&qp->qp) == &qp->qp_ex);
}

static void check_qp(struct ibv_qp *qp)
{
	struct ib_uverbs_query_qp_resp answer = {
		.max_send_wr = 0x621, .rq_psn = 0x622, .qp_state = IBV_QPS_RTR,
		.sq_sig_all = 1, .dest.sgid_index = 5,
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS, .dest_qp_num = 0x631, .timeout = 7,
		.ah_attr.dlid = 0x632,
	};
	int mask = IBV_QP_STATE | IBV_QP_DEST_QPN | IBV_QP_TIMEOUT | IBV_QP_AV;
	struct ibv_qp_init_attr init = {};
	struct ibv_modify_qp modify = {};
	struct ibv_query_qp query = {};

	EXPECT(CALL(ibv_cmd_modify_qp, qp, &attr, mask, &modify,
		    sizeof(modify)), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_MODIFY_QP, modify_qp);
		EXPECT(req->qp_handle, 0x601);
		EXPECT(req->attr_mask, mask);
		EXPECT(req->qp_state, IBV_QPS_RTS);
		EXPECT(req->dest_qp_num, 0x631);
		EXPECT(req->timeout, 7);
		EXPECT(req->dest.dlid, 0x632);
	}
	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_query_qp, qp, &attr, mask, &init, &query,
		    sizeof(query)), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_QUERY_QP, query_qp);
		EXPECT(req->qp_handle, 0x601);
		EXPECT(req->attr_mask, mask);
	}
	EXPECT(attr.qp_state, IBV_QPS_RTR);
	EXPECT(attr.rq_psn, 0x622);
	EXPECT(attr.ah_attr.grh.sgid_index, 5);
	EXPECT(init.cap.max_send_wr, 0x621);
	EXPECT(init.sq_sig_all, 1);
	EXPECT(CALL(ibv_cmd_destroy_qp, qp), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_DESTROY_QP, destroy_qp);
		EXPECT(req->qp_handle, 0x601);
	}
}

static void check_ah(struct ibv_pd *pd)
{
	struct ib_uverbs_create_ah_resp answer = { .ah_handle = 0x701 };
	struct { struct ibv_ah ah; struct guard guard; } a = {};
	struct ibv_ah_attr attr = {
		.dlid = 0x711, .is_global = 1, .port_num = 6,
		.grh = { .sgid_index = 4, .flow_label = 0x712 },
	};
	WITH_DRIVER_DATA(create_ah_resp) resp;

	set_guard(&a.guard);
	ANSWER(answer);
	EXPECT(CALL(ibv_cmd_create_ah, pd, &a.ah, &attr, &resp.ibv,
		    sizeof(resp)), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_CREATE_AH, create_ah);
		EXPECT(req->user_handle, (uintptr_t)&a.ah);
		EXPECT(req->pd_handle, pd->handle);
		EXPECT(req->attr.dlid, 0x711);
		EXPECT(req->attr.port_num, 6);
		EXPECT(req->attr.grh.sgid_index, 4);
		EXPECT(req->attr.grh.flow_label, 0x712);
	}
	RESPONSE(&resp);
	EXPECT(a.ah.handle, 0x701);
	CHECK(a.ah.context == pd->context);
	EXPECT(CALL(ibv_cmd_destroy_ah, &a.ah), 0);
	{
		REQUEST(IB_USER_VERBS_CMD_DESTROY_AH, destroy_ah);
		EXPECT(req->ah_handle, 0x701);
	}
	check_guard(&a.guard);
}

static void check_all(void)
{
	struct { struct verbs_cq cq; struct guard guard; } c = {};
	struct { struct verbs_qp qp; struct guard guard; } q = {};
	struct { struct ibv_srq srq; struct guard guard; } s = {};
	struct { struct ibv_pd pd; struct guard guard; } p = {};
	struct ibv_context *context;

	set_guard(&c.guard);
	set_guard(&q.guard);
	set_guard(&s.guard);
	set_guard(&p.guard);
	context = open_device();
	check_device(context);
	check_port(context);
	alloc_pd(context, &p.pd);
	check_mr(&p.pd);
	check_rereg_mr(&p.pd);
	check_dmabuf_mr(&p.pd);
	check_advise_mr(&p.pd);
	create_cq(context, &c.cq.cq);
	check_notify(&c.cq.cq);
	create_srq(&p.pd, &s.srq);
	create_qp(&p.pd, &c.cq.cq, &s.srq, &q.qp);
	check_qp(&q.qp.qp);
	check_srq(&s.srq);
	destroy_cq(&c.cq.cq);
	check_ah(&p.pd);
	dealloc_pd(&p.pd);
	check_guard(&c.guard);
	check_guard(&q.guard);
	check_guard(&s.guard);
	check_guard(&p.guard);
	close_device(context);
}

int main(void)
{
	int signal_number;

	fake_kernel_start();
	atexit(fake_kernel_stop);
	/* A wait for an event that never comes. */
	alarm(20);
	signal(SIGSEGV, crashed);
	signal_number = sigsetjmp(trap, 1);
	if (signal_number)
		errx(1, "%s: follows a pointer that is none: another argument?",
		     function);
	check_all();
	return 0;
}
