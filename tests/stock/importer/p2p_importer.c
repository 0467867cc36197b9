// SPDX-License-Identifier: GPL-2.0
/*
 * A test importer of dma-bufs, on behalf of the PCI device that is named: attaches as
 * RDMA does, and maps, holds on and unmaps as it is told. Nothing masters the bus. Its
 * mmap() is that of some driver whose device has memory in BAR 2.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "p2p_importer.h"

static char *device = "";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI function that imports, as 0000:00:02.0");

static char *exporter = "";
module_param(exporter, charp, 0444);
MODULE_PARM_DESC(exporter, "PCI function whose BAR 2 can be mapped");

/* With a reference, or NULL. */
static struct pci_dev *find_device(const char *name)
{
	unsigned int domain, bus, slot, fn;

	if (sscanf(name, "%x:%x:%x.%x", &domain, &bus, &slot, &fn) != 4)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, fn));
}

struct importer {
	struct mutex lock;		/* who attaches and detaches */
	struct pci_dev *pdev;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	bool pinned;
	/* The resv lock. */
	struct sg_table *sgt;
	enum dma_data_direction dir;
	u64 moves;
};

static void unmap(struct importer *imp)
{
	/* Importers that zap their page tables allocate. */
	kfree(kmalloc(PAGE_SIZE, GFP_KERNEL));
	if (imp->sgt)
		dma_buf_unmap_attachment(imp->attach, imp->sgt, imp->dir);
	imp->sgt = NULL;
}

static int map(struct importer *imp, enum dma_data_direction dir)
{
	struct sg_table *sgt;

	if (imp->sgt)
		return 0;
	sgt = dma_buf_map_attachment(imp->attach, dir);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	imp->sgt = sgt;
	imp->dir = dir;
	return 0;
}

static void move_notify(struct dma_buf_attachment *attach)
{
	struct importer *imp = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	imp->moves++;
	if (!imp->pinned)
		unmap(imp);
}

static const struct dma_buf_attach_ops importer_ops = {
	.allow_peer2peer = true,
	.move_notify = move_notify,
};

static void detach(struct importer *imp)
{
	if (!imp->dmabuf)
		return;
	dma_resv_lock(imp->dmabuf->resv, NULL);
	unmap(imp);
	if (imp->pinned)
		dma_buf_unpin(imp->attach);
	dma_resv_unlock(imp->dmabuf->resv);
	dma_buf_detach(imp->dmabuf, imp->attach);
	dma_buf_put(imp->dmabuf);
	imp->dmabuf = NULL;
	imp->pinned = false;
}

static long ioctl_attach(struct importer *imp, const struct p2p_importer_attach *arg)
{
	int err = 0;

	if (imp->dmabuf)
		return -EBUSY;
	imp->dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(imp->dmabuf)) {
		err = PTR_ERR(imp->dmabuf);
		imp->dmabuf = NULL;
		return err;
	}
	imp->attach = dma_buf_dynamic_attach(imp->dmabuf, &imp->pdev->dev,
					     &importer_ops, imp);
	if (IS_ERR(imp->attach)) {
		err = PTR_ERR(imp->attach);
		dma_buf_put(imp->dmabuf);
		imp->dmabuf = NULL;
		return err;
	}
	if (!arg->pin)
		return 0;
	dma_resv_lock(imp->dmabuf->resv, NULL);
	err = dma_buf_pin(imp->attach);
	imp->pinned = !err;
	dma_resv_unlock(imp->dmabuf->resv);
	if (err)
		detach(imp);
	return err;
}

static void fill_runs(const struct importer *imp, struct p2p_importer_map *arg)
{
	struct scatterlist *sg;
	int i;

	arg->nr_runs = 0;
	for_each_sgtable_dma_sg(imp->sgt, sg, i) {
		if (i < P2P_IMPORTER_RUNS) {
			arg->run[i].dma = sg_dma_address(sg);
			arg->run[i].len = sg_dma_len(sg);
		}
		arg->nr_runs++;
	}
}

static long ioctl_map(struct importer *imp, struct p2p_importer_map *arg)
{
	enum dma_data_direction dir = arg->flags & P2P_IMPORTER_READS ?
				      DMA_TO_DEVICE : DMA_BIDIRECTIONAL;
	int err;

	dma_resv_lock(imp->dmabuf->resv, NULL);
	err = map(imp, dir);
	if (arg->hold_ms)
		msleep(arg->hold_ms);
	if (arg->flags & P2P_IMPORTER_AGAIN) {
		unmap(imp);
		err = map(imp, dir);
	}
	if (!err)
		fill_runs(imp, arg);
	dma_resv_unlock(imp->dmabuf->resv);
	return err;
}

static long importer_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct importer *imp = file->private_data;
	void __user *arg = (void __user *)user;
	struct p2p_importer_attach attach;
	struct p2p_importer_stat stat = {};
	struct p2p_importer_map mapping;
	long ret;

	switch (cmd) {
	case P2P_IMPORTER_ATTACH:
		if (copy_from_user(&attach, arg, sizeof(attach)))
			return -EFAULT;
		mutex_lock(&imp->lock);
		ret = ioctl_attach(imp, &attach);
		mutex_unlock(&imp->lock);
		return ret;
	case P2P_IMPORTER_DETACH:
		mutex_lock(&imp->lock);
		detach(imp);
		mutex_unlock(&imp->lock);
		return 0;
	}

	/* The rest races with each other as it likes: that is what resv is for. */
	if (!READ_ONCE(imp->dmabuf))
		return -ENODEV;
	switch (cmd) {
	case P2P_IMPORTER_MAP:
		if (copy_from_user(&mapping, arg, sizeof(mapping)))
			return -EFAULT;
		ret = ioctl_map(imp, &mapping);
		if (!ret && copy_to_user(arg, &mapping, sizeof(mapping)))
			ret = -EFAULT;
		return ret;
	case P2P_IMPORTER_UNMAP:
		dma_resv_lock(imp->dmabuf->resv, NULL);
		unmap(imp);
		dma_resv_unlock(imp->dmabuf->resv);
		return 0;
	case P2P_IMPORTER_STAT:
		dma_resv_lock(imp->dmabuf->resv, NULL);
		stat.moves = imp->moves;
		stat.mapped = !!imp->sgt;
		dma_resv_unlock(imp->dmabuf->resv);
		return copy_to_user(arg, &stat, sizeof(stat)) ? -EFAULT : 0;
	}
	return -ENOTTY;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *imp = kzalloc(sizeof(*imp), GFP_KERNEL);

	if (!imp)
		return -ENOMEM;
	mutex_init(&imp->lock);
	imp->pdev = find_device(device);
	if (!imp->pdev) {
		kfree(imp);
		return -ENODEV;
	}
	file->private_data = imp;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *imp = file->private_data;

	detach(imp);
	pci_dev_put(imp->pdev);
	kfree(imp);
	return 0;
}

/* As a driver of an accelerator would: BAR 2 of the device named by exporter=. */
static int importer_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pci_dev *pdev = find_device(exporter);
	int err;

	if (!pdev)
		return -ENODEV;
	vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	err = vm_iomap_memory(vma, pci_resource_start(pdev, 2), pci_resource_len(pdev, 2));
	pci_dev_put(pdev);
	return err;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.unlocked_ioctl = importer_ioctl,
	.mmap = importer_mmap,
};

static struct miscdevice importer_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2p_importer",
	.fops = &importer_fops,
};
module_misc_device(importer_device);

MODULE_DESCRIPTION("Test importer of dma-bufs");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
