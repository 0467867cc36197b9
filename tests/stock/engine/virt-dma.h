/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lsi53c895a_dma.c uses of the kernel's drivers/dma/virt-dma.h
 *
 * That one is for drivers in a kernel's source: modules find neither it nor the
 * layout of its structures. So this one brings its own, under the same names
 * and with the same meaning: descriptors that are used once, and go from one
 * list to the next.
 */
#ifndef VIRT_DMA_H
#define VIRT_DMA_H

#include <linux/dmaengine.h>
#include <linux/interrupt.h>
#include <linux/list.h>
#include <linux/spinlock.h>

struct virt_dma_desc {
	struct dma_async_tx_descriptor tx;
	struct dmaengine_result tx_result;
	struct list_head node;		/* vc.lock */
};

struct virt_dma_chan {
	struct dma_chan chan;
	struct tasklet_struct task;	/* for what is completed */
	void (*desc_free)(struct virt_dma_desc *vd);
	spinlock_t lock;		/* irqsave; for all that follows */
	struct list_head desc_allocated;
	struct list_head desc_submitted;
	struct list_head desc_issued;
	struct list_head desc_completed;
};

static inline void dma_set_residue(struct dma_tx_state *state, u32 residue)
{
	if (state)
		state->residue = residue;
}

static inline enum dma_status dma_cookie_status(struct dma_chan *chan,
						dma_cookie_t cookie,
						struct dma_tx_state *state)
{
	dma_cookie_t last = chan->completed_cookie, used = chan->cookie;

	if (state)
		*state = (struct dma_tx_state) { .last = last, .used = used };
	return dma_async_is_complete(cookie, last, used);
}

static inline struct dentry *dmaengine_get_debugfs_root(struct dma_device *dma)
{
#ifdef CONFIG_DEBUG_FS
	return dma->dbg_dev_root;
#else
	return NULL;
#endif
}

static inline void vchan_dma_desc_free_list(struct virt_dma_chan *vc,
					    struct list_head *list)
{
	struct virt_dma_desc *vd, *next;

	list_for_each_entry_safe(vd, next, list, node) {
		list_del(&vd->node);
		vc->desc_free(vd);
	}
}

static inline void vchan_call_back(struct virt_dma_desc *vd)
{
	struct dma_async_tx_descriptor *tx = &vd->tx;

	if (tx->callback_result)
		tx->callback_result(tx->callback_param, &vd->tx_result);
	else if (tx->callback)
		tx->callback(tx->callback_param);
}

static inline void vchan_complete(struct tasklet_struct *task)
{
	struct virt_dma_chan *vc = container_of(task, struct virt_dma_chan,
						task);
	struct virt_dma_desc *vd;
	LIST_HEAD(list);

	spin_lock_irq(&vc->lock);
	list_splice_init(&vc->desc_completed, &list);
	spin_unlock_irq(&vc->lock);

	list_for_each_entry(vd, &list, node)
		vchan_call_back(vd);
	vchan_dma_desc_free_list(vc, &list);
}

static inline void vchan_init(struct virt_dma_chan *vc, struct dma_device *dma)
{
	vc->chan.device = dma;
	vc->chan.cookie = DMA_MIN_COOKIE;
	vc->chan.completed_cookie = DMA_MIN_COOKIE;
	tasklet_setup(&vc->task, vchan_complete);
	spin_lock_init(&vc->lock);
	INIT_LIST_HEAD(&vc->desc_allocated);
	INIT_LIST_HEAD(&vc->desc_submitted);
	INIT_LIST_HEAD(&vc->desc_issued);
	INIT_LIST_HEAD(&vc->desc_completed);
	list_add_tail(&vc->chan.device_node, &dma->channels);
}

static inline dma_cookie_t vchan_tx_submit(struct dma_async_tx_descriptor *tx)
{
	struct virt_dma_chan *vc = container_of(tx->chan, struct virt_dma_chan,
						chan);
	struct virt_dma_desc *vd = container_of(tx, struct virt_dma_desc, tx);
	unsigned long flags;

	spin_lock_irqsave(&vc->lock, flags);
	/* Below are the errors. */
	tx->cookie = tx->chan->cookie == INT_MAX ? DMA_MIN_COOKIE :
						   tx->chan->cookie + 1;
	tx->chan->cookie = tx->cookie;
	list_move_tail(&vd->node, &vc->desc_submitted);
	spin_unlock_irqrestore(&vc->lock, flags);
	return tx->cookie;
}

static inline struct dma_async_tx_descriptor *
vchan_tx_prep(struct virt_dma_chan *vc, struct virt_dma_desc *vd,
	      unsigned long tx_flags)
{
	unsigned long flags;

	dma_async_tx_descriptor_init(&vd->tx, &vc->chan);
	vd->tx.flags = tx_flags;
	vd->tx.tx_submit = vchan_tx_submit;
	vd->tx_result.result = DMA_TRANS_NOERROR;
	vd->tx_result.residue = 0;

	spin_lock_irqsave(&vc->lock, flags);
	list_add_tail(&vd->node, &vc->desc_allocated);
	spin_unlock_irqrestore(&vc->lock, flags);
	return &vd->tx;
}

/* ---- vc.lock is held ---- */

static inline void vchan_issue_pending(struct virt_dma_chan *vc)
{
	list_splice_tail_init(&vc->desc_submitted, &vc->desc_issued);
}

static inline struct virt_dma_desc *vchan_next_desc(struct virt_dma_chan *vc)
{
	return list_first_entry_or_null(&vc->desc_issued, struct virt_dma_desc,
					node);
}

static inline struct virt_dma_desc *vchan_find_desc(struct virt_dma_chan *vc,
						    dma_cookie_t cookie)
{
	struct virt_dma_desc *vd;

	list_for_each_entry(vd, &vc->desc_issued, node)
		if (vd->tx.cookie == cookie)
			return vd;
	return NULL;
}

static inline void vchan_cookie_complete(struct virt_dma_desc *vd)
{
	struct virt_dma_chan *vc = container_of(vd->tx.chan,
						struct virt_dma_chan, chan);

	vc->chan.completed_cookie = vd->tx.cookie;
	list_add_tail(&vd->node, &vc->desc_completed);
	tasklet_schedule(&vc->task);
}

/* ---- the channel is given back: it is not, and nobody submits ---- */

static inline void vchan_synchronize(struct virt_dma_chan *vc)
{
	tasklet_kill(&vc->task);
}

static inline void vchan_free_chan_resources(struct virt_dma_chan *vc)
{
	unsigned long flags;
	LIST_HEAD(list);

	spin_lock_irqsave(&vc->lock, flags);
	list_splice_init(&vc->desc_allocated, &list);
	list_splice_init(&vc->desc_submitted, &list);
	list_splice_init(&vc->desc_issued, &list);
	list_splice_init(&vc->desc_completed, &list);
	spin_unlock_irqrestore(&vc->lock, flags);
	vchan_dma_desc_free_list(vc, &list);
}

#endif /* VIRT_DMA_H */
