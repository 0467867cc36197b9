// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What memory an MR has: for its owner, and for RDMA netlink. umem_mutex keeps the
 * mappings that are looked at, and the device names in them are copies.
 */
#include <linux/device/p2p.h>
#include <linux/dma-buf.h>
#include <linux/interval_tree.h>
#include <linux/iommu-dma.h>
#include <linux/p2p_map.h>
#include <net/netlink.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_umem_odp.h>
#include <rdma/restrack.h>

#include "mr_memory.h"
#include "uverbs.h"

static struct p2p_mapping *first_mapping(struct ib_umem_odp *umem_odp, u64 from)
{
	struct interval_tree_node *node;

	node = interval_tree_iter_first(&umem_odp->p2p_mappings, from, ULONG_MAX);
	return node ? container_of(node, struct p2p_mapping, node) : NULL;
}

static struct p2p_mapping *next_mapping(struct p2p_mapping *map, u64 from)
{
	struct interval_tree_node *node;

	node = interval_tree_iter_next(&map->node, from, ULONG_MAX);
	return node ? container_of(node, struct p2p_mapping, node) : NULL;
}

static u64 mapping_bytes(const struct p2p_mapping *map)
{
	return p2p_mapping_end(map) - p2p_mapping_start(map);
}

/* For user space: the host bridge and the IOMMU are two things to know. */
u32 ib_p2p_path(struct device *importer, enum p2p_path path)
{
	switch (path) {
	case P2P_PATH_CPU:
		return IB_UVERBS_P2P_PATH_CPU;
	case P2P_PATH_BUS:
		return IB_UVERBS_P2P_PATH_BUS;
	case P2P_PATH_HOST:
		return use_dma_iommu(importer) ? IB_UVERBS_P2P_PATH_IOMMU :
						 IB_UVERBS_P2P_PATH_HOST;
	default:
		return IB_UVERBS_P2P_PATH_NONE;
	}
}
EXPORT_SYMBOL(ib_p2p_path);

static void odp_memory(struct ib_mr *mr, struct ib_umem_odp *umem_odp,
		       struct ib_uverbs_mr_memory *memory)
{
	memory->flags |= IB_UVERBS_MR_ODP;
	if (umem_odp->is_implicit_odp) {
		memory->flags |= IB_UVERBS_MR_IMPLICIT;
		return;
	}

	mutex_lock(&umem_odp->umem_mutex);
	if (umem_odp->p2p_private_pages)
		memory->flags |= IB_UVERBS_MR_PRIVATE;
	if (umem_odp->p2p_pages > umem_odp->p2p_private_pages)
		memory->flags |= IB_UVERBS_MR_DEVICE;
	memory->bytes = (u64)umem_odp->p2p_pages << PAGE_SHIFT;
	memory->ranges = umem_odp->p2p_nr;
	if (mr->p2p_odp || umem_odp->p2p_maps)
		memory->flags |= IB_UVERBS_MR_P2P;
	memory->maps = umem_odp->p2p_maps;
	memory->faults = umem_odp->faults;
	memory->invalidations = umem_odp->invalidations;
	mutex_unlock(&umem_odp->umem_mutex);
}

static void dmabuf_memory(struct ib_umem_dmabuf *umem_dmabuf,
			  struct ib_uverbs_mr_memory *memory)
{
	memory->flags |= IB_UVERBS_MR_DMABUF;
	if (umem_dmabuf->revoked)
		memory->flags |= IB_UVERBS_MR_REVOKED;
	if (!READ_ONCE(umem_dmabuf->sgt))
		return;
	memory->bytes = umem_dmabuf->umem.length;
	memory->ranges = 1;
}

void ib_mr_memory(struct ib_mr *mr, struct ib_uverbs_mr_memory *memory)
{
	struct ib_umem *umem = mr->umem;

	*memory = (struct ib_uverbs_mr_memory) {};
	if (atomic_read(&mr->revoke_state) & UVERBS_MR_REVOKED)
		memory->flags |= IB_UVERBS_MR_REVOKED;
	if (!umem)
		return;
	if (umem->is_odp)
		odp_memory(mr, to_ib_umem_odp(umem), memory);
	else if (umem->is_dmabuf)
		dmabuf_memory(to_ib_umem_dmabuf(umem), memory);
}
EXPORT_SYMBOL(ib_mr_memory);

static u32 range_flags(const struct p2p_mapping *map)
{
	return (map->write ? IB_UVERBS_MR_RANGE_WRITE : 0) |
	       (map->pgmap ? IB_UVERBS_MR_RANGE_PRIVATE : 0) |
	       (map->host ? IB_UVERBS_MR_RANGE_HOST : 0);
}

static unsigned int odp_ranges(struct ib_umem_odp *umem_odp, u64 from,
			       struct ib_uverbs_mr_range *ranges,
			       unsigned int nr)
{
	struct p2p_mapping *map;
	unsigned int n = 0;

	mutex_lock(&umem_odp->umem_mutex);
	for (map = first_mapping(umem_odp, from); map && n < nr;
	     map = next_mapping(map, from), n++) {
		ranges[n] = (struct ib_uverbs_mr_range) {
			.start = p2p_mapping_start(map),
			.length = mapping_bytes(map),
			.path = ib_p2p_path(map->importer, map->path),
			.flags = range_flags(map),
		};
		strscpy(ranges[n].exporter, map->exporter);
	}
	mutex_unlock(&umem_odp->umem_mutex);
	return n;
}

/* A dma-buf is one range, of which its exporter alone knows where it is. */
static unsigned int dmabuf_range(struct ib_mr *mr,
				 struct ib_umem_dmabuf *umem_dmabuf, u64 from,
				 struct ib_uverbs_mr_range *ranges,
				 unsigned int nr)
{
	if (!READ_ONCE(umem_dmabuf->sgt) ||
	    (from > mr->iova && from - mr->iova >= umem_dmabuf->umem.length))
		return 0;
	if (!nr)
		return 0;
	ranges[0] = (struct ib_uverbs_mr_range) {
		.start = mr->iova,
		.length = umem_dmabuf->umem.length,
		.flags = umem_dmabuf->umem.writable ? IB_UVERBS_MR_RANGE_WRITE : 0,
	};
	strscpy(ranges[0].exporter, umem_dmabuf->attach->dmabuf->exp_name);
	return 1;
}

/**
 * ib_mr_ranges - the parts of an MR that are device memory, mapped at this moment
 * @mr: the MR
 * @from: only those that end behind this address
 * @ranges: set to the first of them, in the order of their addresses
 * @nr: how many there is room for
 *
 * Return: how many were set.
 */
unsigned int ib_mr_ranges(struct ib_mr *mr, u64 from,
			  struct ib_uverbs_mr_range *ranges, unsigned int nr)
{
	struct ib_umem *umem = mr->umem;

	if (umem && umem->is_odp && !to_ib_umem_odp(umem)->is_implicit_odp)
		return odp_ranges(to_ib_umem_odp(umem), from, ranges, nr);
	if (umem && umem->is_dmabuf)
		return dmabuf_range(mr, to_ib_umem_dmabuf(umem), from, ranges,
				    nr);
	return 0;
}
EXPORT_SYMBOL(ib_mr_ranges);

/* ---- RDMA netlink ---- */

static const char *memory_name(u32 flags)
{
	if (flags & IB_UVERBS_MR_DMABUF)
		return "dma-buf";
	if (flags & IB_UVERBS_MR_DEVICE)
		return flags & IB_UVERBS_MR_PRIVATE ? "device,private" : "device";
	if (flags & IB_UVERBS_MR_PRIVATE)
		return "private";
	return "unmapped";
}

static const char *path_name(const struct ib_uverbs_mr_range *range)
{
	static const char * const names[] = {
		[IB_UVERBS_P2P_PATH_UNKNOWN] = "unknown",
		[IB_UVERBS_P2P_PATH_NONE] = "none",
		[IB_UVERBS_P2P_PATH_CPU] = "cpu",
		[IB_UVERBS_P2P_PATH_BUS] = "bus",
		[IB_UVERBS_P2P_PATH_HOST] = "host",
		[IB_UVERBS_P2P_PATH_IOMMU] = "iommu",
	};

	/* Where the exporter has moved the data to, which is why it is slow. */
	return range->flags & IB_UVERBS_MR_RANGE_HOST ? "host-memory" :
							names[range->path];
}

static bool put_odp(struct sk_buff *msg, u32 flags)
{
	return !(flags & IB_UVERBS_MR_ODP) ||
	       !rdma_nl_put_driver_string(msg, "odp",
					  flags & IB_UVERBS_MR_IMPLICIT ?
					  "implicit" : "explicit");
}

static bool get_first_range(struct ib_mr *mr, struct ib_uverbs_mr_range *range)
{
	return ib_mr_ranges(mr, 0, range, 1);
}

static bool put_memory(struct sk_buff *msg, struct ib_mr *mr,
		       const struct ib_uverbs_mr_memory *memory)
{
	struct ib_uverbs_mr_range first;

	if (!(memory->flags & (IB_UVERBS_MR_P2P | IB_UVERBS_MR_DMABUF)))
		return true;
	if (get_first_range(mr, &first) &&
	    (rdma_nl_put_driver_string(msg, "exporter", first.exporter) ||
	     rdma_nl_put_driver_string(msg, "path", path_name(&first))))
		return false;
	return !rdma_nl_put_driver_string(msg, "memory",
					  memory_name(memory->flags)) &&
	       !rdma_nl_put_driver_u32(msg, "ranges", memory->ranges) &&
	       !rdma_nl_put_driver_u64(msg, "device_bytes", memory->bytes) &&
	       !rdma_nl_put_driver_u32(msg, "revoked",
				       !!(memory->flags & IB_UVERBS_MR_REVOKED));
}

/* Exporter and path are those of the first range: one is what most MRs have. */
int ib_mr_fill_res(struct sk_buff *msg, struct ib_mr *mr)
{
	struct ib_uverbs_mr_memory memory;
	struct nlattr *table;

	if (!mr->umem)
		return 0;
	table = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);
	if (!table)
		return -EMSGSIZE;
	ib_mr_memory(mr, &memory);
	if (!put_odp(msg, memory.flags) || !put_memory(msg, mr, &memory)) {
		nla_nest_cancel(msg, table);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, table);
	return 0;
}

/**
 * ib_mr_put_device_stat - for fill_stat_mr_entry() of a driver with ODP
 * @msg: what it fills
 * @mr: the MR, with its umem set
 *
 * Return: 0, or -EMSGSIZE.
 */
int ib_mr_put_device_stat(struct sk_buff *msg, struct ib_mr *mr)
{
	struct ib_uverbs_mr_memory memory;

	ib_mr_memory(mr, &memory);
	return rdma_nl_stat_hwcounter_entry(msg, "faults", memory.faults) ?:
	       rdma_nl_stat_hwcounter_entry(msg, "invalidations",
					    memory.invalidations) ?:
	       rdma_nl_stat_hwcounter_entry(msg, "device_maps", memory.maps) ?:
	       rdma_nl_stat_hwcounter_entry(msg, "device_bytes", memory.bytes);
}
EXPORT_SYMBOL(ib_mr_put_device_stat);

int ib_mr_fill_stat(struct sk_buff *msg, struct ib_mr *mr)
{
	struct nlattr *table;

	if (!mr->umem || !mr->umem->is_odp)
		return 0;
	table = nla_nest_start(msg, RDMA_NLDEV_ATTR_STAT_HWCOUNTERS);
	if (!table)
		return -EMSGSIZE;
	if (ib_mr_put_device_stat(msg, mr)) {
		nla_nest_cancel(msg, table);
		return -EMSGSIZE;
	}
	nla_nest_end(msg, table);
	return 0;
}
