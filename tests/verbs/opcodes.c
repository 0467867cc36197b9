// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Every operation, with device memory on the requester's side, on the
 * responder's and on both; host memory on both shows that the test is right.
 */
#include "common.h"

#include <stdio.h>

enum { LOCAL_AT = OPCODES_AT, REMOTE_AT = OPCODES_AT + MIB(1) };
enum { MEM_LEN = KIB(64), LEN = 10007, AT = 4096 - 77, REMOTE_SHIFT = 1234 };

struct place {
	const char *name;
	int local, remote;
};

static const struct place places[] = {
	{ "host-host", HOST, HOST },
	{ "device-host", GPU0, HOST },
	{ "host-device", HOST, GPU0 },
	{ "device-device", GPU0, GPU0 },
	{ "device-device1", GPU0, GPU1 },
};

struct op;

struct kind {
	const char *name;
	void (*run)(struct op *op);
	enum ibv_qp_type type;
	int flags;
	enum ibv_wr_opcode opcode;
};

struct op {
	const struct kind *kind;
	const struct place *place;
	struct pair pair;
	struct mem local, remote;
	size_t len;
};

static const uint32_t imm = 0x12345678;

/* The remote side sits elsewhere in its page than the local one. */
static uint8_t *remote_at(const struct op *op)
{
	return op->remote.addr + AT + REMOTE_SHIFT;
}

static struct ibv_sge local_sge(struct op *op)
{
	return sge(&op->local, AT, op->len);
}

static void fill(void *p, size_t len)
{
	pattern_fill(p, len, seed_of(case_name()), 0);
}

static void check(const void *p, size_t len, const char *what)
{
	pattern_check(p, len, seed_of(case_name()), 0, what);
}

static void need(uint64_t caps)
{
	if (caps & ~dev.caps)
		skip("%s does not have it", dev_name());
}

/* The bytes around what an operation was to write. */
static void check_around(const uint8_t *from, const uint8_t *to,
			 const struct mem *mem)
{
	const uint8_t *p;

	for (p = mem->addr; p < mem->addr + mem->len; p++)
		if ((p < from || p >= to) && *p != 0xee)
			fail("byte %zd, outside of the %zd at %zd, became 0x%02x",
			     p - mem->addr, to - from, from - mem->addr, *p);
}

static void run_op(const void *arg)
{
	struct op op = *(const struct op *)arg;
	uint64_t remote_at_bar = op.place->remote == GPU1 ? OPCODES_AT1 : REMOTE_AT;

	op.len = op.kind->type == IBV_QPT_UD ? 999 : LEN;
	op.local = mem_open(op.place->local, LOCAL_AT, MEM_LEN);
	op.remote = mem_open(op.place->remote, remote_at_bar, MEM_LEN);
	memset(op.local.addr, 0xee, MEM_LEN);
	memset(op.remote.addr, 0xee, MEM_LEN);
	pair_open(&op.pair, op.kind->type, op.kind->flags);
	op.kind->run(&op);
	pair_close(&op.pair);
	mem_close(&op.local);
	mem_close(&op.remote);
}

static struct ibv_send_wr send_wr(struct op *op, struct ibv_sge *sges, int n)
{
	struct ibv_send_wr wr = {
		.opcode = op->kind->opcode,
		.sg_list = sges,
		.num_sge = n,
		.imm_data = htobe32(imm),
	};

	if (op->kind->type == IBV_QPT_UD) {
		wr.wr.ud.ah = op->pair.ah;
		wr.wr.ud.remote_qpn = op->pair.qp[1]->qp_num;
		wr.wr.ud.remote_qkey = UD_QKEY;
	} else {
		wr.wr.rdma.remote_addr = (uintptr_t)remote_at(op);
		wr.wr.rdma.rkey = op->remote.mr->rkey;
	}
	return wr;
}

static void check_recv_wc(struct op *op, enum ibv_wc_opcode want,
			  size_t len, bool with_imm)
{
	struct ibv_wc wc = wait_wc(op->pair.cq[1], op->len, "receive");

	if (wc.status != IBV_WC_SUCCESS)
		fail("receive: completion with \"%s\"", ibv_wc_status_str(wc.status));
	if (wc.opcode != want || wc.byte_len != len)
		fail("receive: opcode %d, %u bytes; expected %d, %zu", wc.opcode,
		     wc.byte_len, want, len);
	if (with_imm && (!(wc.wc_flags & IBV_WC_WITH_IMM) ||
			 be32toh(wc.imm_data) != imm))
		fail("receive: immediate 0x%x, expected 0x%x",
		     be32toh(wc.imm_data), imm);
}

/* UD puts a global routing header in front of what was sent. */
static struct ibv_sge recv_sge(struct op *op)
{
	size_t grh = op->kind->type == IBV_QPT_UD ? GRH_LEN : 0;

	return sge(&op->remote, AT + REMOTE_SHIFT - grh, op->len + grh);
}

static void op_send(struct op *op)
{
	struct ibv_sge from = local_sge(op), to = recv_sge(op);
	struct ibv_send_wr wr = send_wr(op, &from, 1);

	fill(op->local.addr + AT, op->len);
	post_recv(&op->pair, &to, 1);
	post(op->pair.qp[0], &wr);
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "send");
	check_recv_wc(op, IBV_WC_RECV, to.length,
		      op->kind->opcode == IBV_WR_SEND_WITH_IMM);
	check(remote_at(op), op->len, "received");
	check_around((uint8_t *)(uintptr_t)to.addr, remote_at(op) + op->len,
		     &op->remote);
}

/* On UC nobody says when a write has arrived: a message after it does. */
static void wait_arrival(struct op *op)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND };

	post_recv(&op->pair, NULL, 0);
	post(op->pair.qp[0], &wr);
	want_wc(op->pair.cq[0], 0, IBV_WC_SUCCESS, "marker");
	want_wc(op->pair.cq[1], op->len, IBV_WC_SUCCESS, "marker");
}

static void op_write(struct op *op)
{
	bool with_imm = op->kind->opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
	struct ibv_sge from = local_sge(op);
	struct ibv_send_wr wr = send_wr(op, &from, 1);

	fill(op->local.addr + AT, op->len);
	if (with_imm)
		post_recv(&op->pair, NULL, 0);
	post(op->pair.qp[0], &wr);
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "write");
	if (with_imm)
		check_recv_wc(op, IBV_WC_RECV_RDMA_WITH_IMM, op->len, true);
	else if (op->kind->type == IBV_QPT_UC)
		wait_arrival(op);
	check(remote_at(op), op->len, "written");
	check_around(remote_at(op), remote_at(op) + op->len, &op->remote);
}

static void op_read(struct op *op)
{
	struct ibv_sge to = local_sge(op);
	struct ibv_send_wr wr = send_wr(op, &to, 1);
	uint8_t *at = op->local.addr + AT;

	fill(remote_at(op), op->len);
	post(op->pair.qp[0], &wr);
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "read");
	check(at, op->len, "read");
	check_around(at, at + op->len, &op->local);
}

static void op_inline(struct op *op)
{
	struct ibv_sge to = recv_sge(op), from = sge(&op->local, AT, 200);
	struct ibv_send_wr wr = send_wr(op, &from, 1);
	bool sent = op->kind->opcode == IBV_WR_SEND;

	fill(op->local.addr + AT, from.length);
	wr.send_flags = IBV_SEND_INLINE;
	if (sent)
		post_recv(&op->pair, &to, 1);
	post(op->pair.qp[0], &wr);
	/* Inline: the data was taken when it was posted. */
	memset(op->local.addr + AT, 0, from.length);
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "inline");
	if (sent)
		want_wc(op->pair.cq[1], op->len, IBV_WC_SUCCESS, "receive");
	check(remote_at(op), from.length, "inline");
}

static void want_u64(const char *what, uint64_t got, uint64_t want)
{
	if (got != want)
		fail("%s is 0x%016llx, expected 0x%016llx", what,
		     (unsigned long long)got, (unsigned long long)want);
}

static uint64_t atomic_op(struct op *op, uint64_t compare_add,
			  uint64_t swap)
{
	struct ibv_sge result = sge(&op->local, 8, 8);
	struct ibv_send_wr wr = {
		.opcode = op->kind->opcode,
		.sg_list = &result,
		.num_sge = 1,
		.wr.atomic = {
			.remote_addr = (uintptr_t)op->remote.addr + 4096,
			.compare_add = compare_add,
			.swap = swap,
			.rkey = op->remote.mr->rkey,
		},
	};

	post(op->pair.qp[0], &wr);
	want_wc(op->pair.cq[0], 8, IBV_WC_SUCCESS, "atomic");
	return *(volatile uint64_t *)(op->local.addr + 8);
}

static void op_fetch_add(struct op *op)
{
	volatile uint64_t *target = (void *)(op->remote.addr + 4096);

	*target = 0xfffffffffffffff0ull;
	want_u64("first result", atomic_op(op, 0x20, 0), 0xfffffffffffffff0ull);
	want_u64("target, after a carry out of it", *target, 0x10);
	want_u64("second result", atomic_op(op, 0x100000000ull, 0), 0x10);
	want_u64("target", *target, 0x100000010ull);
	check_around(op->remote.addr + 4096, op->remote.addr + 4104, &op->remote);
	check_around(op->local.addr + 8, op->local.addr + 16, &op->local);
}

static void op_cmp_swap(struct op *op)
{
	volatile uint64_t *target = (void *)(op->remote.addr + 4096);
	const uint64_t a = 0x1122334455667788ull, b = 0x99aabbccddeeff00ull;

	*target = a;
	want_u64("result of one that differs", atomic_op(op, b, b), a);
	want_u64("target after one that differs", *target, a);
	want_u64("result of one that is equal", atomic_op(op, a, b), a);
	want_u64("target after one that is equal", *target, b);
	check_around(op->remote.addr + 4096, op->remote.addr + 4104, &op->remote);
	check_around(op->local.addr + 8, op->local.addr + 16, &op->local);
}

static void op_atomic_write(struct op *op)
{
	struct ibv_qp_ex *qpx = ibv_qp_to_qp_ex(op->pair.qp[0]);
	const uint64_t value = 0x0123456789abcdefull;
	struct ibv_wc wc;
	int err;

	need(CAP_ATOMIC_WRITE);
	ibv_wr_start(qpx);
	qpx->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_atomic_write(qpx, op->remote.mr->rkey,
			    (uintptr_t)op->remote.addr + 4096, &value);
	err = ibv_wr_complete(qpx);
	if (err)
		fail("ibv_wr_complete: %s", strerror(err));
	wc = wait_wc(op->pair.cq[0], 8, "atomic write");
	if (wc.status != IBV_WC_SUCCESS || wc.opcode != IBV_WC_ATOMIC_WRITE)
		fail("completion with \"%s\", opcode %d; expected success, %d",
		     ibv_wc_status_str(wc.status), wc.opcode, IBV_WC_ATOMIC_WRITE);
	want_u64("target", *(volatile uint64_t *)(op->remote.addr + 4096), value);
	check_around(op->remote.addr + 4096, op->remote.addr + 4104, &op->remote);
}

/* A few of the above through the newer interface. */
static void op_ex(struct op *op)
{
	struct ibv_qp_ex *qpx = ibv_qp_to_qp_ex(op->pair.qp[0]);
	uint32_t rkey = op->remote.mr->rkey;
	struct ibv_sge to = recv_sge(op);
	size_t half = op->len / 2;
	uint8_t *from = op->local.addr + AT;
	int i, err;

	fill(from, op->len);
	ibv_wr_start(qpx);
	qpx->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_rdma_write(qpx, rkey, (uintptr_t)remote_at(op));
	ibv_wr_set_sge(qpx, op->local.mr->lkey, (uintptr_t)from, half);
	ibv_wr_rdma_write(qpx, rkey, (uintptr_t)remote_at(op) + half);
	ibv_wr_set_sge(qpx, op->local.mr->lkey, (uintptr_t)from + half,
		       op->len - half);
	err = ibv_wr_complete(qpx);
	if (err)
		fail("ibv_wr_complete of two writes: %s", strerror(err));
	for (i = 0; i < 2; i++)
		want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "write");
	check(remote_at(op), op->len, "written");

	memset(from, 0, op->len);
	ibv_wr_start(qpx);
	qpx->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_rdma_read(qpx, rkey, (uintptr_t)remote_at(op));
	ibv_wr_set_sge(qpx, op->local.mr->lkey, (uintptr_t)from, op->len);
	err = ibv_wr_complete(qpx);
	if (err)
		fail("ibv_wr_complete of a read: %s", strerror(err));
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "read");
	check(from, op->len, "read");

	memset(remote_at(op), 0, op->len);
	post_recv(&op->pair, &to, 1);
	ibv_wr_start(qpx);
	qpx->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_send_imm(qpx, htobe32(imm));
	ibv_wr_set_sge(qpx, op->local.mr->lkey, (uintptr_t)from, op->len);
	err = ibv_wr_complete(qpx);
	if (err)
		fail("ibv_wr_complete of a send: %s", strerror(err));
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "send");
	check_recv_wc(op, IBV_WC_RECV, op->len, true);
	check(remote_at(op), op->len, "received");
}

/* Write, then flush what was written; the registration has to allow it. */
static void op_flush(struct op *op)
{
	struct pair *p = &op->pair;
	uint64_t at = (uintptr_t)remote_at(op);
	struct ibv_mr *mr;
	struct ibv_wc wc;
	int level;

	need(CAP_FLUSH_GLOBAL);
	mr = reg(op->remote.addr, op->remote.len,
		 ACCESS_ALL | ACCESS_FLUSH_GLOBAL);
	fill(op->local.addr + AT, op->len);
	want_rdma(p, IBV_WR_RDMA_WRITE, local_sge(op), at, mr->rkey,
		  IBV_WC_SUCCESS, "before flush");
	for (level = FLUSH_RANGE; level <= FLUSH_MR; level++) {
		post_flush(p, at, op->len, mr->rkey, FLUSH_GLOBAL, level);
		wc = wait_wc(p->cq[0], op->len, "flush");
		if (wc.status != IBV_WC_SUCCESS ||
		    (int)wc.opcode != RXE_WC_FLUSH)
			fail("flush of level %d: \"%s\", opcode %d; expected success, %d",
			     level, ibv_wc_status_str(wc.status), wc.opcode,
			     RXE_WC_FLUSH);
	}
	check(remote_at(op), op->len, "flushed");

	/* The other MR over the same memory was not registered for it. */
	post_flush(p, at, op->len, op->remote.mr->rkey, FLUSH_GLOBAL, FLUSH_RANGE);
	want_wc(p->cq[0], op->len, IBV_WC_REM_ACCESS_ERR, "flush without the right");
	dereg(mr);
}

/* Neither RAM nor a BAR is persistent memory. */
static void op_flush_persistent(struct op *op)
{
	struct ibv_mr *mr;
	int err;

	mr = try_reg(op->remote.addr, op->remote.len,
		     ACCESS_ALL | ACCESS_FLUSH_PERSISTENT, &err);
	if (mr)
		fail("registered for persistent flush, and it is not persistent");
	if (err != EINVAL && err != EOPNOTSUPP)
		fail("ibv_reg_mr for persistent flush: %s, expected EINVAL or EOPNOTSUPP",
		     strerror(err));
}

static void through_window(struct op *op, uint32_t rkey)
{
	struct pair *p = &op->pair;
	uint64_t at = (uintptr_t)remote_at(op);

	fill(op->local.addr + AT, op->len);
	want_rdma(p, IBV_WR_RDMA_WRITE, local_sge(op), at, rkey, IBV_WC_SUCCESS,
		  "through the window");
	check(remote_at(op), op->len, "written through the window");
	memset(op->local.addr + AT, 0, op->len);
	want_rdma(p, IBV_WR_RDMA_READ, local_sge(op), at, rkey, IBV_WC_SUCCESS,
		  "through the window");
	check(op->local.addr + AT, op->len, "read through the window");
	check_around(remote_at(op), remote_at(op) + op->len, &op->remote);
}

static struct ibv_mw *window(enum ibv_mw_type type)
{
	struct ibv_mw *mw;

	need(type == IBV_MW_TYPE_1 ? IBV_DEVICE_MEM_WINDOW :
				     IBV_DEVICE_MEM_WINDOW_TYPE_2B);
	mw = ibv_alloc_mw(dev.pd, type);
	if (!mw)
		fail("ibv_alloc_mw of type %d: %s", type, strerror(errno));
	return mw;
}

static struct ibv_mw_bind_info bind_info(struct op *op)
{
	return (struct ibv_mw_bind_info){
		.mr = op->remote.mr,
		.addr = (uintptr_t)remote_at(op),
		.length = op->len,
		.mw_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
	};
}

static void want_window_closed(struct op *op, uint32_t rkey)
{
	memset(remote_at(op), 0xee, op->len);
	want_rdma(&op->pair, IBV_WR_RDMA_WRITE, local_sge(op),
		  (uintptr_t)remote_at(op), rkey, IBV_WC_REM_ACCESS_ERR,
		  "through an invalidated window");
	check_around(NULL, NULL, &op->remote);
}

/* The responder binds its memory; a zero length unbinds a type 1 window. */
static void op_mw1(struct op *op)
{
	struct ibv_mw *mw = window(IBV_MW_TYPE_1);
	struct ibv_mw_bind bind = {
		.send_flags = IBV_SEND_SIGNALED,
		.bind_info = bind_info(op),
	};
	uint32_t rkey;
	int err;

	err = ibv_bind_mw(op->pair.qp[1], mw, &bind);
	if (err)
		fail("ibv_bind_mw: %s", strerror(err));
	want_wc(op->pair.cq[1], 0, IBV_WC_SUCCESS, "bind");
	rkey = mw->rkey;
	through_window(op, rkey);

	bind.bind_info.length = 0;
	err = ibv_bind_mw(op->pair.qp[1], mw, &bind);
	if (err)
		fail("ibv_bind_mw to nothing: %s", strerror(err));
	want_wc(op->pair.cq[1], 0, IBV_WC_SUCCESS, "unbind");
	want_window_closed(op, rkey);
	ibv_dealloc_mw(mw);
}

static struct ibv_mw *bind_type2(struct op *op)
{
	struct ibv_mw *mw = window(IBV_MW_TYPE_2);
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_BIND_MW,
		.bind_mw = {
			.mw = mw,
			.rkey = ibv_inc_rkey(mw->rkey),
			.bind_info = bind_info(op),
		},
	};

	post(op->pair.qp[1], &wr);
	want_wc(op->pair.cq[1], 0, IBV_WC_SUCCESS, "bind");
	mw->rkey = wr.bind_mw.rkey;
	return mw;
}

static void op_mw2(struct op *op)
{
	struct ibv_mw *mw = bind_type2(op);
	struct ibv_send_wr inv = {
		.opcode = IBV_WR_LOCAL_INV,
		.invalidate_rkey = mw->rkey,
	};

	through_window(op, mw->rkey);
	post(op->pair.qp[1], &inv);
	want_wc(op->pair.cq[1], 0, IBV_WC_SUCCESS, "local invalidate");
	want_window_closed(op, mw->rkey);
	ibv_dealloc_mw(mw);
}

/* A message that closes the receiver's window on its way. */
static void op_send_inv(struct op *op)
{
	struct ibv_mw *mw = bind_type2(op);
	struct ibv_sge from = local_sge(op), to = recv_sge(op);
	struct ibv_send_wr wr = send_wr(op, &from, 1);
	struct ibv_wc wc;

	through_window(op, mw->rkey);
	fill(op->local.addr + AT, op->len);
	memset(remote_at(op), 0, op->len);
	wr.invalidate_rkey = mw->rkey;
	post_recv(&op->pair, &to, 1);
	post(op->pair.qp[0], &wr);
	want_wc(op->pair.cq[0], op->len, IBV_WC_SUCCESS, "send with invalidate");
	wc = wait_wc(op->pair.cq[1], op->len, "receive");
	/* rxe hands out the kernel's wc_flags, which are not libibverbs'. */
	if (wc.status != IBV_WC_SUCCESS || wc.invalidated_rkey != mw->rkey)
		fail("receive: \"%s\", invalidated 0x%x; expected success, 0x%x",
		     ibv_wc_status_str(wc.status), wc.invalidated_rkey, mw->rkey);
	check(remote_at(op), op->len, "received");
	want_window_closed(op, mw->rkey);
	ibv_dealloc_mw(mw);
}

static const struct kind kinds[] = {
	{ "rc-send", op_send, IBV_QPT_RC, 0, IBV_WR_SEND },
	{ "rc-send-imm", op_send, IBV_QPT_RC, 0, IBV_WR_SEND_WITH_IMM },
	{ "rc-send-srq", op_send, IBV_QPT_RC, PAIR_SRQ, IBV_WR_SEND },
	{ "uc-send", op_send, IBV_QPT_UC, 0, IBV_WR_SEND },
	{ "uc-send-imm", op_send, IBV_QPT_UC, 0, IBV_WR_SEND_WITH_IMM },
	{ "ud-send", op_send, IBV_QPT_UD, 0, IBV_WR_SEND },
	{ "ud-send-imm", op_send, IBV_QPT_UD, 0, IBV_WR_SEND_WITH_IMM },
	{ "ud-send-srq", op_send, IBV_QPT_UD, PAIR_SRQ, IBV_WR_SEND },
	{ "rc-write", op_write, IBV_QPT_RC, 0, IBV_WR_RDMA_WRITE },
	{ "rc-write-imm", op_write, IBV_QPT_RC, 0, IBV_WR_RDMA_WRITE_WITH_IMM },
	{ "uc-write", op_write, IBV_QPT_UC, 0, IBV_WR_RDMA_WRITE },
	{ "uc-write-imm", op_write, IBV_QPT_UC, 0, IBV_WR_RDMA_WRITE_WITH_IMM },
	{ "rc-read", op_read, IBV_QPT_RC, 0, IBV_WR_RDMA_READ },
	{ "rc-send-inline", op_inline, IBV_QPT_RC, 0, IBV_WR_SEND },
	{ "rc-write-inline", op_inline, IBV_QPT_RC, 0, IBV_WR_RDMA_WRITE },
	{ "fetch-add", op_fetch_add, IBV_QPT_RC, 0, IBV_WR_ATOMIC_FETCH_AND_ADD },
	{ "cmp-swap", op_cmp_swap, IBV_QPT_RC, 0, IBV_WR_ATOMIC_CMP_AND_SWP },
	{ "atomic-write", op_atomic_write, IBV_QPT_RC, PAIR_EX, IBV_WR_ATOMIC_WRITE },
	{ "wr-api", op_ex, IBV_QPT_RC, PAIR_EX, IBV_WR_RDMA_WRITE },
	{ "flush", op_flush, IBV_QPT_RC, PAIR_EX, IBV_WR_RDMA_WRITE },
	{ "flush-persistent", op_flush_persistent, IBV_QPT_RC, 0, IBV_WR_RDMA_WRITE },
	{ "mw1", op_mw1, IBV_QPT_RC, 0, IBV_WR_RDMA_WRITE },
	{ "mw2", op_mw2, IBV_QPT_RC, 0, IBV_WR_RDMA_WRITE },
	{ "send-inv", op_send_inv, IBV_QPT_RC, 0, IBV_WR_SEND_WITH_INV },
};

int main(int argc, char **argv)
{
	size_t i, j;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (j = 0; j < ARRAY_SIZE(places); j++) {
			struct op op = { .kind = &kinds[i], .place = &places[j] };

			run_case(run_op, &op, "%s/%s", kinds[i].name,
				 places[j].name);
		}
	}
	return test_done();
}
