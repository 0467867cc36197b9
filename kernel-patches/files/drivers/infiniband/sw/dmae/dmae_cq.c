// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Completion queues
 *
 * The kernel fills the ring. User space empties its own without us; that of a
 * kernel CQ is nobody else's memory, and dmae_poll_cq() empties it.
 */
#include <linux/slab.h>

#include "dmae.h"

static bool dmae_cq_has_room(const struct dmae_cq *cq)
{
	/*
	 * User space may have put anything there. What is not less than depth
	 * entries behind us is no room. The barrier pairs with the store that
	 * says that the entries before it were read.
	 */
	u32 consumer = smp_load_acquire(&cq->ring.ring->consumer);

	return cq->producer - consumer < cq->ring.depth;
}

static void dmae_cq_add(struct dmae_cq *cq, struct ib_qp *qp,
			const struct dmae_cqe *cqe)
{
	memcpy(dmae_ring_entry(&cq->ring, cq->producer), cqe, sizeof(*cqe));
	if (!cq->is_user)
		cq->qps[cq->producer & (cq->ring.depth - 1)] = qp;
	cq->producer++;
	/* The entry before the counter that shows it. */
	smp_store_release(&cq->ring.ring->producer, cq->producer);
}

/* Is the handler to be called for this one? Then it is armed no more. */
static bool dmae_cq_fires(struct dmae_cq *cq, bool solicited)
{
	if (!cq->armed || (cq->armed == IB_CQ_SOLICITED && !solicited))
		return false;
	cq->armed = 0;
	return true;
}

static void dmae_cq_overflow_event(struct dmae_cq *cq)
{
	struct ib_event event = {
		.device = cq->ibcq.device,
		.element.cq = &cq->ibcq,
		.event = IB_EVENT_CQ_ERR,
	};

	if (cq->ibcq.event_handler)
		cq->ibcq.event_handler(&event, cq->ibcq.cq_context);
}

/*
 * The handlers are called without the lock: they may poll and arm. The CQ is
 * still there because the QP is, which cannot be destroyed under its caller.
 */
void dmae_cq_post(struct dmae_cq *cq, struct ib_qp *qp,
		  const struct dmae_cqe *cqe, bool solicited)
{
	bool overflow = false, fires = false;
	unsigned long flags;

	spin_lock_irqsave(&cq->lock, flags);
	if (!cq->overflown) {
		overflow = !dmae_cq_has_room(cq);
		cq->overflown = overflow;
	}
	if (!cq->overflown) {
		dmae_cq_add(cq, qp, cqe);
		fires = dmae_cq_fires(cq, solicited || cqe->status);
	}
	spin_unlock_irqrestore(&cq->lock, flags);

	if (overflow)
		dmae_cq_overflow_event(cq);
	if (fires)
		cq->ibcq.comp_handler(&cq->ibcq, cq->ibcq.cq_context);
}

static int dmae_cq_wc_flags(u8 flags)
{
	int wc_flags = 0;

	if (flags & DMAE_CQE_GRH)
		wc_flags |= IB_WC_GRH | IB_WC_WITH_NETWORK_HDR_TYPE;
	if (flags & DMAE_CQE_IMM)
		wc_flags |= IB_WC_WITH_IMM;
	if (flags & DMAE_CQE_INV)
		wc_flags |= IB_WC_WITH_INVALIDATE;
	return wc_flags;
}

static void dmae_cq_to_wc(struct ib_wc *wc, const struct dmae_cqe *cqe,
			  struct ib_qp *qp)
{
	memset(wc, 0, sizeof(*wc));
	wc->wr_id = cqe->wr_id;
	wc->status = cqe->status;
	wc->opcode = cqe->opcode;
	wc->vendor_err = cqe->vendor_err;
	wc->byte_len = cqe->byte_len;
	wc->qp = qp;
	wc->src_qp = cqe->src_qp;
	wc->wc_flags = dmae_cq_wc_flags(cqe->flags);
	if (cqe->flags & DMAE_CQE_INV)
		wc->ex.invalidate_rkey = cqe->ex;
	else
		wc->ex.imm_data = (__force __be32)cqe->ex;
	wc->port_num = 1;
	wc->network_hdr_type = cqe->flags & DMAE_CQE_IPV4 ? RDMA_NETWORK_IPV4 :
							    RDMA_NETWORK_IPV6;
}

/*
 * Kernel CQs. A QP in cq->qps may be gone: the pointer is handed on, never
 * followed, and whoever destroys a QP has drained it or does not look at what
 * is left of it in the CQ, as the rest of such a completion, its wr_cqe, is as
 * dead.
 */
int dmae_poll_cq(struct ib_cq *ibcq, int num, struct ib_wc *wc)
{
	struct dmae_cq *cq = to_dcq(ibcq);
	struct dmae_ring *ring = cq->ring.ring;
	unsigned long flags;
	int i;

	spin_lock_irqsave(&cq->lock, flags);
	for (i = 0; i < num && ring->consumer != cq->producer; i++) {
		u32 entry = ring->consumer++;

		dmae_cq_to_wc(&wc[i], dmae_ring_entry(&cq->ring, entry),
			      cq->qps[entry & (cq->ring.depth - 1)]);
	}
	spin_unlock_irqrestore(&cq->lock, flags);
	return i;
}

int dmae_req_notify_cq(struct ib_cq *ibcq, enum ib_cq_notify_flags flags)
{
	struct dmae_cq *cq = to_dcq(ibcq);
	unsigned long irq;
	int missed;

	spin_lock_irqsave(&cq->lock, irq);
	/* All completions are more than the solicited ones. */
	if (cq->armed != IB_CQ_NEXT_COMP)
		cq->armed = flags & IB_CQ_SOLICITED_MASK;
	missed = (flags & IB_CQ_REPORT_MISSED_EVENTS) &&
		 cq->producer != READ_ONCE(cq->ring.ring->consumer);
	spin_unlock_irqrestore(&cq->lock, irq);
	return missed;
}

static int dmae_cq_resp(struct dmae_cq *cq, struct ib_udata *udata)
{
	struct dmae_create_cq_resp resp = {};

	if (udata->outlen < sizeof(resp))
		return -EINVAL;
	dmae_ring_resp(&cq->ring, &resp.ring);
	return ib_copy_to_udata(udata, &resp, sizeof(resp));
}

int dmae_create_cq(struct ib_cq *ibcq, const struct ib_cq_init_attr *attr,
		   struct uverbs_attr_bundle *attrs)
{
	struct ib_udata *udata = attrs ? &attrs->driver_udata : NULL;
	struct dmae_cq *cq = to_dcq(ibcq);
	int err;

	if (attr->flags || !dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;
	if (!attr->cqe || attr->cqe > DMAE_MAX_CQE)
		return -EINVAL;

	spin_lock_init(&cq->lock);
	cq->is_user = udata;
	err = dmae_ring_alloc(&cq->ring, attr->cqe, sizeof(struct dmae_cqe),
			      dmae_udata_uctx(udata));
	if (err)
		return err;
	ibcq->cqe = cq->ring.depth;

	if (udata) {
		err = dmae_cq_resp(cq, udata);
	} else {
		cq->qps = kvcalloc(cq->ring.depth, sizeof(*cq->qps),
				   GFP_KERNEL);
		err = cq->qps ? 0 : -ENOMEM;
	}
	if (err)
		dmae_ring_free(&cq->ring);
	return err;
}

int dmae_destroy_cq(struct ib_cq *ibcq, struct ib_udata *udata)
{
	struct dmae_cq *cq = to_dcq(ibcq);

	kvfree(cq->qps);
	dmae_ring_free(&cq->ring);
	return 0;
}
