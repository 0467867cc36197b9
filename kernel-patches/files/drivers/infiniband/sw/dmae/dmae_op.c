// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Operations: what a work request asks for, and the peer, the receive request
 * and the memory that it takes
 *
 * All of this is under the requester's run_lock, but for the end: how an
 * operation fails and what it gives back.
 */
#include <linux/nospec.h>
#include <rdma/ib_addr.h>

#include "dmae.h"

#define DMAE_SEND_FLAGS	(DMAE_SEND_FENCE | DMAE_SEND_SIGNALED | \
			 DMAE_SEND_SOLICITED | DMAE_SEND_INLINE)

#define DMAE_RC		BIT(IB_QPT_RC)
#define DMAE_CONNECTED	(DMAE_RC | BIT(IB_QPT_UC))
#define DMAE_ANY	(DMAE_CONNECTED | BIT(IB_QPT_UD) | BIT(IB_QPT_GSI))

static const struct dmae_opcode dmae_opcodes[] = {
	[IB_WR_RDMA_WRITE] = {
		.wc = IB_WC_RDMA_WRITE,
		.qp_types = DMAE_CONNECTED,
		.access = IB_ACCESS_REMOTE_WRITE,
	},
	[IB_WR_RDMA_WRITE_WITH_IMM] = {
		.wc = IB_WC_RDMA_WRITE,
		.qp_types = DMAE_CONNECTED,
		.access = IB_ACCESS_REMOTE_WRITE,
		.recv = true,
		.imm = true,
	},
	[IB_WR_SEND] = {
		.wc = IB_WC_SEND,
		.qp_types = DMAE_ANY,
		.recv = true,
	},
	[IB_WR_SEND_WITH_IMM] = {
		.wc = IB_WC_SEND,
		.qp_types = DMAE_ANY,
		.recv = true,
		.imm = true,
	},
	[IB_WR_SEND_WITH_INV] = {
		.wc = IB_WC_SEND,
		.qp_types = DMAE_RC,
		.recv = true,
		.invalidate = true,
	},
	[IB_WR_RDMA_READ] = {
		.wc = IB_WC_RDMA_READ,
		.qp_types = DMAE_RC,
		.access = IB_ACCESS_REMOTE_READ,
	},
	[IB_WR_ATOMIC_CMP_AND_SWP] = {
		.wc = IB_WC_COMP_SWAP,
		.qp_types = DMAE_RC,
		.access = IB_ACCESS_REMOTE_ATOMIC,
		.atomic = true,
	},
	[IB_WR_ATOMIC_FETCH_AND_ADD] = {
		.wc = IB_WC_FETCH_ADD,
		.qp_types = DMAE_RC,
		.access = IB_ACCESS_REMOTE_ATOMIC,
		.atomic = true,
	},
	[IB_WR_LOCAL_INV] = {
		.wc = IB_WC_LOCAL_INV,
		.qp_types = DMAE_CONNECTED,
		.local = true,
	},
	[IB_WR_REG_MR] = {
		.wc = IB_WC_REG_MR,
		.qp_types = DMAE_CONNECTED,
		.local = true,
	},
};

static bool dmae_op_is_reliable(const struct dmae_op *op)
{
	return op->qp->ibqp.qp_type == IB_QPT_RC;
}

/* The peer's memory is read, and ours is written. */
static bool dmae_op_is_read(const struct dmae_op *op)
{
	return op->kind->access &
	       (IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC);
}

/* ---- what is asked for ---- */

static const struct dmae_opcode *dmae_op_kind(const struct dmae_op *op)
{
	const struct dmae_opcode *kind;
	unsigned int i = op->wqe.opcode;

	if (i >= ARRAY_SIZE(dmae_opcodes))
		return NULL;
	kind = &dmae_opcodes[array_index_nospec(i, ARRAY_SIZE(dmae_opcodes))];
	if (!(kind->qp_types & BIT(op->qp->ibqp.qp_type)))
		return NULL;
	return kind->local && op->qp->is_user ? NULL : kind;
}

/* It asks for nothing that a later version may do. */
static bool dmae_op_is_known(const struct dmae_op *op)
{
	const struct dmae_send_wqe *wqe = &op->wqe;

	if (wqe->reserved || (wqe->flags & ~DMAE_SEND_FLAGS))
		return false;
	if (dmae_qp_is_datagram(op->qp))
		return !wqe->ud.reserved;
	if (op->kind->atomic)
		return !wqe->atomic.reserved;
	return !op->kind->access || !wqe->rdma.reserved;
}

/* How long a message may be. */
static u32 dmae_op_max_length(const struct dmae_op *op)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);

	if (!dmae_qp_is_datagram(op->qp))
		return DMAE_MAX_MSG;
	return ib_mtu_enum_to_int(iboe_get_mtu(READ_ONCE(dev->ndev->mtu)));
}

static enum ib_wc_status dmae_op_read_inline(struct dmae_op *op,
					     const void *data)
{
	if (dmae_op_is_read(op) || op->kind->local ||
	    op->wqe.inline_len > op->qp->max_inline)
		return IB_WC_LOC_QP_OP_ERR;
	memcpy(dmae_op_slot(op), data, op->wqe.inline_len);
	op->length = op->wqe.inline_len;
	return IB_WC_SUCCESS;
}

static enum ib_wc_status dmae_op_read_sges(struct dmae_op *op,
					   const void *sges)
{
	unsigned int i, nr = op->wqe.num_sge;
	u64 length = 0;

	if (nr > op->qp->max_send_sge || (op->kind->local && nr))
		return IB_WC_LOC_QP_OP_ERR;
	memcpy(op->sge, sges, nr * sizeof(*op->sge));
	/* User space may write there: not what it had, but what we have. */
	barrier();

	for (i = 0; i < nr; i++)
		length += op->sge[i].length;
	if (length > DMAE_MAX_MSG)
		return IB_WC_LOC_LEN_ERR;
	/* The result of an atomic operation is one word in one place. */
	if (op->kind->atomic && (nr != 1 || length != sizeof(u64)))
		return IB_WC_LOC_LEN_ERR;
	op->length = length;
	return IB_WC_SUCCESS;
}

/* The GRH that a datagram will have is copied: the AH may go before it does. */
static enum ib_wc_status dmae_op_read_ah(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;

	if (dmae_ah_use(to_ddev(qp->ibqp.device), qp->ibqp.pd, op->wqe.ud.ah,
			&op->ah_local, dmae_op_grh(op)))
		return IB_WC_LOC_QP_OP_ERR;
	op->bytes += DMAE_GRH_LEN;
	return IB_WC_SUCCESS;
}

enum ib_wc_status dmae_op_read(struct dmae_op *op, const void *entry)
{
	const void *data = entry + sizeof(op->wqe);
	enum ib_wc_status status;

	memcpy(&op->wqe, entry, sizeof(op->wqe));
	/* As above: all that follows is about the copy. */
	barrier();
	op->kind = dmae_op_kind(op);
	if (!op->kind || !dmae_op_is_known(op))
		return IB_WC_LOC_QP_OP_ERR;

	if (op->wqe.flags & DMAE_SEND_INLINE)
		status = dmae_op_read_inline(op, data);
	else
		status = dmae_op_read_sges(op, data);
	if (status != IB_WC_SUCCESS)
		return status;

	if (op->length > dmae_op_max_length(op))
		return IB_WC_LOC_LEN_ERR;
	op->bytes = op->length;
	return dmae_qp_is_datagram(op->qp) ? dmae_op_read_ah(op) :
					     IB_WC_SUCCESS;
}

/* ---- how it fails ---- */

void dmae_op_fail(struct dmae_op *op, enum ib_wc_status status)
{
	struct dmae_qp *qp = op->qp;

	op->status = status;
	if (dmae_qp_is_datagram(qp)) {
		/*
		 * A receiver must not suffer from its senders. If it is too
		 * late to have sent nothing, it gets a message without data.
		 */
		op->length = 0;
		dmae_qp_fail_sq(qp);
		return;
	}

	/* A message ended halfway, and so does the connection. */
	op->recv_status = IB_WC_WR_FLUSH_ERR;
	if (op->has_recv)
		dmae_qp_fail(op->peer, 0);
	if (dmae_op_is_reliable(op))
		dmae_qp_fail(qp, 0);
	else
		dmae_qp_fail_sq(qp);
}

/* Who sends without reliability learns nothing of it. */
void dmae_op_fail_remote(struct dmae_op *op, enum ib_wc_status status,
			 enum ib_wc_status recv_status,
			 enum ib_event_type event)
{
	op->recv_status = recv_status;
	if (dmae_op_is_reliable(op) || op->has_recv)
		dmae_qp_fail(op->peer, event);
	if (dmae_op_is_reliable(op)) {
		op->status = status;
		dmae_qp_fail(op->qp, 0);
	}
}

static void dmae_op_fail_access(struct dmae_op *op)
{
	dmae_op_fail_remote(op, IB_WC_REM_ACCESS_ERR, IB_WC_WR_FLUSH_ERR,
			    IB_EVENT_QP_ACCESS_ERR);
}

void dmae_op_fail_span(struct dmae_op *op, const struct dmae_span *span)
{
	if (!span->remote)
		dmae_op_fail(op, IB_WC_LOC_PROT_ERR);
	else if (op->kind->access)
		dmae_op_fail_access(op);
	else
		dmae_op_fail_remote(op, IB_WC_REM_OP_ERR, IB_WC_LOC_PROT_ERR,
				    0);
}

/* ---- memory ---- */

/* An empty piece is not looked at: whatever its key is. */
static int dmae_spans_add(struct dmae_op *op, struct dmae_spans *spans,
			  struct ib_pd *pd, const struct dmae_sge *sge,
			  int access, bool is_user)
{
	struct dmae_span *span = &spans->span[spans->nr];

	if (!sge->length)
		return 0;
	*span = (struct dmae_span) {
		.addr = sge->addr,
		.len = sge->length,
		.write = access & (IB_ACCESS_LOCAL_WRITE |
				   IB_ACCESS_REMOTE_WRITE |
				   IB_ACCESS_REMOTE_ATOMIC),
		.remote = op->peer,
		.hold = -1,
	};
	if (!dmae_span_get(span, to_ddev(op->qp->ibqp.device), pd, sge->lkey,
			   access, is_user))
		return -EACCES;
	spans->nr++;
	return 0;
}

static void dmae_spans_add_slot(struct dmae_op *op, void *part, u32 len)
{
	if (!len)
		return;
	op->src.span[op->src.nr++] = (struct dmae_span) {
		.addr = dmae_op_slot_dma(op) + (part - dmae_op_slot(op)),
		.len = len,
		.hold = -1,
	};
}

static void dmae_spans_release(struct dmae_spans *spans)
{
	unsigned int i;

	for (i = 0; i < spans->nr; i++)
		dmae_span_release(&spans->span[i]);
}

static void dmae_spans_put(struct dmae_spans *spans)
{
	unsigned int i;

	for (i = 0; i < spans->nr; i++) {
		dmae_span_release(&spans->span[i]);
		if (spans->span[i].mr)
			dmae_mr_put(spans->span[i].mr);
	}
	spans->nr = 0;
}

void dmae_op_release_spans(struct dmae_op *op)
{
	dmae_spans_release(&op->src);
	dmae_spans_release(&op->dst);
}

void dmae_op_put_spans(struct dmae_op *op)
{
	dmae_spans_put(&op->src);
	dmae_spans_put(&op->dst);
}

/* Before there is a peer: that is how dmae_spans_add() knows whose it is. */
static int dmae_op_add_local(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	bool read = dmae_op_is_read(op);
	unsigned int i;
	int err;

	if (dmae_qp_is_datagram(qp))
		dmae_spans_add_slot(op, dmae_op_grh(op), DMAE_GRH_LEN);
	if (op->wqe.flags & DMAE_SEND_INLINE) {
		dmae_spans_add_slot(op, dmae_op_slot(op), op->length);
		return 0;
	}

	for (i = 0; i < op->wqe.num_sge; i++) {
		err = dmae_spans_add(op, read ? &op->dst : &op->src,
				     qp->ibqp.pd, &op->sge[i],
				     read ? IB_ACCESS_LOCAL_WRITE : 0,
				     qp->is_user);
		if (err) {
			dmae_op_fail(op, IB_WC_LOC_PROT_ERR);
			return 1;
		}
	}
	return 0;
}

/* The keys of local memory are never good for a peer's: is_user. */
static int dmae_op_add_remote(struct dmae_op *op)
{
	struct dmae_sge sge = { .length = op->length };

	if (op->kind->atomic) {
		sge.addr = op->wqe.atomic.remote_addr;
		sge.lkey = op->wqe.atomic.rkey;
	} else {
		sge.addr = op->wqe.rdma.remote_addr;
		sge.lkey = op->wqe.rdma.rkey;
	}

	if ((op->kind->access & ~op->peer_access) ||
	    (op->kind->atomic && !IS_ALIGNED(sge.addr, sizeof(u64)))) {
		dmae_op_fail_remote(op, IB_WC_REM_INV_REQ_ERR,
				    IB_WC_WR_FLUSH_ERR, IB_EVENT_QP_REQ_ERR);
		return 1;
	}
	if (dmae_spans_add(op, dmae_op_is_read(op) ? &op->src : &op->dst,
			   op->peer->ibqp.pd, &sge, op->kind->access, true)) {
		dmae_op_fail_access(op);
		return 1;
	}
	return 0;
}

/* ---- the peer and its receive requests ---- */

static struct dmae_qp *dmae_op_find_peer(struct dmae_op *op)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);

	if (dmae_qp_is_datagram(op->qp))
		return op->ah_local ? dmae_qp_get(dev, op->wqe.ud.remote_qpn) :
				      NULL;
	if (!op->qp->peer_local)
		return NULL;
	return dmae_qp_get(dev, op->qp->attr.dest_qp_num);
}

/* With the high bit set it is the QP's own that counts. */
static u32 dmae_op_qkey(const struct dmae_op *op)
{
	u32 qkey = op->wqe.ud.remote_qkey;

	return qkey & BIT(31) ? op->qp->attr.qkey : qkey;
}

/* Under peer->lock. */
static bool dmae_peer_answers(const struct dmae_qp *peer,
			      const struct dmae_op *op)
{
	if (peer->state != IB_QPS_RTR && peer->state != IB_QPS_RTS &&
	    peer->state != IB_QPS_SQD && peer->state != IB_QPS_SQE)
		return false;
	if (dmae_qp_is_datagram(op->qp))
		return dmae_qp_is_datagram(peer) &&
		       peer->attr.qkey == dmae_op_qkey(op);
	return peer->ibqp.qp_type == op->qp->ibqp.qp_type &&
	       peer->peer_local &&
	       peer->attr.dest_qp_num == op->qp->ibqp.qp_num;
}

/* Under peer->lock. */
static void dmae_op_meet_peer(struct dmae_op *op, struct dmae_qp *peer)
{
	op->peer_access = peer->attr.qp_access_flags;
	if (!peer->attr.max_dest_rd_atomic)
		op->peer_access &= ~(IB_ACCESS_REMOTE_READ |
				     IB_ACCESS_REMOTE_ATOMIC);
	op->rnr_timer = peer->attr.min_rnr_timer;
	if (op->kind->recv) {
		/*
		 * In the same section as the look at the state: who takes the
		 * QP to an error sees this, and flushes nothing before us.
		 */
		atomic_inc(&peer->inbound);
		op->is_inbound = true;
	}
	if (peer->state == IB_QPS_RTR && !peer->comm_est) {
		peer->comm_est = true;
		dmae_qp_event(peer, IB_EVENT_COMM_EST);
	}
}

static int dmae_op_get_peer(struct dmae_op *op)
{
	struct dmae_qp *peer = dmae_op_find_peer(op);
	unsigned long flags;
	bool answers;

	if (!peer)
		return -ENOTCONN;

	spin_lock_irqsave(&peer->lock, flags);
	answers = dmae_peer_answers(peer, op);
	if (answers)
		dmae_op_meet_peer(op, peer);
	spin_unlock_irqrestore(&peer->lock, flags);

	if (!answers) {
		dmae_qp_put(peer);
		return -ENOTCONN;
	}
	op->peer = peer;
	return 0;
}

void dmae_op_put_peer(struct dmae_op *op)
{
	struct dmae_qp *peer = op->peer;

	if (!peer)
		return;
	if (op->is_inbound) {
		/*
		 * The atomic operation is a full barrier between the count and
		 * the state. Who waits for 0 writes the state first: either he
		 * sees 0, or we see his state.
		 */
		if (atomic_dec_and_test(&peer->inbound) &&
		    dmae_qp_is_flushed(peer)) {
			dmae_qp_kick(peer);
			wake_up(&peer->idle);
		}
		op->is_inbound = false;
	}
	op->peer = NULL;
	dmae_qp_put(peer);
}

static int dmae_op_take_recv(struct dmae_op *op)
{
	struct dmae_qp *peer = op->peer;
	int err;

	if (peer->srq)
		err = dmae_srq_take(peer->srq, &op->recv);
	else
		err = dmae_rq_take(&peer->rq, &op->recv);
	if (err == -EAGAIN)
		return -ENOBUFS;
	if (err) {
		/* User space broke the ring. */
		dmae_op_fail_remote(op, IB_WC_REM_OP_ERR, IB_WC_WR_FLUSH_ERR,
				    IB_EVENT_QP_FATAL);
		return 1;
	}
	op->has_recv = true;
	return 0;
}

/* The memory that a message is received into. */
static int dmae_op_add_recv(struct dmae_op *op)
{
	struct dmae_qp *peer = op->peer;
	struct ib_pd *pd = peer->srq ? peer->srq->ibsrq.pd : peer->ibqp.pd;
	u32 left = op->bytes;
	unsigned int i;

	for (i = 0; i < op->recv.num_sge && left; i++) {
		struct dmae_sge sge = op->recv.sge[i];

		sge.length = min(sge.length, left);
		left -= sge.length;
		if (dmae_spans_add(op, &op->dst, pd, &sge,
				   IB_ACCESS_LOCAL_WRITE,
				   peer->srq ? peer->srq->is_user :
					       peer->is_user)) {
			dmae_op_fail_remote(op, IB_WC_REM_OP_ERR,
					    IB_WC_LOC_PROT_ERR, 0);
			return 1;
		}
	}
	if (left) {
		dmae_op_fail_remote(op, IB_WC_REM_INV_REQ_ERR,
				    IB_WC_LOC_LEN_ERR, 0);
		return 1;
	}
	return 0;
}

/* ---- all of it ---- */

static int dmae_op_find_all(struct dmae_op *op)
{
	int err;

	err = dmae_op_add_local(op);
	if (!err)
		err = dmae_op_get_peer(op);
	if (!err && op->kind->access)
		err = dmae_op_add_remote(op);
	if (!err && op->kind->recv)
		err = dmae_op_take_recv(op);
	if (!err && !op->kind->access)
		err = dmae_op_add_recv(op);
	return err;
}

int dmae_op_build(struct dmae_op *op)
{
	int err = dmae_op_find_all(op);

	if (err > 0)
		return err;
	if (err) {
		dmae_op_put_spans(op);
		dmae_op_put_peer(op);
		if (dmae_op_is_reliable(op))
			return err;
		/* The message is lost, which is nobody's error. */
		op->bytes = 0;
	}
	op->built = true;
	return 0;
}
