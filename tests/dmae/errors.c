// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Requests that fail, on a connection: what both sides are told, which states
 * their QPs are in, and that nothing of what follows is executed.
 */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEN = 4096, FIRST = 1, BROKEN, AFTER, AFTER2 };

/* ---- what is wrong ---- */

/* An MR of the same memory, with less rights or in another PD. */
static struct ibv_mr *other_mr(const struct bed *bed, struct ibv_pd *pd,
			       int access)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, bed->mem.addr, bed->mem.len, access);

	if (!mr)
		fail("ibv_reg_mr with access 0x%x: %s", access, strerror(errno));
	return mr;
}

static struct ibv_mr *foreign_mr(const struct bed *bed)
{
	struct ibv_pd *pd = ibv_alloc_pd(dev.ctx);

	if (!pd)
		fail("ibv_alloc_pd: %s", strerror(errno));
	return other_mr(bed, pd, ACCESS_ALL);
}

/* Keys of an MR that is gone. */
static struct ibv_mr stale_mr(const struct bed *bed)
{
	struct ibv_mr *mr = other_mr(bed, dev.pd, ACCESS_ALL), copy = *mr;

	dereg(mr);
	return copy;
}

/* The pieces of a case that it may change before they are posted. */
struct parts {
	struct bed *bed;
	struct ibv_send_wr wr;		/* the request that fails */
	struct ibv_sge local[2];
	struct ibv_sge to;		/* the first receive */
};

static void no_lkey(struct parts *p)
{
	p->local->lkey += 1;
}

static void zero_lkey(struct parts *p)
{
	p->local->lkey = 0;
}

static void stale_lkey(struct parts *p)
{
	p->local->lkey = stale_mr(p->bed).lkey;
}

static void foreign_lkey(struct parts *p)
{
	p->local->lkey = foreign_mr(p->bed)->lkey;
}

static void readonly_lkey(struct parts *p)
{
	p->local->lkey = other_mr(p->bed, dev.pd, 0)->lkey;
}

static void local_past_end(struct parts *p)
{
	p->local->addr = (uintptr_t)p->bed->mem.addr + BED_LEN - LEN + 1;
}

static void local_before(struct parts *p)
{
	p->local->addr = (uintptr_t)p->bed->mem.addr - 1;
}

static void local_wraps(struct parts *p)
{
	p->local->addr = UINT64_MAX - LEN / 2;
}

/* The first piece is good. */
static void second_lkey(struct parts *p)
{
	p->local[1].lkey += 1;
	p->wr.num_sge = 2;
}

static void too_long(struct parts *p)
{
	p->local[0].length = UINT32_MAX;
	p->local[1].length = UINT32_MAX;
	p->wr.num_sge = 2;
}

static void longer_atomic(struct parts *p)
{
	p->local->length = 16;
}

static void no_rkey(struct parts *p)
{
	p->wr.wr.rdma.rkey += 1;
}

static void zero_rkey(struct parts *p)
{
	p->wr.wr.rdma.rkey = 0;
}

static void stale_rkey(struct parts *p)
{
	p->wr.wr.rdma.rkey = stale_mr(p->bed).rkey;
}

static void foreign_rkey(struct parts *p)
{
	p->wr.wr.rdma.rkey = foreign_mr(p->bed)->rkey;
}

static void remote_past_end(struct parts *p)
{
	p->wr.wr.rdma.remote_addr = (uintptr_t)p->bed->mem.addr + BED_LEN - LEN + 1;
}

static void remote_before(struct parts *p)
{
	p->wr.wr.rdma.remote_addr = (uintptr_t)p->bed->mem.addr - 1;
}

static void remote_wraps(struct parts *p)
{
	p->wr.wr.rdma.remote_addr = UINT64_MAX - LEN / 2;
}

/* All rights but the one that it takes. */
static int all_but(enum ibv_wr_opcode op)
{
	switch (op) {
	case IBV_WR_RDMA_READ:
		return ACCESS_ALL & ~IBV_ACCESS_REMOTE_READ;
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		return ACCESS_ALL & ~IBV_ACCESS_REMOTE_ATOMIC;
	default:
		return ACCESS_ALL & ~IBV_ACCESS_REMOTE_WRITE;
	}
}

static void mr_rights(struct parts *p)
{
	uint32_t key = other_mr(p->bed, dev.pd, all_but(p->wr.opcode))->rkey;

	if (p->wr.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD)
		p->wr.wr.atomic.rkey = key;
	else
		p->wr.wr.rdma.rkey = key;
}

static void qp_rights(struct parts *p)
{
	struct ibv_qp_attr attr = {
		.qp_access_flags = all_but(p->wr.opcode) &
				   (IBV_ACCESS_REMOTE_READ |
				    IBV_ACCESS_REMOTE_WRITE |
				    IBV_ACCESS_REMOTE_ATOMIC),
	};

	set_attr(p->bed->pair.qp[RESPONDER], attr, IBV_QP_ACCESS_FLAGS);
}

static void misaligned(struct parts *p)
{
	p->wr.wr.atomic.remote_addr += 4;
}

static void misaligned_by_1(struct parts *p)
{
	p->wr.wr.atomic.remote_addr += 1;
}

/* That comes after the message, which is empty here to leave no trace. */
static void invalidate(struct parts *p)
{
	p->local->length = 0;
	p->wr.invalidate_rkey = p->bed->mem.mr->rkey + 1;
}

static void recv_short(struct parts *p)
{
	p->to.length = LEN - 1;
}

static void recv_empty(struct parts *p)
{
	p->to.length = 0;
}

static void recv_lkey(struct parts *p)
{
	p->to.lkey += 1;
}

static void recv_stale(struct parts *p)
{
	p->to.lkey = stale_mr(p->bed).lkey;
}

static void recv_foreign(struct parts *p)
{
	p->to.lkey = foreign_mr(p->bed)->lkey;
}

static void recv_readonly(struct parts *p)
{
	p->to.lkey = other_mr(p->bed, dev.pd, 0)->lkey;
}

static void recv_past_end(struct parts *p)
{
	p->to.addr += BED_LEN - ZEROES_AT;
}

/* ---- what has to come of it ---- */

enum {
	WRITE = IBV_WR_RDMA_WRITE,
	READ = IBV_WR_RDMA_READ,
	SEND = IBV_WR_SEND,
	SEND_INV = IBV_WR_SEND_WITH_INV,
	ADD = IBV_WR_ATOMIC_FETCH_AND_ADD,
	CAS = IBV_WR_ATOMIC_CMP_AND_SWP,
};

enum { NO_EVENT = -1 };

#define LOCAL(status)	IBV_WC_##status, IBV_WC_SUCCESS, NO_EVENT
/* RDMA: the responder is told by an event, its receives are flushed. */
#define ACCESS		IBV_WC_REM_ACCESS_ERR, IBV_WC_WR_FLUSH_ERR, IBV_EVENT_QP_ACCESS_ERR
#define REFUSED		IBV_WC_REM_INV_REQ_ERR, IBV_WC_WR_FLUSH_ERR, IBV_EVENT_QP_REQ_ERR
/* A message: the receive says what was wrong. */
#define RECV(status, recv)	IBV_WC_##status, IBV_WC_##recv, NO_EVENT

static const struct error {
	const char *name;
	void (*set)(struct parts *p);
	int op;
	enum ibv_wc_status status;
	/* Of the responder's first receive; success: its QP goes on. */
	enum ibv_wc_status recv_status;
	int event;
} errors[] = {
	{ "local/lkey/write", no_lkey, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/lkey/read", no_lkey, READ, LOCAL(LOC_PROT_ERR) },
	{ "local/lkey/send", no_lkey, SEND, LOCAL(LOC_PROT_ERR) },
	{ "local/lkey/add", no_lkey, ADD, LOCAL(LOC_PROT_ERR) },
	{ "local/lkey/zero", zero_lkey, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/lkey/stale", stale_lkey, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/lkey/second", second_lkey, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/pd", foreign_lkey, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/past-end", local_past_end, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/before", local_before, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/wraps", local_wraps, WRITE, LOCAL(LOC_PROT_ERR) },
	{ "local/read-only/read", readonly_lkey, READ, LOCAL(LOC_PROT_ERR) },
	{ "local/read-only/cas", readonly_lkey, CAS, LOCAL(LOC_PROT_ERR) },
	{ "local/length/write", too_long, WRITE, LOCAL(LOC_LEN_ERR) },
	{ "local/length/send", too_long, SEND, LOCAL(LOC_LEN_ERR) },
	{ "local/length/add", longer_atomic, ADD, LOCAL(LOC_LEN_ERR) },

	{ "remote/rkey/write", no_rkey, WRITE, ACCESS },
	{ "remote/rkey/read", no_rkey, READ, ACCESS },
	{ "remote/rkey/zero", zero_rkey, WRITE, ACCESS },
	{ "remote/rkey/stale/write", stale_rkey, WRITE, ACCESS },
	{ "remote/rkey/stale/read", stale_rkey, READ, ACCESS },
	{ "remote/pd", foreign_rkey, WRITE, ACCESS },
	{ "remote/past-end", remote_past_end, WRITE, ACCESS },
	{ "remote/before", remote_before, READ, ACCESS },
	{ "remote/wraps", remote_wraps, WRITE, ACCESS },
	{ "remote/mr-rights/write", mr_rights, WRITE, ACCESS },
	{ "remote/mr-rights/read", mr_rights, READ, ACCESS },
	{ "remote/mr-rights/add", mr_rights, ADD, ACCESS },
	{ "remote/qp-rights/write", qp_rights, WRITE, REFUSED },
	{ "remote/qp-rights/read", qp_rights, READ, REFUSED },
	{ "remote/qp-rights/add", qp_rights, ADD, REFUSED },
	{ "remote/misaligned/add", misaligned, ADD, REFUSED },
	{ "remote/misaligned/cas", misaligned_by_1, CAS, REFUSED },

	{ "receive/short", recv_short, SEND, RECV(REM_INV_REQ_ERR, LOC_LEN_ERR) },
	{ "receive/empty", recv_empty, SEND, RECV(REM_INV_REQ_ERR, LOC_LEN_ERR) },
	{ "receive/lkey", recv_lkey, SEND, RECV(REM_OP_ERR, LOC_PROT_ERR) },
	{ "receive/stale", recv_stale, SEND, RECV(REM_OP_ERR, LOC_PROT_ERR) },
	{ "receive/pd", recv_foreign, SEND, RECV(REM_OP_ERR, LOC_PROT_ERR) },
	{ "receive/read-only", recv_readonly, SEND, RECV(REM_OP_ERR, LOC_PROT_ERR) },
	{ "receive/past-end", recv_past_end, SEND, RECV(REM_OP_ERR, LOC_PROT_ERR) },
	{ "receive/invalidate", invalidate, SEND_INV, RECV(REM_OP_ERR, REM_INV_REQ_ERR) },
};

/* In one go: they are there before the first of them is executed. */
static void post_around(struct parts *p)
{
	struct bed *bed = p->bed;
	struct ibv_sge first = sge(&bed->mem, 0, 0);
	struct ibv_sge after = sge(&bed->mem, 2 * LEN, LEN);
	struct ibv_send_wr wrs[] = {
		request(bed, FIRST, IBV_WR_SEND, &first),
		p->wr,
		request(bed, AFTER, IBV_WR_RDMA_WRITE, &after),
		request(bed, AFTER2, IBV_WR_SEND, &after),
	};
	size_t i;

	wrs[0].send_flags = IBV_SEND_SIGNALED;
	for (i = 0; i + 1 < ARRAY_SIZE(wrs); i++)
		wrs[i].next = &wrs[i + 1];
	post_one(bed->pair.qp[REQUESTER], wrs);
}

static void want_requester(struct bed *bed, enum ibv_wc_status status)
{
	const struct want sends[] = {
		{ FIRST, IBV_WC_SUCCESS }, { BROKEN, status },
		{ AFTER, IBV_WC_WR_FLUSH_ERR }, { AFTER2, IBV_WC_WR_FLUSH_ERR },
	};
	const struct want recvs[] = {
		{ RECV_ID, IBV_WC_WR_FLUSH_ERR },
		{ RECV_ID + 1, IBV_WC_WR_FLUSH_ERR },
	};

	want_all(bed->pair.cq[REQUESTER], sends, ARRAY_SIZE(sends), recvs,
		 ARRAY_SIZE(recvs));
	want_state(bed->pair.qp[REQUESTER], IBV_QPS_ERR, "requester");
}

static void want_responder(struct bed *bed, const struct error *error)
{
	const struct want recvs[] = {
		{ RECV_ID, IBV_WC_SUCCESS }, { RECV_ID + 1, error->recv_status },
		{ RECV_ID + 2, IBV_WC_WR_FLUSH_ERR },
	};
	bool lives = !error->recv_status;

	want_all(bed->pair.cq[RESPONDER], NULL, 0, recvs,
		 lives ? 1 : ARRAY_SIZE(recvs));
	want_state(bed->pair.qp[RESPONDER], lives ? IBV_QPS_RTS : IBV_QPS_ERR,
		   "responder");
	if (error->event != NO_EVENT)
		want_event(error->event, bed->pair.qp[RESPONDER]);
	want_no_event();
}

/* What is posted to a QP in error is flushed at once. */
static void want_flushed(struct bed *bed, int side)
{
	struct ibv_sge local = sge(&bed->mem, 0, LEN);
	struct ibv_send_wr wr = request(bed, 99, IBV_WR_RDMA_WRITE, &local);
	const struct want send = { 99, IBV_WC_WR_FLUSH_ERR };
	const struct want recv = { RECV_ID + 99, IBV_WC_WR_FLUSH_ERR };

	post_one(bed->pair.qp[side], &wr);
	receive(bed, side, RECV_ID + 99, sge(&bed->mem, ZEROES_AT, LEN));
	want_all(bed->pair.cq[side], &send, 1, &recv, 1);
}

static void run_error(const void *arg)
{
	const struct error *error = arg;
	bool atomic = error->op == ADD || error->op == CAS;
	struct bed bed;
	struct parts p = { .bed = &bed };

	bed_open(&bed, IBV_QPT_RC, 0);
	p.local[0] = sge(&bed.mem, LEN, atomic ? 8 : LEN);
	p.local[1] = sge(&bed.mem, ZEROES_AT + 4 * LEN, LEN);
	p.to = sge(&bed.mem, ZEROES_AT + 8 * LEN, LEN);
	p.wr = request(&bed, BROKEN, error->op, p.local);
	if (error->op == READ)
		p.wr.wr.rdma.remote_addr -= ZEROES_AT;
	if (error->op == READ || atomic)
		p.local[0].addr += ZEROES_AT + LEN;
	error->set(&p);

	receive(&bed, REQUESTER, RECV_ID, p.local[1]);
	receive(&bed, REQUESTER, RECV_ID + 1, p.local[1]);
	receive(&bed, RESPONDER, RECV_ID, p.local[1]);
	receive(&bed, RESPONDER, RECV_ID + 1, p.to);
	receive(&bed, RESPONDER, RECV_ID + 2, p.local[1]);
	post_around(&p);

	want_requester(&bed, error->status);
	want_responder(&bed, error);
	bed_untouched(&bed, "where the requests would have written");
	want_flushed(&bed, REQUESTER);
	if (error->recv_status)
		want_flushed(&bed, RESPONDER);
	want_no_event();
	pair_close(&bed.pair);
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(errors); i++)
		run_case(run_error, &errors[i], "%s", errors[i].name);
	return test_done();
}
