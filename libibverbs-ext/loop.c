// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "loop.h"

enum { PATIENCE_S = 5, TIMEOUT = 16 /* 268 ms */, RETRIES = 7 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int find_port(struct ibv_context *context, uint8_t *port,
		     struct ibv_port_attr *attr)
{
	struct ibv_device_attr device;
	int ret;

	ret = ibv_query_device(context, &device);
	if (ret)
		return ret;
	for (*port = 1; *port <= device.phys_port_cnt; ++*port)
		if (!ibv_query_port(context, *port, attr) &&
		    attr->state == IBV_PORT_ACTIVE)
			return 0;
	return ENODEV;
}

/* The first that there is. 0 or ENODEV. */
static int find_gid(struct ibv_context *context, uint8_t port, int entries,
		    union ibv_gid *gid, uint8_t *index)
{
	static const union ibv_gid none;
	int i;

	for (i = 0; i < entries && i <= UINT8_MAX; i++) {
		if (ibv_query_gid(context, port, i, gid) ||
		    !memcmp(gid, &none, sizeof(none)))
			continue;
		*index = i;
		return 0;
	}
	return ENODEV;
}

static int to_init(struct ibv_qp *qp, uint8_t port)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = port,
		.qp_access_flags = IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_READ,
	};

	return ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
			     IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static int to_rtr(struct ibv_qp *qp, uint32_t peer, uint8_t port,
		  const struct ibv_port_attr *port_attr)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = port_attr->active_mtu,
		.dest_qp_num = peer,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = {
			.dlid = port_attr->lid,
			.port_num = port,
		},
	};
	int ret;

	if (port_attr->link_layer == IBV_LINK_LAYER_ETHERNET) {
		ret = find_gid(qp->context, port, port_attr->gid_tbl_len,
			       &attr.ah_attr.grh.dgid,
			       &attr.ah_attr.grh.sgid_index);
		if (ret)
			return ret;
		attr.ah_attr.is_global = 1;
		attr.ah_attr.grh.hop_limit = 64;
	}
	return ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			     IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			     IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
			     IBV_QP_MIN_RNR_TIMER);
}

static int to_rts(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = TIMEOUT,
		.retry_cnt = RETRIES,
		.rnr_retry = RETRIES,
		.max_rd_atomic = 1,
	};

	return ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			     IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			     IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

/* There are providers that fail without an errno. */
static int reason(void)
{
	return errno ? errno : ENOMEM;
}

int loop_open(struct loop *loop, struct ibv_pd *pd)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1,
			 .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_port_attr port_attr;
	uint8_t port;
	int i, ret;

	ret = find_port(pd->context, &port, &port_attr);
	if (ret)
		return ret;
	*loop = (struct loop){
		.cq = ibv_create_cq(pd->context, 2, NULL, NULL, 0),
	};
	if (!loop->cq)
		return reason();
	init.send_cq = loop->cq;
	init.recv_cq = loop->cq;
	for (i = 0; i < 2 && !ret; i++) {
		loop->qp[i] = ibv_create_qp(pd, &init);
		ret = loop->qp[i] ? to_init(loop->qp[i], port) : reason();
	}
	for (i = 0; i < 2 && !ret; i++)
		ret = to_rtr(loop->qp[i], loop->qp[1 - i]->qp_num, port,
			     &port_attr);
	if (!ret)
		ret = to_rts(loop->qp[0]);
	if (ret)
		loop_close(loop);
	return ret;
}

void loop_close(struct loop *loop)
{
	int i;

	for (i = 0; i < 2; i++)
		if (loop->qp[i])
			ibv_destroy_qp(loop->qp[i]);
	ibv_destroy_cq(loop->cq);
}

int loop_rdma(struct loop *loop, enum ibv_wr_opcode opcode, void *local,
	      const struct ibv_mr *local_mr, void *remote,
	      const struct ibv_mr *remote_mr, size_t length)
{
	struct ibv_sge sge = { (uintptr_t)local, length, local_mr->lkey };
	struct ibv_send_wr wr = {
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.sg_list = &sge,
		.num_sge = 1,
		.wr.rdma = { (uintptr_t)remote, remote_mr->rkey },
	}, *bad;
	double end = now() + PATIENCE_S;
	struct ibv_wc wc;
	int n;

	if (ibv_post_send(loop->qp[0], &wr, &bad))
		return IBV_WC_GENERAL_ERR;
	do
		n = ibv_poll_cq(loop->cq, 1, &wc);
	while (!n && now() < end);
	if (!n)
		return LOOP_SILENT;
	return n < 0 ? (int)IBV_WC_GENERAL_ERR : (int)wc.status;
}
