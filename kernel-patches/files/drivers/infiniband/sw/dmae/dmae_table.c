// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The translation table of an MR, and who uses what is in it.
 *
 * An entry is a power of two of pages, naturally aligned by page number, that
 * are contiguous for the channel. Its value is the DMA address of the first,
 * and whether they may be written.
 *
 * Two counters of what is in flight suffice, because one zap follows the other
 * (zap_mutex). What is translated is counted in the counter of the epoch. A
 * zap takes entries out and then turns the epoch. Who used one of them was
 * counted before that, and in no other counter than that of the epoch that
 * ends: the other one was waited for, until it was zero, by the zap before,
 * and nobody was counted there since. So the zap waits for one counter, and
 * everybody who comes meanwhile is counted in the other.
 *
 * A span that was counted before and translates more when the epoch has turned
 * stays in the old counter. It is waited for by the zap that turned it, and so
 * before the next zap, which is the first that could take out what it found.
 *
 * Filling may take entries out, too, and does not wait: what they translate to
 * stays mapped. A zap therefore waits whether or not it finds an entry.
 */
#include <linux/dma-mapping.h>
#include <linux/log2.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>

#include "dmae_mr.h"

/* What is done at a time with interrupts off. */
enum {
	MERGE_ENTRIES = 64,
	ZAP_ENTRIES = 256,
};

void dmae_table_init(struct dmae_mr *mr)
{
	xa_init_flags(&mr->table, XA_FLAGS_LOCK_IRQ | XA_FLAGS_ACCOUNT);
	mutex_init(&mr->zap_mutex);
	init_waitqueue_head(&mr->drained);
}

/* ---- entries, under the table's lock ---- */

static void *entry_value(dma_addr_t dma, bool write)
{
	return xa_mk_value((dma >> PAGE_SHIFT) << 1 | write);
}

static unsigned long entry_end(const struct dmae_entry *entry)
{
	return entry->first + entry->npages;
}

static dma_addr_t entry_dma(const struct dmae_entry *entry, unsigned long page)
{
	return entry->dma + ((dma_addr_t)(page - entry->first) << PAGE_SHIFT);
}

/* The first entry that has a page of [first, last]. */
static bool entry_find(struct xa_state *xas, unsigned long first,
		       unsigned long last, struct dmae_entry *entry)
{
	unsigned long value;
	void *found;

	xas_set(xas, first);
	found = xas_find(xas, last);
	if (!found)
		return false;

	value = xa_to_value(found);
	entry->npages = 1UL << xas_get_order(xas);
	entry->first = xas->xa_index & ~(entry->npages - 1);
	entry->dma = (dma_addr_t)(value >> 1) << PAGE_SHIFT;
	entry->write = value & 1;
	return true;
}

/* Take out what has a page of [first, last], @max entries at most. */
static unsigned int entries_erase(struct dmae_mr *mr, unsigned long first,
				  unsigned long last, unsigned int max)
{
	XA_STATE(xas, &mr->table, first);
	struct dmae_entry entry;
	unsigned int nr;

	for (nr = 0; nr < max && entry_find(&xas, first, last, &entry); nr++)
		xas_store(&xas, NULL);
	mr->entries -= nr;
	return nr;
}

static int entry_store(struct dmae_mr *mr, unsigned long first,
		       unsigned int order, dma_addr_t dma, bool write)
{
	XA_STATE(xas, &mr->table, first);
	unsigned long last = first + (1UL << order) - 1;
	struct dmae_entry old;

	if (entry_find(&xas, first, last, &old)) {
		if (old.first <= first && entry_end(&old) > last &&
		    old.write == write && entry_dma(&old, first) == dma)
			return 0;
		/*
		 * As a whole, so that nothing is left that a part of was
		 * replaced. The rest of a larger one is faulted in again.
		 */
		entries_erase(mr, first, last, UINT_MAX);
	}

	xas_set_order(&xas, first, order);
	xas.xa_alloc = mr->spare;
	xas_store(&xas, entry_value(dma, write));
	mr->spare = xas.xa_alloc;
	if (xas_error(&xas))
		return xas_error(&xas);
	mr->entries++;
	return 0;
}

/* ---- filling ---- */

int dmae_table_fill(struct dmae_mr *mr, unsigned long first,
		    unsigned long npages, dma_addr_t dma, bool write)
{
	unsigned long flags, chunk;
	unsigned int order;
	int err;

	if (!IS_ALIGNED(dma, PAGE_SIZE))
		return -EINVAL;

	while (npages) {
		order = ilog2(npages);
		if (first)
			order = min_t(unsigned int, order, __ffs(first));
		chunk = 1UL << order;

		/* Who translates meanwhile finds a part of it. */
		xa_lock_irqsave(&mr->table, flags);
		err = entry_store(mr, first, order, dma, write);
		xa_unlock_irqrestore(&mr->table, flags);
		if (err)
			return err;

		first += chunk;
		npages -= chunk;
		dma += (dma_addr_t)chunk << PAGE_SHIFT;
	}
	return 0;
}

/*
 * One node is enough to get on: what dmae_table_fill() has entered before it
 * ran out of memory it leaves alone when it is called again.
 */
int dmae_table_reserve(struct dmae_mr *mr)
{
	XA_STATE(xas, &mr->table, 0);
	unsigned long flags;

	xas_set_err(&xas, -ENOMEM);
	if (!xas_nomem(&xas, GFP_KERNEL))
		return -ENOMEM;

	xa_lock_irqsave(&mr->table, flags);
	swap(mr->spare, xas.xa_alloc);
	xa_unlock_irqrestore(&mr->table, flags);

	xas_nomem(&xas, GFP_KERNEL);	/* frees the old one, if any */
	return 0;
}

int dmae_fill_end(struct dmae_fill *fill)
{
	struct dmae_entry *run = &fill->run;
	int err;

	do {
		err = dmae_table_fill(fill->mr, run->first, run->npages,
				      run->dma, run->write);
	} while (err == -ENOMEM && fill->may_sleep &&
		 !dmae_table_reserve(fill->mr));
	run->npages = 0;
	return err;
}

int dmae_fill_pages(struct dmae_fill *fill, unsigned long first,
		    unsigned long npages, dma_addr_t dma, bool write)
{
	struct dmae_entry *run = &fill->run;
	int err;

	if (run->npages && entry_end(run) == first && run->write == write &&
	    entry_dma(run, first) == dma) {
		run->npages += npages;
		return 0;
	}

	err = dmae_fill_end(fill);
	*run = (struct dmae_entry) {
		.first = first,
		.npages = npages,
		.dma = dma,
		.write = write,
	};
	return err;
}

int dmae_check_bounce(struct dmae_mr *mr, dma_addr_t dma)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);

	if (likely(!dev->may_bounce) || !dma_need_sync(dev->dma_device, dma))
		return 0;
	ibdev_notice_ratelimited(&dev->ib_dev,
				 "no MR for memory that the DMA channel, with %u bits, does not reach: it needs an IOMMU (%d)\n",
				 fls64(dma_get_mask(dev->dma_device)),
				 -EREMOTEIO);
	return -EREMOTEIO;
}

int dmae_fill_sgt(struct dmae_mr *mr, struct sg_table *sgt)
{
	struct dmae_fill fill = { .mr = mr, .may_sleep = true };
	bool write = mr->umem->writable;
	unsigned long first = 0, npages;
	struct scatterlist *sg;
	int i, err;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		/* Exporters of dma-bufs have whole pages, or should. */
		if (!IS_ALIGNED(sg_dma_len(sg), PAGE_SIZE))
			return -EINVAL;
		npages = sg_dma_len(sg) >> PAGE_SHIFT;
		err = dmae_check_bounce(mr, sg_dma_address(sg)) ?:
		      dmae_fill_pages(&fill, first, npages, sg_dma_address(sg),
				      write);
		if (err)
			return err;
		first += npages;
	}
	return dmae_fill_end(&fill);
}

/* ---- translating ---- */

/* What follows a page and is contiguous is merged, up to len bytes. */
static int table_translate(struct dmae_mr *mr, u64 pos, u32 len, bool write,
			   dma_addr_t *dma, u32 *contiguous)
{
	unsigned long page = pos >> PAGE_SHIFT;
	XA_STATE(xas, &mr->table, page);
	dma_addr_t start = 0, next = 0;
	struct dmae_entry entry;
	unsigned int nr;
	u64 bytes = 0;

	for (nr = 0; nr < MERGE_ENTRIES && bytes < len; nr++) {
		if (!entry_find(&xas, page, page, &entry) ||
		    (write && !entry.write))
			break;
		if (!nr)
			start = entry_dma(&entry, page) + offset_in_page(pos);
		else if (entry.dma != next)
			break;
		page = entry_end(&entry);
		next = entry_dma(&entry, page);
		bytes = ((u64)page << PAGE_SHIFT) - pos;
	}
	if (!bytes)
		return -EFAULT;

	*dma = start;
	*contiguous = min_t(u64, bytes, len);
	return 0;
}

static int mr_translate(struct dmae_mr *mr, const struct dmae_span *span,
			u32 offset, dma_addr_t *dma, u32 *len)
{
	u64 addr = span->addr + offset;
	u32 left = span->len - offset;

	if (!mr->valid || mr->generation != span->generation)
		return -EFAULT;

	if (mr->kind == DMAE_MR_DMA) {
		*dma = addr;
		*len = left;
		return 0;
	}

	/* An FRMR that got another range under the same key is the reason. */
	if (!dmae_mr_covers(mr, addr, left))
		return -EFAULT;
	return table_translate(mr, addr - mr->iova + mr->first_offset, left,
			       span->write, dma, len);
}

int dmae_span_translate(struct dmae_span *span, u32 offset, dma_addr_t *dma,
			u32 *len)
{
	struct dmae_mr *mr = span->mr;
	unsigned long flags;
	int err;

	if (!mr) {
		*dma = span->addr + offset;
		*len = span->len - offset;
		return 0;
	}

	xa_lock_irqsave(&mr->table, flags);
	err = mr_translate(mr, span, offset, dma, len);
	if (!err && span->hold < 0) {
		span->hold = mr->epoch & 1;
		mr->inflight[span->hold]++;
	}
	xa_unlock_irqrestore(&mr->table, flags);
	return err;
}

void dmae_span_release(struct dmae_span *span)
{
	struct dmae_mr *mr = span->mr;
	unsigned long flags;
	bool wake;

	if (!mr || span->hold < 0)
		return;

	xa_lock_irqsave(&mr->table, flags);
	/* Who waits was in the queue before it looked, under the same lock. */
	wake = !--mr->inflight[span->hold] && waitqueue_active(&mr->drained);
	xa_unlock_irqrestore(&mr->table, flags);
	span->hold = -1;

	/* The span's reference keeps mr, whatever the zap goes on with. */
	if (wake)
		wake_up(&mr->drained);
}

/* ---- taking out ---- */

static bool table_drained(struct dmae_mr *mr, unsigned int hold)
{
	unsigned long flags;
	bool drained;

	xa_lock_irqsave(&mr->table, flags);
	drained = !mr->inflight[hold];
	xa_unlock_irqrestore(&mr->table, flags);
	return drained;
}

/*
 * Nobody waits for this wait to be interrupted: an invalidation cannot fail.
 * It ends, as the channel either finishes or is aborted, and all that is in
 * flight with it.
 */
static void table_wait(struct dmae_mr *mr, unsigned int hold)
{
	dma_cookie_t progress = 0;

	while (!wait_event_timeout(mr->drained, table_drained(mr, hold),
				   DMAE_CHAN_TIMEOUT))
		dmae_chan_check(to_ddev(mr->ibmr.device), &progress);
}

void dmae_table_zap(struct dmae_mr *mr, unsigned long first,
		    unsigned long last)
{
	unsigned int nr, hold;
	unsigned long flags;

	/* Held in reclaim: nothing that allocates may be called under it. */
	mutex_lock(&mr->zap_mutex);

	/*
	 * All go before the epoch turns. Who found one before it went is
	 * counted by then, and nobody finds it after.
	 */
	do {
		xa_lock_irqsave(&mr->table, flags);
		nr = entries_erase(mr, first, last, ZAP_ENTRIES);
		xa_unlock_irqrestore(&mr->table, flags);
	} while (nr == ZAP_ENTRIES);

	xa_lock_irqsave(&mr->table, flags);
	hold = mr->epoch++ & 1;
	xa_unlock_irqrestore(&mr->table, flags);

	table_wait(mr, hold);
	mutex_unlock(&mr->zap_mutex);
}

/* ---- the rest ---- */

bool dmae_table_next(struct dmae_mr *mr, unsigned long first,
		     struct dmae_entry *entry)
{
	XA_STATE(xas, &mr->table, first);
	unsigned long flags;
	bool found;

	xa_lock_irqsave(&mr->table, flags);
	found = entry_find(&xas, first, ULONG_MAX, entry);
	xa_unlock_irqrestore(&mr->table, flags);
	return found;
}

void dmae_table_free_spare(struct dmae_mr *mr)
{
	XA_STATE(xas, &mr->table, 0);

	swap(mr->spare, xas.xa_alloc);
	xas_nomem(&xas, GFP_KERNEL);	/* frees it */
}

/* Nobody uses it any more. */
void dmae_table_free(struct dmae_mr *mr)
{
	xa_destroy(&mr->table);
	mr->entries = 0;
	dmae_table_free_spare(mr);
}

#ifdef CONFIG_INFINIBAND_DMAE_KUNIT_TEST
#include "dmae_table_test.c"
#endif
