// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queue pairs: their life, states and attributes
 *
 * The end of a QP. In the reset state nobody takes from its queues, nor finds it
 * a peer that answers. When what is under way has ended (dmae_qp_is_idle()),
 * the work may run no more, and what the last completion does under qp->lock is
 * over, only peers may have references that have not come to look at the
 * state: they are waited for.
 */
#include <linux/cache.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dmae.h"

enum {
	DMAE_QPN_GSI = 1,
	DMAE_QPN_FIRST = 2,
	DMAE_QPN_LAST = (1 << 24) - 2,	/* the one after it is multicast */
};

/* ---- references ---- */

/* What is in the array has not been freed: dmae_destroy_qp() erases it first. */
struct dmae_qp *dmae_qp_get(struct dmae_dev *dev, u32 qpn)
{
	unsigned long flags;
	struct dmae_qp *qp;

	xa_lock_irqsave(&dev->qps, flags);
	qp = xa_load(&dev->qps, qpn);
	if (qp && !refcount_inc_not_zero(&qp->refs))
		qp = NULL;
	xa_unlock_irqrestore(&dev->qps, flags);
	return qp;
}

void dmae_qp_put(struct dmae_qp *qp)
{
	if (refcount_dec_and_test(&qp->refs))
		complete(&qp->unused);
}

/* ---- states ---- */

void dmae_qp_event(struct dmae_qp *qp, enum ib_event_type event)
{
	set_bit(event, &qp->events);
	dmae_qp_kick(qp);
}

/* Under qp->lock. The caller kicks the QP after it, or runs it. */
static void dmae_qp_set_state(struct dmae_qp *qp, enum ib_qp_state state)
{
	if (state == IB_QPS_SQD && qp->state != state)
		qp->sq_draining = true;
	if (state != IB_QPS_SQD)
		qp->sq_draining = false;
	/*
	 * From now on what is posted to receive has to be flushed. Who posts
	 * looks at it after a barrier, and dmae_rq_flush(), which follows, has
	 * one before it looks for what was posted.
	 */
	if (state == IB_QPS_ERR && !qp->srq)
		WRITE_ONCE(qp->rq.ring.ring->doorbell, 1);
	WRITE_ONCE(qp->state, state);
	wake_up(&qp->idle);
	dmae_park_kick_waiters(qp);
}

void dmae_qp_fail(struct dmae_qp *qp, enum ib_event_type event)
{
	unsigned long flags;

	spin_lock_irqsave(&qp->lock, flags);
	if (qp->state != IB_QPS_RESET && qp->state != IB_QPS_ERR) {
		dmae_qp_set_state(qp, IB_QPS_ERR);
		if (event)
			set_bit(event, &qp->events);
		dmae_qp_kick(qp);
	}
	spin_unlock_irqrestore(&qp->lock, flags);
}

void dmae_qp_fail_sq(struct dmae_qp *qp)
{
	unsigned long flags;

	spin_lock_irqsave(&qp->lock, flags);
	if (qp->state == IB_QPS_RTS || qp->state == IB_QPS_SQD) {
		dmae_qp_set_state(qp, IB_QPS_SQE);
		dmae_qp_kick(qp);
	}
	spin_unlock_irqrestore(&qp->lock, flags);
}

static bool dmae_qp_is_quiet(const struct dmae_qp *qp)
{
	return dmae_qp_is_idle(qp) || !dmae_qp_is_flushed(qp);
}

/*
 * Until nothing of a QP is under way, or it was made to go on. That depends on the
 * channel, which may be broken, and on nobody's page: what is parked ends.
 */
void dmae_qp_wait_idle(struct dmae_qp *qp)
{
	dma_cookie_t progress = 0;

	while (!wait_event_timeout(qp->idle, dmae_qp_is_quiet(qp),
				   DMAE_CHAN_TIMEOUT))
		dmae_chan_check(to_ddev(qp->ibqp.device), &progress);
}

static void dmae_qp_wait_unused(struct dmae_qp *qp)
{
	dma_cookie_t progress = 0;

	while (!wait_for_completion_timeout(&qp->unused, DMAE_CHAN_TIMEOUT))
		dmae_chan_check(to_ddev(qp->ibqp.device), &progress);
}

/* To the reset state, until nothing is under way. May sleep. */
static void dmae_qp_stop(struct dmae_qp *qp)
{
	unsigned long flags;

	spin_lock_irqsave(&qp->lock, flags);
	dmae_qp_set_state(qp, IB_QPS_RESET);
	spin_unlock_irqrestore(&qp->lock, flags);
	dmae_qp_kick(qp);
	dmae_qp_wait_idle(qp);
}

static void dmae_ring_reset(struct dmae_ring *ring)
{
	WRITE_ONCE(ring->producer, 0);
	WRITE_ONCE(ring->consumer, 0);
	WRITE_ONCE(ring->doorbell, 0);
}

/* As dmae_create_qp() left it. After dmae_qp_stop(). */
static void dmae_qp_reset(struct dmae_qp *qp)
{
	mutex_lock(&qp->run_lock);
	qp->sq_consumer = 0;
	dmae_ring_reset(qp->sq.ring);
	qp->waiting = false;
	qp->last_wqe = false;
	if (!qp->srq) {
		spin_lock_irq(&qp->rq.lock);
		qp->rq.consumer = 0;
		dmae_ring_reset(qp->rq.ring.ring);
		spin_unlock_irq(&qp->rq.lock);
	}

	spin_lock_irq(&qp->lock);
	qp->attr = (struct ib_qp_attr) { .cap = qp->attr.cap };
	qp->peer_local = false;
	qp->sqd_notify = false;
	qp->comm_est = false;
	qp->flushing = false;
	qp->stall = 0;
	qp->events = 0;
	spin_unlock_irq(&qp->lock);
	mutex_unlock(&qp->run_lock);
}

/* ---- attributes ---- */

static bool dmae_attr_is_ok(const struct ib_qp_attr *attr, int mask)
{
	if ((mask & IB_QP_PORT) && attr->port_num != 1)
		return false;
	if ((mask & IB_QP_PKEY_INDEX) && attr->pkey_index)
		return false;
	if ((mask & IB_QP_PATH_MTU) &&
	    (attr->path_mtu < IB_MTU_256 || attr->path_mtu > IB_MTU_4096))
		return false;
	if ((mask & IB_QP_TIMEOUT) && attr->timeout > 31)
		return false;
	if ((mask & IB_QP_RETRY_CNT) && attr->retry_cnt > 7)
		return false;
	if ((mask & IB_QP_RNR_RETRY) && attr->rnr_retry > 7)
		return false;
	if ((mask & IB_QP_MIN_RNR_TIMER) && attr->min_rnr_timer > 31)
		return false;
	if ((mask & IB_QP_MAX_QP_RD_ATOMIC) &&
	    attr->max_rd_atomic > DMAE_MAX_RD_ATOMIC)
		return false;
	return !(mask & IB_QP_MAX_DEST_RD_ATOMIC) ||
	       attr->max_dest_rd_atomic <= DMAE_MAX_RD_ATOMIC;
}

static void dmae_attr_set_path(struct ib_qp_attr *to,
			       const struct ib_qp_attr *attr, int mask)
{
	if (mask & IB_QP_AV) {
		to->ah_attr = attr->ah_attr;
		/* The core keeps the reference to it. */
		to->ah_attr.grh.sgid_attr = NULL;
	}
	if (mask & IB_QP_PORT)
		to->port_num = attr->port_num;
	if (mask & IB_QP_PATH_MTU)
		to->path_mtu = attr->path_mtu;
	if (mask & IB_QP_PATH_MIG_STATE)
		to->path_mig_state = attr->path_mig_state;
	if (mask & IB_QP_DEST_QPN)
		to->dest_qp_num = attr->dest_qp_num;
	if (mask & IB_QP_QKEY)
		to->qkey = attr->qkey;
	if (mask & IB_QP_RQ_PSN)
		to->rq_psn = attr->rq_psn;
	if (mask & IB_QP_SQ_PSN)
		to->sq_psn = attr->sq_psn;
}

static void dmae_attr_set(struct ib_qp_attr *to, const struct ib_qp_attr *attr,
			  int mask)
{
	dmae_attr_set_path(to, attr, mask);
	if (mask & IB_QP_ACCESS_FLAGS)
		to->qp_access_flags = attr->qp_access_flags;
	if (mask & IB_QP_TIMEOUT)
		to->timeout = attr->timeout;
	if (mask & IB_QP_RETRY_CNT)
		to->retry_cnt = attr->retry_cnt;
	if (mask & IB_QP_RNR_RETRY)
		to->rnr_retry = attr->rnr_retry;
	if (mask & IB_QP_MIN_RNR_TIMER)
		to->min_rnr_timer = attr->min_rnr_timer;
	if (mask & IB_QP_MAX_QP_RD_ATOMIC)
		to->max_rd_atomic = attr->max_rd_atomic;
	if (mask & IB_QP_MAX_DEST_RD_ATOMIC)
		to->max_dest_rd_atomic = attr->max_dest_rd_atomic;
}

/*
 * The state may change under it, to an error: what is right is found out and
 * done in one section. The new state, or an error.
 */
static int dmae_qp_modify_locked(struct dmae_qp *qp,
				 const struct ib_qp_attr *attr, int mask,
				 bool peer_local)
{
	enum ib_qp_state next = mask & IB_QP_STATE ? attr->qp_state : qp->state;

	lockdep_assert_held(&qp->lock);
	if ((mask & IB_QP_CUR_STATE) && attr->cur_qp_state != qp->state)
		return -EINVAL;
	if (!ib_modify_qp_is_ok(qp->state, next, qp->ibqp.qp_type, mask))
		return -EINVAL;
	if (!dmae_attr_is_ok(attr, mask))
		return -EINVAL;

	dmae_attr_set(&qp->attr, attr, mask);
	if (mask & IB_QP_AV)
		qp->peer_local = peer_local;
	if (mask & IB_QP_EN_SQD_ASYNC_NOTIFY)
		qp->sqd_notify = attr->en_sqd_async_notify;
	if (qp->state == IB_QPS_SQE && next == IB_QPS_RTS)
		qp->flushing = false;
	if (mask & IB_QP_STATE)
		dmae_qp_set_state(qp, next);
	return next;
}

static int dmae_qp_modify(struct dmae_qp *qp, const struct ib_qp_attr *attr,
			  int mask)
{
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);
	bool peer_local = false;
	int state;

	if (mask & IB_QP_AV)
		peer_local = dmae_gid_is_local(dev, &attr->ah_attr.grh.dgid);

	spin_lock_irq(&qp->lock);
	state = dmae_qp_modify_locked(qp, attr, mask, peer_local);
	spin_unlock_irq(&qp->lock);
	if (state < 0)
		return state;

	if (state == IB_QPS_RESET) {
		dmae_qp_stop(qp);
		dmae_qp_reset(qp);
	} else if (mask & IB_QP_STATE) {
		/* To RTS: begin. To an error: flush. To SQD: perhaps drained. */
		dmae_qp_run_now(qp);
	}
	return 0;
}

int dmae_modify_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask,
		   struct ib_udata *udata)
{
	struct dmae_qp *qp = to_dqp(ibqp);
	int err;

	if ((mask & (~IB_QP_ATTR_STANDARD_BITS | IB_QP_CAP | IB_QP_ALT_PATH)) ||
	    !dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;

	/* Of two that reset it, the second does nothing while the first waits. */
	mutex_lock(&qp->modify_lock);
	err = dmae_qp_modify(qp, attr, mask);
	mutex_unlock(&qp->modify_lock);
	return err;
}

int dmae_query_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask,
		  struct ib_qp_init_attr *init)
{
	struct dmae_qp *qp = to_dqp(ibqp);

	spin_lock_irq(&qp->lock);
	*attr = qp->attr;
	attr->qp_state = qp->state;
	attr->cur_qp_state = qp->state;
	attr->sq_draining = qp->sq_draining;
	attr->en_sqd_async_notify = qp->sqd_notify;
	spin_unlock_irq(&qp->lock);

	init->event_handler = ibqp->event_handler;
	init->qp_context = ibqp->qp_context;
	init->send_cq = ibqp->send_cq;
	init->recv_cq = ibqp->recv_cq;
	init->srq = ibqp->srq;
	init->cap = attr->cap;
	init->sq_sig_type = qp->sq_sig_all ? IB_SIGNAL_ALL_WR :
					     IB_SIGNAL_REQ_WR;
	init->qp_type = ibqp->qp_type;
	init->port_num = 1;
	return 0;
}

/* ---- create and destroy ---- */

static int dmae_qp_check(const struct ib_qp_init_attr *attr, bool is_user)
{
	const struct ib_qp_cap *cap = &attr->cap;

	switch (attr->qp_type) {
	case IB_QPT_RC:
	case IB_QPT_UC:
	case IB_QPT_UD:
		break;
	case IB_QPT_GSI:
		if (is_user)
			return -EPERM;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (attr->create_flags || attr->rwq_ind_tbl)
		return -EOPNOTSUPP;
	if (cap->max_send_wr > DMAE_MAX_QP_WR ||
	    cap->max_send_sge > DMAE_MAX_SGE ||
	    cap->max_inline_data > DMAE_MAX_INLINE)
		return -EINVAL;
	if (!attr->srq && (cap->max_recv_wr > DMAE_MAX_QP_WR ||
			   cap->max_recv_sge > DMAE_MAX_SGE))
		return -EINVAL;
	return 0;
}

static void dmae_qp_init(struct dmae_qp *qp, const struct ib_qp_init_attr *attr,
			 bool is_user)
{
	qp->is_user = is_user;
	qp->sq_sig_all = attr->sq_sig_type == IB_SIGNAL_ALL_WR;
	qp->max_send_sge = attr->cap.max_send_sge;
	qp->max_inline = attr->cap.max_inline_data;
	qp->srq = attr->srq ? to_dsrq(attr->srq) : NULL;
	qp->state = IB_QPS_RESET;
	refcount_set(&qp->refs, 1);
	init_completion(&qp->unused);
	mutex_init(&qp->modify_lock);
	mutex_init(&qp->run_lock);
	spin_lock_init(&qp->sq_post_lock);
	spin_lock_init(&qp->lock);
	init_waitqueue_head(&qp->idle);
	INIT_DELAYED_WORK(&qp->run, dmae_qp_work);
	dmae_park_init(qp);
}

static int dmae_qp_alloc_slots(struct dmae_qp *qp)
{
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);

	qp->slot_size = max(qp->max_inline, 2 * sizeof(u64));
	if (dmae_qp_is_datagram(qp))
		qp->slot_size = qp->max_inline + DMAE_GRH_LEN;
	qp->slot_size = ALIGN(qp->slot_size, sizeof(u64));
	qp->slots = dma_alloc_coherent(dev->dma_device,
				       DMAE_WINDOW * qp->slot_size,
				       &qp->slots_dma, GFP_KERNEL_ACCOUNT);
	return qp->slots ? 0 : -ENOMEM;
}

static void dmae_qp_free_slots(struct dmae_qp *qp)
{
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);

	dma_free_coherent(dev->dma_device, DMAE_WINDOW * qp->slot_size,
			  qp->slots, qp->slots_dma);
}

static int dmae_qp_alloc_rings(struct dmae_qp *qp, const struct ib_qp_cap *cap,
			       struct ib_ucontext *uctx)
{
	u32 stride = sizeof(struct dmae_send_wqe) +
		     max(qp->max_send_sge * (u32)sizeof(struct dmae_sge),
			 qp->max_inline);
	int err;

	err = dmae_ring_alloc(&qp->sq, cap->max_send_wr,
			      ALIGN(stride, L1_CACHE_BYTES), uctx);
	if (err || qp->srq)
		return err;
	err = dmae_rq_init(&qp->rq, cap->max_recv_wr, cap->max_recv_sge, uctx);
	if (err)
		dmae_ring_free(&qp->sq);
	return err;
}

static void dmae_qp_free_rings(struct dmae_qp *qp)
{
	dmae_ring_free(&qp->sq);
	if (!qp->srq)
		dmae_rq_free(&qp->rq);
}

static int dmae_qp_alloc(struct dmae_qp *qp, const struct ib_qp_cap *cap,
			 struct ib_ucontext *uctx)
{
	int err;

	qp->ops = kvcalloc(DMAE_WINDOW, sizeof(*qp->ops), GFP_KERNEL_ACCOUNT);
	if (!qp->ops)
		return -ENOMEM;
	err = dmae_qp_alloc_slots(qp);
	if (err)
		goto free_ops;
	err = dmae_qp_alloc_rings(qp, cap, uctx);
	if (err)
		goto free_slots;
	return 0;

free_slots:
	dmae_qp_free_slots(qp);
free_ops:
	kvfree(qp->ops);
	return err;
}

static void dmae_qp_free(struct dmae_qp *qp)
{
	dmae_qp_free_rings(qp);
	dmae_qp_free_slots(qp);
	kvfree(qp->ops);
}

/* What the rings really hold. */
static void dmae_qp_set_cap(struct dmae_qp *qp, struct ib_qp_cap *cap)
{
	cap->max_send_wr = qp->sq.depth;
	if (qp->srq) {
		cap->max_recv_wr = 0;
		cap->max_recv_sge = 0;
	} else {
		cap->max_recv_wr = qp->rq.ring.depth;
	}
	qp->attr.cap = *cap;
}

static int dmae_qp_resp(struct dmae_qp *qp, struct ib_udata *udata)
{
	struct dmae_create_qp_resp resp = {};

	if (udata->outlen < sizeof(resp))
		return -EINVAL;
	dmae_ring_resp(&qp->sq, &resp.sq);
	if (!qp->srq)
		dmae_ring_resp(&qp->rq.ring, &resp.rq);
	return ib_copy_to_udata(udata, &resp, sizeof(resp));
}

/* Peers can find it from here on, but it does not answer in the reset state. */
static int dmae_qp_number(struct dmae_qp *qp)
{
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);
	int err;

	if (qp->ibqp.qp_type == IB_QPT_GSI) {
		qp->ibqp.qp_num = DMAE_QPN_GSI;
		return xa_insert_irq(&dev->qps, DMAE_QPN_GSI, qp, GFP_KERNEL);
	}
	err = xa_alloc_cyclic_irq(&dev->qps, &qp->ibqp.qp_num, qp,
				  XA_LIMIT(DMAE_QPN_FIRST, DMAE_QPN_LAST),
				  &dev->next_qpn, GFP_KERNEL);
	return min(err, 0);
}

int dmae_create_qp(struct ib_qp *ibqp, struct ib_qp_init_attr *attr,
		   struct ib_udata *udata)
{
	struct dmae_qp *qp = to_dqp(ibqp);
	int err;

	if (!dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;
	err = dmae_qp_check(attr, udata);
	if (err)
		return err;
	dmae_qp_init(qp, attr, udata);
	err = dmae_qp_alloc(qp, &attr->cap, dmae_udata_uctx(udata));
	if (err)
		return err;
	dmae_qp_set_cap(qp, &attr->cap);
	if (udata)
		err = dmae_qp_resp(qp, udata);
	if (!err)
		err = dmae_qp_number(qp);
	if (err)
		dmae_qp_free(qp);
	return err;
}

int dmae_destroy_qp(struct ib_qp *ibqp, struct ib_udata *udata)
{
	struct dmae_dev *dev = to_ddev(ibqp->device);
	struct dmae_qp *qp = to_dqp(ibqp);

	dmae_qp_stop(qp);
	disable_delayed_work_sync(&qp->run);
	/* See above: who made it idle has left. */
	spin_lock_irq(&qp->lock);
	spin_unlock_irq(&qp->lock);

	dmae_qp_put(qp);
	dmae_qp_wait_unused(qp);
	xa_erase_irq(&dev->qps, ibqp->qp_num);
	dmae_qp_free(qp);
	return 0;
}

/* ---- the device goes ---- */

void dmae_qps_shut_down(struct dmae_dev *dev)
{
	struct dmae_qp *qp;
	unsigned long qpn;
	void *entry;

	/* All first: then none waits for another. */
	xa_for_each(&dev->qps, qpn, entry) {
		qp = dmae_qp_get(dev, qpn);
		if (!qp)
			continue;
		/* ULPs that go with the device need not be told. */
		dmae_qp_fail(qp, qp->is_user ? IB_EVENT_QP_FATAL : 0);
		dmae_qp_put(qp);
	}
	xa_for_each(&dev->qps, qpn, entry) {
		qp = dmae_qp_get(dev, qpn);
		if (!qp)
			continue;
		dmae_qp_flush(qp);
		dmae_qp_put(qp);
	}
}
