// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Completion, in the order of the send ring
 *
 * One at a time completes in a QP, without qp->lock, as completion handlers are
 * called: who finds another at it leaves op->done to him, under the lock that he
 * takes to look for it before he ends. What he does to the QP in the end, with
 * the window that has become empty, is under the lock, too; who frees the QP
 * takes it once after he has seen that.
 */
#include "dmae.h"

/* ---- completion entries ---- */

static u8 dmae_op_recv_flags(const struct dmae_op *op)
{
	u8 flags = DMAE_CQE_RECV;

	if (op->peer->srq)
		flags |= DMAE_CQE_SRQ;
	if (op->kind->imm)
		flags |= DMAE_CQE_IMM;
	if (op->kind->invalidate)
		flags |= DMAE_CQE_INV;
	/* That of a datagram that failed may not have been written. */
	if (dmae_qp_is_datagram(op->qp) && op->status == IB_WC_SUCCESS) {
		flags |= DMAE_CQE_GRH;
		/* It ends with an IPv4 header, and begins with nothing. */
		if (!*(u8 *)dmae_op_grh(op))
			flags |= DMAE_CQE_IPV4;
	}
	return flags;
}

static void dmae_op_complete_recv(struct dmae_op *op)
{
	struct dmae_qp *peer = op->peer;
	struct dmae_cqe cqe = {
		.wr_id = op->recv.wr_id,
		.qpn = peer->ibqp.qp_num,
		.index = op->recv.index,
		.byte_len = op->length,
		.ex = op->wqe.ex,
		.src_qp = op->qp->ibqp.qp_num,
		.status = op->recv_status,
		.opcode = op->kind->access ? IB_WC_RECV_RDMA_WITH_IMM :
					     IB_WC_RECV,
		.flags = dmae_op_recv_flags(op),
	};

	/* Which forgets all that was posted, and so does destroying it. */
	if (READ_ONCE(peer->state) == IB_QPS_RESET)
		return;
	if (dmae_qp_is_datagram(peer))
		cqe.byte_len += DMAE_GRH_LEN;
	dmae_cq_post(to_dcq(peer->ibqp.recv_cq), &peer->ibqp, &cqe,
		     op->wqe.flags & DMAE_SEND_SOLICITED);
}

static void dmae_op_complete_send(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	struct dmae_cqe cqe = {
		.wr_id = op->wqe.wr_id,
		.qpn = qp->ibqp.qp_num,
		.index = op->index,
		.status = op->status,
	};

	if (READ_ONCE(qp->state) == IB_QPS_RESET)
		return;
	if (op->status == IB_WC_SUCCESS) {
		if (!qp->sq_sig_all && !(op->wqe.flags & DMAE_SEND_SIGNALED))
			return;
		cqe.opcode = op->kind->wc;
		cqe.byte_len = op->length;
	}
	dmae_cq_post(to_dcq(qp->ibqp.send_cq), &qp->ibqp, &cqe, false);
}

/* Receives that were not taken: in order, so after those that were. */
void dmae_rq_flush(struct dmae_qp *qp)
{
	struct dmae_cqe cqe = {
		.qpn = qp->ibqp.qp_num,
		.status = IB_WC_WR_FLUSH_ERR,
		.flags = DMAE_CQE_RECV,
	};
	struct dmae_recv recv;
	u32 n;

	/*
	 * The state was written, then the count is read: who brings it to 0
	 * does the opposite, and kicks if we come too early.
	 */
	smp_mb();
	if (atomic_read(&qp->inbound))
		return;
	if (qp->srq) {
		if (!qp->last_wqe)
			dmae_qp_event(qp, IB_EVENT_QP_LAST_WQE_REACHED);
		qp->last_wqe = true;
		return;
	}
	/* Whoever posts more meanwhile tells us of it. */
	for (n = 0; n < qp->rq.ring.depth; n++) {
		if (dmae_rq_take(&qp->rq, &recv))
			return;
		cqe.wr_id = recv.wr_id;
		cqe.index = recv.index;
		dmae_cq_post(to_dcq(qp->ibqp.recv_cq), &qp->ibqp, &cqe, false);
	}
}

/* ---- the window ---- */

/*
 * That the channel failed shows when more of the QP is under way already. On a
 * connection nothing must seem to have arrived that was sent after it.
 */
static void dmae_op_follow_error(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	unsigned long flags;

	if (dmae_qp_is_datagram(qp))
		return;
	if (op->failed) {
		spin_lock_irqsave(&qp->lock, flags);
		/* Unless that was put right already. */
		if (qp->state != IB_QPS_RTS)
			qp->flushing = true;
		spin_unlock_irqrestore(&qp->lock, flags);
	}
	if (!qp->flushing || op->status != IB_WC_SUCCESS)
		return;
	op->status = IB_WC_WR_FLUSH_ERR;
	op->recv_status = IB_WC_WR_FLUSH_ERR;
	if (op->has_recv)
		dmae_qp_fail(op->peer, 0);
}

static void dmae_op_complete(struct dmae_op *op)
{
	dmae_op_follow_error(op);
	if (op->has_recv)
		dmae_op_complete_recv(op);
	dmae_op_complete_send(op);
	dmae_op_put_peer(op);
}

/* Under qp->lock, as is all that makes these conditions true. */
static void dmae_window_moved(struct dmae_qp *qp)
{
	u32 nr = qp->op_tail - qp->op_head;

	if (nr < qp->stall) {
		qp->stall = 0;
		dmae_qp_kick(qp);
	}
	if (!nr && qp->state != IB_QPS_RTS) {
		if (qp->state == IB_QPS_SQD)
			dmae_qp_kick(qp);
		wake_up(&qp->idle);
	}
}

void dmae_op_done(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	unsigned long flags;

	dmae_op_put_spans(op);
	if (unlikely(op->failed) && op->status == IB_WC_SUCCESS)
		dmae_op_fail(op, IB_WC_GENERAL_ERR);

	spin_lock_irqsave(&qp->lock, flags);
	op->done = true;
	if (qp->completing)
		goto unlock;

	qp->completing = true;
	while (qp->op_head != qp->op_tail) {
		op = &qp->ops[qp->op_head & (DMAE_WINDOW - 1)];
		if (!op->done)
			break;
		spin_unlock_irqrestore(&qp->lock, flags);
		dmae_op_complete(op);
		spin_lock_irqsave(&qp->lock, flags);
		WRITE_ONCE(qp->op_head, qp->op_head + 1);
	}
	qp->completing = false;
	dmae_window_moved(qp);
unlock:
	spin_unlock_irqrestore(&qp->lock, flags);
}
