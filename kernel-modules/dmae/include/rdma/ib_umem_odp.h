/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * For dmae on an unmodified kernel, in place of the kernel's header
 *
 * dmae's on-demand paging is built on what our patches add to the RDMA core.
 * Without them there is none: nobody gets a umem of it, and what dmae would do
 * with one compiles with the declarations below, to nothing. Pinned memory and
 * dma-bufs are as they are with the patches.
 */
#ifndef IB_UMEM_ODP_H
#define IB_UMEM_ODP_H

#include <linux/interval_tree.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/xarray.h>
#include <rdma/ib_umem.h>
#include <stock.h>

/* The kernel's own is not dmae's: it advertises none. */
#undef CONFIG_INFINIBAND_ON_DEMAND_PAGING

#define ODP_READ_ALLOWED_BIT	BIT_ULL(0)
#define ODP_WRITE_ALLOWED_BIT	BIT_ULL(1)
#define ODP_DMA_ADDR_MASK	GENMASK_ULL(63, 2)

struct ib_umem_odp {
	struct ib_umem umem;
	struct mmu_interval_notifier notifier;
	struct mutex umem_mutex;
	struct xarray chunks;
	struct rb_root_cached p2p_mappings;
	int npages;
	u64 faults;
	void *private;
	int (*mapped)(struct ib_umem_odp *umem_odp, u64 start, u64 end);
};

struct p2p_run {
	unsigned long start;
	size_t len;
	dma_addr_t addr;
};

struct p2p_mapping {
	const struct p2p_run *runs;
	unsigned int nr_runs;
	bool write;
	struct interval_tree_node node;
};

struct ib_umem_fault {
	void (*done)(struct ib_umem_fault *fault);
	int err;
};

struct ib_umem_prefetch;

static inline struct ib_umem_odp *
ib_umem_odp_get(struct ib_device *device, unsigned long addr, size_t size,
		int access, const struct mmu_interval_notifier_ops *ops)
{
	return ERR_PTR(-EOPNOTSUPP);
}

/* ---- nothing calls these, as there is no umem ---- */

static inline struct ib_umem_odp *to_ib_umem_odp(struct ib_umem *umem)
{
	return container_of(umem, struct ib_umem_odp, umem);
}

static inline unsigned long ib_umem_start(struct ib_umem_odp *umem_odp)
{
	return 0;
}

static inline unsigned long ib_umem_end(struct ib_umem_odp *umem_odp)
{
	return 0;
}

static inline unsigned long p2p_mapping_end(const struct p2p_mapping *map)
{
	return 0;
}

static inline int ib_umem_odp_map_dma_and_lock(struct ib_umem_odp *umem_odp,
					       u64 start, u64 len,
					       u64 access_mask, bool fault)
{
	return -EOPNOTSUPP;
}

static inline void ib_umem_odp_unmap_dma_pages(struct ib_umem_odp *umem_odp,
					       u64 start, u64 end)
{
}

static inline void ib_umem_odp_widen_range(struct ib_umem_odp *umem_odp,
					   u64 *start, u64 *end)
{
}

static inline dma_addr_t ib_umem_odp_dma(struct ib_umem_odp *umem_odp,
					 size_t page)
{
	return 0;
}

static inline void ib_umem_odp_hold(struct ib_umem_odp *umem_odp)
{
}

static inline void ib_umem_odp_put(struct ib_umem_odp *umem_odp)
{
}

static inline int ib_umem_odp_populate(struct ib_umem_odp *umem_odp, u64 va,
				       u64 len, u64 access_mask, bool fault)
{
	return -EOPNOTSUPP;
}

static inline int ib_umem_fault_enable(struct ib_umem_odp *umem_odp)
{
	return -EOPNOTSUPP;
}

static inline int ib_umem_fault_start(struct ib_umem_fault *fault,
				      struct ib_umem_odp *umem_odp, u64 va,
				      u64 len, u64 access_mask)
{
	return -EOPNOTSUPP;
}

static inline bool ib_umem_fault_pending(const struct ib_umem_fault *fault)
{
	return false;
}

static inline void ib_umem_fault_cancel(struct ib_umem_fault *fault)
{
}

static inline int ib_umem_prefetch_add(struct ib_umem_prefetch *prefetch,
				       struct ib_umem_odp *umem_odp, u64 va,
				       u64 len, u64 access_mask)
{
	return -EOPNOTSUPP;
}

/* ---- a prefetch of dma-bufs only, which dmae does without the core ---- */

static inline struct ib_umem_prefetch *ib_umem_prefetch_alloc(u32 num)
{
	return ERR_PTR(-EOPNOTSUPP);	/* nobody looks, but NULL is -ENOMEM */
}

static inline void ib_umem_prefetch_end(struct ib_umem_prefetch *prefetch)
{
}

static inline void ib_umem_prefetch_cancel(struct ib_umem_prefetch *prefetch)
{
}

#endif /* IB_UMEM_ODP_H */
