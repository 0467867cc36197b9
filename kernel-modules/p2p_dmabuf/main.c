// SPDX-License-Identifier: GPL-2.0
/*
 * p2p_dmabuf: a dma-buf for device memory that a process has mapped, on kernels whose
 * drivers export none. For processes /dev/p2p_dmabuf, for modules
 * include/linux/p2p_dmabuf.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-buf.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "p2p_dmabuf.h"

int p2p_refuse(struct p2p_refusal *why, const char *exporter, int err,
	       const char *reason)
{
	if (exporter)
		strscpy(why->exporter, exporter, sizeof(why->exporter));
	why->reason = reason;
	why->err = err;
	return err;
}

static const unsigned int contents_of[] = {
	[P2P_SOURCE_HOST] = P2P_CONTENTS_HOST,
	[P2P_SOURCE_BAR] = P2P_CONTENTS_DEVICE,
	[P2P_SOURCE_DMABUF] = P2P_CONTENTS_DEVICE,
	[P2P_SOURCE_GEM] = P2P_CONTENTS_DEVICE,
	[P2P_SOURCE_OTHER] = P2P_CONTENTS_OTHER,
};

/**
 * p2p_dmabuf_contents() - what does a range of the current process hold?
 * @start: first user virtual address
 * @end: the one after the last
 * @why: who does not export P2P_CONTENTS_OTHER, and why
 *
 * It may be something else on return.
 *
 * Context: process. Takes mmap_lock.
 * Return: P2P_CONTENTS_*, or -EINTR.
 */
int p2p_dmabuf_contents(unsigned long start, unsigned long end,
			struct p2p_refusal *why)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned long addr = start;
	int contents = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	while (addr < end) {
		vma = find_vma(mm, addr);
		if (!vma || vma->vm_start > addr)
			contents |= P2P_CONTENTS_HOLE;
		if (!vma || vma->vm_start >= end)
			break;
		contents |= contents_of[p2p_vma_source(vma, why)];
		/* Who refused it is in @why. */
		if (contents & P2P_CONTENTS_OTHER)
			break;
		addr = vma->vm_end;
	}
	mmap_read_unlock(mm);
	return contents;
}
EXPORT_SYMBOL_GPL(p2p_dmabuf_contents);

/* A dma-buf that is there already, and where in it a range begins. */
struct borrowed {
	enum p2p_source source;
	struct file *file;		/* a reference */
	unsigned long pgoff;
	bool may_write;
};

static unsigned long vma_pgoff(const struct vm_area_struct *vma, unsigned long addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

/*
 * What kind of dma-buf [start, end) needs. BARs are all found when an importer maps
 * them; of the rest all has to be of one.
 */
static int find_source(struct borrowed *it, unsigned long start, unsigned long end,
		       bool write, struct p2p_refusal *why)
{
	struct vm_area_struct *vma;
	enum p2p_source source;
	unsigned long addr;
	int err;

	for (addr = start; addr < end; addr = vma->vm_end) {
		vma = find_vma(current->mm, addr);
		if (!vma || vma->vm_start > addr)
			return p2p_refuse(why, "", -EFAULT,
					  "nothing is mapped in a part of it");
		source = p2p_vma_source(vma, why);
		if (source == P2P_SOURCE_OTHER)
			return why->err;
		/* Who asks of any memory whether it is a device's gets no line in the log. */
		if (source == P2P_SOURCE_HOST && addr == start)
			return -EFAULT;
		if (source == P2P_SOURCE_HOST)
			return p2p_refuse(why, "", -EOPNOTSUPP,
					  "host memory is next to device memory");
		err = p2p_vma_access(vma, write, why);
		if (err)
			return err;

		if (addr == start) {
			it->source = source;
			it->pgoff = vma_pgoff(vma, addr);
			it->may_write = vma->vm_flags & VM_MAYWRITE;
			if (source != P2P_SOURCE_BAR)
				it->file = get_file(vma->vm_file);
		} else if (source != it->source ||
			   (it->file && (it->file != vma->vm_file ||
					 vma_pgoff(vma, addr) - it->pgoff !=
						(addr - start) >> PAGE_SHIFT))) {
			return p2p_refuse(why, NULL, -EOPNOTSUPP,
					  "a part of it is of another exporter's: that takes an MR each");
		}
	}
	return 0;
}

/**
 * p2p_dmabuf_fd() - a dma-buf of device memory that the current process has mapped
 * @start: first user virtual address, page aligned
 * @end: the one after the last, page aligned
 * @flags: P2P_DMABUF_WRITE, P2P_DMABUF_READER
 * @offset: set to where in the dma-buf @start is, in bytes
 * @kind: set to enum p2p_dmabuf_kind
 * @reader: with P2P_DMABUF_READER, set to NULL or what p2p_dmabuf_seal() takes
 * @why: set to who refuses, and why, when somebody does
 *
 * Context: process. Takes mmap_lock.
 * Return: an fd of the current process, close-on-exec, or an errno, see struct
 * p2p_dmabuf_export.
 */
int p2p_dmabuf_fd(unsigned long start, unsigned long end, unsigned int flags,
		  u64 *offset, u32 *kind, struct dma_buf **reader,
		  struct p2p_refusal *why)
{
	bool write = flags & P2P_DMABUF_WRITE;
	struct borrowed it = {};
	int err;

	if (start >= end || !PAGE_ALIGNED(start | end))
		return p2p_refuse(why, "", -EINVAL, "not whole pages");
	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	err = find_source(&it, start, end, write, why);
	mmap_read_unlock(current->mm);
	if (err)
		goto out;

	*offset = 0;
	switch (it.source) {
	case P2P_SOURCE_DMABUF:
		*kind = P2P_DMABUF_KIND_DMABUF;
		err = p2p_borrow_dmabuf(it.file, it.pgoff, (end - start) >> PAGE_SHIFT,
					offset, why);
		break;
	case P2P_SOURCE_GEM:
		*kind = P2P_DMABUF_KIND_GEM;
		err = p2p_borrow_gem(it.file, it.pgoff, (end - start) >> PAGE_SHIFT,
				     it.may_write, offset, why);
		break;
	default:
		*kind = P2P_DMABUF_KIND_BAR;
		err = p2p_buffer_fd(start, end, flags, reader);
	}
out:
	if (it.file)
		fput(it.file);
	return err;
}
EXPORT_SYMBOL_GPL(p2p_dmabuf_fd);

/**
 * p2p_dmabuf_seal() - the importer that only reads is attached, or not
 * @reader: of p2p_dmabuf_fd(), whose reference this takes
 *
 * Whoever else has got hold of the fd attaches nothing to it.
 *
 * Context: process.
 */
void p2p_dmabuf_seal(struct dma_buf *reader)
{
	p2p_buffer_seal(reader);
	dma_buf_put(reader);
}
EXPORT_SYMBOL_GPL(p2p_dmabuf_seal);

/* ---- the device node ---- */

static int ioctl_export(struct p2p_dmabuf_export *req)
{
	struct p2p_refusal why = {};
	unsigned long end;
	u64 offset;
	u32 kind;
	int fd;

	if (req->flags & ~P2P_DMABUF_WRITE || req->addr != (unsigned long)req->addr ||
	    check_add_overflow((unsigned long)req->addr,
			       (unsigned long)req->length, &end))
		return -EINVAL;
	fd = p2p_dmabuf_fd(req->addr, end, req->flags, &offset, &kind, NULL, &why);
	if (fd < 0) {
		if (why.reason)
			pr_notice_ratelimited("no dma-buf of %#llx, %llu bytes: %s%s%s (%d)\n",
					      req->addr, req->length, why.exporter,
					      why.exporter[0] ? ": " : "", why.reason, fd);
		return fd;
	}
	req->fd = fd;
	req->kind = kind;
	req->offset = offset;
	return 0;
}

static long p2p_dmabuf_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct p2p_dmabuf_export __user *user = (void __user *)arg;
	struct p2p_dmabuf_export req;
	u32 size;
	int err;

	if (_IOC_TYPE(cmd) != _IOC_TYPE(P2P_DMABUF_EXPORT) ||
	    _IOC_NR(cmd) != _IOC_NR(P2P_DMABUF_EXPORT))
		return -ENOTTY;
	if (get_user(size, &user->size))
		return -EFAULT;
	/* All of the first version, and no more than one would ever send. */
	if (size < offsetofend(struct p2p_dmabuf_export, offset) || size > PAGE_SIZE)
		return -EINVAL;
	err = copy_struct_from_user(&req, sizeof(req), user, size);
	if (err)
		return err;
	err = ioctl_export(&req);
	if (err)
		return err;
	if (!copy_to_user(user, &req, min_t(size_t, size, sizeof(req))))
		return 0;
	close_fd(req.fd);
	return -EFAULT;
}

static const struct file_operations p2p_dmabuf_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = p2p_dmabuf_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* Who may open it, udev says: by itself it is for root. */
static struct miscdevice p2p_dmabuf_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2p_dmabuf",
	.fops = &p2p_dmabuf_fops,
	.mode = 0600,
};

static int __init p2p_dmabuf_init(void)
{
	int err = p2p_buffer_init();

	if (err)
		return err;
	err = misc_register(&p2p_dmabuf_device);
	if (err)
		p2p_buffer_exit();
	return err;
}
module_init(p2p_dmabuf_init);

static void __exit p2p_dmabuf_exit(void)
{
	misc_deregister(&p2p_dmabuf_device);
	p2p_buffer_exit();
}
module_exit(p2p_dmabuf_exit);

MODULE_DESCRIPTION("dma-bufs for device memory that a process has mapped");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
