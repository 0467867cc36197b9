// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Receive queues, of a QP and shared ones
 */
#include "dmae.h"

int dmae_rq_init(struct dmae_rq *rq, u32 max_wr, u32 max_sge,
		 struct ib_ucontext *uctx)
{
	if (max_sge > DMAE_MAX_SGE)
		return -EINVAL;
	spin_lock_init(&rq->lock);
	rq->consumer = 0;
	rq->max_sge = max_sge;
	return dmae_ring_alloc(&rq->ring, max_wr,
			       sizeof(struct dmae_recv_wqe) +
			       max_sge * sizeof(struct dmae_sge), uctx);
}

void dmae_rq_free(struct dmae_rq *rq)
{
	dmae_ring_free(&rq->ring);
}

/*
 * How many requests are there? More than the ring holds if user space broke
 * its counter.
 */
static u32 dmae_rq_count(const struct dmae_rq *rq)
{
	/* Pairs with the store after the entries were filled. */
	u32 producer = smp_load_acquire(&rq->ring.ring->producer);

	return producer - rq->consumer;
}

/* Under rq->lock. */
static int dmae_rq_take_locked(struct dmae_rq *rq, struct dmae_recv *recv)
{
	const struct dmae_recv_wqe *wqe;
	u32 count = dmae_rq_count(rq);

	if (!count)
		return -EAGAIN;
	if (count > rq->ring.depth)
		return -EINVAL;

	wqe = dmae_ring_entry(&rq->ring, rq->consumer);
	recv->wr_id = READ_ONCE(wqe->wr_id);
	recv->num_sge = READ_ONCE(wqe->num_sge);
	if (recv->num_sge > rq->max_sge || READ_ONCE(wqe->reserved))
		return -EINVAL;
	memcpy(recv->sge, wqe + 1, recv->num_sge * sizeof(*recv->sge));
	recv->index = rq->consumer++;
	/* User space may fill the entry again, as we have read it. */
	smp_store_release(&rq->ring.ring->consumer, rq->consumer);
	return 0;
}

int dmae_rq_take(struct dmae_rq *rq, struct dmae_recv *recv)
{
	unsigned long flags;
	int err;

	spin_lock_irqsave(&rq->lock, flags);
	err = dmae_rq_take_locked(rq, recv);
	spin_unlock_irqrestore(&rq->lock, flags);
	return err;
}

static void dmae_srq_limit_event(struct dmae_srq *srq)
{
	struct ib_event event = {
		.device = srq->ibsrq.device,
		.element.srq = &srq->ibsrq,
		.event = IB_EVENT_SRQ_LIMIT_REACHED,
	};

	if (srq->ibsrq.event_handler)
		srq->ibsrq.event_handler(&event, srq->ibsrq.srq_context);
}

int dmae_srq_take(struct dmae_srq *srq, struct dmae_recv *recv)
{
	bool limit_reached = false;
	unsigned long flags;
	int err;

	spin_lock_irqsave(&srq->rq.lock, flags);
	err = dmae_rq_take_locked(&srq->rq, recv);
	if (!err && dmae_rq_count(&srq->rq) < srq->limit) {
		limit_reached = true;
		srq->limit = 0;
	}
	spin_unlock_irqrestore(&srq->rq.lock, flags);

	/* The QP that the caller takes it for keeps the SRQ. */
	if (limit_reached)
		dmae_srq_limit_event(srq);
	return err;
}

/* Under rq->lock. */
static int dmae_rq_post_one(struct dmae_rq *rq, const struct ib_recv_wr *wr)
{
	struct dmae_ring *ring = rq->ring.ring;
	struct dmae_recv_wqe *wqe;
	struct dmae_sge *sge;
	int i;

	if (wr->num_sge < 0 || wr->num_sge > rq->max_sge)
		return -EINVAL;
	if (dmae_rq_count(rq) >= rq->ring.depth)
		return -ENOMEM;

	wqe = dmae_ring_entry(&rq->ring, ring->producer);
	wqe->wr_id = wr->wr_id;
	wqe->num_sge = wr->num_sge;
	sge = (struct dmae_sge *)(wqe + 1);
	for (i = 0; i < wr->num_sge; i++) {
		sge[i].addr = wr->sg_list[i].addr;
		sge[i].length = wr->sg_list[i].length;
		sge[i].lkey = wr->sg_list[i].lkey;
	}
	ring->producer++;
	return 0;
}

int dmae_rq_post(struct dmae_rq *rq, const struct ib_recv_wr *wr,
		 const struct ib_recv_wr **bad)
{
	unsigned long flags;
	int err = 0;

	spin_lock_irqsave(&rq->lock, flags);
	for (; wr; wr = wr->next) {
		err = dmae_rq_post_one(rq, wr);
		if (err) {
			*bad = wr;
			break;
		}
	}
	spin_unlock_irqrestore(&rq->lock, flags);
	return err;
}

static int dmae_srq_resp(struct dmae_srq *srq, struct ib_udata *udata)
{
	struct dmae_dev *dev = to_ddev(srq->ibsrq.device);
	struct dmae_create_srq_resp resp = {};

	if (udata->outlen < sizeof(resp))
		return -EINVAL;
	dmae_ring_resp(&srq->rq.ring, &resp.ring);
	/* For people who read logs. Nothing finds an SRQ by its number. */
	resp.srqn = atomic_inc_return(&dev->last_srqn);
	return ib_copy_to_udata(udata, &resp, sizeof(resp));
}

int dmae_create_srq(struct ib_srq *ibsrq, struct ib_srq_init_attr *attr,
		    struct ib_udata *udata)
{
	struct dmae_srq *srq = to_dsrq(ibsrq);
	int err;

	if (attr->srq_type != IB_SRQT_BASIC || !dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;
	if (!attr->attr.max_wr || attr->attr.max_wr > DMAE_MAX_SRQ_WR)
		return -EINVAL;

	srq->is_user = udata;
	err = dmae_rq_init(&srq->rq, attr->attr.max_wr, attr->attr.max_sge,
			   dmae_udata_uctx(udata));
	if (err)
		return err;
	attr->attr.max_wr = srq->rq.ring.depth;

	if (udata) {
		err = dmae_srq_resp(srq, udata);
		if (err)
			dmae_rq_free(&srq->rq);
	}
	return err;
}

int dmae_modify_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr,
		    enum ib_srq_attr_mask mask, struct ib_udata *udata)
{
	struct dmae_srq *srq = to_dsrq(ibsrq);
	unsigned long flags;

	if ((mask & ~IB_SRQ_LIMIT) || !dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;
	if (!(mask & IB_SRQ_LIMIT))
		return 0;
	if (attr->srq_limit > srq->rq.ring.depth)
		return -EINVAL;

	spin_lock_irqsave(&srq->rq.lock, flags);
	srq->limit = attr->srq_limit;
	spin_unlock_irqrestore(&srq->rq.lock, flags);
	return 0;
}

int dmae_query_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr)
{
	struct dmae_srq *srq = to_dsrq(ibsrq);

	attr->max_wr = srq->rq.ring.depth;
	attr->max_sge = srq->rq.max_sge;
	attr->srq_limit = READ_ONCE(srq->limit);
	return 0;
}

int dmae_destroy_srq(struct ib_srq *ibsrq, struct ib_udata *udata)
{
	dmae_rq_free(&to_dsrq(ibsrq)->rq);
	return 0;
}

int dmae_post_srq_recv(struct ib_srq *ibsrq, const struct ib_recv_wr *wr,
		       const struct ib_recv_wr **bad)
{
	struct dmae_srq *srq = to_dsrq(ibsrq);

	/* User space has put them into the ring. */
	if (srq->is_user)
		return 0;
	return dmae_rq_post(&srq->rq, wr, bad);
}
