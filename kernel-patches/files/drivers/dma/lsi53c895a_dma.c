// SPDX-License-Identifier: GPL-2.0
/*
 * The memory move instruction of the LSI 53C895A SCSI controller
 *
 * QEMU emulates this chip, and it is the one bus master there that copies
 * between any two bus addresses at the speed of memcpy(): a DMA engine for
 * machines that have no hardware, to try peer-to-peer DMA, IOMMUs and switches
 * on. Of the SCSI side nothing is used.
 *
 * The chip runs a script, here a list of moves that ends with an interrupt
 * instruction. What has been issued when it is idle becomes one script. A move
 * that an IOMMU blocks, or that nobody answers, ends like any other: the chip
 * learns of no failure.
 */
#include <linux/debugfs.h>
#include <linux/dmaengine.h>
#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "virt-dma.h"

#define LSI_BAR			1

#define LSI_DSTAT		0x0c	/* reading it takes the interrupt back */
#define LSI_DSTAT_IID		BIT(0)	/* illegal instruction */
#define LSI_DSTAT_SIR		BIT(2)	/* script interrupt: its end */
#define LSI_DSTAT_ABRT		BIT(4)
#define LSI_DSTAT_BF		BIT(5)	/* bus fault */
#define LSI_DSTAT_MDPE		BIT(6)	/* parity */
#define LSI_DSTAT_ERRORS	(LSI_DSTAT_IID | LSI_DSTAT_ABRT | \
				 LSI_DSTAT_BF | LSI_DSTAT_MDPE)
#define LSI_ISTAT		0x14
#define LSI_ISTAT_DIP		BIT(0)	/* something is in DSTAT */
#define LSI_ISTAT_SRST		BIT(6)
#define LSI_ISTAT_GONE		0xff	/* what an absent device reads as */
#define LSI_DSP			0x2c	/* writing it starts a script */
#define LSI_DIEN		0x39	/* which DSTAT bits interrupt */

#define LSI_MOVE		0xc0000000	/* | bytes, source, destination */
#define LSI_MOVE_WORDS		3
#define LSI_MOVE_MAX		(SZ_16M - 1)
#define LSI_INTERRUPT		0x98080000	/* and a word for the driver */
#define LSI_INTERRUPT_WORDS	2

/* After 100 instructions QEMU lets a script sleep for half a millisecond. */
#define LSI_SCRIPT_MOVES	64
#define LSI_SCRIPT_SIZE		((LSI_SCRIPT_MOVES * LSI_MOVE_WORDS + \
				  LSI_INTERRUPT_WORDS) * sizeof(__le32))

struct lsi_dma_desc {
	struct virt_dma_desc vd;
	u32 src;
	u32 dst;
	u32 len;			/* 0: only an interrupt */
};

/**
 * struct lsi_dma - one chip
 * @dma: what it is to dmaengine
 * @vc: its one channel; vc.lock protects all that follows, and the registers
 * @pdev: the function; a reference, for clients that outlive the driver
 * @regs: its registers
 * @script: what it runs
 * @script_dma: address of that for it
 * @running: how many descriptors at the head of vc.desc_issued it works on
 * @online: the registers may be touched: not during a reset, nor after remove()
 * @removed: the driver is gone and a client still holds the channel
 * @aborted_after: last cookie before those that were aborted last
 * @aborted_last: last one of those
 * @scratch: a page for tests, see lsi_dma_debugfs()
 * @scratch_dma: address of that for the chip
 */
struct lsi_dma {
	struct dma_device dma;
	struct virt_dma_chan vc;
	struct pci_dev *pdev;
	void __iomem *regs;
	__le32 *script;
	dma_addr_t script_dma;
	unsigned int running;
	bool online;
	bool removed;
	dma_cookie_t aborted_after;
	dma_cookie_t aborted_last;
	void *scratch;
	dma_addr_t scratch_dma;
};

static struct lsi_dma *to_lsi_dma(struct dma_chan *chan)
{
	return container_of(chan, struct lsi_dma, vc.chan);
}

static struct lsi_dma_desc *to_lsi_dma_desc(struct virt_dma_desc *vd)
{
	return container_of(vd, struct lsi_dma_desc, vd);
}

/* ---- the chip: vc.lock is held, and nothing resets it ---- */

/* Stops what runs, and takes interrupts back. */
static void lsi_dma_chip_stop(struct lsi_dma *lsi)
{
	writeb(LSI_ISTAT_SRST, lsi->regs + LSI_ISTAT);
	writeb(0, lsi->regs + LSI_ISTAT);
}

static void lsi_dma_chip_irq_on(struct lsi_dma *lsi)
{
	writeb(LSI_DSTAT_SIR | LSI_DSTAT_ERRORS, lsi->regs + LSI_DIEN);
}

static void lsi_dma_chip_reset(struct lsi_dma *lsi)
{
	lsi_dma_chip_stop(lsi);
	lsi_dma_chip_irq_on(lsi);
}

/* Also where a DMA mask is not asked, as for the bus address of a peer. */
static bool lsi_dma_reaches(u64 address, size_t len)
{
	return address <= U32_MAX && address + len <= BIT_ULL(32);
}

static __le32 *lsi_dma_script_move(__le32 *pos, u32 dst, u32 src, u32 len)
{
	*pos++ = cpu_to_le32(LSI_MOVE | len);
	*pos++ = cpu_to_le32(src);
	*pos++ = cpu_to_le32(dst);
	return pos;
}

/* Ends the script at @pos and runs it. */
static void lsi_dma_script_run(struct lsi_dma *lsi, __le32 *pos)
{
	*pos++ = cpu_to_le32(LSI_INTERRUPT);
	*pos++ = 0;
	writel(lower_32_bits(lsi->script_dma), lsi->regs + LSI_DSP);
}

/* Waits for the end of a script without an interrupt. */
static int lsi_dma_script_wait(struct lsi_dma *lsi)
{
	u8 istat;

	return readb_poll_timeout_atomic(lsi->regs + LSI_ISTAT, istat,
					 istat & LSI_ISTAT_DIP, 1, USEC_PER_SEC);
}

/* ---- descriptors: vc.lock is held ---- */

static void lsi_dma_complete(struct lsi_dma_desc *desc,
			     enum dmaengine_tx_result result)
{
	desc->vd.tx_result.result = result;
	if (result != DMA_TRANS_NOERROR)
		desc->vd.tx_result.residue = desc->len;
	list_del(&desc->vd.node);
	/* Before anybody can see that it is complete: it may copy. */
	dma_descriptor_unmap(&desc->vd.tx);
	vchan_cookie_complete(&desc->vd);
}

/*
 * Gathers all that was submitted in desc_issued, and remembers their cookies as
 * those of aborted descriptors. Returns whether there are any.
 */
static bool lsi_dma_begin_abort(struct lsi_dma *lsi)
{
	struct virt_dma_chan *vc = &lsi->vc;
	struct virt_dma_desc *last;

	lsi->running = 0;
	list_splice_tail_init(&vc->desc_submitted, &vc->desc_issued);
	if (list_empty(&vc->desc_issued))
		return false;

	/* One range, while nothing completes in between. */
	if (lsi->aborted_last != vc->chan.completed_cookie)
		lsi->aborted_after = vc->chan.completed_cookie;
	last = list_last_entry(&vc->desc_issued, struct virt_dma_desc, node);
	lsi->aborted_last = last->tx.cookie;
	return true;
}

/*
 * All that was submitted fails, also what the chip has not begun: a client may
 * count on the order. The chip is stopped, or never to be touched again.
 */
static void lsi_dma_abort(struct lsi_dma *lsi)
{
	struct virt_dma_chan *vc = &lsi->vc;
	struct virt_dma_desc *vd, *next;

	if (!lsi_dma_begin_abort(lsi))
		return;
	list_for_each_entry_safe(vd, next, &vc->desc_issued, node)
		lsi_dma_complete(to_lsi_dma_desc(vd), DMA_TRANS_ABORTED);
}

/* Makes a script of what is issued, unless one runs: its end comes here. */
static void lsi_dma_start(struct lsi_dma *lsi)
{
	__le32 *pos = lsi->script;
	struct virt_dma_desc *vd;

	if (lsi->running || !lsi->online)
		return;

	list_for_each_entry(vd, &lsi->vc.desc_issued, node) {
		struct lsi_dma_desc *desc = to_lsi_dma_desc(vd);

		if (desc->len)
			pos = lsi_dma_script_move(pos, desc->dst, desc->src,
						  desc->len);
		if (++lsi->running == LSI_SCRIPT_MOVES)
			break;
	}
	if (lsi->running)
		lsi_dma_script_run(lsi, pos);
}

/* Completes what a script did that has ended. False if none has. */
static bool lsi_dma_service(struct lsi_dma *lsi)
{
	u8 istat = readb(lsi->regs + LSI_ISTAT), dstat;

	if (istat == LSI_ISTAT_GONE || !(istat & LSI_ISTAT_DIP))
		return false;

	dstat = readb(lsi->regs + LSI_DSTAT);
	if (dstat & LSI_DSTAT_ERRORS) {
		dev_err_ratelimited(&lsi->pdev->dev, "script failed: DSTAT %#x\n",
				    dstat);
		lsi_dma_chip_reset(lsi);
		lsi_dma_abort(lsi);
		return true;
	}

	for (; lsi->running; lsi->running--)
		lsi_dma_complete(to_lsi_dma_desc(vchan_next_desc(&lsi->vc)),
				 DMA_TRANS_NOERROR);
	return true;
}

/*
 * The chip is leaving, for a reset or for good. What it has done is complete,
 * the rest is aborted, and nobody touches it until it is online again.
 */
static void lsi_dma_offline(struct lsi_dma *lsi)
{
	lsi_dma_service(lsi);
	lsi_dma_chip_stop(lsi);
	lsi->online = false;
	lsi_dma_abort(lsi);
}

static irqreturn_t lsi_dma_irq(int irq, void *data)
{
	struct lsi_dma *lsi = data;
	bool ours;

	spin_lock(&lsi->vc.lock);
	/* A device that shares the line may interrupt while ours is reset. */
	ours = lsi->online && lsi_dma_service(lsi);
	if (ours)
		lsi_dma_start(lsi);
	spin_unlock(&lsi->vc.lock);
	return IRQ_RETVAL(ours);
}

/* ---- dmaengine ---- */

static void lsi_dma_desc_free(struct virt_dma_desc *vd)
{
	/* One that was terminated is still mapped. */
	dma_descriptor_unmap(&vd->tx);
	kfree(to_lsi_dma_desc(vd));
}

static struct dma_async_tx_descriptor *
lsi_dma_prep_memcpy(struct dma_chan *chan, dma_addr_t dst, dma_addr_t src,
		    size_t len, unsigned long flags)
{
	struct lsi_dma *lsi = to_lsi_dma(chan);
	struct lsi_dma_desc *desc;

	/* Who comes here just before it is set is aborted when issuing. */
	if (READ_ONCE(lsi->removed) || len > LSI_MOVE_MAX ||
	    !lsi_dma_reaches(src, len) || !lsi_dma_reaches(dst, len))
		return NULL;
	desc = kzalloc(sizeof(*desc), GFP_NOWAIT);
	if (!desc)
		return NULL;
	desc->dst = lower_32_bits(dst);
	desc->src = lower_32_bits(src);
	desc->len = len;
	return vchan_tx_prep(&lsi->vc, &desc->vd, flags);
}

static struct dma_async_tx_descriptor *
lsi_dma_prep_interrupt(struct dma_chan *chan, unsigned long flags)
{
	return lsi_dma_prep_memcpy(chan, 0, 0, 0, flags);
}

static void lsi_dma_issue_pending(struct dma_chan *chan)
{
	struct lsi_dma *lsi = to_lsi_dma(chan);
	unsigned long flags;

	spin_lock_irqsave(&lsi->vc.lock, flags);
	vchan_issue_pending(&lsi->vc);
	if (lsi->removed)
		lsi_dma_abort(lsi);
	else
		lsi_dma_start(lsi);
	spin_unlock_irqrestore(&lsi->vc.lock, flags);
}

/* How much is left of the transfer with this cookie, which is not complete. */
static u32 lsi_dma_residue(struct lsi_dma *lsi, dma_cookie_t cookie)
{
	struct virt_dma_desc *vd = vchan_find_desc(&lsi->vc, cookie);

	if (vd)
		return to_lsi_dma_desc(vd)->len;
	list_for_each_entry(vd, &lsi->vc.desc_submitted, node)
		if (vd->tx.cookie == cookie)
			return to_lsi_dma_desc(vd)->len;
	return 0;
}

static enum dma_status lsi_dma_tx_status(struct dma_chan *chan,
					 dma_cookie_t cookie,
					 struct dma_tx_state *state)
{
	struct lsi_dma *lsi = to_lsi_dma(chan);
	enum dma_status status;
	unsigned long flags;

	spin_lock_irqsave(&lsi->vc.lock, flags);
	status = dma_cookie_status(chan, cookie, state);
	if (status != DMA_COMPLETE)
		dma_set_residue(state, lsi_dma_residue(lsi, cookie));
	else if (dma_async_is_complete(cookie, lsi->aborted_after,
				       lsi->aborted_last) != DMA_COMPLETE)
		status = DMA_ERROR;
	spin_unlock_irqrestore(&lsi->vc.lock, flags);
	return status;
}

/*
 * Descriptors that are not submitted yet stay: another thread may be about to
 * submit one.
 */
static int lsi_dma_terminate_all(struct dma_chan *chan)
{
	struct lsi_dma *lsi = to_lsi_dma(chan);
	struct virt_dma_chan *vc = &lsi->vc;
	unsigned long flags;
	LIST_HEAD(list);

	spin_lock_irqsave(&vc->lock, flags);
	if (lsi->running)
		lsi_dma_chip_reset(lsi);
	/* Nobody gets a callback, but who asks is told. */
	if (lsi_dma_begin_abort(lsi))
		vc->chan.completed_cookie = lsi->aborted_last;
	list_splice_tail_init(&vc->desc_issued, &list);
	list_splice_tail_init(&vc->desc_completed, &list);
	spin_unlock_irqrestore(&vc->lock, flags);

	vchan_dma_desc_free_list(vc, &list);
	return 0;
}

static void lsi_dma_synchronize(struct dma_chan *chan)
{
	vchan_synchronize(&to_lsi_dma(chan)->vc);
}

static void lsi_dma_free_chan_resources(struct dma_chan *chan)
{
	lsi_dma_terminate_all(chan);
	lsi_dma_synchronize(chan);
	vchan_free_chan_resources(&to_lsi_dma(chan)->vc);
}

/* The driver is gone, and so is the last client. */
static void lsi_dma_release(struct dma_device *dma)
{
	struct lsi_dma *lsi = container_of(dma, struct lsi_dma, dma);

	put_device(&lsi->vc.chan.dev->device);
	pci_dev_put(lsi->pdev);
	kfree(lsi);
}

/* ---- debugfs ---- */

static int lsi_dma_raw_move_locked(struct lsi_dma *lsi, u32 dst, u32 src,
				   u32 len)
{
	int err;

	if (!lsi->online)
		return -ENODEV;

	if (lsi->running) {
		err = lsi_dma_script_wait(lsi);
		if (err)
			return err;
		lsi_dma_service(lsi);
	}

	writeb(0, lsi->regs + LSI_DIEN);
	lsi_dma_script_run(lsi, lsi_dma_script_move(lsi->script, dst, src, len));
	err = lsi_dma_script_wait(lsi);
	if (!err && readb(lsi->regs + LSI_DSTAT) & LSI_DSTAT_ERRORS)
		err = -EIO;
	if (err)
		lsi_dma_chip_stop(lsi);
	lsi_dma_chip_irq_on(lsi);
	lsi_dma_start(lsi);
	return err;
}

static int lsi_dma_raw_move(struct lsi_dma *lsi, u32 dst, u32 src, u32 len)
{
	unsigned long flags;
	int err;

	spin_lock_irqsave(&lsi->vc.lock, flags);
	err = lsi_dma_raw_move_locked(lsi, dst, src, len);
	spin_unlock_irqrestore(&lsi->vc.lock, flags);
	return err;
}

static ssize_t lsi_dma_raw_move_write(struct file *file, const char __user *data,
				      size_t count, loff_t *pos)
{
	unsigned long long src, dst, len;
	char line[64] = "";
	int err;

	if (count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, data, count))
		return -EFAULT;
	if (sscanf(line, "%llx %llx %llx", &src, &dst, &len) != 3 ||
	    len > LSI_MOVE_MAX || !lsi_dma_reaches(src, len) ||
	    !lsi_dma_reaches(dst, len))
		return -EINVAL;
	err = lsi_dma_raw_move(file->private_data, dst, src, len);
	return err ?: count;
}

static const struct file_operations lsi_dma_raw_move_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = lsi_dma_raw_move_write,
};

static ssize_t lsi_dma_scratch_read(struct file *file, char __user *data,
				    size_t count, loff_t *pos)
{
	struct lsi_dma *lsi = file->private_data;

	return simple_read_from_buffer(data, count, pos, lsi->scratch,
				       PAGE_SIZE);
}

static ssize_t lsi_dma_scratch_write(struct file *file, const char __user *data,
				     size_t count, loff_t *pos)
{
	struct lsi_dma *lsi = file->private_data;

	return simple_write_to_buffer(lsi->scratch, PAGE_SIZE, pos, data,
				      count);
}

static const struct file_operations lsi_dma_scratch_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = lsi_dma_scratch_read,
	.write = lsi_dma_scratch_write,
	.llseek = default_llseek,
};

static int lsi_dma_scratch_address_get(void *data, u64 *address)
{
	*address = ((struct lsi_dma *)data)->scratch_dma;
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(lsi_dma_scratch_address_fops,
			 lsi_dma_scratch_address_get, NULL, "%#llx\n");

/*
 * For tests that have to know what the function can reach, whatever anybody
 * mapped or unmapped for it. In /sys/kernel/debug/dmaengine/DEVICE, root's:
 *
 * raw_move		write "SOURCE DESTINATION LENGTH", three hex numbers: moves
 *			that between bus addresses, at once, and returns when it
 *			has ended. An IOMMU that stops it makes no difference
 *			here; look at the bytes.
 * scratch		a page of system memory that is mapped for the function
 * scratch_address	the bus address of it
 */
static void lsi_dma_debugfs(struct lsi_dma *lsi)
{
	struct dentry *dir = dmaengine_get_debugfs_root(&lsi->dma);

	if (!dir)
		return;
	debugfs_create_file("raw_move", 0200, dir, lsi, &lsi_dma_raw_move_fops);
	debugfs_create_file("scratch", 0600, dir, lsi, &lsi_dma_scratch_fops);
	debugfs_create_file("scratch_address", 0400, dir, lsi,
			    &lsi_dma_scratch_address_fops);
}

/* ---- PCI ---- */

static int lsi_dma_register(struct lsi_dma *lsi)
{
	struct dma_device *dma = &lsi->dma;
	int err;

	dma->dev = &lsi->pdev->dev;
	/* Not for RAID and the like, which take a public channel for good. */
	dma_cap_set(DMA_PRIVATE, dma->cap_mask);
	dma_cap_set(DMA_MEMCPY, dma->cap_mask);
	dma_cap_set(DMA_INTERRUPT, dma->cap_mask);
	dma->copy_align = DMAENGINE_ALIGN_1_BYTE;
	dma->directions = BIT(DMA_MEM_TO_MEM);
	dma->residue_granularity = DMA_RESIDUE_GRANULARITY_DESCRIPTOR;
	dma->device_free_chan_resources = lsi_dma_free_chan_resources;
	dma->device_prep_dma_memcpy = lsi_dma_prep_memcpy;
	dma->device_prep_dma_interrupt = lsi_dma_prep_interrupt;
	dma->device_issue_pending = lsi_dma_issue_pending;
	dma->device_tx_status = lsi_dma_tx_status;
	dma->device_terminate_all = lsi_dma_terminate_all;
	dma->device_synchronize = lsi_dma_synchronize;
	dma->device_release = lsi_dma_release;
	err = dma_async_device_register(dma);
	if (err)
		return err;
	/* A client may look at this until it releases the channel. */
	get_device(&lsi->vc.chan.dev->device);
	return 0;
}

static void lsi_dma_online(struct lsi_dma *lsi)
{
	spin_lock_irq(&lsi->vc.lock);
	lsi_dma_chip_reset(lsi);
	lsi->online = true;
	lsi_dma_start(lsi);
	spin_unlock_irq(&lsi->vc.lock);
}

static int lsi_dma_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device *dev = &pdev->dev;
	struct lsi_dma *lsi;
	int err;

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	err = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (err)
		return err;
	dma_set_max_seg_size(dev, LSI_MOVE_MAX);
	err = pcim_iomap_regions(pdev, BIT(LSI_BAR), KBUILD_MODNAME);
	if (err)
		return err;
	err = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (err < 0)
		return err;

	lsi = kzalloc(sizeof(*lsi), GFP_KERNEL);
	if (!lsi)
		return -ENOMEM;
	lsi->pdev = pci_dev_get(pdev);
	lsi->regs = pcim_iomap_table(pdev)[LSI_BAR];
	INIT_LIST_HEAD(&lsi->dma.channels);
	lsi->vc.desc_free = lsi_dma_desc_free;
	vchan_init(&lsi->vc, &lsi->dma);

	err = -ENOMEM;
	lsi->script = dmam_alloc_coherent(dev, LSI_SCRIPT_SIZE,
					  &lsi->script_dma, GFP_KERNEL);
	lsi->scratch = dmam_alloc_coherent(dev, PAGE_SIZE, &lsi->scratch_dma,
					   GFP_KERNEL);
	if (!lsi->script || !lsi->scratch)
		goto free;
	/* Firmware may have used it, and left an interrupt. */
	lsi_dma_chip_stop(lsi);
	err = request_irq(pci_irq_vector(pdev, 0), lsi_dma_irq, IRQF_SHARED,
			  KBUILD_MODNAME, lsi);
	if (err)
		goto free;
	pci_set_master(pdev);
	lsi_dma_online(lsi);

	err = lsi_dma_register(lsi);
	if (err)
		goto free_irq;
	lsi_dma_debugfs(lsi);
	pci_set_drvdata(pdev, lsi);
	return 0;

free_irq:
	free_irq(pci_irq_vector(pdev, 0), lsi);
free:
	pci_dev_put(pdev);
	kfree(lsi);
	return err;
}

static void lsi_dma_remove(struct pci_dev *pdev)
{
	struct lsi_dma *lsi = pci_get_drvdata(pdev);

	spin_lock_irq(&lsi->vc.lock);
	WRITE_ONCE(lsi->removed, true);
	lsi_dma_offline(lsi);
	spin_unlock_irq(&lsi->vc.lock);

	free_irq(pci_irq_vector(pdev, 0), lsi);
	dma_async_device_unregister(&lsi->dma);
}

static void lsi_dma_reset_prepare(struct pci_dev *pdev)
{
	struct lsi_dma *lsi = pci_get_drvdata(pdev);

	spin_lock_irq(&lsi->vc.lock);
	lsi_dma_offline(lsi);
	spin_unlock_irq(&lsi->vc.lock);
}

static void lsi_dma_reset_done(struct pci_dev *pdev)
{
	lsi_dma_online(pci_get_drvdata(pdev));
}

static const struct pci_error_handlers lsi_dma_err_handler = {
	.reset_prepare = lsi_dma_reset_prepare,
	.reset_done = lsi_dma_reset_done,
};

static const struct pci_device_id lsi_dma_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_LSI_LOGIC, PCI_DEVICE_ID_LSI_53C895A) },
	{ }
};
MODULE_DEVICE_TABLE(pci, lsi_dma_ids);

static struct pci_driver lsi_dma_driver = {
	.name = KBUILD_MODNAME,
	.id_table = lsi_dma_ids,
	.probe = lsi_dma_probe,
	.remove = lsi_dma_remove,
	.err_handler = &lsi_dma_err_handler,
};
module_pci_driver(lsi_dma_driver);

MODULE_DESCRIPTION("LSI 53C895A memory moves as a DMA engine");
MODULE_AUTHOR("rdma-p2p developers <developers@rdma-p2p.example>");
MODULE_LICENSE("GPL");
