// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The states of a QP: what is posted waits, is executed, or is flushed, and
 * nothing is lost. First those types that have a state for errors of their own.
 */
#include "work.h"

/* ---- without reliability ---- */

static void run_uc(const void *arg)
{
	struct ibv_sge from;
	struct ibv_send_wr wr;
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_UC, 0);
	from = sge(&bed.mem, 0, MESSAGE_LEN);
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
	from.length = MESSAGE_LEN;
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
	receive(&bed, RESPONDER, RECV_ID, sge(&bed.mem, ZEROES_AT, MESSAGE_LEN + GRH_LEN));
	wr.wr.ud.remote_qkey++;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_SUCCESS);
	want_none(bed.pair.cq[RESPONDER], "a dropped datagram");
	bed_untouched(&bed, "a dropped datagram");

	wr.wr.ud.remote_qkey--;
	post(bed.pair.qp[REQUESTER], &wr);
	want_one(bed.pair.cq[REQUESTER], 3, IBV_WC_SUCCESS);
	want_one(bed.pair.cq[RESPONDER], RECV_ID, IBV_WC_SUCCESS);
	same_check(bed.mem.addr + ZEROES_AT + GRH_LEN, bed.mem.addr, MESSAGE_LEN, "datagram");

	/* One byte too short is the receiver's error, not the sender's. */
	receive(&bed, RESPONDER, RECV_ID + 1, sge(&bed.mem, ZEROES_AT, MESSAGE_LEN + GRH_LEN - 1));
	receive(&bed, RESPONDER, RECV_ID + 2, sge(&bed.mem, ZEROES_AT, MESSAGE_LEN));
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
	receive(&bed, REQUESTER, RECV_ID, sge(&bed.mem, ZEROES_AT, MESSAGE_LEN));
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
	same_check(bed.mem.addr + ZEROES_AT, bed.mem.addr, MESSAGE_LEN, "write to itself");
	/* It waits for a receive of its own, and is destroyed. */
	send_one(&bed, 2);
	want_none(bed.pair.cq[REQUESTER], "to itself");
	pair_close(&bed.pair);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
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
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	return test_done();
}
