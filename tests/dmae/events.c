// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Completion queues and shared receive queues, and the events that they raise. */
#include "work.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECVS = 10 };

static void send_flags(const struct bed *bed, uint64_t id, unsigned int flags)
{
	struct ibv_sge from = sge(&bed->mem, 0, MESSAGE_LEN);
	struct ibv_send_wr wr = request(bed, id, IBV_WR_SEND, &from);

	wr.send_flags = flags;
	post_one(bed->pair.qp[REQUESTER], &wr);
}

/* ---- shared receive queues ---- */

static void srq_limit(struct ibv_srq *srq, uint32_t limit)
{
	struct ibv_srq_attr attr = { .srq_limit = limit };
	int err = ibv_modify_srq(srq, &attr, IBV_SRQ_LIMIT);

	if (err)
		fail("ibv_modify_srq to limit %u: %s", limit, strerror(err));
}

static void want_limit(struct ibv_srq *srq, uint32_t want)
{
	struct ibv_srq_attr attr;

	if (ibv_query_srq(srq, &attr))
		fail("ibv_query_srq: %s", strerror(errno));
	if (attr.srq_limit != want)
		fail("limit %u, expected %u", attr.srq_limit, want);
}

static void srq_message(struct bed *bed, int n)
{
	send_flags(bed, n, IBV_SEND_SIGNALED);
	want_one(bed->pair.cq[REQUESTER], n, IBV_WC_SUCCESS);
	want_one(bed->pair.cq[RESPONDER], RECV_ID + n, IBV_WC_SUCCESS);
}

static void srq_open(struct bed *bed)
{
	int i;

	bed_open(bed, IBV_QPT_RC, PAIR_SRQ);
	for (i = 0; i < RECVS; i++)
		receive_one(bed, RECV_ID + i);
}

/* When less than the limit are left, once each time that it is armed. */
static void run_srq_limit(const void *arg)
{
	struct bed bed;
	int n = 0;

	(void)arg;
	srq_open(&bed);
	srq_limit(bed.pair.srq, RECVS - 2);
	want_limit(bed.pair.srq, RECVS - 2);
	srq_message(&bed, n++);
	srq_message(&bed, n++);
	want_no_event();
	srq_message(&bed, n++);
	want_event(IBV_EVENT_SRQ_LIMIT_REACHED, bed.pair.srq);
	want_limit(bed.pair.srq, 0);
	srq_message(&bed, n++);
	want_no_event();
	srq_limit(bed.pair.srq, RECVS - n);
	srq_message(&bed, n++);
	want_event(IBV_EVENT_SRQ_LIMIT_REACHED, bed.pair.srq);
	want_no_event();
}

/* What is in an SRQ is not flushed: other QPs take it. */
static void run_srq_last_wqe(const void *arg)
{
	struct bed bed;
	struct ibv_qp *other;
	struct peer peer = { .gid = dev.gid };

	(void)arg;
	srq_open(&bed);
	srq_message(&bed, 0);
	to_state(bed.pair.qp[RESPONDER], IBV_QPS_ERR);
	want_event(IBV_EVENT_QP_LAST_WQE_REACHED, bed.pair.qp[RESPONDER]);
	want_none(bed.pair.cq[RESPONDER], "of an SRQ");
	want_no_event();

	other = qp_create(bed.pair.cq[RESPONDER], IBV_QPT_RC, bed.pair.srq, 0);
	peer.qpn = bed.pair.qp[REQUESTER]->qp_num;
	qp_connect(other, &peer);
	peer.qpn = other->qp_num;
	to_state(bed.pair.qp[REQUESTER], IBV_QPS_RESET);
	qp_connect(bed.pair.qp[REQUESTER], &peer);
	srq_message(&bed, 1);
}

/* The receive that fails is one of the SRQ's, and the last of this QP. */
static void run_srq_error(const void *arg)
{
	struct bed bed;

	(void)arg;
	bed_open(&bed, IBV_QPT_RC, PAIR_SRQ);
	receive(&bed, RESPONDER, RECV_ID, sge(&bed.mem, ZEROES_AT, MESSAGE_LEN - 1));
	receive_one(&bed, RECV_ID + 1);
	send_flags(&bed, 1, 0);
	want_one(bed.pair.cq[REQUESTER], 1, IBV_WC_REM_INV_REQ_ERR);
	want_one(bed.pair.cq[RESPONDER], RECV_ID, IBV_WC_LOC_LEN_ERR);
	want_event(IBV_EVENT_QP_LAST_WQE_REACHED, bed.pair.qp[RESPONDER]);
	want_state(bed.pair.qp[RESPONDER], IBV_QPS_ERR, "responder");
	want_none(bed.pair.cq[RESPONDER], "of an SRQ");
	bed_untouched(&bed, "a receive that is too short");
	want_no_event();
}

/* ---- completion queues ---- */

/* More completions than it holds: what fits stays, and the user is told. */
static void run_cq_overflow(const void *arg)
{
	struct ibv_cq *cq = ibv_create_cq(dev.ctx, 4, NULL, NULL, 0);
	struct bed bed;
	struct ibv_qp *qp;
	struct peer peer = { .gid = dev.gid };
	struct ibv_wc wc;
	int i, n;

	(void)arg;
	if (!cq)
		fail("ibv_create_cq: %s", strerror(errno));
	if (cq->cqe >= PAIR_DEPTH)
		fail("a CQ for 4 has room for %d", cq->cqe);
	bed_open(&bed, IBV_QPT_RC, 0);
	qp = qp_create(cq, IBV_QPT_RC, NULL, 0);
	peer.qpn = qp->qp_num;
	qp_connect(qp, &peer);
	for (i = 0; i <= cq->cqe; i++) {
		struct ibv_sge from = sge(&bed.mem, 0, MESSAGE_LEN);
		struct ibv_send_wr wr = request(&bed, i, IBV_WR_RDMA_WRITE, &from);

		if (i == cq->cqe)
			want_no_event();
		post(qp, &wr);
	}
	want_event(IBV_EVENT_CQ_ERR, cq);
	for (i = 0; (n = ibv_poll_cq(cq, 1, &wc)) > 0; i++)
		if (wc.wr_id != (uint64_t)i || wc.status != IBV_WC_SUCCESS)
			fail("completion of request %lu with \"%s\", expected %d",
			     wc.wr_id, ibv_wc_status_str(wc.status), i);
	if (i != cq->cqe)
		fail("%d completions, the CQ has room for %d", i, cq->cqe);
	want_no_event();

	/* Other CQs do not care, and all of it can be destroyed. */
	receive_one(&bed, RECV_ID);
	send_flags(&bed, 1, IBV_SEND_SIGNALED);
	want_one(bed.pair.cq[REQUESTER], 1, IBV_WC_SUCCESS);
	want_one(bed.pair.cq[RESPONDER], RECV_ID, IBV_WC_SUCCESS);
	if (ibv_destroy_qp(qp) || ibv_destroy_cq(cq))
		fail("cannot destroy a QP or its CQ: %s", strerror(errno));
}

/* A pair whose responder's CQ has a channel. */
struct notified {
	struct bed bed;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
};

static void notified_open(struct notified *n)
{
	struct peer peer = { .gid = dev.gid };

	n->channel = ibv_create_comp_channel(dev.ctx);
	if (!n->channel)
		fail("ibv_create_comp_channel: %s", strerror(errno));
	n->cq = ibv_create_cq(dev.ctx, PAIR_DEPTH, n, n->channel, 0);
	if (!n->cq)
		fail("ibv_create_cq: %s", strerror(errno));
	bed_open(&n->bed, IBV_QPT_RC, 0);
	/* In the place of the responder that was there. */
	if (ibv_destroy_qp(n->bed.pair.qp[RESPONDER]))
		fail("ibv_destroy_qp failed");
	n->qp = qp_create(n->cq, IBV_QPT_RC, NULL, 0);
	n->bed.pair.qp[RESPONDER] = n->qp;
	peer.qpn = n->bed.pair.qp[REQUESTER]->qp_num;
	qp_connect(n->qp, &peer);
	peer.qpn = n->qp->qp_num;
	to_state(n->bed.pair.qp[REQUESTER], IBV_QPS_RESET);
	qp_connect(n->bed.pair.qp[REQUESTER], &peer);
}

static void arm(struct notified *n, int solicited_only)
{
	int err = ibv_req_notify_cq(n->cq, solicited_only);

	if (err)
		fail("ibv_req_notify_cq: %s", strerror(err));
}

static void notified_message(struct notified *n, unsigned int flags)
{
	receive_one(&n->bed, RECV_ID);
	send_flags(&n->bed, 1, flags | IBV_SEND_SIGNALED);
	want_one(n->bed.pair.cq[REQUESTER], 1, IBV_WC_SUCCESS);
	want_one(n->cq, RECV_ID, IBV_WC_SUCCESS);
}

static void want_notified(struct notified *n, bool want, const char *what)
{
	struct pollfd fd = { .fd = n->channel->fd, .events = POLLIN };
	bool got = poll(&fd, 1, want ? patience(0) * 1000 : 50) == 1;
	struct ibv_cq *cq;
	void *context;

	if (got != want)
		fail("%s: %s", what, got ? "notified" : "not notified");
	if (!got)
		return;
	if (ibv_get_cq_event(n->channel, &cq, &context))
		fail("ibv_get_cq_event: %s", strerror(errno));
	if (cq != n->cq || context != n)
		fail("%s: notified of another CQ", what);
	ibv_ack_cq_events(cq, 1);
}

static void run_notify(const void *arg)
{
	struct notified n;

	(void)arg;
	notified_open(&n);
	notified_message(&n, IBV_SEND_SOLICITED);
	want_notified(&n, false, "not armed");
	arm(&n, 0);
	notified_message(&n, 0);
	want_notified(&n, true, "any completion");
	notified_message(&n, IBV_SEND_SOLICITED);
	want_notified(&n, false, "the second one");
	/* Armed for all, what asks for less changes nothing. */
	arm(&n, 0);
	arm(&n, 1);
	notified_message(&n, 0);
	want_notified(&n, true, "armed for all, then for solicited");
}

static void run_notify_solicited(const void *arg)
{
	struct notified n;

	(void)arg;
	notified_open(&n);
	arm(&n, 1);
	notified_message(&n, 0);
	want_notified(&n, false, "not solicited");
	notified_message(&n, IBV_SEND_SOLICITED);
	want_notified(&n, true, "solicited");
	notified_message(&n, IBV_SEND_SOLICITED);
	want_notified(&n, false, "the second one");
	arm(&n, 1);
	arm(&n, 0);
	notified_message(&n, 0);
	want_notified(&n, true, "armed for solicited, then for all");
}

/* An error is as good as solicited. */
static void run_notify_error(const void *arg)
{
	struct notified n;

	(void)arg;
	notified_open(&n);
	arm(&n, 1);
	receive_one(&n.bed, RECV_ID);
	to_state(n.qp, IBV_QPS_ERR);
	want_notified(&n, true, "flushed");
	want_one(n.cq, RECV_ID, IBV_WC_WR_FLUSH_ERR);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "srq/limit", run_srq_limit },
		{ "srq/last-wqe", run_srq_last_wqe },
		{ "srq/error", run_srq_error },
		{ "cq/overflow", run_cq_overflow },
		{ "notify/any", run_notify },
		{ "notify/solicited", run_notify_solicited },
		{ "notify/error", run_notify_error },
	};
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	return test_done();
}
