// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Peers that have nothing to receive into, and peers that do not answer: how
 * often and how long a requester tries, and what comes of it.
 */
#include "work.h"

#include <unistd.h>

static void want_failed(struct bed *bed, uint64_t id, enum ibv_wc_status status)
{
	const struct want wants[] = {
		{ id, status }, { id + 1, IBV_WC_WR_FLUSH_ERR },
	};

	want_all(bed->pair.cq[REQUESTER], wants, ARRAY_SIZE(wants), NULL, 0);
	want_state(bed->pair.qp[REQUESTER], IBV_QPS_ERR, "requester");
}

/* ---- nothing to receive into ---- */

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
	same_check(bed.mem.addr + ZEROES_AT, bed.mem.addr, MESSAGE_LEN, "the write");
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

static void lose_by_reset(struct ibv_qp *qp) { to_state(qp, IBV_QPS_RESET); }
static void lose_by_error(struct ibv_qp *qp) { to_state(qp, IBV_QPS_ERR); }

static void lose_for_good(struct ibv_qp *qp)
{
	if (ibv_destroy_qp(qp))
		fail("ibv_destroy_qp failed");
}

static const struct loss {
	const char *name;
	void (*lose)(struct ibv_qp *qp);
} losses[] = {
	{ "reset", lose_by_reset },
	{ "error", lose_by_error },
	{ "gone", lose_for_good },
};

static void run_loss(const void *arg)
{
	const struct loss *loss = arg;
	struct bed bed;

	timeout_open(&bed);
	loss->lose(bed.pair.qp[RESPONDER]);
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
		{ "timeout/elsewhere", run_peer_elsewhere },
	};
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(retries); i++)
		run_case(run_rnr, &retries[i], "rnr/%d", retries[i]);
	for (i = 0; i < ARRAY_SIZE(losses); i++)
		run_case(run_loss, &losses[i], "timeout/%s", losses[i].name);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	return test_done();
}
