// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * MRs with on-demand paging: memory of the host that is not pinned, and memory
 * of other devices.
 *
 * rxe reaches the memory of an ODP MR with the CPU, and under umem_mutex only.
 * Invalidation takes umem_mutex, so when it returns nothing of what it unmapped
 * is read or written any more. What is not mapped is left to threads of the
 * owner of the memory, and nobody waits for them: see rxe_park.c.
 */
#include <linux/interval_tree.h>
#include <linux/io.h>
#include <linux/unaligned.h>
#include <rdma/ib_umem_odp.h>

#include "rxe.h"
#include "rxe_loc.h"

#define RXE_ODP_READ	ODP_READ_ALLOWED_BIT
#define RXE_ODP_WRITE	(ODP_READ_ALLOWED_BIT | ODP_WRITE_ALLOWED_BIT)

static bool rxe_odp_invalidate(struct mmu_interval_notifier *mni,
			       const struct mmu_notifier_range *range,
			       unsigned long cur_seq)
{
	struct ib_umem_odp *umem_odp =
		container_of(mni, struct ib_umem_odp, notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;

	mutex_lock(&umem_odp->umem_mutex);
	mmu_interval_set_seq(mni, cur_seq);
	ib_umem_odp_unmap_dma_pages(umem_odp, range->start, range->end);
	mutex_unlock(&umem_odp->umem_mutex);
	return true;
}

static const struct mmu_interval_notifier_ops rxe_odp_mn_ops = {
	.invalidate = rxe_odp_invalidate,
};

int rxe_odp_mr_init_user(struct rxe_dev *rxe, u64 start, u64 length,
			 int access, struct rxe_mr *mr)
{
	struct ib_umem_odp *umem_odp;
	int err;

	/* Memory that comes and goes cannot be found persistent for good. */
	if (access & IB_ACCESS_FLUSH_PERSISTENT) {
		rxe_dbg_mr(mr, "on-demand paging and persistent flush exclude each other\n");
		return -EOPNOTSUPP;
	}

	umem_odp = ib_umem_odp_get(&rxe->ib_dev, start, length, access,
				   &rxe_odp_mn_ops);
	if (IS_ERR(umem_odp)) {
		rxe_dbg_mr(mr, "Unable to create umem_odp err = %d\n",
			   (int)PTR_ERR(umem_odp));
		return PTR_ERR(umem_odp);
	}
	err = ib_umem_fault_enable(umem_odp);
	if (err) {
		rxe_dbg_mr(mr, "Unable to have page faults err = %d\n", err);
		ib_umem_odp_release(umem_odp);
		return err;
	}

	mr->umem = &umem_odp->umem;
	mr->ibmr.umem = mr->umem;
	mr->is_odp = true;
	mr->ibmr.type = IB_MR_TYPE_USER;
	mr->state = RXE_MR_STATE_VALID;

	return 0;
}

/*
 * mutex_lock() offers the CPU to others, also when the mutex is free. Twice a
 * packet that costs a task, and the peer that waits for it, more than the copy.
 */
static void odp_lock(struct ib_umem_odp *umem_odp)
{
	if (unlikely(!mutex_trylock(&umem_odp->umem_mutex)))
		mutex_lock(&umem_odp->umem_mutex);
}

static u64 odp_iova_to_va(const struct rxe_mr *mr, u64 iova)
{
	return mr->umem->address + (iova - mr->ibmr.iova);
}

/*
 * Find out what va is mapped to. If it is not, begin to fault in [va, va + len).
 *
 * Called with umem_mutex held, and returns with it held only if this is 0.
 * -EINPROGRESS: the fault has begun. -EFAULT: there is no memory, whatever the
 * reason, and it is no use to try again: the last fault was for the same place
 * and has said so.
 */
static int odp_resolve(struct ib_umem_odp *umem_odp, u64 va, size_t len,
		       u64 access_mask, struct p2p_run *run,
		       struct ib_umem_fault *fault)
{
	int err;

	if (likely(ib_umem_odp_lookup(umem_odp, va, access_mask, run)))
		return 0;
	mutex_unlock(&umem_odp->umem_mutex);

	err = fault->va == va ? fault->err : 0;
	fault->err = 0;
	if (!err)
		err = ib_umem_fault_start(fault, umem_odp, va, len,
					  access_mask);
	return err ? -EFAULT : -EINPROGRESS;
}

static void __iomem *odp_run_io(const struct p2p_run *run)
{
	return (void __iomem *)(uintptr_t)run->addr;
}

#ifdef CONFIG_X86_64
/*
 * memcpy_toio() and memcpy_fromio() are string instructions here, four bytes at
 * a time. This is as fast as memcpy(), and half as many accesses to the device.
 */
static void odp_copy_to_io(void __iomem *to, const void *from, size_t len)
{
	for (; len && !IS_ALIGNED((uintptr_t)to, 8); len--, to++, from++)
		__raw_writeb(*(const u8 *)from, to);

	for (; len >= 32; len -= 32, to += 32, from += 32) {
		__raw_writeq(get_unaligned((const u64 *)from), to);
		__raw_writeq(get_unaligned((const u64 *)(from + 8)), to + 8);
		__raw_writeq(get_unaligned((const u64 *)(from + 16)), to + 16);
		__raw_writeq(get_unaligned((const u64 *)(from + 24)), to + 24);
	}

	for (; len >= 8; len -= 8, to += 8, from += 8)
		__raw_writeq(get_unaligned((const u64 *)from), to);

	for (; len; len--, to++, from++)
		__raw_writeb(*(const u8 *)from, to);
}

static void odp_copy_from_io(void *to, const void __iomem *from, size_t len)
{
	for (; len && !IS_ALIGNED((uintptr_t)from, 8); len--, to++, from++)
		*(u8 *)to = __raw_readb(from);

	for (; len >= 32; len -= 32, to += 32, from += 32) {
		put_unaligned(__raw_readq(from), (u64 *)to);
		put_unaligned(__raw_readq(from + 8), (u64 *)(to + 8));
		put_unaligned(__raw_readq(from + 16), (u64 *)(to + 16));
		put_unaligned(__raw_readq(from + 24), (u64 *)(to + 24));
	}

	for (; len >= 8; len -= 8, to += 8, from += 8)
		put_unaligned(__raw_readq(from), (u64 *)to);

	for (; len; len--, to++, from++)
		*(u8 *)to = __raw_readb(from);
}
#else
#define odp_copy_to_io		memcpy_toio
#define odp_copy_from_io	memcpy_fromio
#endif

static void odp_copy_run(const struct p2p_run *run, void *addr, size_t len,
			 enum rxe_mr_copy_dir dir)
{
	if (run->iomem && dir == RXE_TO_MR_OBJ) {
		odp_copy_to_io(odp_run_io(run), addr, len);
		/* What tells of the data is in memory, and must come later. */
		wmb();
	} else if (run->iomem) {
		odp_copy_from_io(addr, odp_run_io(run), len);
	} else if (dir == RXE_TO_MR_OBJ) {
		memcpy(ib_virt_dma_to_ptr(run->addr), addr, len);
	} else {
		memcpy(addr, ib_virt_dma_to_ptr(run->addr), len);
	}
}

/*
 * The range has been checked. On error, and if this is -EINPROGRESS, a part may
 * have been copied.
 */
int rxe_odp_mr_copy(struct rxe_mr *mr, u64 iova, void *addr,
		    unsigned int length, enum rxe_mr_copy_dir dir,
		    struct ib_umem_fault *fault)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	u64 access_mask = dir == RXE_TO_MR_OBJ ? RXE_ODP_WRITE : RXE_ODP_READ;
	u64 va = odp_iova_to_va(mr, iova);
	struct p2p_run run;
	unsigned int bytes;
	int err;

	odp_lock(umem_odp);
	while (length) {
		err = odp_resolve(umem_odp, va, length, access_mask, &run,
				  fault);
		if (err)
			return err;

		bytes = min_t(size_t, length, run.len);
		odp_copy_run(&run, addr, bytes, dir);

		va += bytes;
		addr += bytes;
		length -= bytes;
	}
	mutex_unlock(&umem_odp->umem_mutex);

	return 0;
}

static u64 odp_read_u64(const struct p2p_run *run)
{
	u64 value;

	if (!run->iomem)
		return *(u64 *)ib_virt_dma_to_ptr(run->addr);
#ifdef CONFIG_64BIT
	value = __raw_readq(odp_run_io(run));
#else
	memcpy_fromio(&value, odp_run_io(run), sizeof(value));
#endif
	return value;
}

static void odp_write_u64(const struct p2p_run *run, u64 value)
{
	if (!run->iomem) {
		*(u64 *)ib_virt_dma_to_ptr(run->addr) = value;
		return;
	}
#ifdef CONFIG_64BIT
	__raw_writeq(value, odp_run_io(run));
#else
	memcpy_toio(odp_run_io(run), &value, sizeof(value));
#endif
	/* As in odp_copy_run(). */
	wmb();
}

/* Returns 0 or an enum resp_states, as rxe_mr_do_atomic_op() does. */
int rxe_odp_mr_atomic_op(struct rxe_mr *mr, u64 iova, int opcode,
			 u64 compare, u64 swap_add, u64 *orig_val,
			 struct ib_umem_fault *fault)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	u64 va = odp_iova_to_va(mr, iova);
	struct p2p_run run;
	u64 value;
	int err;

	if (unlikely(!IS_ALIGNED(va, sizeof(value)))) {
		rxe_dbg_mr(mr, "iova not aligned\n");
		return RESPST_ERR_MISALIGNED_ATOMIC;
	}

	odp_lock(umem_odp);
	err = odp_resolve(umem_odp, va, sizeof(value), RXE_ODP_WRITE, &run,
			  fault);
	if (err)
		return err == -EINPROGRESS ? RESPST_PARK :
					     RESPST_ERR_RKEY_VIOLATION;

	spin_lock_bh(&rxe_atomic_ops_lock);
	value = *orig_val = odp_read_u64(&run);

	if (opcode != IB_OPCODE_RC_COMPARE_SWAP)
		odp_write_u64(&run, value + swap_add);
	else if (value == compare)
		odp_write_u64(&run, swap_add);
	spin_unlock_bh(&rxe_atomic_ops_lock);

	mutex_unlock(&umem_odp->umem_mutex);

	return 0;
}

#ifdef CONFIG_64BIT
/* Returns 0 or an enum resp_states, as rxe_mr_do_atomic_write() does. */
int rxe_odp_mr_atomic_write(struct rxe_mr *mr, u64 iova, u64 value,
			    struct ib_umem_fault *fault)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	u64 va = odp_iova_to_va(mr, iova);
	struct p2p_run run;
	int err;

	/* See IBA A19.4.2 */
	if (unlikely(!IS_ALIGNED(va, sizeof(value)))) {
		rxe_dbg_mr(mr, "misaligned address\n");
		return RESPST_ERR_MISALIGNED_ATOMIC;
	}

	odp_lock(umem_odp);
	err = odp_resolve(umem_odp, va, sizeof(value), RXE_ODP_WRITE, &run,
			  fault);
	if (err)
		return err == -EINPROGRESS ? RESPST_PARK :
					     RESPST_ERR_RKEY_VIOLATION;

	if (run.iomem) {
		/* Do atomic write after all prior operations have completed */
		wmb();
		odp_write_u64(&run, value);
	} else {
		/* As above */
		smp_store_release((u64 *)ib_virt_dma_to_ptr(run.addr), value);
	}
	mutex_unlock(&umem_odp->umem_mutex);

	return 0;
}
#endif

/*
 * Make what was written visible to all. Writes to a device may be on their way:
 * a read from it pushes them ahead. What is not mapped any more has no writes.
 */
void rxe_odp_mr_flush_global(struct rxe_mr *mr, u64 iova, u64 length)
{
	struct ib_umem_odp *umem_odp = to_ib_umem_odp(mr->umem);
	unsigned long first = odp_iova_to_va(mr, iova);
	unsigned long last = first + length - 1;
	struct interval_tree_node *node;
	unsigned int i;

	if (!length)
		return;

	odp_lock(umem_odp);
	for (node = interval_tree_iter_first(&umem_odp->p2p_mappings, first, last);
	     node; node = interval_tree_iter_next(node, first, last)) {
		const struct p2p_mapping *map =
			container_of(node, struct p2p_mapping, node);

		for (i = 0; i < map->nr_runs; i++) {
			const struct p2p_run *run = &map->runs[i];
			unsigned long from = max(run->start, first);

			if (run->iomem && from <= last &&
			    from - run->start < run->len)
				readb(odp_run_io(run) + (from - run->start));
		}
	}
	mutex_unlock(&umem_odp->umem_mutex);
}

/* The MR that a prefetch is for, with a reference, or ERR_PTR. */
static struct rxe_mr *odp_prefetch_mr(struct ib_pd *ibpd,
				      enum ib_uverbs_advise_mr_advice advice,
				      const struct ib_sge *sge)
{
	struct rxe_dev *rxe = to_rdev(ibpd->device);
	struct rxe_mr *mr;
	int err;

	if (rkey_is_mw(sge->lkey))
		return ERR_PTR(-EINVAL);

	mr = rxe_pool_get_index(&rxe->mr_pool, sge->lkey >> 8);
	if (!mr)
		return ERR_PTR(-ENOENT);

	if (mr->lkey != sge->lkey || mr->state != RXE_MR_STATE_VALID ||
	    !mr->is_odp)
		err = -ENOENT;
	else if (mr->ibmr.pd != ibpd)
		err = -EPERM;
	else if (advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE &&
		 !ib_access_writable(mr->access))
		err = -EPERM;
	else if (mr_check_range(mr, sge->addr, sge->length))
		err = -EFAULT;
	else
		return mr;

	rxe_put(mr);
	return ERR_PTR(err);
}

static u64 odp_prefetch_mask(enum ib_uverbs_advise_mr_advice advice)
{
	return advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE ?
		       RXE_ODP_WRITE : RXE_ODP_READ;
}

static int odp_prefetch_later(struct ib_pd *ibpd,
			      enum ib_uverbs_advise_mr_advice advice,
			      const struct ib_sge *sge, u32 num_sge)
{
	struct ib_umem_prefetch *prefetch;
	struct rxe_mr *mr;
	int err = 0;
	u32 i;

	prefetch = ib_umem_prefetch_alloc(num_sge);
	if (!prefetch)
		return -ENOMEM;

	for (i = 0; i < num_sge && !err; i++, sge++) {
		mr = odp_prefetch_mr(ibpd, advice, sge);
		if (IS_ERR(mr)) {
			err = PTR_ERR(mr);
			break;
		}
		err = ib_umem_prefetch_add(prefetch, to_ib_umem_odp(mr->umem),
					   odp_iova_to_va(mr, sge->addr),
					   sge->length,
					   odp_prefetch_mask(advice));
		rxe_put(mr);
	}
	if (err)
		ib_umem_prefetch_cancel(prefetch);
	else
		ib_umem_prefetch_end(prefetch);
	return err;
}

/* The caller waits. Nobody else does: the MR may be deregistered meanwhile. */
static int odp_prefetch_now(struct ib_pd *ibpd,
			    enum ib_uverbs_advise_mr_advice advice,
			    const struct ib_sge *sge)
{
	bool fault = advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT;
	struct ib_umem_odp *umem_odp;
	struct rxe_mr *mr;
	int err;
	u64 va;

	mr = odp_prefetch_mr(ibpd, advice, sge);
	if (IS_ERR(mr))
		return PTR_ERR(mr);
	umem_odp = to_ib_umem_odp(mr->umem);
	va = odp_iova_to_va(mr, sge->addr);
	ib_umem_odp_hold(umem_odp);
	rxe_put(mr);

	err = ib_umem_odp_populate(umem_odp, va, sge->length,
				   odp_prefetch_mask(advice), fault);
	ib_umem_odp_put(umem_odp);
	return err;
}

int rxe_advise_mr(struct ib_pd *ibpd, enum ib_uverbs_advise_mr_advice advice,
		  u32 flags, struct ib_sge *sg_list, u32 num_sge,
		  struct uverbs_attr_bundle *attrs)
{
	int err = 0;
	u32 i;

	switch (advice) {
	case IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH:
	case IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE:
		if (!(flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH))
			return odp_prefetch_later(ibpd, advice, sg_list,
						  num_sge);
		break;
	case IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT:
		break;
	default:
		return -EOPNOTSUPP;
	}

	for (i = 0; i < num_sge && !err; i++)
		err = odp_prefetch_now(ibpd, advice, &sg_list[i]);
	return err;
}
