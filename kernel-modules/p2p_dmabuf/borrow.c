// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that has a dma-buf of its own: a mapping of a dma-buf, or of a DRM driver's
 * buffer. Its exporter moves it, and tells importers, without us. It stays what it is
 * when the process unmaps it.
 */
#include <linux/dma-buf.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/kconfig.h>
#include <linux/mm.h>

#if IS_ENABLED(CONFIG_DRM)
#include <drm/drm.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_prime.h>
#include <drm/drm_vma_manager.h>
#endif

#include "p2p_dmabuf.h"

/*
 * DRM's prime adds an offset of its own to that of such a vma, from here on, in pages:
 * then it cannot be told where in the dma-buf it is.
 */
#define FIRST_DRM_PAGE	((0xFFFFFFFFUL >> PAGE_SHIFT) + 1)

int p2p_borrow_dmabuf(struct file *file, unsigned long pgoff, unsigned long npages,
		      u64 *offset, struct p2p_refusal *why)
{
	const struct dma_buf *dmabuf = file->private_data;
	int fd;

	if (pgoff >= FIRST_DRM_PAGE || pgoff + npages > dmabuf->size >> PAGE_SHIFT)
		return p2p_refuse(why, dmabuf->exp_name, -EFAULT,
				  "where in the dma-buf it is cannot be told");
	*offset = (u64)pgoff << PAGE_SHIFT;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	fd_install(fd, get_file(file));
	return fd;
}

#if IS_ENABLED(CONFIG_DRM)
/* A handle of the process for the buffer at page @pgoff of its file, or 0. */
static u32 find_handle(struct drm_file *drm_file, unsigned long pgoff,
		       unsigned long npages, u64 *offset)
{
	struct drm_gem_object *obj;
	unsigned long first;
	u32 found = 0;
	int handle;

	spin_lock(&drm_file->table_lock);
	idr_for_each_entry(&drm_file->object_idr, obj, handle) {
		if (!obj || !drm_mm_node_allocated(&obj->vma_node.vm_node))
			continue;
		first = drm_vma_node_start(&obj->vma_node);
		if (pgoff < first ||
		    pgoff - first + npages > drm_vma_node_size(&obj->vma_node))
			continue;
		*offset = (u64)(pgoff - first) << PAGE_SHIFT;
		found = handle;
		break;
	}
	spin_unlock(&drm_file->table_lock);
	return found;
}

/* As DRM's own ioctl does; a driver without one of its own has no dma-bufs on 6.1. */
static int handle_to_fd(struct drm_device *dev, struct drm_file *drm_file, u32 handle,
			u32 flags, int *fd)
{
	if (dev->driver->prime_handle_to_fd)
		return dev->driver->prime_handle_to_fd(dev, drm_file, handle, flags, fd);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return drm_gem_prime_handle_to_fd(dev, drm_file, handle, flags, fd);
#else
	return -EOPNOTSUPP;
#endif
}

/* @may_write: as the dma-buf may be there for longer, and for others, than for us. */
int p2p_borrow_gem(struct file *file, unsigned long pgoff, unsigned long npages,
		   bool may_write, u64 *offset, struct p2p_refusal *why)
{
	struct drm_file *drm_file = file->private_data;
	struct drm_device *dev = drm_file->minor->dev;
	u32 handle = 0;
	int fd, err;

	if (drm_core_check_feature(dev, DRIVER_GEM))
		handle = find_handle(drm_file, pgoff, npages, offset);
	if (!handle)
		return p2p_refuse(why, dev->driver->name, -EFAULT,
				  "no buffer that its file has a handle of is mapped there");
	/* The process may close the handle meanwhile: then it is not there any more. */
	err = handle_to_fd(dev, drm_file, handle,
			   DRM_CLOEXEC | (may_write ? DRM_RDWR : 0), &fd);
	if (err)
		return p2p_refuse(why, dev->driver->name, err,
				  "its driver makes no dma-buf of the buffer");
	return fd;
}
#else
int p2p_borrow_gem(struct file *file, unsigned long pgoff, unsigned long npages,
		   bool may_write, u64 *offset, struct p2p_refusal *why)
{
	return p2p_refuse(why, NULL, -EFAULT, "this module was built without DRM");
}
#endif
