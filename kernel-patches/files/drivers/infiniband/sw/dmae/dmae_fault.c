// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * MRs over memory that comes and goes: on-demand paging, and dma-bufs.
 *
 * What is mapped for DMA is in the table or it is not; what is not mapped is
 * not in it and not in flight. Both sides see to it under the same lock, the
 * umem_mutex or that of the dma-buf's reservation object: a fault maps and
 * fills, an invalidation zaps and unmaps.
 *
 * With odp=0 an MR over device memory is mapped and filled once. When it is
 * invalidated it is revoked, as a whole and for good.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/interval_tree.h>

#include "dmae_mr.h"

/* ---- invalidation ---- */

static unsigned long odp_page(struct ib_umem_odp *umem_odp, u64 va)
{
	return (va - ib_umem_start(umem_odp)) >> PAGE_SHIFT;
}

static void mr_revoke(struct dmae_mr *mr)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);
	/* Not one that is being deregistered, nor twice. */
	bool revoked = dmae_mr_clear_valid(mr);

	dmae_table_zap(mr, 0, ULONG_MAX);
	if (revoked) {
		atomic64_inc(&dev->stats.revocations);
		ib_uverbs_mr_revoked(&mr->ibmr);
	}
}

static void odp_take_out(struct ib_umem_odp *umem_odp, u64 start, u64 end)
{
	struct dmae_mr *mr = umem_odp->private;

	/* Without dmae_odp_attach() nothing is filled, nor if nothing is mapped. */
	if (!mr || !umem_odp->npages)
		return;

	atomic64_inc(&to_ddev(mr->ibmr.device)->stats.invalidations);

	/* A mapping of device memory goes as a whole. */
	ib_umem_odp_widen_range(umem_odp, &start, &end);
	if (dmae_odp)
		dmae_table_zap(mr, odp_page(umem_odp, start),
			       odp_page(umem_odp, end - 1));
	else if (interval_tree_iter_first(&umem_odp->p2p_mappings, start,
					  end - 1))
		mr_revoke(mr);
}

/*
 * Taking umem_mutex, waiting for the channel and the exporter's p2p_unmap() all
 * sleep. The OOM reaper, who may not, leaves the range to exit_mmap().
 */
static bool dmae_odp_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct ib_umem_odp *umem_odp =
		container_of(mni, struct ib_umem_odp, notifier);
	u64 start = max_t(u64, range->start, ib_umem_start(umem_odp));
	u64 end = min_t(u64, range->end, ib_umem_end(umem_odp));

	if (!mmu_notifier_range_blockable(range))
		return false;

	mutex_lock(&umem_odp->umem_mutex);
	/* From here on a fault that began earlier starts again. */
	mmu_interval_set_seq(mni, cur_seq);
	odp_take_out(umem_odp, start, end);
	ib_umem_odp_unmap_dma_pages(umem_odp, start, end);
	mutex_unlock(&umem_odp->umem_mutex);
	return true;
}

static const struct mmu_interval_notifier_ops dmae_odp_ops = {
	.invalidate = dmae_odp_invalidate,
};

/* ---- filling the table of an ODP MR, under umem_mutex ---- */

/* All of a mapping, however little of it was asked for: it is a few runs. */
static int odp_fill_mapping(struct dmae_fill *fill,
			    struct ib_umem_odp *umem_odp,
			    const struct p2p_mapping *map)
{
	const struct p2p_run *run;
	int err = 0;

	for (run = map->runs; run < map->runs + map->nr_runs && !err; run++)
		err = dmae_fill_pages(fill, odp_page(umem_odp, run->start),
				      run->len >> PAGE_SHIFT, run->addr,
				      map->write);
	return err;
}

static int odp_fill_page(struct dmae_fill *fill, unsigned long page,
			 dma_addr_t dma)
{
	/* Not mapped: this is after a prefetch that does not fault. */
	if (!dma)
		return 0;
	return dmae_check_bounce(fill->mr, dma & ODP_DMA_ADDR_MASK) ?:
	       dmae_fill_pages(fill, page, 1, dma & ODP_DMA_ADDR_MASK,
			       dma & ODP_WRITE_ALLOWED_BIT);
}

static struct p2p_mapping *odp_mapping(struct ib_umem_odp *umem_odp, u64 va,
				       u64 last)
{
	struct interval_tree_node *node =
		interval_tree_iter_first(&umem_odp->p2p_mappings, va, last);

	return node ? container_of(node, struct p2p_mapping, node) : NULL;
}

/* What [start, end) is mapped to, of any kind. */
static int odp_fill(struct dmae_mr *mr, u64 start, u64 end)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	struct dmae_fill fill = { .mr = mr };
	struct p2p_mapping *map;
	unsigned long page;
	u64 va, next;
	int err;

	for (va = start; va < end; va = next) {
		map = odp_mapping(umem_odp, va, va);
		if (map) {
			next = p2p_mapping_end(map);
			err = odp_fill_mapping(&fill, umem_odp, map);
		} else {
			next = va + PAGE_SIZE;
			page = odp_page(umem_odp, va);
			err = odp_fill_page(&fill, page,
					    ib_umem_odp_dma(umem_odp, page));
		}
		if (err)
			return err;
	}
	return dmae_fill_end(&fill);
}

/* The device memory of all of the MR, which is what the core has mapped. */
static int odp_fill_device(struct dmae_mr *mr)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	u64 va = ib_umem_start(umem_odp), last = ib_umem_end(umem_odp) - 1;
	struct dmae_fill fill = { .mr = mr };
	struct p2p_mapping *map;
	int err;

	while (va <= last && (map = odp_mapping(umem_odp, va, last))) {
		err = odp_fill_mapping(&fill, umem_odp, map);
		if (err)
			return err;
		va = p2p_mapping_end(map);
	}
	return dmae_fill_end(&fill);
}

/* ---- faults ---- */

/* The core has mapped it, for a fault or a prefetch: under umem_mutex. */
static int dmae_odp_mapped(struct ib_umem_odp *umem_odp, u64 start, u64 end)
{
	struct dmae_mr *mr = umem_odp->private;
	int err = odp_fill(mr, start, end);

	/* Which says that it needs dmae_table_reserve(), and all else was fine. */
	return err == -ENOMEM ? -EAGAIN : err;
}

static int dmabuf_map(struct dmae_mr *mr)
{
	struct ib_umem_dmabuf *umem_dmabuf = to_ib_umem_dmabuf(mr->umem);
	struct dma_resv *resv = umem_dmabuf->attach->dmabuf->resv;
	int err;

	dma_resv_lock(resv, NULL);
	err = ib_umem_dmabuf_map_pages(umem_dmabuf);
	if (!err)
		err = dmae_fill_sgt(mr, &mr->umem->sgt_append.sgt);
	dma_resv_unlock(resv);
	return err;
}

bool dmae_mr_faults(const struct dmae_mr *mr)
{
	return dmae_odp &&
	       (mr->kind == DMAE_MR_ODP || mr->kind == DMAE_MR_DMABUF);
}

static u64 mr_va(const struct dmae_mr *mr, u64 addr)
{
	return mr->umem->address + (addr - mr->iova);
}

static u64 access_mask(bool write)
{
	return ODP_READ_ALLOWED_BIT | (write ? ODP_WRITE_ALLOWED_BIT : 0);
}

static void mr_count_fault(struct dmae_mr *mr, int err)
{
	struct dmae_dev *dev = to_ddev(mr->ibmr.device);

	atomic64_inc(err ? &dev->stats.fault_errors : &dev->stats.faults);
}

/* Somebody may deregister it meanwhile: then the umem says so. */
static int odp_populate(struct dmae_mr *mr, u64 va, u64 len, bool write,
			bool fault)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	int err;

	refcount_inc(&mr->refs);
	ib_umem_odp_hold(umem_odp);
	dmae_mr_unuse(mr);

	do {
		err = ib_umem_odp_populate(umem_odp, va, len,
					   access_mask(write), fault);
	} while (err == -EAGAIN && !dmae_table_reserve(mr));

	ib_umem_odp_put(umem_odp);
	dmae_mr_put(mr);
	return err;
}

int dmae_mr_populate(struct dmae_mr *mr, u64 addr, u64 len, bool write,
		     bool fault)
{
	int err;

	if (mr->kind == DMAE_MR_ODP)
		return odp_populate(mr, mr_va(mr, addr), len, write, fault);

	err = dmabuf_map(mr);
	dmae_mr_unuse(mr);
	return err;
}

int dmae_mr_prefetch(struct dmae_mr *mr, u64 addr, u64 len, bool write,
		     struct ib_umem_prefetch *prefetch)
{
	return ib_umem_prefetch_add(prefetch, to_ib_umem_odp(mr->umem),
				    mr_va(mr, addr), len, access_mask(write));
}

static int mr_fault(struct dmae_mr *mr, u64 addr, u64 len, bool write,
		    struct ib_umem_fault *fault)
{
	int err;

	if (mr->kind == DMAE_MR_DMABUF)
		err = dmabuf_map(mr);
	else
		err = ib_umem_fault_start(fault, to_ib_umem_odp(mr->umem),
					  mr_va(mr, addr), len,
					  access_mask(write)) ?: -EINPROGRESS;
	mr_count_fault(mr, err == -EINPROGRESS ? 0 : err);
	return err;
}

int dmae_span_fault(struct dmae_span *span, u32 offset, u32 len,
		    struct ib_umem_fault *fault)
{
	struct dmae_mr *mr = span->mr;
	int err = -EFAULT;

	if (!mr || !dmae_mr_use(mr))
		return -EFAULT;
	/* What translation refuses for good, no fault helps. */
	if (dmae_mr_faults(mr) && READ_ONCE(mr->valid) &&
	    READ_ONCE(mr->generation) == span->generation)
		err = mr_fault(mr, span->addr + offset, len, span->write,
			       fault);
	dmae_mr_unuse(mr);
	return err;
}

/* ---- registration ---- */

/*
 * Without faults later, all is mapped now, in one go with telling who is to be
 * revoked when it is not any more.
 */
static int odp_attach_once(struct dmae_mr *mr)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	u64 mask = access_mask(mr->umem->writable);
	int ret;

	do {
		ret = ib_umem_odp_map_dma_and_lock(umem_odp, mr->umem->address,
						   mr->length, mask, true);
		if (ret < 0)
			return ret;
		umem_odp->private = mr;
		umem_odp->faults = 0;
		ret = odp_fill_device(mr);
		/* The mappings of the process changed since the core looked. */
		if (!xa_empty(&umem_odp->chunks))
			ret = -EOPNOTSUPP;
		mutex_unlock(&umem_odp->umem_mutex);
	} while (ret == -ENOMEM && !dmae_table_reserve(mr));
	return ret;
}

static int odp_attach(struct dmae_mr *mr)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	int err;

	do {
		mutex_lock(&umem_odp->umem_mutex);
		umem_odp->private = mr;
		err = odp_fill_device(mr);
		mutex_unlock(&umem_odp->umem_mutex);
	} while (err == -ENOMEM && !dmae_table_reserve(mr));
	return err;
}

/*
 * Invalidations come as soon as there is a umem, and find no MR until ->private
 * is set under umem_mutex, together with the first filling: what was unmapped
 * before that is not filled.
 */
int dmae_odp_attach(struct dmae_mr *mr, u64 start)
{
	struct ib_umem_odp *umem_odp;

	umem_odp = ib_umem_odp_get(mr->ibmr.device, start, mr->length,
				   mr->access, &dmae_odp_ops);
	if (IS_ERR(umem_odp))
		return PTR_ERR(umem_odp);
	mr->umem = &umem_odp->umem;
	mr->ibmr.umem = mr->umem;
	umem_odp->mapped = dmae_odp_mapped;

	if (!dmae_odp)
		return odp_attach_once(mr);
	return ib_umem_fault_enable(umem_odp) ?: odp_attach(mr);
}

static void dmae_dmabuf_move(struct dma_buf_attachment *attach)
{
	struct ib_umem_dmabuf *umem_dmabuf = attach->importer_priv;
	struct dmae_mr *mr = umem_dmabuf->private;

	dma_resv_assert_held(attach->dmabuf->resv);

	/* Only a fault maps, and that is after ->private is set. */
	if (!umem_dmabuf->sgt)
		return;

	atomic64_inc(&to_ddev(mr->ibmr.device)->stats.invalidations);
	dmae_table_zap(mr, 0, ULONG_MAX);
	ib_umem_dmabuf_unmap_pages(umem_dmabuf);
}

static const struct dma_buf_attach_ops dmae_dmabuf_ops = {
	.allow_peer2peer = true,
	.move_notify = dmae_dmabuf_move,
};

/* Without faults the dma-buf is pinned, if its exporter does that. */
int dmae_dmabuf_attach(struct dmae_mr *mr, u64 offset, int fd)
{
	struct ib_umem_dmabuf *umem_dmabuf;

	if (dmae_odp)
		umem_dmabuf = ib_umem_dmabuf_get(mr->ibmr.device, offset,
						 mr->length, fd, mr->access,
						 &dmae_dmabuf_ops);
	else
		umem_dmabuf = ib_umem_dmabuf_get_pinned(mr->ibmr.device, offset,
							mr->length, fd,
							mr->access);
	if (IS_ERR(umem_dmabuf))
		return PTR_ERR(umem_dmabuf);
	mr->umem = &umem_dmabuf->umem;
	mr->ibmr.umem = mr->umem;
	umem_dmabuf->private = mr;
	return dmabuf_map(mr);
}
