// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Rings: memory of the kernel that user space maps
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "dmae.h"

/*
 * A ring that can be mapped belongs to this, not to the object whose ring it
 * is: mmap() may still look at it when that is destroyed. The pages live on
 * under the mappings.
 */
struct dmae_ring_map {
	struct rdma_user_mmap_entry entry;
	struct dmae_ring *ring;
	size_t size;
};

static int dmae_ring_offer(struct dmae_ring_mem *mem, struct ib_ucontext *uctx)
{
	struct dmae_ring_map *map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	int err;

	if (!map)
		return -ENOMEM;
	map->ring = mem->ring;
	map->size = mem->size;
	err = rdma_user_mmap_entry_insert(uctx, &map->entry, mem->size);
	if (err) {
		kfree(map);
		return err;
	}
	mem->map = map;
	return 0;
}

int dmae_ring_alloc(struct dmae_ring_mem *mem, u32 depth, u32 stride,
		    struct ib_ucontext *uctx)
{
	int err;

	mem->map = NULL;
	mem->depth = roundup_pow_of_two(max(depth, 1));
	mem->stride = stride;
	mem->size = PAGE_ALIGN(DMAE_RING_ENTRIES + (size_t)mem->depth * stride);
	mem->ring = __vmalloc(mem->size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!mem->ring)
		return -ENOMEM;
	if (!uctx)
		return 0;

	err = dmae_ring_offer(mem, uctx);
	if (err)
		dmae_ring_free(mem);
	return err;
}

void dmae_ring_free(struct dmae_ring_mem *mem)
{
	if (mem->map)
		rdma_user_mmap_entry_remove(&mem->map->entry);
	else
		vfree(mem->ring);
	mem->map = NULL;
	mem->ring = NULL;
}

void dmae_ring_resp(struct dmae_ring_mem *mem, struct dmae_ring_resp *resp)
{
	memset(resp, 0, sizeof(*resp));
	if (!mem->map)
		return;
	resp->offset = rdma_user_mmap_get_offset(&mem->map->entry);
	resp->size = mem->size;
	resp->depth = mem->depth;
	resp->stride = mem->stride;
}

/* As remap_vmalloc_range() does: nothing that is charged is VM_USERMAP. */
static int dmae_ring_insert(struct dmae_ring_map *map,
			    struct vm_area_struct *vma)
{
	size_t offset;
	int err = 0;

	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	for (offset = 0; offset < map->size && !err; offset += PAGE_SIZE)
		err = vm_insert_page(vma, vma->vm_start + offset,
				     vmalloc_to_page((void *)map->ring +
						     offset));
	return err;
}

int dmae_mmap(struct ib_ucontext *uctx, struct vm_area_struct *vma)
{
	struct rdma_user_mmap_entry *entry;
	struct dmae_ring_map *map;
	int err;

	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	vm_flags_clear(vma, VM_MAYEXEC);

	/* Shared, and exactly the whole of it. */
	entry = rdma_user_mmap_entry_get(uctx, vma);
	if (!entry)
		return -EINVAL;
	map = container_of(entry, struct dmae_ring_map, entry);
	err = dmae_ring_insert(map, vma);
	rdma_user_mmap_entry_put(entry);
	return err;
}

void dmae_mmap_free(struct rdma_user_mmap_entry *entry)
{
	struct dmae_ring_map *map =
		container_of(entry, struct dmae_ring_map, entry);

	vfree(map->ring);
	kfree(map);
}
