// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Peers that do not answer or have nothing to receive into, and the states of a
 * QP: what is posted waits, is executed, or is flushed, and nothing is lost.
 */
#include "work.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LEN = 512 };

static struct ibv_send_wr message(const struct bed *bed, uint64_t id,
				  struct ibv_sge *from)
{
	struct ibv_send_wr wr = request(bed, id, IBV_WR_SEND, from);

	wr.send_flags = IBV_SEND_SIGNALED;
	return wr;
}

static void send_one(const struct bed *bed, uint64_t id)
{
	struct ibv_sge from = sge(&bed->mem, 0, LEN);
	struct ibv_send_wr wr = message(bed, id, &from);

	post_one(bed->pair.qp[REQUESTER], &wr);
}

static void write_one(const struct bed *bed, uint64_t id)
{
	struct ibv_sge from = sge(&bed->mem, 0, LEN);
	struct ibv_send_wr wr = request(bed, id, IBV_WR_RDMA_WRITE, &from);

	wr.send_flags = IBV_SEND_SIGNALED;
	post_one(bed->pair.qp[REQUESTER], &wr);
}

static void receive_one(struct bed *bed, uint64_t id)
{
	receive(bed, RESPONDER, id, sge(&bed->mem, ZEROES_AT + 2 * LEN, LEN));
}

static void want_message(struct bed *bed, uint64_t send, uint64_t recv)
{
	want_one(bed->pair.cq[REQUESTER], send, IBV_WC_SUCCESS);
	want_one(bed->pair.cq[RESPONDER], recv, IBV_WC_SUCCESS);
	same_check(bed->mem.addr + ZEROES_AT + 2 * LEN, bed->mem.addr, LEN,
		   "what was received");
}

static void want_failed(struct bed *bed, uint64_t id, enum ibv_wc_status status)
{
	const struct want wants[] = {
		{ id, status }, { id + 1, IBV_WC_WR_FLUSH_ERR },
	};

	want_all(bed->pair.cq[REQUESTER], wants, ARRAY_SIZE(wants), NULL, 0);
	want_state(bed->pair.qp[REQUESTER], IBV_QPS_ERR, "requester");
}

/* ---- nothing to receive into ---- */

enum { RNR_TIMER = 24, RNR_MS = 41 };	/* 40.96 ms */

static unsigned long rnr_naks(void)
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

static void wait_naks(unsigned long n)
{
	double end = now() + patience(0);

	while (rnr_naks() < n) {
		if (now() > end)
			fail("%lu RNR NAKs, expected %lu", rnr_naks(), n);
		usleep(2000);
	}
}

static void rnr_open(struct bed *bed, uint8_t retries)
{
	const struct ibv_qp_attr attr = {
		.rnr_retry = retries, .min_rnr_timer = RNR_TIMER,
	};

	bed_open(bed, IBV_QPT_RC, 0);
	set_attr(bed->pair.qp[REQUESTER], attr, IBV_QP_RNR_RETRY);
	set_attr(bed->pair.qp[RESPONDER], attr, IBV_QP_MIN_RNR_TIMER);
}

static void run_rnr(const void *arg)
{
	const unsigned int retries = *(const int *)arg;
	unsigned long before = rnr_naks();
	struct bed bed;
	double start;

	rnr_open(&bed, retries);
	start = now();
	send_one(&bed, 1);
	write_one(&bed, 2);
	want_failed(&bed, 1, IBV_WC_RNR_RETRY_EXC_ERR);
	if (rnr_naks() - before != retries + 1)
		fail("%lu RNR NAKs, expected %u", rnr_naks() - before,
		     retries + 1);
	if (now() - start < retries * RNR_MS * 0.9e-3)
		fail("%u retries within %.0f ms", retries,
		     (now() - start) * 1e3);
	want_state(bed.pair.qp[RESPONDER], IBV_QPS_RTS, "responder");
	bed_untouched(&bed, "after RNR");
	want_no_event();
}

/* In time, twice: each message has all the retries. */
static void run_rnr_in_time(const void *arg)
{
	struct bed bed;
	int i;

	(void)arg;
	rnr_open(&bed, 6);
	for (i = 0; i < 2; i++) {
		unsigned long before = rnr_naks();

		send_one(&bed, i);
		wait_naks(before + 4);
		receive_one(&bed, RECV_ID + i);
		want_message(&bed, i, RECV_ID + i);
	}
	want_no_event();
}

/* 7 is no number of retries. What follows waits, in order. */
static void run_rnr_for_ever(const void *arg)
{
	unsigned long before = rnr_naks();
	struct bed bed;

	(void)arg;
	rnr_open(&bed, 7);
	send_one(&bed, 1);
	write_one(&bed, 2);
	wait_naks(before + 10);
	want_none(bed.pair.cq[REQUESTER], "while nothing is there to receive");
	bed_untouched(&bed, "behind a message that waits");
	receive_one(&bed, RECV_ID);
	want_message(&bed, 1, RECV_ID);
	want_one(bed.pair.cq[REQUESTER], 2, IBV_WC_SUCCESS);
	same_check(bed.mem.addr + ZEROES_AT, bed.mem.addr, LEN, "the write");
}

static void run_rnr_error(const void *arg)
{
	unsigned long before = rnr_naks();
	struct bed bed;

	(void)arg;
	rnr_open(&bed, 7);
	send_one(&bed, 1);
	write_one(&bed, 2);
	wait_naks(before + 1);
	to_state(bed.pair.qp[REQUESTER], IBV_QPS_ERR);
	want_failed(&bed, 1, IBV_WC_WR_FLUSH_ERR);
	receive_one(&bed, RECV_ID);
	want_none(bed.pair.cq[RESPONDER], "from a QP in error");
	want_no_event();
}

static void run_rnr_destroy(const void *arg)
{
	unsigned long before = rnr_naks();
	struct bed bed;

	(void)arg;
	rnr_open(&bed, 7);
	send_one(&bed, 1);
	wait_naks(before + 1);
	pair_close(&bed.pair);
}

/* ---- nobody answers ---- */

enum { TIMEOUT = 14, TIMEOUT_MS = 67, RETRIES = 2 };	/* 67.1 ms */

static void timeout_open(struct bed *bed)
{
	const struct ibv_qp_attr attr = {
		.timeout = TIMEOUT, .retry_cnt = RETRIES,
	};

	bed_open(bed, IBV_QPT_RC, 0);
	set_attr(bed->pair.qp[REQUESTER], attr, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT);
}

static void want_timeout(struct bed *bed)
{
	double start = now();

	write_one(bed, 1);
	send_one(bed, 2);
	want_failed(bed, 1, IBV_WC_RETRY_EXC_ERR);
	if (now() - start < (RETRIES + 1) * TIMEOUT_MS * 0.9e-3)
		fail("after %.0f ms", (now() - start) * 1e3);
	bed_untouched(bed, "after a timeout");
	want_no_event();
}

static void run_peer_reset(const void *arg)
{
	struct bed bed;

	(void)arg;
	timeout_open(&bed);
	to_state(bed.pair.qp[RESPONDER], IBV_QPS_RESET);
	want_timeout(&bed);
}

static void run_peer_error(const void *arg)
{
	struct bed bed;

	(void)arg;
	timeout_open(&bed);
	to_state(bed.pair.qp[RESPONDER], IBV_QPS_ERR);
	want_timeout(&bed);
}

static void run_peer_gone(const void *arg)
{
	struct bed bed;

	(void)arg;
	timeout_open(&bed);
	if (ibv_destroy_qp(bed.pair.qp[RESPONDER]))
		fail("ibv_destroy_qp failed");
	want_timeout(&bed);
}

/* The peer is there, and is connected to another QP. */
static void run_peer_elsewhere(const void *arg)
{
	struct bed bed, other;
	struct peer peer = { .gid = dev.gid };

	(void)arg;
	timeout_open(&bed);
	timeout_open(&other);
	peer.qpn = other.pair.qp[REQUESTER]->qp_num;
	to_state(bed.pair.qp[RESPONDER], IBV_QPS_RESET);
	qp_connect(bed.pair.qp[RESPONDER], &peer);
	want_timeout(&bed);
}

/* ---- without reliability ---- */

static void run_uc(const void *arg)
{
	struct ibv_sge from;
	struct ibv_send_wr wr;
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_UC, 0);
	from = sge(&bed.mem, 0, LEN);
	wr = request(&bed, 1, IBV_WR_RDMA_WRITE, &from);
	wr.wr.rdma.rkey += 1;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 1, IBV_WC_SUCCESS);
	send_one(&bed, 2);
	want_one(bed.pair.cq[REQUESTER], 2, IBV_WC_SUCCESS);
	want_state(bed.pair.qp[RESPONDER], IBV_QPS_RTS, "responder");
	bed_untouched(&bed, "what was refused, and what nobody received");

	wr = request(&bed, 3, IBV_WR_RDMA_READ, &from);
	post(bed.pair.qp[REQUESTER], &wr);
	write_one(&bed, 4);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_LOC_QP_OP_ERR);
	want_one(bed.pair.cq[REQUESTER], 4, IBV_WC_WR_FLUSH_ERR);
	want_state(bed.pair.qp[REQUESTER], IBV_QPS_SQE, "requester");
	bed_untouched(&bed, "behind an error");
	want_no_event();
}

static struct ibv_send_wr datagram(const struct bed *bed, uint64_t id,
				   struct ibv_sge *from)
{
	struct ibv_send_wr wr = message(bed, id, from);

	wr.wr.ud.ah = bed->pair.ah;
	wr.wr.ud.remote_qpn = bed->pair.qp[RESPONDER]->qp_num;
	wr.wr.ud.remote_qkey = UD_QKEY;
	return wr;
}

static void run_ud(const void *arg)
{
	struct ibv_qp_attr rts = {
		.qp_state = IBV_QPS_RTS, .cur_qp_state = IBV_QPS_SQE,
	};
	struct ibv_sge from;
	struct ibv_send_wr wr;
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_UD, 0);
	from = sge(&bed.mem, 0, KIB(64));
	wr = datagram(&bed, 1, &from);
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 1, IBV_WC_LOC_LEN_ERR);
	want_state(bed.pair.qp[REQUESTER], IBV_QPS_SQE, "requester");
	from.length = LEN;
	wr.wr_id = 2;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 2, IBV_WC_WR_FLUSH_ERR);
	if (ibv_modify_qp(bed.pair.qp[REQUESTER], &rts,
			  IBV_QP_STATE | IBV_QP_CUR_STATE))
		fail("from SQE to RTS: %s", strerror(errno));

	/* Dropped: nothing to receive into; another Q_Key. */
	wr.wr_id = 3;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_SUCCESS);
	receive(&bed, RESPONDER, RECV_ID, sge(&bed.mem, ZEROES_AT, LEN + GRH_LEN));
	wr.wr.ud.remote_qkey++;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_SUCCESS);
	want_none(bed.pair.cq[RESPONDER], "a dropped datagram");
	bed_untouched(&bed, "a dropped datagram");

	wr.wr.ud.remote_qkey--;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_SUCCESS);
	want_one(bed.pair.cq[RESPONDER], RECV_ID, IBV_WC_SUCCESS);
	same_check(bed.mem.addr + ZEROES_AT + GRH_LEN, bed.mem.addr, LEN, "datagram");

	/* One byte too short is the receiver's error, not the sender's. */
	receive(&bed, RESPONDER, RECV_ID + 1, sge(&bed.mem, ZEROES_AT, LEN + GRH_LEN - 1));
	receive(&bed, RESPONDER, RECV_ID + 2, sge(&bed.mem, ZEROES_AT, LEN));
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_SUCCESS);
	want_one(bed.pair.cq[RESPONDER], RECV_ID + 1, IBV_WC_LOC_LEN_ERR);
	want_one(bed.pair.cq[RESPONDER], RECV_ID + 2, IBV_WC_WR_FLUSH_ERR);
	want_state(bed.pair.qp[REQUESTER], IBV_QPS_RTS, "requester");
	want_state(bed.pair.qp[RESPONDER], IBV_QPS_ERR, "responder");
	want_no_event();
}

/* ---- states ---- */

static void drain(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_SQD, .en_sqd_async_notify = 1,
	};
	int err = ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY);

	if (err)
		fail("ibv_modify_qp to SQD: %s", strerror(err));
}

static bool is_draining(struct ibv_qp *qp)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	if (ibv_query_qp(qp, &attr, IBV_QP_STATE, &init))
		fail("ibv_query_qp: %s", strerror(errno));
	if (attr.qp_state != IBV_QPS_SQD)
		fail("state %d, expected SQD", attr.qp_state);
	return attr.sq_draining;
}

static void run_sqd(const void *arg)
{
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_RC, 0);
	drain(bed.pair.qp[REQUESTER]);
	want_event(IBV_EVENT_SQ_DRAINED, bed.pair.qp[REQUESTER]);
	write_one(&bed, 1);
	want_none(bed.pair.cq[REQUESTER], "in SQD");
	bed_untouched(&bed, "in SQD");
	to_state(bed.pair.qp[REQUESTER], IBV_QPS_RTS);
	want_one(bed.pair.cq[REQUESTER], 1, IBV_WC_SUCCESS);
	want_no_event();
}

/* A message that has begun is finished first. */
static void run_sqd_draining(const void *arg)
{
	unsigned long before = rnr_naks();
	struct bed bed;

	(void)arg;
	rnr_open(&bed, 7);
	send_one(&bed, 1);
	wait_naks(before + 1);
	drain(bed.pair.qp[REQUESTER]);
	want_no_event();
	if (!is_draining(bed.pair.qp[REQUESTER]))
		fail("drained, with a message that waits");
	receive_one(&bed, RECV_ID);
	want_message(&bed, 1, RECV_ID);
	want_event(IBV_EVENT_SQ_DRAINED, bed.pair.qp[REQUESTER]);
	if (is_draining(bed.pair.qp[REQUESTER]))
		fail("still draining after the event");
	want_no_event();
}

/* It is as new, forgets what was posted, and talks to the same peer again. */
static void run_reset(const void *arg)
{
	struct peer peer = { .gid = dev.gid };
	unsigned long before = rnr_naks();
	struct bed bed;

	(void)arg;
	rnr_open(&bed, 7);
	peer.qpn = bed.pair.qp[RESPONDER]->qp_num;
	receive(&bed, REQUESTER, RECV_ID, sge(&bed.mem, ZEROES_AT, LEN));
	send_one(&bed, 1);
	write_one(&bed, 2);
	wait_naks(before + 1);
	to_state(bed.pair.qp[REQUESTER], IBV_QPS_RESET);
	want_state(bed.pair.qp[REQUESTER], IBV_QPS_RESET, "requester");
	qp_connect(bed.pair.qp[REQUESTER], &peer);
	receive_one(&bed, RECV_ID);
	want_none(bed.pair.cq[REQUESTER], "of before the reset");
	want_none(bed.pair.cq[RESPONDER], "of before the reset");
	bed_untouched(&bed, "what was posted before the reset");
	send_one(&bed, 3);
	want_message(&bed, 3, RECV_ID);
	want_no_event();
}

static void run_error(const void *arg)
{
	const struct want wants[] = {
		{ RECV_ID, IBV_WC_WR_FLUSH_ERR },
		{ RECV_ID + 1, IBV_WC_WR_FLUSH_ERR },
	};
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_RC, 0);
	receive_one(&bed, RECV_ID);
	receive_one(&bed, RECV_ID + 1);
	to_state(bed.pair.qp[RESPONDER], IBV_QPS_ERR);
	want_all(bed.pair.cq[RESPONDER], NULL, 0, wants, ARRAY_SIZE(wants));
	want_state(bed.pair.qp[REQUESTER], IBV_QPS_RTS, "requester");
	want_no_event();
}

/* A QP that is its own peer. */
static void run_self(const void *arg)
{
	struct peer peer = { .gid = dev.gid };
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_RC, 0);
	peer.qpn = bed.pair.qp[REQUESTER]->qp_num;
	to_state(bed.pair.qp[REQUESTER], IBV_QPS_RESET);
	qp_connect(bed.pair.qp[REQUESTER], &peer);
	write_one(&bed, 1);
	want_one(bed.pair.cq[REQUESTER], 1, IBV_WC_SUCCESS);
	same_check(bed.mem.addr + ZEROES_AT, bed.mem.addr, LEN, "write to itself");
	/* It waits for a receive of its own, and is destroyed. */
	send_one(&bed, 2);
	want_none(bed.pair.cq[REQUESTER], "to itself");
	pair_close(&bed.pair);
}

int main(int argc, char **argv)
{
	static const int retries[] = { 0, 1, 3 };
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "rnr/in-time", run_rnr_in_time },
		{ "rnr/for-ever", run_rnr_for_ever },
		{ "rnr/error", run_rnr_error },
		{ "rnr/destroy", run_rnr_destroy },
		{ "timeout/reset", run_peer_reset },
		{ "timeout/error", run_peer_error },
		{ "timeout/gone", run_peer_gone },
		{ "timeout/elsewhere", run_peer_elsewhere },
		{ "uc", run_uc },
		{ "ud", run_ud },
		{ "sqd", run_sqd },
		{ "sqd/draining", run_sqd_draining },
		{ "reset", run_reset },
		{ "error", run_error },
		{ "self", run_self },
	};
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(retries); i++)
		run_case(run_rnr, &retries[i], "rnr/%d", retries[i]);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	return test_done();
}
