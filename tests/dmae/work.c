// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Work requests that are told apart, and what becomes of them. */
#include "work.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* How long what must not come is waited for. */
static const int quiet_ms = 50;

void bed_open(struct bed *bed, enum ibv_qp_type type, int flags)
{
	bed->mem = mem_open(HOST, 0, BED_LEN);
	pattern_fill(bed->mem.addr, ZEROES_AT, seed_of(case_name()), 0);
	memset(bed->mem.addr + ZEROES_AT, 0, BED_LEN - ZEROES_AT);
	pair_open(&bed->pair, type, flags);
}

void bed_untouched(const struct bed *bed, const char *what)
{
	const uint8_t *zeroes = host_map(BED_LEN - ZEROES_AT);

	same_check(bed->mem.addr + ZEROES_AT, zeroes, BED_LEN - ZEROES_AT, what);
	unmap((void *)zeroes, BED_LEN - ZEROES_AT);
}

struct ibv_send_wr request(const struct bed *bed, uint64_t id,
			   enum ibv_wr_opcode op, struct ibv_sge *local)
{
	struct ibv_send_wr wr = {
		.wr_id = id,
		.opcode = op,
		.sg_list = local,
		.num_sge = 1,
	};
	uint64_t remote = (uintptr_t)bed->mem.addr + ZEROES_AT +
			  (local->addr - (uintptr_t)bed->mem.addr) % ZEROES_AT;

	if (op == IBV_WR_ATOMIC_FETCH_AND_ADD || op == IBV_WR_ATOMIC_CMP_AND_SWP) {
		wr.wr.atomic.remote_addr = remote;
		wr.wr.atomic.compare_add = 1;
		wr.wr.atomic.rkey = bed->mem.mr->rkey;
	} else {
		wr.wr.rdma.remote_addr = remote;
		wr.wr.rdma.rkey = bed->mem.mr->rkey;
	}
	return wr;
}

void post_one(struct ibv_qp *qp, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	int err = ibv_post_send(qp, wr, &bad);

	if (err)
		fail("ibv_post_send of request %lu: %s", wr->wr_id, strerror(err));
}

void receive(struct bed *bed, int side, uint64_t id, struct ibv_sge to)
{
	struct ibv_recv_wr wr = {
		.wr_id = id, .sg_list = &to, .num_sge = 1,
	}, *bad;
	struct ibv_srq *srq = side == RESPONDER ? bed->pair.srq : NULL;
	int err = srq ? ibv_post_srq_recv(srq, &wr, &bad) :
			ibv_post_recv(bed->pair.qp[side], &wr, &bad);

	if (err)
		fail("posting receive %lu: %s", id, strerror(err));
}

static void want_wc_of(const struct ibv_wc *wc, const struct want *want)
{
	if (wc->wr_id != want->id || wc->status != want->status)
		fail("completion of request %lu with \"%s\", expected %lu with \"%s\"",
		     wc->wr_id, ibv_wc_status_str(wc->status), want->id,
		     ibv_wc_status_str(want->status));
}

void want_all(struct ibv_cq *cq, const struct want *sends, size_t nsends,
	      const struct want *recvs, size_t nrecvs)
{
	static const struct want none = { .id = UINT64_MAX };
	const struct want *want;
	struct ibv_wc wc;

	while (nsends || nrecvs) {
		wc = wait_wc(cq, 0, "the rest of the completions");
		if (wc.wr_id >= RECV_ID)
			want = nrecvs ? nrecvs--, recvs++ : &none;
		else
			want = nsends ? nsends--, sends++ : &none;
		want_wc_of(&wc, want);
	}
	want_none(cq, "after the last completion");
}

void want_one(struct ibv_cq *cq, uint64_t id, enum ibv_wc_status status)
{
	const struct want want = { id, status };
	struct ibv_wc wc = wait_wc(cq, 0, ibv_wc_status_str(status));

	want_wc_of(&wc, &want);
}

void want_none(struct ibv_cq *cq, const char *what)
{
	struct ibv_wc wc;

	usleep(quiet_ms * 1000);
	if (ibv_poll_cq(cq, 1, &wc))
		fail("%s: completion of request %lu with \"%s\", expected none",
		     what, wc.wr_id, ibv_wc_status_str(wc.status));
}

static const char *state_name(enum ibv_qp_state state)
{
	static const char *const names[] = {
		"RESET", "INIT", "RTR", "RTS", "SQD", "SQE", "ERR",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

void want_state(struct ibv_qp *qp, enum ibv_qp_state want, const char *what)
{
	enum ibv_qp_state got = qp_state(qp);

	if (got != want)
		fail("the %s is in state %s, expected %s", what,
		     state_name(got), state_name(want));
}

static bool event_comes(int ms)
{
	struct pollfd fd = { .fd = dev.ctx->async_fd, .events = POLLIN };

	return poll(&fd, 1, ms) == 1;
}

void want_event(enum ibv_event_type type, const void *element)
{
	struct ibv_async_event event;

	if (!event_comes(patience(0) * 1000))
		fail("no event, expected \"%s\"", ibv_event_type_str(type));
	if (ibv_get_async_event(dev.ctx, &event))
		fail("ibv_get_async_event: %s", strerror(errno));
	if (event.event_type != type)
		fail("event \"%s\", expected \"%s\"",
		     ibv_event_type_str(event.event_type),
		     ibv_event_type_str(type));
	/* Whichever it is, it is in the same place. */
	if (event.element.qp != element)
		fail("event \"%s\" is about another queue",
		     ibv_event_type_str(type));
	ibv_ack_async_event(&event);
}

void want_no_event(void)
{
	struct ibv_async_event event;

	if (!event_comes(quiet_ms))
		return;
	if (ibv_get_async_event(dev.ctx, &event))
		fail("ibv_get_async_event: %s", strerror(errno));
	fail("event \"%s\", expected none", ibv_event_type_str(event.event_type));
}

static void modify(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	int err = ibv_modify_qp(qp, attr, mask);

	if (err)
		fail("ibv_modify_qp with mask 0x%x: %s", mask, strerror(err));
}

void set_attr(struct ibv_qp *qp, struct ibv_qp_attr attr, int mask)
{
	to_state(qp, IBV_QPS_SQD);
	attr.qp_state = IBV_QPS_SQD;
	modify(qp, &attr, IBV_QP_STATE | mask);
	to_state(qp, IBV_QPS_RTS);
}

/* ---- messages ---- */

struct ibv_send_wr message(const struct bed *bed, uint64_t id,
				  struct ibv_sge *from)
{
	struct ibv_send_wr wr = request(bed, id, IBV_WR_SEND, from);

	wr.send_flags = IBV_SEND_SIGNALED;
	return wr;
}

void send_one(const struct bed *bed, uint64_t id)
{
	struct ibv_sge from = sge(&bed->mem, 0, MESSAGE_LEN);
	struct ibv_send_wr wr = message(bed, id, &from);

	post_one(bed->pair.qp[REQUESTER], &wr);
}

void write_one(const struct bed *bed, uint64_t id)
{
	struct ibv_sge from = sge(&bed->mem, 0, MESSAGE_LEN);
	struct ibv_send_wr wr = request(bed, id, IBV_WR_RDMA_WRITE, &from);

	wr.send_flags = IBV_SEND_SIGNALED;
	post_one(bed->pair.qp[REQUESTER], &wr);
}

void receive_one(struct bed *bed, uint64_t id)
{
	receive(bed, RESPONDER, id, sge(&bed->mem, ZEROES_AT + 2 * MESSAGE_LEN, MESSAGE_LEN));
}

void want_message(struct bed *bed, uint64_t send, uint64_t recv)
{
	want_one(bed->pair.cq[REQUESTER], send, IBV_WC_SUCCESS);
	want_one(bed->pair.cq[RESPONDER], recv, IBV_WC_SUCCESS);
	same_check(bed->mem.addr + ZEROES_AT + 2 * MESSAGE_LEN, bed->mem.addr, MESSAGE_LEN,
		   "what was received");
}

unsigned long rnr_naks(void)
{
	char path[PATH_MAX];
	unsigned long n;
	FILE *file;

	snprintf(path, sizeof(path),
		 "/sys/class/infiniband/%s/ports/1/hw_counters/rnr_naks", dev_name());
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lu", &n) != 1)
		fail("cannot read %s", path);
	fclose(file);
	return n;
}

void wait_naks(unsigned long n)
{
	double end = now() + patience(0);

	while (rnr_naks() < n) {
		if (now() > end)
			fail("%lu RNR NAKs, expected %lu", rnr_naks(), n);
		usleep(2000);
	}
}

void rnr_open(struct bed *bed, uint8_t retries)
{
	const struct ibv_qp_attr attr = {
		.rnr_retry = retries, .min_rnr_timer = RNR_TIMER,
	};

	bed_open(bed, IBV_QPT_RC, 0);
	set_attr(bed->pair.qp[REQUESTER], attr, IBV_QP_RNR_RETRY);
	set_attr(bed->pair.qp[RESPONDER], attr, IBV_QP_MIN_RNR_TIMER);
}
