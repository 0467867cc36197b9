// SPDX-License-Identifier: GPL-2.0
/*
 * A dma-buf of BARs that a process has mapped. It follows the page tables of the
 * process: an importer maps what is there at the time, and is told to unmap when that
 * changes.
 *
 * Who waits for whom. An importer maps with the dma-buf's resv lock held, and mapping
 * waits for mmap_lock, and for the end of invalidations. An invalidation, which comes
 * with mmap_lock held, waits for the resv lock when an importer has something mapped,
 * as move_notify() wants it. Both at a time would be a deadlock. But there is one
 * attachment to a dma-buf, so who maps has nothing mapped:
 *
 * - An invalidation that finds nothing mapped returns without the resv lock.
 * - One that finds something mapped counts itself in @invalidations before it waits.
 *   Whoever unmaps meanwhile, and wants to map again without having released the resv
 *   lock, finds it there, and gets -EAGAIN instead of waiting.
 *
 * Both look, and change what the other one looks at, under @lock. The removal of a
 * device is an invalidation without mmap_lock, by our bus notifier.
 *
 * An importer holds no other resv lock when it maps, nor a lock that an exporter takes
 * to zap its mappings; GPU drivers do, and are refused. tests/model/dmabuf_follow.pml
 * is this protocol, and what breaks when a part of it is left out.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fcntl.h>
#include <linux/lockdep.h>
#include <linux/memcontrol.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "p2p_dmabuf.h"

/* How often a mapping may be invalidated while it is made. */
#define MAP_TRIES	100

struct p2p_buffer {
	struct mm_struct *mm;		/* the notifier has a reference */
	unsigned long start, end;
	bool write;
	/* P2P_DMABUF_READER: the task that may attach it; nobody, once it is sealed */
	struct task_struct *reader;
	struct mmu_interval_notifier notifier;
	struct list_head node;		/* of buffers */
	struct dma_buf *dmabuf;		/* which it is the private data of */

	/* Under the resv lock. */
	struct dma_buf_attachment *attach;
	unsigned int pins;
	struct p2p_map *map;

	/* What both sides look at, and change, under this one; mapped also under resv. */
	spinlock_t lock;
	bool mapped;			/* the importer reaches it */
	unsigned int invalidations;	/* that wait for the resv lock */
};

/* All of them, for the removal of devices. Outside any resv lock. */
static DEFINE_MUTEX(buffers_lock);
static LIST_HEAD(buffers);

/* Devices that are being removed, by address; and how often that began or ended. */
static DEFINE_XARRAY(going);
static atomic_long_t removals;

bool p2p_going(const struct pci_dev *pdev)
{
	return xa_load(&going, (unsigned long)pdev);
}

/* ---- taking it from the importer ---- */

/*
 * mmap_lock comes before a resv lock, and that before an invalidation, as lockdep
 * knows since boot. Ours is waited for within one, see above for why it is no
 * deadlock. lockdep takes it for one, so it learns of the lock when it is held, as it
 * does of a lock that was tried.
 */
static void lock_within_invalidation(struct dma_resv *resv)
{
	lockdep_off();
	dma_resv_lock(resv, NULL);
	lockdep_on();
	mutex_acquire(&resv->lock.base.dep_map, 0, 1, _RET_IP_);
}

/* CONFIG_DMABUF_MOVE_NOTIFY off: the core pins around each mapping. */
static bool importer_pins(const struct p2p_buffer *buffer)
{
	return buffer->pins > (IS_ENABLED(CONFIG_DMABUF_MOVE_NOTIFY) ? 0 : 1);
}

static void set_mapped(struct p2p_buffer *buffer, bool mapped)
{
	spin_lock(&buffer->lock);
	buffer->mapped = mapped;
	spin_unlock(&buffer->lock);
}

/*
 * An importer that pins is not told, and one that is told may keep a mapping that it is
 * about to end: from both the IOMMU takes it, where there is one, and it is done with
 * for invalidations: the next one may be of memory of the host, in reclaim, which the
 * holder of the resv lock may wait for.
 */
static void revoke(struct p2p_buffer *buffer)
{
	struct p2p_map *map = buffer->map;

	if (p2p_map_revoke(map))
		dev_notice_ratelimited(map->dev, "memory that it keeps was taken back from it: the IOMMU shows it an empty page there\n");
	else
		dev_notice_ratelimited(map->dev, "keeps addresses of memory that it was told to let go of\n");
	set_mapped(buffer, false);
}

static void take_back(struct p2p_buffer *buffer)
{
	unsigned int noreclaim;

	/*
	 * Importers allocate when they are told, and this may be memory reclaim, or
	 * something that reclaim waits for.
	 */
	noreclaim = memalloc_noreclaim_save();
	if (!importer_pins(buffer))
		dma_buf_move_notify(buffer->dmabuf);
	if (buffer->map)
		revoke(buffer);
	memalloc_noreclaim_restore(noreclaim);
}

/* Who was counted in buffer->invalidations has the resv lock: is it mapped still? */
static bool end_wait(struct p2p_buffer *buffer)
{
	bool mapped;

	spin_lock(&buffer->lock);
	buffer->invalidations--;
	mapped = buffer->mapped;
	spin_unlock(&buffer->lock);
	return mapped;
}

/* After buffer->invalidations went up. */
static void wait_and_take_back(struct p2p_buffer *buffer)
{
	lock_within_invalidation(buffer->dmabuf->resv);
	if (end_wait(buffer))
		take_back(buffer);
	dma_resv_unlock(buffer->dmabuf->resv);
}

static bool buffer_invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range,
			      unsigned long seq)
{
	struct p2p_buffer *buffer =
		container_of(notifier, struct p2p_buffer, notifier);
	bool mapped;

	spin_lock(&buffer->lock);
	mapped = buffer->mapped;
	if (mapped && !mmu_notifier_range_blockable(range)) {
		spin_unlock(&buffer->lock);
		return false;
	}
	mmu_interval_set_seq(notifier, seq);
	buffer->invalidations += mapped;
	spin_unlock(&buffer->lock);

	if (mapped)
		wait_and_take_back(buffer);
	return true;
}

static const struct mmu_interval_notifier_ops buffer_notifier_ops = {
	.invalidate = buffer_invalidate,
};

/* ---- removal of the device whose memory it is ---- */

static bool has_memory_of(const struct p2p_map *map, const struct pci_dev *pdev)
{
	unsigned int i;

	for (i = 0; i < map->runs.nr; i++)
		if (map->runs.run[i].pdev == pdev)
			return true;
	return false;
}

static void take_from_device(struct p2p_buffer *buffer, const struct pci_dev *pdev)
{
	bool mapped;

	spin_lock(&buffer->lock);
	mapped = buffer->mapped;
	buffer->invalidations += mapped;
	spin_unlock(&buffer->lock);
	/* Who is mapping it sees that there was a removal. */
	if (!mapped)
		return;

	dma_resv_lock(buffer->dmabuf->resv, NULL);
	if (end_wait(buffer) && has_memory_of(buffer->map, pdev))
		take_back(buffer);
	dma_resv_unlock(buffer->dmabuf->resv);
}

static int bus_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	struct device *dev = data;
	struct p2p_buffer *buffer;

	switch (action) {
	case BUS_NOTIFY_DEL_DEVICE:
		/* What is mapped from here on is not of this device. */
		xa_store(&going, (unsigned long)to_pci_dev(dev), xa_mk_value(1),
			 GFP_KERNEL | __GFP_NOFAIL);
		atomic_long_inc(&removals);
		mutex_lock(&buffers_lock);
		list_for_each_entry(buffer, &buffers, node)
			take_from_device(buffer, to_pci_dev(dev));
		mutex_unlock(&buffers_lock);
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		/* Nobody finds it any more; who has just done so tries again. */
		atomic_long_inc(&removals);
		xa_erase(&going, (unsigned long)to_pci_dev(dev));
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block bus_notifier = { .notifier_call = bus_notify };

/* ---- mapping it for an importer ---- */

/* What the process has mapped, and whose it is. */
static int find_runs(struct p2p_buffer *buffer, struct p2p_runs *runs,
		     struct p2p_refusal *why)
{
	int err;

	if (mmap_read_lock_killable(buffer->mm))
		return -EINTR;
	err = p2p_runs_walk(runs, buffer->mm, buffer->start, buffer->end,
			    buffer->write, why);
	mmap_read_unlock(buffer->mm);
	return err ?: p2p_runs_resolve(runs, why);
}

/*
 * What only an IOMMU can see to. Importers map for both directions where they could
 * tell one; so one that may not write has to be known not to.
 */
static const char *needs_iommu(const struct p2p_buffer *buffer,
			       enum dma_data_direction dir)
{
	if (importer_pins(buffer))
		return "the importer pins memory, and no IOMMU is in the way that could take it back";
	if (!buffer->write && !buffer->reader && dir != DMA_TO_DEVICE)
		return "the mapping is read-only, and no IOMMU is in the way that would keep the importer from writing";
	return NULL;
}

/* What it takes is charged to the process, whoever maps. */
static struct p2p_map *make_map(struct p2p_buffer *buffer, struct device *dev,
				enum dma_data_direction dir,
				struct p2p_refusal *why)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(buffer->mm);
	struct mem_cgroup *old = set_active_memcg(memcg);
	struct p2p_runs runs = {};
	struct p2p_map *map;
	int err;

	err = find_runs(buffer, &runs, why);
	if (err) {
		p2p_runs_free(&runs);
		map = ERR_PTR(err);
	} else {
		map = p2p_map_create(dev, &runs, buffer->write,
				     needs_iommu(buffer, dir), why);
	}
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	return map;
}

/* Unless it was invalidated, or a device removed, since it was begun. */
static bool publish_map(struct p2p_buffer *buffer, struct p2p_map *map,
			unsigned long seq, long nr_removals)
{
	bool done;

	spin_lock(&buffer->lock);
	done = !mmu_interval_read_retry(&buffer->notifier, seq) &&
	       atomic_long_read(&removals) == nr_removals;
	buffer->mapped = done;
	spin_unlock(&buffer->lock);
	if (done)
		buffer->map = map;
	return done;
}

static bool invalidation_waits(struct p2p_buffer *buffer)
{
	bool waits;

	spin_lock(&buffer->lock);
	waits = buffer->invalidations;
	spin_unlock(&buffer->lock);
	return waits;
}

static int map_buffer(struct p2p_buffer *buffer, struct device *dev,
		      enum dma_data_direction dir, struct p2p_refusal *why)
{
	unsigned int tries;
	struct p2p_map *map;
	long nr_removals;
	unsigned long seq;

	if (invalidation_waits(buffer))
		return -EAGAIN;

	for (tries = 0; tries < MAP_TRIES; tries++) {
		seq = mmu_interval_read_begin(&buffer->notifier);
		nr_removals = atomic_long_read(&removals);
		map = make_map(buffer, dev, dir, why);
		if (IS_ERR(map) && PTR_ERR(map) != -EAGAIN)
			return PTR_ERR(map);
		if (!IS_ERR(map)) {
			if (publish_map(buffer, map, seq, nr_removals))
				return 0;
			p2p_map_destroy(map);
		}
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return p2p_refuse(why, "", -EBUSY, "its mapping does not stay the same");
}

static struct sg_table *buffer_map(struct dma_buf_attachment *attach,
				   enum dma_data_direction dir)
{
	struct p2p_buffer *buffer = attach->dmabuf->priv;
	struct p2p_refusal why = {};
	int err;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (buffer->map)
		return ERR_PTR(-EBUSY);
	/* Its process has ended. */
	if (!mmget_not_zero(buffer->mm))
		return ERR_PTR(-EFAULT);
	err = map_buffer(buffer, attach->dev, dir, &why);
	/* It may be the last reference now, whose release invalidates. */
	mmput_async(buffer->mm);
	if (!err)
		return &buffer->map->sgt;

	if (why.reason)
		dev_notice_ratelimited(attach->dev,
				       "no access to device memory at %#lx-%#lx: %s%s%s (%d)\n",
				       buffer->start, buffer->end, why.exporter,
				       why.exporter[0] ? ": " : "", why.reason, err);
	return ERR_PTR(err);
}

static void buffer_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			 enum dma_data_direction dir)
{
	struct p2p_buffer *buffer = attach->dmabuf->priv;
	struct p2p_map *map = container_of(sgt, struct p2p_map, sgt);

	/* As long as it is mapped, invalidations wait for us. */
	dma_resv_assert_held(attach->dmabuf->resv);
	p2p_map_destroy(map);
	buffer->map = NULL;
	set_mapped(buffer, false);
}

static bool is_gpu(struct device *dev)
{
	const unsigned int accelerator = 0x12;	/* Linux 6.1 has no name for it */
	unsigned int class = dev_is_pci(dev) ? to_pci_dev(dev)->class >> 16 : 0;

	return class == PCI_BASE_CLASS_DISPLAY || class == accelerator;
}

static int buffer_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct p2p_buffer *buffer = dmabuf->priv;
	int err = 0;

	/* Who expects struct pages, or cannot be told. */
	if (!attach->importer_ops || !attach->peer2peer)
		return -EOPNOTSUPP;
	/* Who maps with the resv locks of other dma-bufs held: see above. */
	if (is_gpu(attach->dev))
		return -EOPNOTSUPP;

	dma_resv_lock(dmabuf->resv, NULL);
	if (buffer->reader && buffer->reader != current)
		err = -EACCES;
	else if (buffer->attach)
		err = -EBUSY;
	else
		buffer->attach = attach;
	dma_resv_unlock(dmabuf->resv);
	return err;
}

static void buffer_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct p2p_buffer *buffer = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	buffer->attach = NULL;
	dma_resv_unlock(dmabuf->resv);
}

/* We cannot; mapping looks at it, and refuses unless it can be taken back. */
static int buffer_pin(struct dma_buf_attachment *attach)
{
	struct p2p_buffer *buffer = attach->dmabuf->priv;

	/* What is mapped was not looked at for that. */
	if (buffer->map)
		return -EBUSY;
	buffer->pins++;
	return 0;
}

static void buffer_unpin(struct dma_buf_attachment *attach)
{
	struct p2p_buffer *buffer = attach->dmabuf->priv;

	buffer->pins--;
}

/* ---- the dma-buf ---- */

/* Nobody is attached. Comes with no lock held: of a file it is the end. */
static void buffer_release(struct dma_buf *dmabuf)
{
	struct p2p_buffer *buffer = dmabuf->priv;

	mutex_lock(&buffers_lock);
	list_del(&buffer->node);
	mutex_unlock(&buffers_lock);
	mmu_interval_notifier_remove(&buffer->notifier);
	kfree(buffer);
}

static const struct dma_buf_ops buffer_ops = {
	.attach = buffer_attach,
	.detach = buffer_detach,
	.pin = buffer_pin,
	.unpin = buffer_unpin,
	.map_dma_buf = buffer_map,
	.unmap_dma_buf = buffer_unmap,
	.release = buffer_release,
};

static struct dma_buf *export_buffer(struct p2p_buffer *buffer)
{
	/* Not that of other dma-bufs: see lock_within_invalidation(). */
	static struct lock_class_key resv_key;
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.ops = &buffer_ops;
	info.size = buffer->end - buffer->start;
	info.flags = O_CLOEXEC | (buffer->write ? O_RDWR : O_RDONLY);
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (!IS_ERR(dmabuf))
		lockdep_set_class(&dmabuf->resv->lock.base, &resv_key);
	return dmabuf;
}

void p2p_buffer_seal(struct dma_buf *dmabuf)
{
	struct p2p_buffer *buffer = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	buffer->reader = ERR_PTR(-EACCES);
	dma_resv_unlock(dmabuf->resv);
}

int p2p_buffer_fd(unsigned long start, unsigned long end, unsigned int flags,
		  struct dma_buf **reader)
{
	struct p2p_buffer *buffer;
	int err;

	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	spin_lock_init(&buffer->lock);
	buffer->mm = current->mm;
	buffer->start = start;
	buffer->end = end;
	buffer->write = flags & P2P_DMABUF_WRITE;
	if (flags & P2P_DMABUF_READER && !buffer->write)
		buffer->reader = current;

	err = mmu_interval_notifier_insert(&buffer->notifier, buffer->mm, start,
					   end - start, &buffer_notifier_ops);
	if (err)
		goto err_free;
	buffer->dmabuf = export_buffer(buffer);
	if (IS_ERR(buffer->dmabuf)) {
		err = PTR_ERR(buffer->dmabuf);
		goto err_notifier;
	}
	mutex_lock(&buffers_lock);
	list_add(&buffer->node, &buffers);
	mutex_unlock(&buffers_lock);

	/* Another thread may close it as soon as it is there. */
	if (buffer->reader) {
		get_dma_buf(buffer->dmabuf);
		*reader = buffer->dmabuf;
	}
	err = dma_buf_fd(buffer->dmabuf, O_CLOEXEC);
	if (err < 0)
		dma_buf_put(buffer->dmabuf);
	return err;

err_notifier:
	mmu_interval_notifier_remove(&buffer->notifier);
err_free:
	kfree(buffer);
	return err;
}

int p2p_buffer_init(void)
{
	return bus_register_notifier(&pci_bus_type, &bus_notifier);
}

void p2p_buffer_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &bus_notifier);
	xa_destroy(&going);
}
