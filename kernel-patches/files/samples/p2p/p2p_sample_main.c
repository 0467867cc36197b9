// SPDX-License-Identifier: GPL-2.0
/*
 * An exporter for those who write one: buffers in a BAR that move.
 *
 * It binds an ivshmem device (QEMU), when told to by driver_override, and hands
 * out its BAR 2 through /dev/p2p_sampleN, see p2p_sample.h. A peer device gets
 * at a buffer through the process that has mapped it. The contract is in
 * Documentation/mm/p2p_map.rst; this is what keeping it takes:
 *
 * - A lock, sample_dev.lock. It is held while a buffer changes its place AND the
 *   old mappings are invalidated, and in p2p_map() and in the page fault. So
 *   whatever looks up the place after the invalidation sees the new one.
 * - unmap_mapping_range() for every change. It ends the mappings of the CPU and,
 *   by the MMU notifier, those of peer devices; when it has returned nobody
 *   reaches the old place, and it can be used for something else.
 * - p2p_unmap() takes no lock: it runs inside that call.
 *
 * debugfs, p2p_sample/: what was counted, and levers for tests.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/p2p_map.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

#include "p2p_sample.h"
#include "p2p_sample_place.h"
#include "p2p_sample_test.h"

/* One for each PCI device. Open files keep it, also when that is gone. */
struct sample_dev {
	struct kref kref;
	struct lock_class_key key;	/* a reset of the bus takes several */
	struct mutex lock;	/* the exporter's lock; protects all below */
	struct pci_dev *pdev;	/* NULL: the device is gone */
	struct sample_space space;
	struct list_head buffers;
	struct miscdevice misc;
	int id;
	char name[16];
};

/* An open file. The file, so every vma of it, keeps it. */
struct sample_buffer {
	struct sample_dev *dev;
	struct list_head list;
	/* Its vmas and nobody else's are in here. */
	struct file *anon;
	struct sample_place place;
	bool no_cpu;
	bool revoked;
	struct sample_ready ready;	/* a test's, see p2p_sample_test.h */
	struct work_struct late;	/* as well */
};

static void sample_dev_free(struct kref *kref)
{
	struct sample_dev *dev = container_of(kref, struct sample_dev, kref);

	sample_space_exit(&dev->space);
	mutex_destroy(&dev->lock);
	lockdep_unregister_key(&dev->key);
	kfree(dev);
}

/* Nobody reaches the buffer by what was mapped before this. */
static void buffer_invalidate(struct sample_buffer *buf)
{
	lockdep_assert_held(&buf->dev->lock);
	sample_count(SAMPLE_INVALIDATIONS);
	unmap_mapping_range(buf->anon->f_mapping, 0, 0, 1);
}

/*
 * The heart of an exporter that moves memory: first nobody writes to the old
 * place any more, then the data is copied, and only then the new one is known.
 * Who faults meanwhile, CPU or device, waits for the lock.
 */
static int buffer_move(struct sample_buffer *buf, u32 where, u32 ranges)
{
	struct sample_place place;
	int ret;

	lockdep_assert_held(&buf->dev->lock);
	ret = sample_place_alloc(&place, &buf->dev->space, where, ranges,
				 buf->place.nr_pages);
	if (ret)
		return ret;
	buffer_invalidate(buf);
	sample_place_copy(&place, &buf->place, &buf->dev->space);
	swap(buf->place, place);
	sample_place_free(&place, &buf->dev->space);
	sample_count(SAMPLE_MOVES);
	return 0;
}

/* A full BAR is no reason to fail: there is memory of the host. */
static int buffer_alloc(struct sample_buffer *buf, unsigned long nr_pages)
{
	struct sample_space *space = &buf->dev->space;
	int ret;

	lockdep_assert_held(&buf->dev->lock);
	if (buf->place.nr_pages)
		return -EEXIST;
	if (!nr_pages || nr_pages > space->nr_pages)
		return -EINVAL;
	ret = sample_place_alloc(&buf->place, space, P2P_SAMPLE_BAR, 1, nr_pages);
	if (ret == -ENOSPC)
		ret = sample_place_alloc(&buf->place, space, P2P_SAMPLE_SYSTEM,
					 nr_pages, nr_pages);
	if (!ret)
		sample_place_clear(&buf->place, space);
	return ret;
}

/* ---- what the vma does ---- */

static unsigned long vma_page(const struct vm_area_struct *vma,
			      unsigned long addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

static vm_fault_t sample_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct sample_buffer *buf = vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	pgprot_t prot = vm_get_page_prot(vma->vm_flags);
	unsigned long pfn;

	mutex_lock(&buf->dev->lock);
	if (buf->dev->pdev && !buf->revoked && !buf->no_cpu) {
		pfn = sample_place_pfn(&buf->place, &buf->dev->space,
				       vma_page(vma, vmf->address));
		if (buf->place.where == P2P_SAMPLE_BAR)
			prot = pgprot_writecombine(prot);
		ret = vmf_insert_pfn_prot(vma, vmf->address, pfn, prot);
	}
	mutex_unlock(&buf->dev->lock);
	return ret;
}

/* What this exporter refuses, with a reason for whoever reads the log. */
static struct p2p_mapping *sample_refusal(struct sample_buffer *buf,
					  struct p2p_request *req)
{
	struct pci_dev *pdev = buf->dev->pdev;

	if (!pdev)
		return p2p_refuse(req, NULL, -ENODEV, "the device is gone");
	if (buf->revoked)
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "the buffer was revoked");
	if (sample_denies(req->importer))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "this importer gets nothing");
	if (sample_lever_pulled(SAMPLE_REFUSE))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "a test wants it to fail");
	return NULL;
}

static struct p2p_mapping *sample_p2p_map(struct vm_area_struct *vma,
					  struct p2p_request *req)
{
	struct sample_buffer *buf = vma->vm_private_data;
	struct sample_dev *dev = buf->dev;
	struct p2p_mapping *map;
	int ret = 0;

	mutex_lock(&dev->lock);
	if (!sample_lever_is_ready(&buf->ready)) {
		map = p2p_map_later(req, sample_lever_wait,
				    (void *)buf->ready.at);
		mutex_unlock(&dev->lock);
		return map;
	}
	if (sample_lever_pulled(SAMPLE_BEFORE_MAP))
		buffer_invalidate(buf);

	map = sample_refusal(buf, req);
	/* Above its quota of BAR space it makes room, and gives pages instead. */
	if (!map && buf->place.where == P2P_SAMPLE_BAR &&
	    sample_space_is_over_quota(&dev->space))
		ret = buffer_move(buf, P2P_SAMPLE_SYSTEM, buf->place.nr_pages);
	if (ret)
		map = p2p_refuse(req, &dev->pdev->dev, ret,
				 "no memory of the host to move to");
	if (!map)
		map = sample_place_map(&buf->place, &dev->space,
				       vma_page(vma, req->start), req);

	if (IS_ERR(map))
		sample_count(SAMPLE_REFUSALS);
	else
		sample_count(SAMPLE_MAPS);
	if (sample_lever_pulled(SAMPLE_INSIDE_MAP))
		buffer_invalidate(buf);
	if (sample_lever_pulled(SAMPLE_AFTER_MAP))
		schedule_work(&buf->late);
	mutex_unlock(&dev->lock);
	return map;
}

/* Runs inside unmap_mapping_range(), so under the lock or not: takes none. */
static void sample_p2p_unmap(struct p2p_mapping *map)
{
	sample_count(SAMPLE_UNMAPS);
	pci_p2p_unmap(map);
}

static const struct vm_operations_struct sample_vm_ops = {
	.fault = sample_fault,
	.p2p_map = sample_p2p_map,
	.p2p_unmap = sample_p2p_unmap,
};

static int sample_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sample_buffer *buf = file->private_data;
	unsigned long end = vma->vm_pgoff + vma_pages(vma);
	int ret = 0;

	/* What a process writes to a private mapping is not ours. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	mutex_lock(&buf->dev->lock);
	if (!buf->dev->pdev)
		ret = -ENODEV;
	else if (!buf->place.nr_pages)
		ret = buffer_alloc(buf, end);
	if (!ret && (end < vma->vm_pgoff || end > buf->place.nr_pages))
		ret = -EINVAL;
	mutex_unlock(&buf->dev->lock);
	if (ret)
		return ret;

	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = buf;
	vma->vm_ops = &sample_vm_ops;
	return 0;
}

/* ---- what the file does ---- */

static void buffer_invalidate_late(struct work_struct *work)
{
	struct sample_buffer *buf =
		container_of(work, struct sample_buffer, late);

	mutex_lock(&buf->dev->lock);
	buffer_invalidate(buf);
	mutex_unlock(&buf->dev->lock);
}

static const struct file_operations sample_anon_fops = {
	.owner = THIS_MODULE,
};

static int sample_open(struct inode *inode, struct file *file)
{
	struct sample_dev *dev =
		container_of(file->private_data, struct sample_dev, misc);
	struct sample_buffer *buf = kzalloc(sizeof(*buf), GFP_KERNEL);

	if (!buf)
		return -ENOMEM;
	/*
	 * All files of a device share its mapping, by which vmas are found: one
	 * of its own, so that moving this buffer bothers no other.
	 */
	buf->anon = anon_inode_create_getfile("p2p_sample", &sample_anon_fops,
					      NULL, O_RDWR, NULL);
	if (IS_ERR(buf->anon)) {
		int ret = PTR_ERR(buf->anon);

		kfree(buf);
		return ret;
	}
	file->f_mapping = buf->anon->f_mapping;
	INIT_WORK(&buf->late, buffer_invalidate_late);

	kref_get(&dev->kref);
	buf->dev = dev;
	mutex_lock(&dev->lock);
	list_add(&buf->list, &dev->buffers);
	mutex_unlock(&dev->lock);
	file->private_data = buf;
	return 0;
}

/* The last vma is gone, and so is every mapping. */
static int sample_release(struct inode *inode, struct file *file)
{
	struct sample_buffer *buf = file->private_data;
	struct sample_dev *dev = buf->dev;

	cancel_work_sync(&buf->late);
	mutex_lock(&dev->lock);
	list_del(&buf->list);
	sample_place_free(&buf->place, &dev->space);
	mutex_unlock(&dev->lock);
	fput(buf->anon);
	kfree(buf);
	kref_put(&dev->kref, sample_dev_free);
	return 0;
}

static void buffer_where(struct sample_buffer *buf,
			 struct p2p_sample_place *told)
{
	*told = (struct p2p_sample_place) {
		.where = buf->place.where,
		.ranges = buf->place.nr,
		.offset = buf->place.where == P2P_SAMPLE_BAR ?
			  (u64)buf->place.ranges[0] << PAGE_SHIFT : 0,
		.size = (u64)buf->place.nr_pages << PAGE_SHIFT,
	};
}

static long buffer_ioctl(struct sample_buffer *buf, unsigned int cmd,
			 struct p2p_sample_place *place, u64 size, u32 cpu)
{
	if (!buf->dev->pdev)
		return -ENODEV;
	if (cmd == P2P_SAMPLE_SIZE)
		return PAGE_ALIGNED(size) ?
		       buffer_alloc(buf, size >> PAGE_SHIFT) : -EINVAL;
	if (!buf->place.nr_pages)
		return -ENXIO;

	switch (cmd) {
	case P2P_SAMPLE_MOVE:
		if (place->where == P2P_SAMPLE_SYSTEM)
			place->ranges = buf->place.nr_pages;
		return buffer_move(buf, place->where, place->ranges);
	case P2P_SAMPLE_WHERE:
		buffer_where(buf, place);
		return 0;
	case P2P_SAMPLE_CPU:
		buf->no_cpu = !cpu;
		break;
	case P2P_SAMPLE_REVOKE:
		buf->revoked = true;
		break;
	case P2P_SAMPLE_INVALIDATE:
		break;
	default:
		return -ENOTTY;
	}
	buffer_invalidate(buf);
	return 0;
}

static long sample_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct sample_buffer *buf = file->private_data;
	union {
		struct p2p_sample_place place;
		u64 size;
		u32 cpu;
	} user = {};
	long ret;

	if (_IOC_SIZE(cmd) > sizeof(user))
		return -ENOTTY;
	if (_IOC_DIR(cmd) & _IOC_WRITE &&
	    copy_from_user(&user, (void __user *)arg, _IOC_SIZE(cmd)))
		return -EFAULT;

	mutex_lock(&buf->dev->lock);
	ret = buffer_ioctl(buf, cmd, &user.place, user.size, user.cpu);
	mutex_unlock(&buf->dev->lock);

	if (!ret && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user((void __user *)arg, &user, _IOC_SIZE(cmd)))
		return -EFAULT;
	return ret;
}

static const struct file_operations sample_fops = {
	.owner = THIS_MODULE,
	.open = sample_open,
	.release = sample_release,
	.mmap = sample_mmap,
	.unlocked_ioctl = sample_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- what the PCI device does ---- */

static DEFINE_IDA(sample_ids);

static void invalidate_all(struct sample_dev *dev)
{
	struct sample_buffer *buf;

	list_for_each_entry(buf, &dev->buffers, list)
		buffer_invalidate(buf);
}

static int sample_register(struct sample_dev *dev)
{
	int ret;

	dev->id = ida_alloc(&sample_ids, GFP_KERNEL);
	if (dev->id < 0)
		return dev->id;
	snprintf(dev->name, sizeof(dev->name), "p2p_sample%d", dev->id);
	dev->misc.minor = MISC_DYNAMIC_MINOR;
	dev->misc.name = dev->name;
	dev->misc.fops = &sample_fops;
	dev->misc.parent = &dev->pdev->dev;
	ret = misc_register(&dev->misc);
	if (ret)
		ida_free(&sample_ids, dev->id);
	return ret;
}

static int sample_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct sample_dev *dev;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pci_request_region(pdev, SAMPLE_BAR, KBUILD_MODNAME);
	if (ret)
		return ret;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev) {
		ret = -ENOMEM;
		goto err_region;
	}
	kref_init(&dev->kref);
	lockdep_register_key(&dev->key);
	mutex_init(&dev->lock);
	lockdep_set_class(&dev->lock, &dev->key);
	INIT_LIST_HEAD(&dev->buffers);
	dev->pdev = pdev;
	ret = sample_space_init(&dev->space, pdev);
	if (ret)
		goto err_dev;
	pci_set_drvdata(pdev, dev);
	ret = sample_register(dev);
	if (ret)
		goto err_dev;
	return 0;

err_dev:
	sample_space_unmap(&dev->space);
	kref_put(&dev->kref, sample_dev_free);
err_region:
	pci_release_region(pdev, SAMPLE_BAR);
	return ret;
}

/* Files may stay open, and find that the device is gone. */
static void sample_remove(struct pci_dev *pdev)
{
	struct sample_dev *dev = pci_get_drvdata(pdev);

	misc_deregister(&dev->misc);
	ida_free(&sample_ids, dev->id);

	mutex_lock(&dev->lock);
	dev->pdev = NULL;
	invalidate_all(dev);
	sample_space_unmap(&dev->space);
	mutex_unlock(&dev->lock);

	pci_release_region(pdev, SAMPLE_BAR);
	kref_put(&dev->kref, sample_dev_free);
}

/* Nobody touches the memory, or looks up where it is, during a reset. */
static void sample_reset_prepare(struct pci_dev *pdev)
{
	struct sample_dev *dev = pci_get_drvdata(pdev);

	mutex_lock(&dev->lock);
	invalidate_all(dev);
}

static void sample_reset_done(struct pci_dev *pdev)
{
	struct sample_dev *dev = pci_get_drvdata(pdev);

	mutex_unlock(&dev->lock);
}

static const struct pci_error_handlers sample_err_handler = {
	.reset_prepare = sample_reset_prepare,
	.reset_done = sample_reset_done,
};

/* Only devices whose driver_override asks for it: others use ivshmem as well. */
static const struct pci_device_id sample_pci_ids[] = {
	{ PCI_DEVICE_DRIVER_OVERRIDE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110, 1) },
	{}
};
MODULE_DEVICE_TABLE(pci, sample_pci_ids);

static struct pci_driver sample_driver = {
	.name = "p2p_sample",
	.id_table = sample_pci_ids,
	.probe = sample_probe,
	.remove = sample_remove,
	.err_handler = &sample_err_handler,
};

static int __init sample_init(void)
{
	int ret;

	sample_test_init();
	ret = pci_register_driver(&sample_driver);
	if (ret)
		sample_test_exit();
	return ret;
}

static void __exit sample_exit(void)
{
	pci_unregister_driver(&sample_driver);
	sample_test_exit();
}

module_init(sample_init);
module_exit(sample_exit);

MODULE_DESCRIPTION("Example of an exporter of device memory to peer devices");
MODULE_LICENSE("GPL");
