// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The RDMA device, connected queue pairs on it, and work requests. */
#include "common.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct rdma_dev dev;

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

double patience(size_t bytes)
{
	return (slow ? 300 : 60) + (double)bytes / MIB(1) * (slow ? 6 : 2);
}

const char *dev_name(void)
{
	const char *name = getenv("RDMA_DEV");

	if (!name || !*name)
		name = getenv("RXE");
	return name && *name ? name : "rxe0";
}

static struct ibv_context *open_by_name(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *ctx = NULL;
	int i;

	for (i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			ctx = ibv_open_device(list[i]);
	ibv_free_device_list(list);
	return ctx;
}

void dev_open(const char *name)
{
	struct ibv_device_attr_ex attr;
	union ibv_gid none = {};

	dev.ctx = open_by_name(name);
	if (!dev.ctx)
		fail("cannot open RDMA device %s: %s", name, strerror(errno));
	if (ibv_query_device_ex(dev.ctx, NULL, &attr))
		fail("ibv_query_device_ex of %s: %s", name, strerror(errno));
	dev.caps = attr.device_cap_flags_ex | attr.orig_attr.device_cap_flags;
	if (ibv_query_port(dev.ctx, 1, &dev.port))
		fail("ibv_query_port of %s: %s", name, strerror(errno));
	for (dev.gid_index = 0; dev.gid_index < dev.port.gid_tbl_len; dev.gid_index++)
		if (!ibv_query_gid(dev.ctx, 1, dev.gid_index, &dev.gid) &&
		    memcmp(&dev.gid, &none, sizeof(none)))
			break;
	dev.pd = ibv_alloc_pd(dev.ctx);
	if (!dev.pd)
		fail("ibv_alloc_pd on %s: %s", name, strerror(errno));
}

struct ibv_cq *cq_create(void)
{
	struct ibv_cq *cq = ibv_create_cq(dev.ctx, 2 * PAIR_DEPTH, NULL, NULL, 0);

	if (!cq)
		fail("ibv_create_cq: %s", strerror(errno));
	return cq;
}

static struct ibv_srq *srq_create(void)
{
	struct ibv_srq_init_attr attr = {
		.attr = { .max_wr = PAIR_DEPTH, .max_sge = PAIR_SGES },
	};
	struct ibv_srq *srq = ibv_create_srq(dev.pd, &attr);

	if (!srq)
		fail("ibv_create_srq: %s", strerror(errno));
	return srq;
}

static uint64_t send_ops(enum ibv_qp_type type)
{
	uint64_t ops = IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM;

	if (type != IBV_QPT_UD)
		ops |= IBV_QP_EX_WITH_RDMA_WRITE |
		       IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM;
	if (type == IBV_QPT_RC)
		ops |= IBV_QP_EX_WITH_RDMA_READ |
		       IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
		       IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD |
		       IBV_QP_EX_WITH_SEND_WITH_INV;
	if (type == IBV_QPT_RC && dev.caps & CAP_ATOMIC_WRITE)
		ops |= IBV_QP_EX_WITH_ATOMIC_WRITE;
	if (type == IBV_QPT_RC && dev.caps & IBV_DEVICE_MEM_WINDOW_TYPE_2B)
		ops |= IBV_QP_EX_WITH_BIND_MW | IBV_QP_EX_WITH_LOCAL_INV;
	return ops;
}

struct ibv_qp *qp_create(struct ibv_cq *cq, enum ibv_qp_type type,
			 struct ibv_srq *srq, int flags)
{
	struct ibv_qp_init_attr_ex attr = {
		.send_cq = cq,
		.recv_cq = cq,
		.srq = srq,
		.qp_type = type,
		.cap = {
			.max_send_wr = PAIR_DEPTH,
			.max_recv_wr = PAIR_DEPTH,
			.max_send_sge = PAIR_SGES,
			.max_recv_sge = PAIR_SGES,
			.max_inline_data = PAIR_INLINE,
		},
		.pd = dev.pd,
		.comp_mask = IBV_QP_INIT_ATTR_PD,
	};
	struct ibv_qp *qp;

	if (flags & PAIR_EX) {
		attr.send_ops_flags = send_ops(type);
		attr.comp_mask |= IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
	}
	qp = ibv_create_qp_ex(dev.ctx, &attr);
	if (!qp)
		fail("ibv_create_qp_ex of type %d: %s", type, strerror(errno));
	return qp;
}

static struct ibv_ah_attr address(const union ibv_gid *gid)
{
	return (struct ibv_ah_attr){
		.is_global = 1,
		.port_num = 1,
		.grh = {
			.dgid = *gid,
			.sgid_index = dev.gid_index,
			.hop_limit = 1,
		},
	};
}

static void modify(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	int err = ibv_modify_qp(qp, attr, IBV_QP_STATE | mask);

	if (err)
		fail("ibv_modify_qp to state %d: %s", attr->qp_state,
		     strerror(err));
}

static void qp_to_init(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qkey = UD_QKEY,
		.qp_access_flags = IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_READ |
				   IBV_ACCESS_REMOTE_ATOMIC,
	};
	int mask = IBV_QP_PKEY_INDEX | IBV_QP_PORT;

	if (qp->qp_type == IBV_QPT_RC && dev.caps & CAP_FLUSH_GLOBAL)
		attr.qp_access_flags |= ACCESS_FLUSH_GLOBAL;
	if (qp->qp_type == IBV_QPT_RC && dev.caps & CAP_FLUSH_PERSISTENT)
		attr.qp_access_flags |= ACCESS_FLUSH_PERSISTENT;
	modify(qp, &attr, mask | (qp->qp_type == IBV_QPT_UD ?
				  IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS));
}

static void qp_to_rtr(struct ibv_qp *qp, const struct peer *peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = dev.port.active_mtu,
		.dest_qp_num = peer->qpn,
		.max_dest_rd_atomic = 16,
		.min_rnr_timer = 1,
		.ah_attr = address(&peer->gid),
	};
	int mask = 0;

	if (qp->qp_type != IBV_QPT_UD)
		mask = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
		       IBV_QP_RQ_PSN;
	if (qp->qp_type == IBV_QPT_RC)
		mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
	modify(qp, &attr, mask);
}

static void qp_to_rts(struct ibv_qp *qp, unsigned int timeout,
		      unsigned int retries)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = timeout,
		.retry_cnt = retries,
		.rnr_retry = 7,			/* for ever */
		.max_rd_atomic = 16,
	};
	int mask = IBV_QP_SQ_PSN;

	if (qp->qp_type == IBV_QPT_RC)
		mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			IBV_QP_MAX_QP_RD_ATOMIC;
	modify(qp, &attr, mask);
}

void qp_connect_for(struct ibv_qp *qp, const struct peer *peer,
		    unsigned int timeout, unsigned int retries)
{
	qp_to_init(qp);
	qp_to_rtr(qp, peer);
	qp_to_rts(qp, timeout, retries);
}

void qp_connect(struct ibv_qp *qp, const struct peer *peer)
{
	qp_connect_for(qp, peer, slow ? 20 : 18 /* 4.3 or 1.1 s */, 5);
}

enum ibv_qp_state qp_state(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr;
	struct ibv_qp_init_attr init;
	int err = ibv_query_qp(qp, &attr, IBV_QP_STATE, &init);

	if (err)
		fail("ibv_query_qp: %s", strerror(err));
	return attr.qp_state;
}

void to_state(struct ibv_qp *qp, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };
	int err = ibv_modify_qp(qp, &attr, IBV_QP_STATE);

	if (err)
		fail("ibv_modify_qp to state %d: %s", state, strerror(err));
}

void pair_open(struct pair *p, enum ibv_qp_type type, int flags)
{
	struct ibv_ah_attr to = address(&dev.gid);
	struct peer peer[2];
	int i;

	memset(p, 0, sizeof(*p));
	p->type = type;
	if (flags & PAIR_SRQ)
		p->srq = srq_create();
	for (i = 0; i < 2; i++) {
		p->cq[i] = cq_create();
		p->qp[i] = qp_create(p->cq[i], type, i ? p->srq : NULL, flags);
		peer[i] = (struct peer){ p->qp[i]->qp_num, dev.gid };
	}
	for (i = 0; i < 2; i++) {
		if (flags & PAIR_PATIENT)
			qp_connect_for(p->qp[i], &peer[!i], 20, 7);
		else
			qp_connect(p->qp[i], &peer[!i]);
	}

	if (type == IBV_QPT_UD) {
		p->ah = ibv_create_ah(dev.pd, &to);
		if (!p->ah)
			fail("ibv_create_ah: %s", strerror(errno));
	}
}

void pair_close(struct pair *p)
{
	int i;

	for (i = 0; i < 2; i++)
		if (ibv_destroy_qp(p->qp[i]) || ibv_destroy_cq(p->cq[i]))
			fail("cannot destroy a QP or its CQ: %s", strerror(errno));
	if (p->srq)
		ibv_destroy_srq(p->srq);
	if (p->ah)
		ibv_destroy_ah(p->ah);
}

void post(struct ibv_qp *qp, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	int err;

	wr->send_flags |= IBV_SEND_SIGNALED;
	err = ibv_post_send(qp, wr, &bad);
	if (err)
		fail("ibv_post_send of opcode %d: %s", wr->opcode,
		     strerror(err < 0 ? -err : err));
}

void post_recv(struct pair *p, struct ibv_sge *sges, int n)
{
	struct ibv_recv_wr wr = { .sg_list = sges, .num_sge = n }, *bad;
	int err = p->srq ? ibv_post_srq_recv(p->srq, &wr, &bad) :
			   ibv_post_recv(p->qp[1], &wr, &bad);

	if (err)
		fail("posting a receive: %s", strerror(err < 0 ? -err : err));
}

struct ibv_wc wait_wc(struct ibv_cq *cq, size_t bytes, const char *what)
{
	double end = now() + patience(bytes);
	struct ibv_wc wc;
	unsigned int polls = 0;
	int n;

	while ((n = ibv_poll_cq(cq, 1, &wc)) == 0) {
		/* rxe works on this very CPU, after all. */
		if (++polls % 64)
			continue;
		sched_yield();
		if (now() > end)
			fail("%s: no completion within %.0f s", what,
			     patience(bytes));
	}
	if (n < 0)
		fail("%s: ibv_poll_cq failed", what);
	return wc;
}

void want_wc(struct ibv_cq *cq, size_t bytes, enum ibv_wc_status want,
	     const char *what)
{
	struct ibv_wc wc = wait_wc(cq, bytes, what);

	if (wc.status != want)
		fail("%s: completion with \"%s\", expected \"%s\"", what,
		     ibv_wc_status_str(wc.status), ibv_wc_status_str(want));
}

void rdma_post(struct ibv_qp *qp, enum ibv_wr_opcode op, struct ibv_sge local,
	       uint64_t remote, uint32_t rkey)
{
	struct ibv_send_wr wr = {
		.opcode = op,
		.sg_list = &local,
		.num_sge = 1,
		.wr.rdma = { .remote_addr = remote, .rkey = rkey },
	};

	post(qp, &wr);
}

enum ibv_wc_status rdma(struct pair *p, enum ibv_wr_opcode op,
			struct ibv_sge local, uint64_t remote, uint32_t rkey)
{
	rdma_post(p->qp[0], op, local, remote, rkey);
	return wait_wc(p->cq[0], local.length,
		       op == IBV_WR_RDMA_READ ? "RDMA read" : "RDMA write").status;
}

void want_rdma(struct pair *p, enum ibv_wr_opcode op, struct ibv_sge local,
	       uint64_t remote, uint32_t rkey, enum ibv_wc_status want,
	       const char *what)
{
	enum ibv_wc_status got = rdma(p, op, local, remote, rkey);

	if (got != want)
		fail("%s, RDMA %s of %u bytes: completion with \"%s\", expected \"%s\"",
		     what, op == IBV_WR_RDMA_READ ? "read" : "write",
		     local.length, ibv_wc_status_str(got),
		     ibv_wc_status_str(want));
}

void exercise(struct ibv_mr *mr, uint64_t iova, size_t len, const void *view,
	      const char *what)
{
	struct mem buf = mem_open(HOST, 0, len);
	uint64_t seed = seed_of(what);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, PAIR_PATIENT);
	pattern_fill(buf.addr, len, seed, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, len), iova, mr->rkey,
		  IBV_WC_SUCCESS, what);
	pattern_check(view, len, seed, 0, what);

	memset(buf.addr, 0, len);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, len), iova, mr->rkey,
		  IBV_WC_SUCCESS, what);
	pattern_check(buf.addr, len, seed, 0, what);
	pair_close(&p);
	mem_close(&buf);
}

void want_fatal_event(void)
{
	struct pollfd fd = { .fd = dev.ctx->async_fd, .events = POLLIN };
	struct ibv_async_event event;

	do {
		if (poll(&fd, 1, patience(0) * 1000) != 1)
			fail("no event says that the device is gone");
		if (ibv_get_async_event(dev.ctx, &event))
			fail("ibv_get_async_event: %s", strerror(errno));
		if (event.event_type != IBV_EVENT_DEVICE_FATAL)
			ibv_ack_async_event(&event);
	} while (event.event_type != IBV_EVENT_DEVICE_FATAL);
}
