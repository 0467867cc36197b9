// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory regions: their keys, what a key allows, how they come and go.
 *
 * What dmae_span_get() looks at is read and changed under the lock of dev->mrs,
 * what translation looks at under that of mr->table, which nests inside.
 */
#include <linux/debugfs.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <rdma/uverbs_ioctl.h>

#include "dmae_mr.h"

/* There are no memory windows, but saying that one may be bound is no error. */
#define DMAE_ACCESS	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | \
			 IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC | \
			 IB_ACCESS_MW_BIND | IB_ACCESS_ON_DEMAND | \
			 IB_ACCESS_OPTIONAL)

/* Key 0 of the kernel's QPs, on all devices and in all PDs. */
static struct dmae_mr dmae_local_dma_mr = {
	.kind = DMAE_MR_DMA,
	.access = IB_ACCESS_LOCAL_WRITE,
	.refs = REFCOUNT_INIT(1),
	.table = XARRAY_INIT(dmae_local_dma_mr.table, XA_FLAGS_LOCK_IRQ),
	.drained = __WAIT_QUEUE_HEAD_INITIALIZER(dmae_local_dma_mr.drained),
	.valid = true,
};

static const char *const dmae_mr_kinds[] = {
	[DMAE_MR_DMA] = "dma",
	[DMAE_MR_PINNED] = "pinned",
	[DMAE_MR_ODP] = "odp",
	[DMAE_MR_DMABUF] = "dmabuf",
	[DMAE_MR_FAST] = "fast",
};

/* ---- what a key names ---- */

static bool mr_allows(const struct dmae_mr *mr, const struct ib_pd *pd, u32 key,
		      u64 addr, u64 len, int access)
{
	/* Who races with the loss of validity learns when translating. */
	return mr->key == key && mr->pd == pd && READ_ONCE(mr->valid) &&
	       (mr->access & access) == access &&
	       (mr->kind == DMAE_MR_DMA || dmae_mr_covers(mr, addr, len));
}

bool dmae_span_get(struct dmae_span *span, struct dmae_dev *dev,
		   struct ib_pd *pd, u32 key, int access, bool is_user)
{
	struct dmae_mr *mr;
	unsigned long flags;

	if (!key) {
		mr = &dmae_local_dma_mr;
		if (is_user || (mr->access & access) != access)
			return false;
		refcount_inc(&mr->refs);
		span->mr = mr;
		return true;
	}

	xa_lock_irqsave(&dev->mrs, flags);
	mr = xa_load(&dev->mrs, key >> 8);
	if (mr && mr_allows(mr, pd, key, span->addr, span->len, access)) {
		refcount_inc(&mr->refs);
		span->mr = mr;
		span->generation = mr->generation;
	}
	xa_unlock_irqrestore(&dev->mrs, flags);
	return span->mr;
}

void dmae_mr_put(struct dmae_mr *mr)
{
	if (!refcount_dec_and_test(&mr->refs))
		return;
	/* Of somebody who went on to fill it, and found it gone. */
	dmae_table_free_spare(mr);
	kfree(mr);
}

/* ---- coming and going ---- */

/* With a key that nobody finds it by before dmae_mr_publish(). */
struct dmae_mr *dmae_mr_alloc(struct ib_pd *pd, enum dmae_mr_kind kind,
			      int access)
{
	struct dmae_dev *dev = to_ddev(pd->device);
	struct dmae_mr *mr;
	u32 index;
	int err;

	mr = kzalloc(sizeof(*mr), GFP_KERNEL_ACCOUNT);
	if (!mr)
		return ERR_PTR(-ENOMEM);

	err = xa_alloc_cyclic_irq(&dev->mrs, &index, NULL,
				  XA_LIMIT(1, GENMASK(23, 0)), &dev->next_mr,
				  GFP_KERNEL);
	if (err < 0) {
		kfree(mr);
		return ERR_PTR(err);
	}

	dmae_table_init(mr);
	refcount_set(&mr->refs, 1);
	refcount_set(&mr->users, 1);
	init_completion(&mr->unused);
	mr->kind = kind;
	mr->access = access;
	mr->pd = pd;
	mr->key = index << 8 | get_random_u8();
	mr->valid = kind != DMAE_MR_FAST;
	/* User space may guess a key before the core has set this. */
	mr->ibmr.device = pd->device;
	mr->ibmr.lkey = mr->key;
	mr->ibmr.rkey = mr->key;
	return mr;
}

void dmae_mr_publish(struct dmae_mr *mr)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);

	/* The place was reserved with the key. */
	WARN_ON(xa_is_err(xa_store_irq(&dev->mrs, mr->key >> 8, mr,
				       GFP_KERNEL)));
}

bool dmae_mr_clear_valid(struct dmae_mr *mr)
{
	unsigned long flags;
	bool was;

	xa_lock_irqsave(&mr->table, flags);
	was = mr->valid;
	WRITE_ONCE(mr->valid, false);
	xa_unlock_irqrestore(&mr->table, flags);
	return was;
}

/*
 * Operations may wait for long, for a page, a receive request or without end for
 * a retry, and keep their references meanwhile: nothing here waits for those. A
 * fault that was begun ends when the umem is released; one that comes after the
 * last user left is refused.
 */
void dmae_mr_destroy(struct dmae_mr *mr)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);

	xa_erase_irq(&dev->mrs, mr->key >> 8);
	dmae_mr_clear_valid(mr);
	dmae_mr_unuse(mr);
	wait_for_completion(&mr->unused);

	/* Nobody translates any more. Faults and invalidations may go on ... */
	dmae_table_zap(mr, 0, ULONG_MAX);
	ib_umem_release(mr->umem);
	/* ... until now. */
	dmae_table_free(mr);
	kvfree(mr->frmr_pages);
	dmae_mr_put(mr);
}

int dmae_dereg_mr(struct ib_mr *ibmr, struct ib_udata *udata)
{
	dmae_mr_destroy(to_dmr(ibmr));
	return 0;
}

/* ---- registration ---- */

struct ib_mr *dmae_get_dma_mr(struct ib_pd *pd, int access)
{
	struct dmae_mr *mr;

	mr = dmae_mr_alloc(pd, DMAE_MR_DMA, access);
	if (IS_ERR(mr))
		return ERR_CAST(mr);
	dmae_mr_publish(mr);
	return &mr->ibmr;
}

static int mr_pin(struct dmae_mr *mr, u64 start)
{
	struct ib_umem *umem;

	umem = ib_umem_get(mr->ibmr.device, start, mr->length, mr->access);
	if (IS_ERR(umem))
		return PTR_ERR(umem);
	mr->umem = umem;
	return dmae_fill_sgt(mr, &umem->sgt_append.sgt);
}

static struct dmae_mr *mr_alloc_user(struct ib_pd *pd, enum dmae_mr_kind kind,
				     u64 start, u64 length, u64 iova,
				     int access)
{
	struct dmae_mr *mr;

	if (access & ~DMAE_ACCESS)
		return ERR_PTR(-EOPNOTSUPP);
	/* Page 0 of the table has to be that of start as well. */
	if (offset_in_page(start) != offset_in_page(iova))
		return ERR_PTR(-EINVAL);

	mr = dmae_mr_alloc(pd, kind, access);
	if (IS_ERR(mr))
		return mr;
	mr->iova = iova;
	mr->length = length;
	mr->first_offset = offset_in_page(iova);
	return mr;
}

struct ib_mr *dmae_reg_user_mr(struct ib_pd *pd, u64 start, u64 length,
			       u64 iova, int access, struct ib_udata *udata)
{
	bool odp = access & IB_ACCESS_ON_DEMAND;
	struct dmae_mr *mr;
	int err;

	if (!dmae_udata_is_clear(udata))
		return ERR_PTR(-EOPNOTSUPP);
	mr = mr_alloc_user(pd, odp ? DMAE_MR_ODP : DMAE_MR_PINNED, start,
			   length, iova, access);
	if (IS_ERR(mr))
		return ERR_CAST(mr);

	err = odp ? dmae_odp_attach(mr, start) : mr_pin(mr, start);
	if (err) {
		dmae_mr_destroy(mr);
		return ERR_PTR(err);
	}
	dmae_mr_publish(mr);
	return &mr->ibmr;
}

struct ib_mr *dmae_reg_user_mr_dmabuf(struct ib_pd *pd, u64 offset, u64 length,
				      u64 iova, int fd, int access,
				      struct uverbs_attr_bundle *attrs)
{
	struct dmae_mr *mr;
	int err;

	if (!dmae_udata_is_clear(&attrs->driver_udata))
		return ERR_PTR(-EOPNOTSUPP);
	mr = mr_alloc_user(pd, DMAE_MR_DMABUF, offset, length, iova, access);
	if (IS_ERR(mr))
		return ERR_CAST(mr);

	err = dmae_dmabuf_attach(mr, offset, fd);
	if (err) {
		dmae_mr_destroy(mr);
		return ERR_PTR(err);
	}
	dmae_mr_publish(mr);
	return &mr->ibmr;
}

/*
 * Rights and PD change in place, and the generation with them: who checked the
 * old ones translates nothing any more. What is in flight by now finishes.
 */
static void mr_change(struct dmae_mr *mr, struct ib_pd *pd, int access)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);
	unsigned long flags;

	xa_lock_irqsave(&dev->mrs, flags);
	xa_lock(&mr->table);
	mr->pd = pd;
	mr->access = access;
	WRITE_ONCE(mr->generation, mr->generation + 1);
	xa_unlock(&mr->table);
	xa_unlock_irqrestore(&dev->mrs, flags);
}

struct ib_mr *dmae_rereg_user_mr(struct ib_mr *ibmr, int flags, u64 start,
				 u64 length, u64 iova, int access,
				 struct ib_pd *pd, struct ib_udata *udata)
{
	struct dmae_mr *mr = to_dmr(ibmr);
	int err;

	if (!dmae_udata_is_clear(udata))
		return ERR_PTR(-EOPNOTSUPP);
	if (flags & ~(IB_MR_REREG_TRANS | IB_MR_REREG_PD | IB_MR_REREG_ACCESS))
		return ERR_PTR(-EOPNOTSUPP);
	if (!(flags & IB_MR_REREG_ACCESS))
		access = mr->access;

	/* A new MR; the core deregisters this one. */
	if (flags & IB_MR_REREG_TRANS)
		return dmae_reg_user_mr(pd, start, length, iova, access, udata);

	if (access & ~DMAE_ACCESS)
		return ERR_PTR(-EOPNOTSUPP);
	err = ib_umem_check_rereg(mr->umem, flags, access);
	if (err)
		return ERR_PTR(err);

	/* The memory stays what it is. */
	if (mr->kind == DMAE_MR_ODP)
		access |= IB_ACCESS_ON_DEMAND;
	else if (access & IB_ACCESS_ON_DEMAND)
		return ERR_PTR(-EOPNOTSUPP);

	mr_change(mr, pd, access);
	return NULL;
}

/* ---- for administrators ---- */

/* The next MR from *index on, with a reference. */
static struct dmae_mr *mr_next(struct dmae_dev *dev, unsigned long *index)
{
	struct dmae_mr *mr;

	xa_lock_irq(&dev->mrs);
	mr = xa_find(&dev->mrs, index, ULONG_MAX, XA_PRESENT);
	if (mr)
		refcount_inc(&mr->refs);
	xa_unlock_irq(&dev->mrs);
	return mr;
}

static void mr_show_entry(struct seq_file *m, const struct dmae_mr *mr,
			  const struct dmae_entry *entry)
{
	/* In bytes from the beginning of page 0. */
	u64 start = (u64)entry->first << PAGE_SHIFT;
	u64 end = start + ((u64)entry->npages << PAGE_SHIFT);
	u64 from = max_t(u64, start, mr->first_offset);

	end = min(end, mr->first_offset + mr->length);
	seq_printf(m, "%#x %s %#llx %llu %#llx %s\n", mr->key,
		   dmae_mr_kinds[mr->kind], mr->iova + from - mr->first_offset,
		   end - from, (u64)entry->dma + from - start,
		   entry->write ? "rw" : "r");
}

/*
 * A line for each table entry: lkey, kind, iova, bytes, DMA address, rights.
 * An FRMR may change while it is shown.
 */
static int mrs_show(struct seq_file *m, void *v)
{
	struct dmae_dev *dev = m->private;
	struct dmae_entry entry;
	unsigned long index, page;
	struct dmae_mr *mr;

	for (index = 0; (mr = mr_next(dev, &index)); index++) {
		for (page = 0; dmae_table_next(mr, page, &entry);
		     page = entry.first + entry.npages)
			mr_show_entry(m, mr, &entry);
		dmae_mr_put(mr);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mrs);

void dmae_mr_debugfs(struct dmae_dev *dev)
{
	debugfs_create_file("mrs", 0400, dev->debugfs, dev, &mrs_fops);
}
