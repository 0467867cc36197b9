// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Device memory in an ODP umem.
 *
 * A mapping enters the umem's interval tree under umem_mutex, after
 * mmu_interval_read_retry() has said that its range was not invalidated since
 * it was made. It leaves it under umem_mutex as a whole, when an invalidation
 * touches any part of it or the umem is released, and is ended right there. So
 * whoever holds umem_mutex may use what is in the tree.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/p2p_map.h>
#include <linux/sched/mm.h>

#include "umem_p2p.h"

static int vma_contents(const struct vm_area_struct *vma)
{
	if (vma_is_p2p(vma))
		return IB_UMEM_P2P;
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return IB_UMEM_OTHER;
	return IB_UMEM_HOST;
}

/*
 * What [start, end) of the current process holds: IB_UMEM_* flags, or -EINTR.
 * It may be something else by the time this returns.
 */
int ib_umem_contents(unsigned long start, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned long addr = start;
	struct vma_iterator vmi;
	int contents = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma_iter_init(&vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_start > addr)
			contents |= IB_UMEM_HOLE;
		contents |= vma_contents(vma);
		if (!(contents & IB_UMEM_PRIVATE) &&
		    vma_has_p2p_private(vma, max(start, vma->vm_start),
					min(end, vma->vm_end)))
			contents |= IB_UMEM_PRIVATE;
		addr = vma->vm_end;
	}
	mmap_read_unlock(mm);

	if (addr < end)
		contents |= IB_UMEM_HOLE;
	return contents;
}

/* Why dev cannot register device memory, or NULL. */
static const char *p2p_access_refusal(struct ib_device *dev, int contents)
{
	u64 caps = dev->attrs.kernel_cap_flags;

	if (caps & IBK_ON_DEMAND_PAGING)
		return NULL;
	if (!(caps & IBK_P2P_REVOKE))
		return "this RDMA device has no on-demand paging";
	if (contents & IB_UMEM_HOST)
		return "host memory is next to it, and this RDMA device has no on-demand paging";
	return NULL;
}

/*
 * A NIC may have on-demand paging for some transports only, which an application
 * that has not asked for it would find out by work requests that fail.
 */
static void log_missing_odp(struct ib_device *dev)
{
	const u32 ud = IB_ODP_SUPPORT_SEND | IB_ODP_SUPPORT_RECV;
	const u32 uc = ud | IB_ODP_SUPPORT_WRITE;
	const u32 rc = uc | IB_ODP_SUPPORT_READ | IB_ODP_SUPPORT_ATOMIC;
	const struct ib_odp_caps *caps = &dev->attrs.odp_caps;
	bool no_rc = rc & ~caps->per_transport_caps.rc_odp_caps;
	bool no_uc = uc & ~caps->per_transport_caps.uc_odp_caps;
	bool no_ud = ud & ~caps->per_transport_caps.ud_odp_caps;

	if (!(no_rc || no_uc || no_ud) || READ_ONCE(dev->p2p_odp_logged))
		return;
	WRITE_ONCE(dev->p2p_odp_logged, true);
	ibdev_notice(dev,
		     "an MR has device memory, for which not all operations of%s%s%s have on-demand paging here: those will fail\n",
		     no_rc ? " RC" : "", no_uc ? " UC" : "",
		     no_ud ? " UD" : "");
}

static void make_odp(struct ib_device *dev, unsigned int *access_flags)
{
	if (dev->attrs.kernel_cap_flags & IBK_ON_DEMAND_PAGING)
		log_missing_odp(dev);
	*access_flags |= IB_ACCESS_ON_DEMAND;
}

/* Tell whoever reads the log why a registration fails. */
static int refuse_access(struct ib_device *dev, u64 start, u64 length,
			 const char *reason, int err)
{
	ibdev_notice_ratelimited(dev, "no MR for %#llx, %llu bytes: %s (%d)\n",
				 start, length, reason, err);
	return err;
}

static const char *hole_reason(int contents)
{
	if (contents & IB_UMEM_OTHER)
		return "it has a mapping of a device that exports no memory, or a private one";
	return "nothing is mapped in a part of it";
}

/**
 * ib_umem_p2p_access - make a registration that holds device memory an ODP one
 * @dev: the importing device
 * @start: first user virtual address
 * @length: bytes
 * @access_flags: of the MR; IB_ACCESS_ON_DEMAND is added if it takes that
 *
 * Memory that was migrated to a device stays there, on a device with on-demand
 * paging; others have it migrate back, and pin it.
 *
 * Memory of the host alone is left to the driver. The checks are for a good
 * error message; what decides is the mapping of the range that follows. A
 * device without on-demand paging that can revoke an MR (IBK_P2P_REVOKE) gets
 * device memory alone: host memory next to it would have to be pinned.
 *
 * Return: 0, or the errno to fail the registration with.
 */
int ib_umem_p2p_access(struct ib_device *dev, u64 start, u64 length,
		       unsigned int *access_flags)
{
	const char *reason;
	unsigned long end;
	int contents;

	if (!IS_ENABLED(CONFIG_P2P_MAP))
		return 0;
	if (check_add_overflow((unsigned long)start,
			       max_t(unsigned long, length, 1), &end))
		return -EINVAL;
	if (*access_flags & IB_ACCESS_ON_DEMAND)
		return 0;

	contents = ib_umem_contents(start, end);
	if (contents < 0)
		return contents;
	if (contents & IB_UMEM_PRIVATE && !(contents & IB_UMEM_NONE) &&
	    !(*access_flags & IB_ACCESS_HUGETLB) &&
	    dev->attrs.kernel_cap_flags & IBK_ON_DEMAND_PAGING) {
		make_odp(dev, access_flags);
		return 0;
	}
	if (likely(!(contents & IB_UMEM_P2P))) {
		/* What the driver will find. */
		if (unlikely(contents & IB_UMEM_NONE))
			refuse_access(dev, start, length, hole_reason(contents),
				      -EFAULT);
		return 0;
	}

	if (!length || *access_flags & IB_ACCESS_HUGETLB)
		return -EINVAL;
	if (contents & IB_UMEM_NONE)
		return refuse_access(dev, start, length, hole_reason(contents),
				     -EFAULT);
	reason = p2p_access_refusal(dev, contents);
	if (reason)
		return refuse_access(dev, start, length, reason, -EOPNOTSUPP);
	make_odp(dev, access_flags);
	return 0;
}

/* The next vma of device memory in [*start, end), cut to it. */
static int next_p2p_vma(unsigned long *start, unsigned long *end)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int ret = -ENOENT;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma_iter_init(&vmi, mm, *start);
	for_each_vma_range(vmi, vma, *end) {
		if (!vma_is_p2p(vma))
			continue;
		*start = max(*start, vma->vm_start);
		*end = min(*end, vma->vm_end);
		ret = 0;
		break;
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * Map all device memory that a new umem holds, so that whoever registers it
 * learns of a refusal. What can be mapped once can be mapped again.
 */
int ib_umem_p2p_map_all(struct ib_umem_odp *umem_odp)
{
	unsigned long start = ib_umem_start(umem_odp);
	u64 access_mask = ODP_READ_ALLOWED_BIT;
	int ret;

	if (umem_odp->umem.writable)
		access_mask |= ODP_WRITE_ALLOWED_BIT;

	for (;;) {
		unsigned long end = ib_umem_end(umem_odp);

		ret = next_p2p_vma(&start, &end);
		if (ret)
			return ret == -ENOENT ? 0 : ret;

		ret = ib_umem_odp_map_dma_and_lock(umem_odp, start, end - start,
						   access_mask, true);
		if (ret < 0)
			return ret;
		mutex_unlock(&umem_odp->umem_mutex);
		start = end;
	}
}

struct p2p_mapping *ib_umem_p2p_find(struct ib_umem_odp *umem_odp,
				     unsigned long addr)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&umem_odp->umem_mutex);

	node = interval_tree_iter_first(&umem_odp->p2p_mappings, addr, addr);
	return node ? container_of(node, struct p2p_mapping, node) : NULL;
}

/* Mappings do not overlap, so this is the order of their ends as well. */
static struct p2p_mapping *mapping_of(struct rb_node *rb)
{
	return rb ? container_of(rb, struct p2p_mapping, node.rb) : NULL;
}

static int ib_umem_p2p_gap_locked(struct ib_umem_odp *umem_odp,
				  struct hmm_range *range, struct hmm_p2p *p2p)
{
	struct rb_root_cached *root = &umem_odp->p2p_mappings;
	struct interval_tree_node *node;
	struct p2p_mapping *map, *prev;

	lockdep_assert_held(&umem_odp->umem_mutex);

	node = interval_tree_iter_first(root, range->start, p2p->end - 1);
	prev = mapping_of(node ? rb_prev(&node->rb) : rb_last(&root->rb_root));
	if (prev)
		p2p->start = p2p_mapping_end(prev);

	for (map = node ? mapping_of(&node->rb) : NULL; map;
	     map = mapping_of(rb_next(&map->node.rb))) {
		if (p2p_mapping_start(map) > range->start) {
			p2p->end = p2p_mapping_start(map);
			break;
		}
		if (range->default_flags & HMM_PFN_REQ_WRITE && !map->write)
			return -EACCES;
		p2p->start = p2p_mapping_end(map);
		range->start = min(p2p->start, range->end);
		if (range->start == range->end)
			break;
	}
	range->end = min(range->end, p2p->end);
	return 0;
}

/*
 * Cut range to the first part that no mapping has, and set the bounds that a
 * mapping made for it has to stay in. An empty range says that there is none.
 * -EACCES: on the way is a mapping that may not be written, and has to be. The
 * vma would not allow more either: mprotect() invalidates.
 */
int ib_umem_p2p_gap(struct ib_umem_odp *umem_odp, struct hmm_range *range,
		    struct hmm_p2p *p2p)
{
	int ret;

	p2p->start = ib_umem_start(umem_odp);
	p2p->end = ib_umem_end(umem_odp);
	/* If one comes just now ib_umem_p2p_insert() will see it. */
	if (RB_EMPTY_ROOT(&umem_odp->p2p_mappings.rb_root))
		return 0;

	mutex_lock(&umem_odp->umem_mutex);
	ret = ib_umem_p2p_gap_locked(umem_odp, range, p2p);
	mutex_unlock(&umem_odp->umem_mutex);
	return ret;
}

/* It is in the tree from now on, or, with -1 for @how, is no more. */
static void count_mapping(struct ib_umem_odp *umem_odp,
			  const struct p2p_mapping *map, int how)
{
	long pages = how * (long)((p2p_mapping_end(map) -
				   p2p_mapping_start(map)) >> PAGE_SHIFT);

	umem_odp->npages += pages;
	umem_odp->p2p_nr += how;
	umem_odp->p2p_pages += pages;
	if (map->pgmap)
		umem_odp->p2p_private_pages += pages;
}

/*
 * Put new mappings into the tree. Where another fault was faster its mapping
 * serves as well, and the new one is ended.
 */
void ib_umem_p2p_insert(struct ib_umem_odp *umem_odp, struct list_head *maps)
{
	struct rb_root_cached *root = &umem_odp->p2p_mappings;
	struct p2p_mapping *map, *next;

	lockdep_assert_held(&umem_odp->umem_mutex);

	list_for_each_entry_safe(map, next, maps, list) {
		list_del(&map->list);
		if (interval_tree_iter_first(root, map->node.start,
					     map->node.last)) {
			p2p_unmap(map);
			continue;
		}
		interval_tree_insert(&map->node, root);
		umem_odp->p2p_maps++;
		count_mapping(umem_odp, map, 1);
	}
}

/* End mappings that did not make it into the tree. */
void ib_umem_p2p_drop(struct list_head *maps)
{
	struct p2p_mapping *map, *next;

	list_for_each_entry_safe(map, next, maps, list) {
		list_del(&map->list);
		p2p_unmap(map);
	}
}

/* End all mappings that have a part of [start, end). */
void ib_umem_p2p_unmap(struct ib_umem_odp *umem_odp, unsigned long start,
		       unsigned long end)
{
	struct rb_root_cached *root = &umem_odp->p2p_mappings;
	struct interval_tree_node *node;

	lockdep_assert_held(&umem_odp->umem_mutex);

	while ((node = interval_tree_iter_first(root, start, end - 1))) {
		struct p2p_mapping *map =
			container_of(node, struct p2p_mapping, node);

		interval_tree_remove(node, root);
		count_mapping(umem_odp, map, -1);
		p2p_unmap(map);
	}
}

/* Tell whoever reads the log which device refused its memory, and why. */
void ib_umem_p2p_report(struct ib_umem_odp *umem_odp,
			const struct p2p_request *req, int err)
{
	if (!req->reason[0])
		return;
	ibdev_notice_ratelimited(umem_odp->umem.ibdev,
				 "no access to device memory at %#lx-%#lx: %s: %s (%d)\n",
				 req->start, req->end, req->exporter,
				 req->reason, err);
}

/**
 * ib_umem_odp_widen_range - grow a range to all that unmapping it will unmap
 * @umem_odp: the umem
 * @start: first user virtual address of the range
 * @end: the one after the last
 *
 * A mapping of device memory ends as a whole. For a driver with page tables of
 * its own, which it clears before it calls ib_umem_odp_unmap_dma_pages().
 */
void ib_umem_odp_widen_range(struct ib_umem_odp *umem_odp, u64 *start,
			     u64 *end)
{
	struct interval_tree_node *node;
	u64 first = *start, last = *end - 1;

	lockdep_assert_held(&umem_odp->umem_mutex);

	for (node = interval_tree_iter_first(&umem_odp->p2p_mappings, first, last);
	     node; node = interval_tree_iter_next(node, first, last)) {
		*start = min_t(u64, *start, node->start);
		*end = max_t(u64, *end, node->last + 1);
	}
}
EXPORT_SYMBOL(ib_umem_odp_widen_range);
