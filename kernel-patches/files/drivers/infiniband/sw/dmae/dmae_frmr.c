// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Fast registration: MRs of the kernel's ULPs, whose memory changes with work
 * requests. The memory is mapped for DMA by the ULP.
 *
 * frmr_mutex is held while an FRMR is enabled or invalidated, so that of two
 * QPs that do it at a time one comes after the other.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "dmae_mr.h"

struct ib_mr *dmae_alloc_mr(struct ib_pd *pd, enum ib_mr_type type, u32 max)
{
	struct dmae_mr *mr;

	if (type != IB_MR_TYPE_MEM_REG)
		return ERR_PTR(-EOPNOTSUPP);
	if (!max || max > DMAE_MAX_FRMR_PAGES)
		return ERR_PTR(-EINVAL);

	mr = dmae_mr_alloc(pd, DMAE_MR_FAST, 0);
	if (IS_ERR(mr))
		return ERR_CAST(mr);

	mr->frmr_pages = kvcalloc(max, sizeof(*mr->frmr_pages), GFP_KERNEL);
	if (!mr->frmr_pages) {
		dmae_mr_destroy(mr);
		return ERR_PTR(-ENOMEM);
	}
	mr->frmr_max = max;
	mutex_init(&mr->frmr_mutex);
	dmae_mr_publish(mr);
	return &mr->ibmr;
}

static int frmr_set_page(struct ib_mr *ibmr, u64 addr)
{
	struct dmae_mr *mr = to_dmr(ibmr);

	if (mr->frmr_npages == mr->frmr_max)
		return -ENOMEM;
	mr->frmr_pages[mr->frmr_npages++] = addr;
	return 0;
}

int dmae_map_mr_sg(struct ib_mr *ibmr, struct scatterlist *sg, int nents,
		   unsigned int *offset)
{
	struct dmae_mr *mr = to_dmr(ibmr);

	/* The table has pages of PAGE_SIZE. */
	if (!IS_ALIGNED(ibmr->page_size, PAGE_SIZE))
		return -EINVAL;

	mr->frmr_npages = 0;
	return ib_sg_to_pages(ibmr, sg, nents, offset, frmr_set_page);
}

static int frmr_fill(struct dmae_mr *mr)
{
	struct dmae_fill fill = { .mr = mr, .may_sleep = true };
	unsigned long npages = mr->ibmr.page_size >> PAGE_SHIFT;
	unsigned int i;
	int err;

	/* Rights are checked with the key: the table need not. */
	for (i = 0; i < mr->frmr_npages; i++) {
		err = dmae_fill_pages(&fill, i * npages, npages,
				      mr->frmr_pages[i], true);
		if (err)
			return err;
	}
	return dmae_fill_end(&fill);
}

static void frmr_set_valid(struct dmae_mr *mr, u32 key, int access)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);
	unsigned long flags;

	xa_lock_irqsave(&dev->mrs, flags);
	xa_lock(&mr->table);
	mr->access = access;
	mr->iova = mr->ibmr.iova;
	mr->length = mr->ibmr.length;
	mr->first_offset = mr->iova & (mr->ibmr.page_size - 1);
	mr->key = key;
	WRITE_ONCE(mr->generation, mr->generation + 1);
	WRITE_ONCE(mr->valid, true);
	xa_unlock(&mr->table);
	xa_unlock_irqrestore(&dev->mrs, flags);
}

/* The FRMR that it is a key of, whatever part the ULP has chosen; as its user. */
static struct dmae_mr *frmr_get(struct dmae_dev *dev, struct ib_pd *pd, u32 key)
{
	struct dmae_mr *mr;
	unsigned long flags;

	xa_lock_irqsave(&dev->mrs, flags);
	mr = xa_load(&dev->mrs, key >> 8);
	if (mr && (mr->kind != DMAE_MR_FAST || mr->pd != pd ||
		   !dmae_mr_use(mr)))
		mr = NULL;
	xa_unlock_irqrestore(&dev->mrs, flags);
	return mr;
}

int dmae_frmr_enable(struct dmae_dev *dev, struct ib_pd *pd, u32 key,
		     int access)
{
	struct dmae_mr *mr = frmr_get(dev, pd, key);
	unsigned int noio;
	int err = -EINVAL;

	if (!mr)
		return -EINVAL;

	/* Maybe for the I/O that is to free memory. */
	noio = memalloc_noio_save();
	mutex_lock(&mr->frmr_mutex);
	if (!mr->valid)
		err = frmr_fill(mr);
	if (!err)
		frmr_set_valid(mr, key, access);
	else if (!mr->valid)
		dmae_table_zap(mr, 0, ULONG_MAX);
	mutex_unlock(&mr->frmr_mutex);
	memalloc_noio_restore(noio);

	dmae_mr_unuse(mr);
	return err;
}

/* On return nothing reaches the memory. One that is invalid already may be. */
int dmae_frmr_invalidate(struct dmae_dev *dev, struct ib_pd *pd, u32 key)
{
	struct dmae_mr *mr;
	int err = 0;

	mr = frmr_get(dev, pd, key);
	if (!mr)
		return -EINVAL;

	mutex_lock(&mr->frmr_mutex);
	/* Another QP may have invalidated it and registered it anew. */
	if (mr->key != key)
		err = -EINVAL;
	else if (dmae_mr_clear_valid(mr))
		dmae_table_zap(mr, 0, ULONG_MAX);
	mutex_unlock(&mr->frmr_mutex);

	dmae_mr_unuse(mr);
	return err;
}
