// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting: the doorbells of user space, and the kernel's own requests
 *
 * The kernel's go into the ring that a user would fill, with the protocol that a
 * user has (dmae_run.c). As the caller may be in an interrupt, the work runs
 * them.
 */
#include "dmae.h"

/* ---- send ---- */

static void dmae_fill_rdma(struct dmae_send_wqe *wqe,
			   const struct ib_rdma_wr *wr)
{
	wqe->rdma.remote_addr = wr->remote_addr;
	wqe->rdma.rkey = wr->rkey;
}

static void dmae_fill_atomic(struct dmae_send_wqe *wqe,
			     const struct ib_atomic_wr *wr)
{
	wqe->atomic.remote_addr = wr->remote_addr;
	wqe->atomic.compare_add = wr->compare_add;
	wqe->atomic.swap = wr->swap;
	wqe->atomic.rkey = wr->rkey;
}

static void dmae_fill_ud(struct dmae_send_wqe *wqe, const struct ib_ud_wr *wr)
{
	wqe->ud.ah = to_dah(wr->ah)->index;
	wqe->ud.remote_qpn = wr->remote_qpn;
	wqe->ud.remote_qkey = wr->remote_qkey;
}

static void dmae_fill_reg(struct dmae_send_wqe *wqe, const struct ib_reg_wr *wr)
{
	wqe->reg.key = wr->key;
	wqe->reg.access = wr->access;
}

static int dmae_fill_opcode(struct dmae_qp *qp, struct dmae_send_wqe *wqe,
			    const struct ib_send_wr *wr)
{
	wqe->ex = wr->ex.invalidate_rkey;
	switch (wr->opcode) {
	case IB_WR_SEND:
	case IB_WR_SEND_WITH_IMM:
	case IB_WR_SEND_WITH_INV:
		if (dmae_qp_is_datagram(qp))
			dmae_fill_ud(wqe, ud_wr(wr));
		return 0;
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_WRITE_WITH_IMM:
	case IB_WR_RDMA_READ:
		dmae_fill_rdma(wqe, rdma_wr(wr));
		return 0;
	case IB_WR_ATOMIC_CMP_AND_SWP:
	case IB_WR_ATOMIC_FETCH_AND_ADD:
		dmae_fill_atomic(wqe, atomic_wr(wr));
		return 0;
	case IB_WR_REG_MR:
		dmae_fill_reg(wqe, reg_wr(wr));
		return 0;
	case IB_WR_LOCAL_INV:
		return 0;
	default:
		return -EINVAL;
	}
}

/* The addresses of inline data are the CPU's. */
static int dmae_fill_inline(struct dmae_qp *qp, struct dmae_send_wqe *wqe,
			    const struct ib_send_wr *wr)
{
	void *data = wqe + 1;
	int i;

	for (i = 0; i < wr->num_sge; i++) {
		const struct ib_sge *sge = &wr->sg_list[i];

		if (sge->length > qp->max_inline - wqe->inline_len)
			return -EINVAL;
		memcpy(data + wqe->inline_len, (void *)(uintptr_t)sge->addr,
		       sge->length);
		wqe->inline_len += sge->length;
	}
	return 0;
}

static int dmae_fill_sges(struct dmae_qp *qp, struct dmae_send_wqe *wqe,
			  const struct ib_send_wr *wr)
{
	struct dmae_sge *sge = (struct dmae_sge *)(wqe + 1);
	int i;

	if (wr->num_sge < 0 || wr->num_sge > qp->max_send_sge)
		return -EINVAL;
	for (i = 0; i < wr->num_sge; i++) {
		sge[i].addr = wr->sg_list[i].addr;
		sge[i].length = wr->sg_list[i].length;
		sge[i].lkey = wr->sg_list[i].lkey;
	}
	wqe->num_sge = wr->num_sge;
	return 0;
}

static int dmae_post_send_one(struct dmae_qp *qp, const struct ib_send_wr *wr)
{
	struct dmae_ring *ring = qp->sq.ring;
	struct dmae_send_wqe *wqe = dmae_ring_entry(&qp->sq, ring->producer);
	int err;

	/* Pairs with the store that says that the entry was read. */
	if (ring->producer - smp_load_acquire(&ring->consumer) >= qp->sq.depth)
		return -ENOMEM;

	memset(wqe, 0, sizeof(*wqe));
	wqe->wr_id = wr->wr_id;
	wqe->opcode = wr->opcode;
	wqe->flags = wr->send_flags;
	err = dmae_fill_opcode(qp, wqe, wr);
	if (err)
		return err;
	if (wr->send_flags & IB_SEND_INLINE)
		err = dmae_fill_inline(qp, wqe, wr);
	else
		err = dmae_fill_sges(qp, wqe, wr);
	if (err)
		return err;
	/* The entry before the counter that shows it. */
	smp_store_release(&ring->producer, ring->producer + 1);
	return 0;
}

static void dmae_ring_doorbell(struct dmae_qp *qp, struct dmae_ring *ring)
{
	/* As user space does it, against dmae_sq_look() and dmae_rq_flush(). */
	smp_mb();
	if (READ_ONCE(ring->doorbell))
		dmae_qp_kick(qp);
}

static int dmae_post_send_kernel(struct dmae_qp *qp,
				 const struct ib_send_wr *wr,
				 const struct ib_send_wr **bad)
{
	enum ib_qp_state state = READ_ONCE(qp->state);
	unsigned long flags;
	int err = 0;

	if (state == IB_QPS_RESET || state == IB_QPS_INIT ||
	    state == IB_QPS_RTR) {
		*bad = wr;
		return -EINVAL;
	}
	spin_lock_irqsave(&qp->sq_post_lock, flags);
	for (; wr; wr = wr->next) {
		err = dmae_post_send_one(qp, wr);
		if (err) {
			*bad = wr;
			break;
		}
	}
	spin_unlock_irqrestore(&qp->sq_post_lock, flags);
	dmae_ring_doorbell(qp, qp->sq.ring);
	return err;
}

/* User space has put its requests into the ring: what is in wr is not asked. */
int dmae_post_send(struct ib_qp *ibqp, const struct ib_send_wr *wr,
		   const struct ib_send_wr **bad)
{
	struct dmae_qp *qp = to_dqp(ibqp);

	if (!qp->is_user)
		return dmae_post_send_kernel(qp, wr, bad);
	atomic64_inc(&to_ddev(ibqp->device)->stats.doorbells);
	dmae_qp_run_now(qp);
	return 0;
}

/* ---- receive ---- */

/*
 * Who sends takes the requests; the QP itself only wants to know of them, with
 * the doorbell, when it has to flush them.
 */
int dmae_post_recv(struct ib_qp *ibqp, const struct ib_recv_wr *wr,
		   const struct ib_recv_wr **bad)
{
	struct dmae_qp *qp = to_dqp(ibqp);
	int err;

	if (qp->is_user) {
		atomic64_inc(&to_ddev(ibqp->device)->stats.doorbells);
		dmae_qp_run_now(qp);
		return 0;
	}
	if (qp->srq || READ_ONCE(qp->state) == IB_QPS_RESET) {
		*bad = wr;
		return -EINVAL;
	}
	err = dmae_rq_post(&qp->rq, wr, bad);
	dmae_ring_doorbell(qp, qp->rq.ring.ring);
	return err;
}
