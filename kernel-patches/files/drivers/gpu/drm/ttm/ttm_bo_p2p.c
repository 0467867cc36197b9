// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Peer mappings of buffer objects: another device, such as a NIC, accesses one
 * that a process has mapped. See Documentation/mm/p2p_map.rst.
 *
 * The exporter's lock is the reservation. TTM holds it whenever it gives an
 * object another place, and calls ttm_bo_unmap_virtual() first: that ends the
 * mappings of peers with those of the CPU, and does not need the CPU to have
 * touched the object. Here it is held while the place is looked up and mapped,
 * so no mapping of an old place is made after that call. Removal of the device
 * unmaps everything after drm_dev_unplug() has locked out who looks up.
 */
#include <linux/p2p_map.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/range.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_tt.h>

#include "ttm_module.h"

/* What of the object, in pages, is asked for. */
struct window {
	pgoff_t first;
	unsigned long nr;
};

static struct window window_of(const struct vm_area_struct *vma,
			       const struct ttm_buffer_object *bo,
			       const struct p2p_request *req)
{
	return (struct window) {
		.first = ((req->start - vma->vm_start) >> PAGE_SHIFT) +
			 vma->vm_pgoff - drm_vma_node_start(&bo->base.vma_node),
		.nr = (req->end - req->start) >> PAGE_SHIFT,
	};
}

/* How many pages, from the one at page on, follow each other in the BAR. */
static unsigned long contiguous_iomem(struct ttm_buffer_object *bo,
				      pgoff_t page, unsigned long nr)
{
	const struct ttm_device_funcs *funcs = bo->bdev->funcs;

	/* A driver without this callback has no memory that is scattered. */
	if (!funcs->io_mem_pfn)
		return nr;
	if (!funcs->io_mem_contiguous)
		return 1;
	return min(nr, funcs->io_mem_contiguous(bo, page));
}

static struct p2p_mapping *map_iomem(struct ttm_buffer_object *bo,
				     struct window win, struct p2p_request *req)
{
	struct device *dev = bo->base.dev->dev;
	struct p2p_mapping *map;
	unsigned long done, len;
	struct range *ranges;
	unsigned int nr = 0;

	if (!dev_is_pci(dev))
		return p2p_refuse(req, dev, -EREMOTEIO, "it is no PCI device");

	for (done = 0; done < win.nr; done += len, nr++) {
		len = contiguous_iomem(bo, win.first + done, win.nr - done);
		cond_resched();
	}
	ranges = kvmalloc_array(nr, sizeof(*ranges), GFP_KERNEL);
	if (!ranges)
		return ERR_PTR(-ENOMEM);

	for (done = 0, nr = 0; done < win.nr; done += len, nr++) {
		u64 pfn = ttm_bo_io_mem_pfn(bo, win.first + done);

		len = contiguous_iomem(bo, win.first + done, win.nr - done);
		ranges[nr].start = pfn << PAGE_SHIFT;
		ranges[nr].end = ((pfn + len) << PAGE_SHIFT) - 1;
		cond_resched();
	}
	map = pci_p2p_map_ranges(to_pci_dev(dev), ranges, nr, req);
	kvfree(ranges);
	return map;
}

/* It was evicted, or was never in device memory. */
static struct p2p_mapping *map_pages(struct ttm_buffer_object *bo,
				     struct window win, struct p2p_request *req)
{
	struct ttm_operation_ctx ctx = { .force_alloc = true };
	struct device *dev = bo->base.dev->dev;
	int err;

	err = ttm_tt_populate(bo->bdev, bo->ttm, &ctx);
	if (err)
		return p2p_refuse(req, dev, err,
				  "there are no pages for the buffer");
	return pci_p2p_map_pages(dev, bo->ttm->pages + win.first, req);
}

static struct p2p_mapping *map_place(struct ttm_buffer_object *bo,
				     struct window win, struct p2p_request *req)
{
	struct device *dev = bo->base.dev->dev;
	int err;

	if (win.first + win.nr > PFN_UP(bo->base.size))
		return p2p_refuse(req, dev, -EPERM, "it is beyond the buffer");
	if (!bo->resource)
		return p2p_refuse(req, dev, -EPERM, "the buffer is nowhere");
	/* Whoever has exported it would have to be asked. */
	if (bo->ttm && bo->ttm->page_flags & TTM_TT_FLAG_EXTERNAL)
		return p2p_refuse(req, dev, -EPERM,
				  "the buffer is imported from another driver");

	err = ttm_mem_io_reserve(bo->bdev, bo->resource);
	if (err)
		return p2p_refuse(req, dev, -EPERM,
				  "the buffer is not where the BAR shows it");

	return bo->resource->bus.is_iomem ? map_iomem(bo, win, req) :
					    map_pages(bo, win, req);
}

/* Neither the lock nor the device is waited for in p2p_map(), but here. */
static int wait_for_object(void *arg)
{
	struct ttm_buffer_object *bo = arg;
	struct dma_resv *resv = bo->base.resv;
	long ret = dma_resv_lock_interruptible(resv, NULL);

	if (!ret) {
		dma_resv_unlock(resv);
		ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true,
					    MAX_SCHEDULE_TIMEOUT);
	}
	ttm_bo_put(bo);
	return ret < 0 ? -ERESTARTSYS : 0;
}

static struct p2p_mapping *map_later(struct ttm_buffer_object *bo,
				     struct p2p_request *req)
{
	ttm_bo_get(bo);
	return p2p_map_later(req, wait_for_object, bo);
}

/* Nobody moves it. Under the reservation. */
static bool is_still(struct ttm_buffer_object *bo, const struct p2p_request *req)
{
	struct dma_resv *resv = bo->base.resv;

	if (!req->waited)
		return dma_resv_test_signaled(resv, DMA_RESV_USAGE_KERNEL);
	return dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true,
				     MAX_SCHEDULE_TIMEOUT) > 0;
}

/**
 * ttm_bo_p2p_reserve() - reserve an object that is not being moved
 * @bo: the object
 * @req: the request, for which it is done
 *
 * Context: that of p2p_map() in struct vm_operations_struct. Waits only if that
 * was done before, and others were faster again.
 *
 * Return: NULL, and the object is reserved; or what p2p_map() is to return.
 */
struct p2p_mapping *ttm_bo_p2p_reserve(struct ttm_buffer_object *bo,
				       struct p2p_request *req)
{
	struct dma_resv *resv = bo->base.resv;

	if (req->waited) {
		if (dma_resv_lock_interruptible(resv, NULL))
			return ERR_PTR(-ERESTARTSYS);
	} else if (!dma_resv_trylock(resv)) {
		return map_later(bo, req);
	}
	if (is_still(bo, req))
		return NULL;
	dma_resv_unlock(resv);
	return map_later(bo, req);
}
EXPORT_SYMBOL(ttm_bo_p2p_reserve);

/**
 * ttm_bo_p2p_map_reserved() - map a reserved object where it is now
 * @vma: a mapping of the object, vma->vm_private_data
 * @req: what is asked for
 *
 * For drivers that have to bring the object into reach of the BAR first. That it
 * gets there is not waited for: the importer asks again when it has.
 *
 * Context: that of p2p_map() in struct vm_operations_struct, and the object is
 * reserved.
 *
 * Return: the mapping, for pci_p2p_unmap(), or ERR_PTR as p2p_map_vma() says.
 */
struct p2p_mapping *ttm_bo_p2p_map_reserved(struct vm_area_struct *vma,
					    struct p2p_request *req)
{
	struct ttm_buffer_object *bo = vma->vm_private_data;
	struct p2p_mapping *map;
	int idx;

	dma_resv_assert_held(bo->base.resv);

	if (!drm_dev_enter(bo->base.dev, &idx))
		return p2p_refuse(req, bo->base.dev->dev, -ENODEV,
				  "the device is gone");
	if (is_still(bo, req))
		map = map_place(bo, window_of(vma, bo, req), req);
	else
		map = map_later(bo, req);
	drm_dev_exit(idx);
	return map;
}
EXPORT_SYMBOL(ttm_bo_p2p_map_reserved);

/**
 * ttm_bo_p2p_map() - p2p_map() for objects that the BAR shows wherever they are
 * @vma: a mapping of the object
 * @req: what is asked for
 *
 * Context: that of p2p_map() in struct vm_operations_struct.
 *
 * Return: as ttm_bo_p2p_map_reserved().
 */
struct p2p_mapping *ttm_bo_p2p_map(struct vm_area_struct *vma,
				   struct p2p_request *req)
{
	struct ttm_buffer_object *bo = vma->vm_private_data;
	struct p2p_mapping *map = ttm_bo_p2p_reserve(bo, req);

	if (map)
		return map;
	map = ttm_bo_p2p_map_reserved(vma, req);
	dma_resv_unlock(bo->base.resv);
	return map;
}
EXPORT_SYMBOL(ttm_bo_p2p_map);

/**
 * ttm_bo_p2p_refuse() - say what a driver's page fault code has found
 * @bo: the object
 * @ret: what it returned to that effect, which is not 0
 * @req: the request, for which it was called
 *
 * Return: ERR_PTR.
 */
struct p2p_mapping *ttm_bo_p2p_refuse(const struct ttm_buffer_object *bo,
				      vm_fault_t ret, struct p2p_request *req)
{
	struct device *dev = bo->base.dev->dev;

	if (ret & VM_FAULT_OOM)
		return ERR_PTR(-ENOMEM);
	if (ret & VM_FAULT_NOPAGE)
		return p2p_refuse(req, dev, -EAGAIN, "the buffer is busy");
	return p2p_refuse(req, dev, -EPERM,
			  "the buffer cannot be moved to where the BAR shows it");
}
EXPORT_SYMBOL(ttm_bo_p2p_refuse);
