// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * From operations to descriptors of the channel
 *
 * op->pending counts the descriptors of an operation that the channel has, and
 * one more while issue_lock is held to make them. Whoever makes it 0, the
 * callback of the last one, the issuer or dmae_chan_check(), is alone with what
 * the channel had, and is the last of them to touch the operation.
 *
 * The spans are held from their translation until then, so what an invalidation
 * waits for depends on the channel alone: an operation that needs more batches,
 * or a fault, holds nothing in between.
 *
 * The channel executes in the order of submission, across all QPs. What it has is
 * limited, so that whoever waits for the end of a part of it, as an invalidation
 * does, or for his turn, does not wait for long, however much others have to copy.
 * A QP that finds no room joins the crowd. When something ends, the first of them
 * is kicked, and all when nothing is left that could end.
 */
#include "dmae.h"

enum {
	DMAE_BATCH = 64,		/* descriptors an operation may have */
	DMAE_COPY_BYTES = SZ_2M,	/* a descriptor has at most */
	DMAE_COPY_COST = SZ_64K,	/* of a descriptor, in bytes moved */
	DMAE_QUEUE_BYTES = SZ_16M,	/* and cost, that the channel has */
};

/* ---- how much the channel has ---- */

static void dmae_crowd_kick(struct dmae_dev *dev, bool all)
{
	struct dmae_qp *qp, *next;
	unsigned long flags;

	spin_lock_irqsave(&dev->crowd_lock, flags);
	list_for_each_entry_safe(qp, next, &dev->crowd, crowd) {
		dmae_qp_kick(qp);
		if (!all)
			break;
	}
	spin_unlock_irqrestore(&dev->crowd_lock, flags);
}

/* Under issue_lock, which keeps others from making it more. */
static bool dmae_queue_has_room(const struct dmae_dev *dev, size_t len)
{
	unsigned int queued = atomic_read(&dev->queued);

	return !queued || queued + len + DMAE_COPY_COST <= DMAE_QUEUE_BYTES;
}

static void dmae_op_charge(struct dmae_op *op, size_t len)
{
	op->queued += len + DMAE_COPY_COST;
	atomic_add(len + DMAE_COPY_COST, &to_ddev(op->qp->ibqp.device)->queued);
}

/* The channel is through with what it had of op. Who joins looks after that. */
static void dmae_op_uncharge(struct dmae_op *op)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);
	int left;

	if (!op->queued)
		return;
	left = atomic_sub_return(op->queued, &dev->queued);
	op->queued = 0;
	dmae_crowd_kick(dev, !left);
}

static void dmae_qp_join_crowd(struct dmae_qp *qp)
{
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);
	unsigned long flags;

	spin_lock_irqsave(&dev->crowd_lock, flags);
	list_add_tail(&qp->crowd, &dev->crowd);
	spin_unlock_irqrestore(&dev->crowd_lock, flags);
	qp->crowded = true;
	/* Against the look at the crowd of who takes off the last. */
	smp_mb();
	if (!atomic_read(&dev->queued))
		dmae_qp_kick(qp);
}

void dmae_qp_leave_crowd(struct dmae_qp *qp)
{
	struct dmae_dev *dev = to_ddev(qp->ibqp.device);
	unsigned long flags;

	if (!qp->crowded)
		return;
	qp->crowded = false;
	spin_lock_irqsave(&dev->crowd_lock, flags);
	list_del(&qp->crowd);
	spin_unlock_irqrestore(&dev->crowd_lock, flags);
}

/* ---- the end of a batch ---- */

/*
 * Under qp->lock what is written and the kick are one: dmae_destroy_qp() takes
 * it once more before it frees the QP, however fast the run was that saw the
 * store.
 */
static void dmae_batch_is_part(struct dmae_op *op)
{
	struct dmae_qp *qp = op->qp;
	unsigned long flags;

	dmae_op_release_spans(op);
	spin_lock_irqsave(&qp->lock, flags);
	/* The run that sees it sees op->failed and the spans, too. */
	smp_store_release(&op->in_flight, false);
	dmae_qp_kick(qp);
	spin_unlock_irqrestore(&qp->lock, flags);
}

/* For who has made op->pending 0, and is not the issuer. */
static void dmae_batch_end(struct dmae_op *op)
{
	dmae_op_uncharge(op);
	if (op->final)
		dmae_op_done(op);
	else
		dmae_batch_is_part(op);
}

static void dmae_copy_callback(void *param,
			       const struct dmaengine_result *result)
{
	struct dmae_op *op = param;

	if (result->result != DMA_TRANS_NOERROR)
		WRITE_ONCE(op->failed, true);
	if (atomic_dec_and_test(&op->pending))
		dmae_batch_end(op);
}

/* ---- descriptors: under issue_lock ---- */

/*
 * Each with an interrupt: if it turns out that the next one cannot be had, this
 * is the last of its batch. An engine that is busy has one for many anyway.
 */
static int dmae_submit(struct dmae_dev *dev, dma_addr_t dst, dma_addr_t src,
		       u32 len, dma_async_tx_callback_result callback,
		       void *param)
{
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memcpy(dev->chan, dst, src, len,
				       DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return -EAGAIN;
	tx->callback_result = callback;
	tx->callback_param = param;
	return dma_submit_error(dmaengine_submit(tx)) ? -EIO : 0;
}

static int dmae_op_submit_one(struct dmae_op *op, dma_addr_t dst,
			      dma_addr_t src, u32 len)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);
	int err;

	atomic_inc(&op->pending);
	err = dmae_submit(dev, dst, src, len, dmae_copy_callback, op);
	if (err) {
		/* Not to 0: the issuer's own is there. */
		atomic_dec(&op->pending);
		if (err == -EIO)
			WRITE_ONCE(op->failed, true);
		return err;
	}
	op->qp->unpushed = true;
	dmae_op_charge(op, len);
	atomic64_inc(&dev->stats.descriptors);
	atomic64_add(len, &dev->stats.bytes);
	return 0;
}

void dmae_qp_push(struct dmae_qp *qp)
{
	if (!qp->unpushed)
		return;
	qp->unpushed = false;
	dma_async_issue_pending(to_ddev(qp->ibqp.device)->chan);
}

/* Where an operation is in one of its lists of spans. */
struct dmae_cursor {
	struct dmae_span *span;
	u32 offset;
};

static void dmae_cursor_move(struct dmae_cursor *cursor, u32 len)
{
	len += cursor->offset;
	while (len && len >= cursor->span->len)
		len -= cursor->span++->len;
	cursor->offset = len;
}

static int dmae_cursor_translate(const struct dmae_cursor *cursor,
				 dma_addr_t *dma, u32 *len,
				 struct dmae_miss *miss)
{
	int err;

	err = dmae_span_translate(cursor->span, cursor->offset, dma, len);
	if (err) {
		miss->span = cursor->span;
		miss->offset = cursor->offset;
	}
	return err;
}

/* The next bytes that are contiguous on both sides. */
static int dmae_op_submit_next(struct dmae_op *op, struct dmae_cursor *dst,
			       struct dmae_cursor *src, struct dmae_miss *miss)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);
	dma_addr_t dst_dma, src_dma;
	u32 dst_len, src_len;
	size_t len;
	int err;

	err = dmae_cursor_translate(src, &src_dma, &src_len, miss);
	if (!err)
		err = dmae_cursor_translate(dst, &dst_dma, &dst_len, miss);
	if (err)
		return err;

	len = min3((size_t)src_len, (size_t)dst_len, dev->max_copy);
	len = min_t(size_t, len, DMAE_COPY_BYTES);
	if (!dmae_queue_has_room(dev, len))
		return -EBUSY;
	err = dmae_op_submit_one(op, dst_dma, src_dma, len);
	if (err)
		return err;
	op->issued += len;
	dmae_cursor_move(src, len);
	dmae_cursor_move(dst, len);
	return 0;
}

static int dmae_op_submit(struct dmae_op *op, struct dmae_miss *miss)
{
	struct dmae_cursor dst = { op->dst.span };
	struct dmae_cursor src = { op->src.span };
	unsigned int i;
	int err = 0;

	dmae_cursor_move(&dst, op->issued);
	dmae_cursor_move(&src, op->issued);
	for (i = 0; !err && op->issued < op->bytes && i < DMAE_BATCH; i++)
		err = dmae_op_submit_next(op, &dst, &src, miss);
	return err;
}

/* ---- the abort ---- */

/*
 * Under issue_lock nobody makes descriptors, and after dmaengine_terminate_sync()
 * no callback runs, nor will: what is counted stays so until we take it.
 */
static void dmae_op_abort(struct dmae_op *op)
{
	if (!atomic_xchg(&op->pending, 0))
		return;
	op->failed = true;
	dmae_batch_end(op);
}

static void dmae_chan_abort(struct dmae_dev *dev)
{
	unsigned long qpn;
	unsigned int i;
	void *entry;

	ibdev_err(&dev->ib_dev, "the DMA channel does not finish\n");
	dmaengine_terminate_sync(dev->chan);
	xa_for_each(&dev->qps, qpn, entry) {
		/* One that is not had any more has nothing under way. */
		struct dmae_qp *qp = dmae_qp_get(dev, qpn);

		if (!qp)
			continue;
		for (i = 0; i < DMAE_WINDOW; i++)
			dmae_op_abort(&qp->ops[i]);
		dmae_qp_put(qp);
	}
}

static bool dmae_chan_check_locked(struct dmae_dev *dev,
				   dma_cookie_t *progress)
{
	struct dma_tx_state state = {};
	dma_cookie_t seen = *progress;

	if (dmaengine_tx_status(dev->chan, dev->chan->cookie, &state) !=
	    DMA_IN_PROGRESS)
		return false;
	*progress = state.last;
	if (state.last != seen)
		return false;
	dmae_chan_abort(dev);
	return true;
}

void dmae_chan_check(struct dmae_dev *dev, dma_cookie_t *progress)
{
	mutex_lock(&dev->issue_lock);
	dmae_chan_check_locked(dev, progress);
	mutex_unlock(&dev->issue_lock);
}

/* ---- atomic operations ---- */

/*
 * The channel fetches the word into the first one of the operation's slot, the
 * CPU computes the second, and the channel brings both to where they belong.
 * issue_lock is held from before the fetch until the store is submitted, so no
 * other work of this device gets in between.
 */
struct dmae_word {
	dma_addr_t remote;
	dma_addr_t result[2];		/* which may lie across two pages */
	u32 result_len[2];
};

static int dmae_word_translate(struct dmae_op *op, struct dmae_word *word,
			       struct dmae_miss *miss)
{
	struct dmae_cursor dst = { op->dst.span };
	struct dmae_cursor src = { op->src.span };
	u32 len;
	int err;

	err = dmae_cursor_translate(&src, &word->remote, &len, miss);
	if (err)
		return err;
	if (len != sizeof(u64) || !IS_ALIGNED(word->remote, sizeof(u64)))
		return -EINVAL;

	err = dmae_cursor_translate(&dst, &word->result[0],
				    &word->result_len[0], miss);
	word->result_len[1] = 0;
	if (err || word->result_len[0] == sizeof(u64))
		return err;
	dst.offset = word->result_len[0];
	return dmae_cursor_translate(&dst, &word->result[1],
				     &word->result_len[1], miss);
}

struct dmae_fetch {
	struct completion done;
	bool failed;
};

static void dmae_fetch_callback(void *param,
				const struct dmaengine_result *result)
{
	struct dmae_fetch *fetch = param;

	fetch->failed = result->result != DMA_TRANS_NOERROR;
	complete(&fetch->done);
}

/* After an abort there is no callback that knows our stack. */
static int dmae_word_fetch(struct dmae_dev *dev, dma_addr_t dst,
			   dma_addr_t src)
{
	struct dmae_fetch fetch = {};
	dma_cookie_t progress = 0;
	int err;

	init_completion(&fetch.done);
	err = dmae_submit(dev, dst, src, sizeof(u64), dmae_fetch_callback,
			  &fetch);
	if (err)
		return err;
	dma_async_issue_pending(dev->chan);
	while (!wait_for_completion_timeout(&fetch.done, DMAE_CHAN_TIMEOUT))
		if (dmae_chan_check_locked(dev, &progress))
			return -EIO;
	return fetch.failed ? -EIO : 0;
}

static int dmae_word_store(struct dmae_op *op, const struct dmae_word *word)
{
	dma_addr_t slot = dmae_op_slot_dma(op);
	int err;

	/* The word last: if it is not to be had, nothing has happened yet. */
	err = dmae_op_submit_one(op, word->result[0], slot,
				 word->result_len[0]);
	if (!err && word->result_len[1])
		err = dmae_op_submit_one(op, word->result[1],
					 slot + word->result_len[0],
					 word->result_len[1]);
	if (!err)
		err = dmae_op_submit_one(op, word->remote, slot + sizeof(u64),
					 sizeof(u64));
	if (!err)
		op->issued = op->bytes;
	return err;
}

static void dmae_word_compute(struct dmae_op *op)
{
	u64 *word = dmae_op_slot(op);

	if (op->kind->wc == IB_WC_FETCH_ADD)
		word[1] = word[0] + op->wqe.atomic.compare_add;
	else if (word[0] == op->wqe.atomic.compare_add)
		word[1] = op->wqe.atomic.swap;
	else
		word[1] = word[0];
}

static int dmae_op_fetch(struct dmae_op *op, struct dmae_word *word,
			 struct dmae_miss *miss)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);
	int err;

	err = dmae_word_translate(op, word, miss);
	if (!err)
		err = dmae_word_fetch(dev, dmae_op_slot_dma(op), word->remote);
	if (err == -EIO)
		op->failed = true;
	if (!err)
		dmae_word_compute(op);
	return err;
}

/* ---- an operation ---- */

/*
 * A batch. On return somebody else may have it: nothing but what is returned
 * says how that went.
 */
static int dmae_op_issue_batch(struct dmae_op *op, struct dmae_miss *miss,
			       bool *final, bool *over)
{
	struct dmae_dev *dev = to_ddev(op->qp->ibqp.device);
	struct dmae_word word;
	int err = 0;

	mutex_lock(&dev->issue_lock);
	if (op->kind->atomic)
		err = dmae_op_fetch(op, &word, miss);
	/* Not before: an abort takes what is counted for the channel's. */
	atomic_set(&op->pending, 1);
	if (!err)
		err = op->kind->atomic ? dmae_word_store(op, &word) :
					 dmae_op_submit(op, miss);
	*final = op->issued == op->bytes && !op->kind->invalidate;
	op->final = *final;
	op->in_flight = true;
	*over = atomic_dec_and_test(&op->pending);
	mutex_unlock(&dev->issue_lock);
	return err;
}

int dmae_op_issue(struct dmae_op *op, struct dmae_miss *miss)
{
	bool final, over;
	int err;

	do {
		err = dmae_op_issue_batch(op, miss, &final, &over);
		if (!over)
			return final ? 0 : -EINPROGRESS;
		dmae_op_uncharge(op);
		if (final) {
			dmae_op_done(op);
			return 0;
		}
		/* Nothing came of it, or it is through: ours again. */
		op->in_flight = false;
		dmae_op_release_spans(op);
		if (op->failed)
			return 1;
	} while (!err && op->issued < op->bytes);
	if (err == -EBUSY)
		dmae_qp_join_crowd(op->qp);
	return err ?: 1;
}
