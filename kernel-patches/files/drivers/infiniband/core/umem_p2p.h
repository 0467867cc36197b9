/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Device memory in an ODP umem: the mappings it has, and what a range of user
 * memory holds.
 */
#ifndef UMEM_P2P_H
#define UMEM_P2P_H

#include <linux/bits.h>
#include <linux/hmm.h>
#include <rdma/ib_umem_odp.h>

/* What a range of user addresses holds, in any mix. */
enum {
	IB_UMEM_HOST = BIT(0),	/* memory with pages, or that can get them */
	IB_UMEM_P2P = BIT(1),	/* device memory that its exporter may map */
	IB_UMEM_HOLE = BIT(2),	/* neither: nothing is mapped there ... */
	IB_UMEM_OTHER = BIT(3),	/* ... or a device's file that exports nothing */
	IB_UMEM_NONE = IB_UMEM_HOLE | IB_UMEM_OTHER,
	IB_UMEM_PRIVATE = BIT(4), /* memory that is on a device, which exports it */
};

/* The device that reaches the memory: for virt-DMA the one that does no DMA. */
static inline struct device *ib_umem_p2p_importer(struct ib_device *dev)
{
	return ib_uses_virt_dma(dev) ? &dev->dev : dev->dma_device;
}

int ib_umem_contents(unsigned long start, unsigned long end);

#ifdef CONFIG_INFINIBAND_ON_DEMAND_PAGING
int ib_umem_p2p_access(struct ib_device *dev, u64 start, u64 length,
		       unsigned int *access_flags);
#else
static inline int ib_umem_p2p_access(struct ib_device *dev, u64 start,
				     u64 length, unsigned int *access_flags)
{
	return 0;
}
#endif

int ib_umem_p2p_map_all(struct ib_umem_odp *umem_odp);

struct p2p_mapping *ib_umem_p2p_find(struct ib_umem_odp *umem_odp,
				     unsigned long addr);
int ib_umem_p2p_gap(struct ib_umem_odp *umem_odp, struct hmm_range *range,
		    struct hmm_p2p *p2p);
void ib_umem_p2p_insert(struct ib_umem_odp *umem_odp, struct list_head *maps);
void ib_umem_p2p_drop(struct list_head *maps);
void ib_umem_p2p_unmap(struct ib_umem_odp *umem_odp, unsigned long start,
		       unsigned long end);
void ib_umem_p2p_report(struct ib_umem_odp *umem_odp,
			const struct p2p_request *req, int err);

#endif /* UMEM_P2P_H */
