/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* What memory an MR has, for people to know: nothing is decided by it. */
#ifndef MR_MEMORY_H
#define MR_MEMORY_H

#include <linux/device/p2p.h>
#include <rdma/ib_verbs.h>

struct sk_buff;

/*
 * Context: process, may sleep; the caller keeps the MR. What they say may have
 * changed by the time they return.
 */
#ifdef CONFIG_INFINIBAND_ON_DEMAND_PAGING
u32 ib_p2p_path(struct device *importer, enum p2p_path path);
void ib_mr_memory(struct ib_mr *mr, struct ib_uverbs_mr_memory *memory);
unsigned int ib_mr_ranges(struct ib_mr *mr, u64 from,
			  struct ib_uverbs_mr_range *ranges, unsigned int nr);
int ib_mr_fill_res(struct sk_buff *msg, struct ib_mr *mr);
int ib_mr_fill_stat(struct sk_buff *msg, struct ib_mr *mr);
#else
static inline u32 ib_p2p_path(struct device *importer, enum p2p_path path)
{
	return IB_UVERBS_P2P_PATH_UNKNOWN;
}

static inline void ib_mr_memory(struct ib_mr *mr,
				struct ib_uverbs_mr_memory *memory)
{
	*memory = (struct ib_uverbs_mr_memory) {};
}

static inline unsigned int ib_mr_ranges(struct ib_mr *mr, u64 from,
					struct ib_uverbs_mr_range *ranges,
					unsigned int nr)
{
	return 0;
}

static inline int ib_mr_fill_res(struct sk_buff *msg, struct ib_mr *mr)
{
	return 0;
}

static inline int ib_mr_fill_stat(struct sk_buff *msg, struct ib_mr *mr)
{
	return 0;
}
#endif

#endif /* MR_MEMORY_H */
