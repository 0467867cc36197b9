// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Running a send queue: from the ring to operations
 *
 * One at a time runs a QP, with run_lock: its work, or who called to post. A run
 * goes on until it has nothing to do, or can do nothing, and then leaves one of
 * these behind, so that no request waits for ever:
 *
 * - the doorbell. The run stores it, then, after a full barrier, looks at the
 *   producer. Who posts stores the producer, then, after a full barrier, looks
 *   at the doorbell. One of them sees the other's store. Who sees the doorbell
 *   calls, and gets run_lock, or else leaves the work queued behind whoever has
 *   it.
 * - somebody who kicks: the end of a part of an operation (op->in_flight), or of
 *   its page fault (qp->park), or of what others have with the channel
 *   (qp->crowded), or a window that empties (qp->stall). Both sides
 *   are under qp->lock, or the kick comes after what the run looks at; a kick
 *   while the work runs makes it run again.
 * - the work queued with a delay (qp->waiting).
 * - a state in which it takes nothing. dmae_modify_qp() kicks after the change.
 *
 * While it is not the doorbell it is 0, and posting needs no call.
 *
 * IB_SEND_FENCE needs nothing: the channel reads and writes in our order. What
 * the CPU does for an operation, with MRs, waits until it is the oldest.
 */
#include <linux/bitops.h>

#include "dmae.h"

enum {
	DMAE_RUN_BUDGET = 64,		/* operations in one run */
	DMAE_STARVED_JIFFIES = 10 * HZ,	/* without a descriptor, until an error */
};

void dmae_qp_kick(struct dmae_qp *qp)
{
	/* Also when it is queued with a delay. */
	mod_delayed_work(to_ddev(qp->ibqp.device)->wq, &qp->run, 0);
}

/* ---- retries ---- */

int dmae_qp_wait(struct dmae_qp *qp, unsigned long delay)
{
	qp->waiting = true;
	qp->wake_at = jiffies + max(delay, 1);
	return -EAGAIN;
}

static unsigned long dmae_rnr_jiffies(u8 timer)
{
	/* Units of 10 us, as IB encodes them. */
	static const u16 table[32] = {
		[0] = 65535, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128,
		192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144,
		8192, 12288, 16384, 24576, 32768, 49152,
	};

	return usecs_to_jiffies(table[timer & 31] * 10);
}

/* The peer has no receive request. 7 retries are no limit. */
static int dmae_op_rnr(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;

	atomic64_inc(&to_ddev(qp->ibqp.device)->stats.rnr_naks);
	if (qp->attr.rnr_retry != 7 && !qp->rnr_retries--) {
		dmae_op_fail(op, IB_WC_RNR_RETRY_EXC_ERR);
		return 1;
	}
	return dmae_qp_wait(qp, dmae_rnr_jiffies(op->rnr_timer));
}

/* Nobody answers: what a transport timer would find out. 0 is no limit. */
static int dmae_op_no_answer(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	u8 timeout = qp->attr.timeout;

	if (timeout && !qp->retries--) {
		dmae_op_fail(op, IB_WC_RETRY_EXC_ERR);
		return 1;
	}
	/* In units of 4.096 us. */
	return dmae_qp_wait(qp, nsecs_to_jiffies(4096ULL <<
				(timeout ?: DMAE_TIMEOUT_DEFAULT)));
}

static int dmae_op_starved(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;

	if (qp->starved++ == DMAE_STARVED_JIFFIES) {
		dmae_op_fail(op, IB_WC_GENERAL_ERR);
		return 1;
	}
	return dmae_qp_wait(qp, 1);
}

/* ---- one operation ----
 *
 * 0: it is not ours any more. -EBUSY: only the work can go on.
 * -EINPROGRESS: somebody will kick. -EAGAIN: dmae_qp_wait().
 * 1: dmae_op_done() is all that is left to do.
 */

/*
 * A message whose receive request was taken is carried through: nobody else
 * would complete it.
 */
static bool dmae_op_is_flushed(const struct dmae_op *op)
{
	return !op->has_recv && dmae_qp_is_flushed(op->qp);
}

static int dmae_op_flush(struct dmae_op *op)
{
	op->status = IB_WC_WR_FLUSH_ERR;
	return 1;
}

static int dmae_op_move(struct dmae_op *op, bool in_work)
{
	struct dmae_miss miss;
	int err;

	while ((err = dmae_op_issue(op, &miss)) == -EFAULT) {
		if (!in_work)
			return -EBUSY;
		/* It may allocate: nothing of ours may wait to be pushed. */
		dmae_qp_push(op->qp);
		err = dmae_op_park(op, &miss);
		if (err)
			return err;
		if (dmae_op_is_flushed(op))
			return dmae_op_flush(op);
	}

	if (err == -EBUSY)
		return -EINPROGRESS;
	if (err == -EAGAIN)
		return dmae_op_starved(op);
	if (err == -EINVAL) {
		dmae_op_fail_remote(op, IB_WC_REM_INV_REQ_ERR,
				    IB_WC_WR_FLUSH_ERR, IB_EVENT_QP_REQ_ERR);
		return 1;
	}
	return err;
}

/* After the message, and before anybody learns that it is there. */
static int dmae_op_invalidate(struct dmae_op *op, bool in_work)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);

	if (!in_work)
		return -EBUSY;
	dmae_qp_push(op->qp);
	if (dmae_frmr_invalidate(dev, op->peer->ibqp.pd, op->wqe.ex))
		dmae_op_fail_remote(op, IB_WC_REM_OP_ERR,
				    IB_WC_REM_INV_REQ_ERR, 0);
	return 1;
}

static bool dmae_op_is_oldest(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	unsigned long flags;
	bool oldest;

	spin_lock_irqsave(&qp->lock, flags);
	oldest = qp->op_tail - qp->op_head == 1;
	if (!oldest)
		qp->stall = 2;
	spin_unlock_irqrestore(&qp->lock, flags);
	return oldest;
}

static int dmae_op_local(struct dmae_op *op, bool in_work)
{
	struct dmae_qp *qp = op->qp;
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);
	int err;

	if (!dmae_op_is_oldest(op))
		return -EINPROGRESS;
	if (!in_work)
		return -EBUSY;
	if (op->kind->wc == IB_WC_REG_MR)
		err = dmae_frmr_enable(dev, qp->ibqp.pd, op->wqe.reg.key,
				       op->wqe.reg.access);
	else
		err = dmae_frmr_invalidate(dev, qp->ibqp.pd, op->wqe.ex);
	if (err)
		dmae_op_fail(op, IB_WC_LOC_QP_OP_ERR);
	return 1;
}

static int dmae_op_try(struct dmae_op *op, bool in_work)
{
	int err;

	/* Pairs with the store at the end of the part, and the kick is next. */
	if (smp_load_acquire(&op->in_flight))
		return -EINPROGRESS;
	if (op->failed || op->status != IB_WC_SUCCESS)
		return 1;
	if (op->qp->park.op) {
		err = dmae_op_resume(op);
		if (err)
			return err;
	}
	if (dmae_op_is_flushed(op))
		return dmae_op_flush(op);
	if (op->kind->local)
		return dmae_op_local(op, in_work);

	if (!op->built) {
		err = dmae_op_build(op);
		if (err == -ENOTCONN)
			return dmae_op_no_answer(op);
		if (err == -ENOBUFS)
			return dmae_op_rnr(op);
		if (err)
			return err;
	}
	if (op->issued < op->bytes) {
		err = dmae_op_move(op, in_work);
		if (err <= 0 || op->failed || op->status != IB_WC_SUCCESS)
			return err;
	}
	return op->kind->invalidate ? dmae_op_invalidate(op, in_work) : 1;
}

/* ---- the ring ---- */

static u32 dmae_sq_count(const struct dmae_qp *qp)
{
	/* Pairs with the store of who fills the ring. */
	return smp_load_acquire(&qp->sq.ring->producer) - qp->sq_consumer;
}

/* How many requests are there? 0 with the doorbell set: see above. */
static u32 dmae_sq_look(struct dmae_qp *qp)
{
	struct dmae_ring *ring = qp->sq.ring;
	u32 count = dmae_sq_count(qp);

	if (count)
		return count;
	WRITE_ONCE(ring->doorbell, 1);
	/* Against that of who posts, before he looks at the doorbell. */
	smp_mb();
	count = dmae_sq_count(qp);
	if (count)
		WRITE_ONCE(ring->doorbell, 0);
	return count;
}

static void dmae_op_init(struct dmae_op *op, struct dmae_qp *qp)
{
	op->qp = qp;
	op->kind = NULL;
	op->index = qp->sq_consumer;
	op->length = 0;
	op->bytes = 0;
	op->issued = 0;
	op->queued = 0;
	op->final = false;
	op->in_flight = false;
	op->failed = false;
	op->built = false;
	op->is_inbound = false;
	op->has_recv = false;
	op->peer = NULL;
	op->status = IB_WC_SUCCESS;
	op->recv_status = IB_WC_SUCCESS;
	op->src.nr = 0;
	op->dst.nr = 0;
	/* What is known of a place is about one of another operation. */
	qp->park.fault.err = 0;
}

/*
 * A place in the window, if the state wants the next request taken, to be
 * executed or not. From then on the QP is not idle until it is completed.
 */
static int dmae_window_reserve(struct dmae_qp *qp)
{
	struct dmae_op *op = &qp->ops[qp->op_tail & (DMAE_WINDOW - 1)];
	unsigned long flags;
	int err = 0;

	spin_lock_irqsave(&qp->lock, flags);
	if (qp->state != IB_QPS_RTS && qp->state != IB_QPS_SQE &&
	    qp->state != IB_QPS_ERR) {
		err = -ENOENT;
	} else if (qp->op_tail - qp->op_head == DMAE_WINDOW) {
		/* Not before half of it is empty: in batches. */
		qp->stall = DMAE_WINDOW / 2;
		err = -EINPROGRESS;
	} else {
		op->done = false;
		WRITE_ONCE(qp->op_tail, qp->op_tail + 1);
	}
	spin_unlock_irqrestore(&qp->lock, flags);
	if (!err)
		qp->op = op;
	return err;
}

static void dmae_sq_read(struct dmae_qp *qp, struct dmae_op *op)
{
	enum ib_wc_status status;

	dmae_op_init(op, qp);
	status = dmae_op_read(op, dmae_ring_entry(&qp->sq, qp->sq_consumer));
	/* What was copied may be overwritten. */
	smp_store_release(&qp->sq.ring->consumer, ++qp->sq_consumer);

	qp->retries = qp->attr.retry_cnt + 1;
	qp->rnr_retries = qp->attr.rnr_retry;
	qp->starved = 0;
	if (dmae_qp_is_flushed(qp))
		op->status = IB_WC_WR_FLUSH_ERR;
	else if (status != IB_WC_SUCCESS)
		dmae_op_fail(op, status);
}

/* 0: qp->op is the next. -ENOENT: there is none. -EINPROGRESS: no room. */
static int dmae_sq_take(struct dmae_qp *qp)
{
	u32 count = dmae_sq_look(qp);
	int err;

	if (!count)
		return -ENOENT;
	if (count > qp->sq.depth) {
		/* User space broke the ring. Nothing in it can be believed. */
		dmae_qp_fail(qp, IB_EVENT_QP_FATAL);
		qp->sq_consumer += count;
		return -EBUSY;
	}
	err = dmae_window_reserve(qp);
	if (!err)
		dmae_sq_read(qp, qp->op);
	return err;
}

/* ---- runs ---- */

static int dmae_sq_run(struct dmae_qp *qp, bool in_work)
{
	unsigned int i;
	int err;

	for (i = 0; i < DMAE_RUN_BUDGET; i++) {
		err = qp->op ? 0 : dmae_sq_take(qp);
		if (err)
			return err;
		err = dmae_op_try(qp->op, in_work);
		if (err < 0)
			return err;
		if (err)
			dmae_op_done(qp->op);
		qp->op = NULL;
	}
	return -EBUSY;
}

/* Not yet? Then the work is, or becomes, queued for that time. */
static bool dmae_qp_is_waiting(struct dmae_qp *qp)
{
	if (qp->waiting && (dmae_qp_is_flushed(qp) ||
			    time_after_eq(jiffies, qp->wake_at) ||
			    (qp->park.op && dmae_park_is_over(qp))))
		qp->waiting = false;
	return qp->waiting;
}

static void dmae_sq_drained(struct dmae_qp *qp)
{
	unsigned long flags;

	spin_lock_irqsave(&qp->lock, flags);
	if (qp->state == IB_QPS_SQD && qp->sq_draining &&
	    qp->op_head == qp->op_tail) {
		qp->sq_draining = false;
		if (qp->sqd_notify)
			dmae_qp_event(qp, IB_EVENT_SQ_DRAINED);
	}
	spin_unlock_irqrestore(&qp->lock, flags);
}

static void dmae_qp_run(struct dmae_qp *qp, bool in_work)
{
	struct workqueue_struct *wq = to_ddev(qp->ibqp.device)->wq;
	int err = -EAGAIN;

	WRITE_ONCE(qp->sq.ring->doorbell, 0);
	dmae_qp_leave_crowd(qp);
	if (!dmae_qp_is_waiting(qp))
		err = dmae_sq_run(qp, in_work);
	dmae_qp_push(qp);

	if (err == -EAGAIN)
		queue_delayed_work(wq, &qp->run, max((long)(qp->wake_at -
							    jiffies), 1));
	else if (err == -EBUSY)
		dmae_qp_kick(qp);

	switch (READ_ONCE(qp->state)) {
	case IB_QPS_ERR:
		dmae_rq_flush(qp);
		break;
	case IB_QPS_SQD:
		dmae_sq_drained(qp);
		break;
	default:
		break;
	}
}

void dmae_qp_run_now(struct dmae_qp *qp)
{
	if (!mutex_trylock(&qp->run_lock)) {
		dmae_qp_kick(qp);
		return;
	}
	dmae_qp_run(qp, false);
	mutex_unlock(&qp->run_lock);
}

static bool dmae_qp_is_in_error(const struct dmae_qp *qp)
{
	return READ_ONCE(qp->state) == IB_QPS_ERR;
}

void dmae_qp_flush(struct dmae_qp *qp)
{
	u32 left;

	/* Then nothing is left that would have to wait for anything. */
	dmae_qp_wait_idle(qp);
	mutex_lock(&qp->run_lock);
	/* User space may go on to post. A ringful is what there was. */
	for (left = qp->sq.depth; left && dmae_qp_is_in_error(qp);
	     left -= min(left, DMAE_RUN_BUDGET))
		dmae_qp_run(qp, true);
	mutex_unlock(&qp->run_lock);
	/* And the owner has been told. */
	flush_delayed_work(&qp->run);
}

/* Events are raised here, where their handlers may do as they like. */
static void dmae_qp_raise(struct dmae_qp *qp)
{
	unsigned long events = xchg(&qp->events, 0);
	struct ib_event event = {
		.device = qp->ibqp.device,
		.element.qp = &qp->ibqp,
	};
	unsigned int bit;

	if (!qp->ibqp.event_handler)
		return;
	for_each_set_bit(bit, &events, BITS_PER_LONG) {
		event.event = bit;
		qp->ibqp.event_handler(&event, qp->ibqp.qp_context);
	}
}

void dmae_qp_work(struct work_struct *work)
{
	struct dmae_qp *qp = container_of(to_delayed_work(work),
					  struct dmae_qp, run);

	mutex_lock(&qp->run_lock);
	dmae_qp_run(qp, true);
	mutex_unlock(&qp->run_lock);
	dmae_qp_raise(qp);
}
