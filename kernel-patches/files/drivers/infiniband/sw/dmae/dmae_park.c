// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Operations that wait for a page
 *
 * The QP has started a fault, which a thread of the owner of the memory takes,
 * and nothing of it is held or runs meanwhile: whoever ends the fault kicks the
 * QP, which then tries the operation again.
 *
 * The memory may be the peer's, who owes us nothing. So it is waited for as a
 * transport would wait for an answer, and no longer; and the peer has a list of
 * those who wait, to kick them when its QP ends: it has to wait until they have
 * let go of it, and they do at once. That is all under peer->lock: who joins the
 * list looks at the state, who changes the state looks at the list.
 */
#include "dmae.h"

/* Any context; see struct ib_umem_fault. */
static void dmae_park_done(struct ib_umem_fault *fault)
{
	dmae_qp_kick(container_of(fault, struct dmae_qp, park.fault));
}

void dmae_park_init(struct dmae_qp *qp)
{
	qp->park.fault.done = dmae_park_done;
	INIT_LIST_HEAD(&qp->waiters);
}

/* A QP in one of these states takes no message, nor ends one that was begun. */
static bool dmae_qp_is_dead(const struct dmae_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	return state == IB_QPS_ERR || state == IB_QPS_RESET;
}

void dmae_park_kick_waiters(struct dmae_qp *peer)
{
	struct dmae_qp *qp;

	lockdep_assert_held(&peer->lock);
	list_for_each_entry(qp, &peer->waiters, park.node)
		dmae_qp_kick(qp);
}

/* 0: for ever. What a requester calls a timeout may be four times as long. */
static unsigned long dmae_park_jiffies(const struct dmae_op *op)
{
	const struct ib_qp_attr *attr = &op->qp->attr;
	u64 ns = 4096ULL << DMAE_TIMEOUT_DEFAULT;

	if (op->qp->ibqp.qp_type == IB_QPT_RC) {
		if (!attr->timeout)
			return 0;
		ns = 4 * (4096ULL << attr->timeout) * (attr->retry_cnt + 1);
	}
	return nsecs_to_jiffies(ns) + 1;
}

/* Join who waits for the peer. false: it is dead. */
static bool dmae_park_at_peer(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp, *peer = op->peer;
	unsigned long flags;
	bool dead;

	spin_lock_irqsave(&peer->lock, flags);
	dead = dmae_qp_is_dead(peer);
	if (!dead)
		list_add(&qp->park.node, &peer->waiters);
	spin_unlock_irqrestore(&peer->lock, flags);
	qp->park.at_peer = !dead;
	return !dead;
}

static void dmae_unpark(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	unsigned long flags;

	ib_umem_fault_cancel(&qp->park.fault);
	if (qp->park.at_peer) {
		spin_lock_irqsave(&op->peer->lock, flags);
		list_del(&qp->park.node);
		spin_unlock_irqrestore(&op->peer->lock, flags);
		qp->park.at_peer = false;
	}
	qp->park.op = NULL;
}

/* The peer's page did not come, or its QP went first. */
static void dmae_park_fail_remote(struct dmae_op *op)
{
	if (op->qp->ibqp.qp_type == IB_QPT_RC)
		dmae_op_fail(op, IB_WC_RETRY_EXC_ERR);
	else
		dmae_op_fail_remote(op, IB_WC_SUCCESS, IB_WC_WR_FLUSH_ERR, 0);
}

static bool dmae_park_timed_out(const struct dmae_qp *qp)
{
	return qp->park.give_up_at &&
	       time_after_eq(jiffies, qp->park.give_up_at);
}

bool dmae_park_is_over(const struct dmae_qp *qp)
{
	const struct dmae_op *op = qp->park.op;

	return !ib_umem_fault_pending(&qp->park.fault) ||
	       dmae_qp_is_flushed(qp) || dmae_park_timed_out(qp) ||
	       (qp->park.at_peer && dmae_qp_is_dead(op->peer));
}

/* Until somebody kicks, or it takes too long. */
static int dmae_park_wait(struct dmae_qp *qp)
{
	if (!qp->park.give_up_at)
		return -EINPROGRESS;
	return dmae_qp_wait(qp, max((long)(qp->park.give_up_at - jiffies), 1));
}

int dmae_op_park(struct dmae_op *op, const struct dmae_miss *miss)
{
	struct dmae_qp *qp = op->qp;
	struct dmae_span *span = miss->span;
	unsigned long delay = 0;
	int err;

	/* The last one was for the same place, and has said that it is no use. */
	err = qp->park.fault.err;
	if (err && (span != qp->park.miss.span ||
		    miss->offset != qp->park.miss.offset))
		err = 0;
	qp->park.fault.err = 0;
	if (err == -EAGAIN)
		err = dmae_table_reserve(span->mr);
	if (!err)
		err = dmae_span_fault(span, miss->offset,
				      min(span->len - miss->offset,
					  DMAE_FAULT_BYTES), &qp->park.fault);
	if (!err)
		return 0;
	if (err != -EINPROGRESS) {
		dmae_op_fail_span(op, span);
		return 1;
	}

	qp->park.op = op;
	qp->park.miss = *miss;
	if (span->remote) {
		delay = dmae_park_jiffies(op);
		if (!dmae_park_at_peer(op)) {
			dmae_unpark(op);
			dmae_park_fail_remote(op);
			return 1;
		}
	}
	qp->park.give_up_at = delay ? jiffies + delay : 0;
	return dmae_park_wait(qp);
}

int dmae_op_resume(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	bool came, peer_dead;
	int err;

	if (!dmae_park_is_over(qp))
		return dmae_park_wait(qp);

	/* In this order: it may come, or fail, just now. */
	came = !ib_umem_fault_pending(&qp->park.fault);
	err = qp->park.fault.err;
	peer_dead = qp->park.at_peer && dmae_qp_is_dead(op->peer);
	dmae_unpark(op);

	if (dmae_qp_is_flushed(qp)) {
		/* A message whose receive was taken ends halfway. */
		dmae_op_fail(op, IB_WC_WR_FLUSH_ERR);
		return 1;
	}
	if (!came || peer_dead) {
		dmae_park_fail_remote(op);
		return 1;
	}
	/* For dmae_op_park(), if it is missing again. */
	qp->park.fault.err = err;
	return 0;
}
