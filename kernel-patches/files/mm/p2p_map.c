// SPDX-License-Identifier: GPL-2.0
/*
 * Peer mappings: the checks that every exporter and importer of device memory
 * relies on. The contract is in Documentation/mm/p2p_map.rst.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/p2p_map.h>
#include <linux/pagewalk.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#define CREATE_TRACE_POINTS
#include <trace/events/p2p.h>

/* What importers do, in modules. */
EXPORT_TRACEPOINT_SYMBOL_GPL(p2p_fault);
EXPORT_TRACEPOINT_SYMBOL_GPL(p2p_invalidate);

/*
 * Stands for "inside p2p_unmap()", which runs inside MMU notifier
 * invalidations and whatever locks an exporter invalidates under. Telling
 * lockdep so at boot makes it report an exporter that takes such a lock in
 * its p2p_unmap() the first time that is called, not the first time it hangs.
 */
#ifdef CONFIG_LOCKDEP
static struct lockdep_map p2p_unmap_lockdep =
	STATIC_LOCKDEP_MAP_INIT("p2p_unmap", &p2p_unmap_lockdep);

static int __init p2p_map_teach_lockdep(void)
{
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	lock_map_acquire(&p2p_unmap_lockdep);
	lock_map_release(&p2p_unmap_lockdep);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	return 0;
}
core_initcall(p2p_map_teach_lockdep);
#endif

static bool runs_cover_request(const struct p2p_mapping *map,
			       const struct p2p_request *req)
{
	unsigned long addr = req->start;
	unsigned int i;

	for (i = 0; i < map->nr_runs; i++) {
		const struct p2p_run *run = &map->runs[i];

		if (run->start != addr || !run->len ||
		    !PAGE_ALIGNED(run->len) || run->len > req->end - addr)
			return false;
		addr += run->len;
	}
	return addr == req->end;
}

/* What every mapping of an exporter's has to be, and gets. */
static struct p2p_mapping *check_mapping(struct p2p_mapping *map,
					 struct p2p_request *req)
{
	map->node.start = req->start;
	map->node.last = req->end - 1;
	map->write = req->write;
	map->importer = req->importer;
	strscpy(map->exporter, req->exporter);

	if (WARN_ON_ONCE(!runs_cover_request(map, req))) {
		p2p_unmap(map);
		return p2p_refuse(req, NULL, -EIO,
				  "the exporter's runs are not what was asked for");
	}
	return map;
}

/* What an importer gets for an exporter's answer, or ours. */
static struct p2p_mapping *end_request(struct p2p_mapping *map,
				       struct p2p_request *req)
{
	if (!IS_ERR(map))
		map = check_mapping(map, req);
	if (!IS_ERR(map))
		trace_p2p_map(map);
	else if (PTR_ERR(map) != -EAGAIN)
		trace_p2p_refuse(req, PTR_ERR(map));
	return map;
}

static struct p2p_mapping *ask_vma(struct vm_area_struct *vma,
				   struct p2p_request *req)
{
	struct p2p_mapping *map;

	if (!(vma->vm_flags & VM_READ))
		return p2p_refuse(req, NULL, -EACCES, "the mapping cannot be read");
	if (req->write && !(vma->vm_flags & VM_WRITE))
		return p2p_refuse(req, NULL, -EACCES, "the mapping is read-only");

	map = vma->vm_ops->p2p_map(vma, req);
	if (IS_ERR(map)) {
		/* Its mapping may go while somebody waits, but not its module. */
		if (req->wait && vma->vm_file)
			req->wait_file = get_file(vma->vm_file);
		return map;
	}

	/* A wrapper, as kernfs is one, has named whose mapping it is. */
	if (!map->vm_ops)
		map->vm_ops = vma->vm_ops;
	map->pgmap = NULL;
	return map;
}

/**
 * p2p_map_vma() - map device memory behind a vma for a peer device
 * @vma: the vma, one that vma_is_p2p()
 * @req: who wants which part of it; on failure it names who refused and why
 *
 * The mapping lasts until the next MMU notifier invalidation of any part of
 * it: the caller watches the range with an &struct mmu_interval_notifier, has
 * called mmu_interval_read_begin() before, and calls p2p_unmap() if
 * mmu_interval_read_retry() says that the range was invalidated meanwhile.
 * Before it releases the mmap_lock the mapping is where its invalidation
 * callback finds it, or has ended: the vma keeps the exporter's module.
 *
 * Context: mmap_lock held for read. May sleep, and take the exporter's locks.
 *
 * Return: the mapping, or ERR_PTR:
 *
 * * -EACCES - write access to a mapping that is read-only, or any access to
 *   one that cannot be read
 * * -EPERM - the exporter does not want to
 * * -EREMOTEIO - there is no path between the two devices
 * * -EAGAIN - not now: release mmap_lock, p2p_wait(), and start again with
 *   mmu_interval_read_begin()
 * * -ERESTARTSYS - a signal is pending
 * * -ENODEV - the exporting device is gone
 * * -ENOMEM - out of memory, or of the exporter's address space
 * * -EIO - the exporter broke the contract
 */
struct p2p_mapping *p2p_map_vma(struct vm_area_struct *vma,
				struct p2p_request *req)
{
	mmap_assert_locked(vma->vm_mm);
	req->reason[0] = '\0';
	req->wait = NULL;
	req->wait_file = NULL;
	strscpy(req->exporter, "the kernel");

	if (WARN_ON_ONCE(!vma_is_p2p(vma) || req->start >= req->end ||
			 !PAGE_ALIGNED(req->start | req->end) ||
			 req->start < vma->vm_start || req->end > vma->vm_end))
		return ERR_PTR(-EINVAL);

	if (vma->vm_file)
		snprintf(req->exporter, sizeof(req->exporter), "%pD2",
			 vma->vm_file);
	return end_request(ask_vma(vma, req), req);
}
EXPORT_SYMBOL_GPL(p2p_map_vma);

/**
 * p2p_map_private() - map device-private pages for a peer device
 * @pages: the pages, as many as the request has; all belong to one pgmap, and
 *	the caller has a reference on each
 * @req: who wants them, and where in the process they are
 *
 * The mapping does not keep the pages, which may migrate at any time: it lasts
 * until the next invalidation, as that of p2p_map_vma() does, and is used under
 * the same rules.
 *
 * Context: mmap_lock held for read. May sleep, and take the owner's locks.
 *
 * Return: the mapping, or ERR_PTR: -EAGAIN as for p2p_map_vma(). Any other
 * error says that the owner does not want to.
 */
struct p2p_mapping *p2p_map_private(struct page *const *pages,
				    struct p2p_request *req)
{
	struct dev_pagemap *pgmap = pages[0]->pgmap;
	struct p2p_mapping *map;

	req->reason[0] = '\0';
	req->wait = NULL;
	strscpy(req->exporter, "device-private memory");

	if (pgmap_is_p2p(pgmap))
		map = pgmap->ops->p2p_map(pages, req);
	else
		map = p2p_refuse(req, NULL, -EPERM,
				 "its driver does not export it");
	/*
	 * The pages may be gone before the mapping is: pages migrate without
	 * mmap_lock too, and whoever holds a mapping ends it in its own time
	 * if it learns of that before it has used it.
	 */
	if (!IS_ERR(map)) {
		percpu_ref_get(&pgmap->ref);
		map->pgmap = pgmap;
	}
	return end_request(map, req);
}
EXPORT_SYMBOL_GPL(p2p_map_private);

/*
 * How many pages have gone to devices whose owners offer them to peers: while there
 * are none, nobody looks for them.
 */
static atomic_long_t p2p_private_pages;

static bool pgmap_has_p2p_private(const struct dev_pagemap *pgmap)
{
	return pgmap->type == MEMORY_DEVICE_PRIVATE && pgmap_is_p2p(pgmap);
}

/* A page of it is in use from now on, or is no more. Any context. */
void p2p_private_page_get(const struct dev_pagemap *pgmap)
{
	if (pgmap_has_p2p_private(pgmap))
		atomic_long_inc(&p2p_private_pages);
}

void p2p_private_page_put(const struct dev_pagemap *pgmap)
{
	if (pgmap_has_p2p_private(pgmap))
		atomic_long_dec(&p2p_private_pages);
}

static int find_private_pmd(pmd_t *pmd, unsigned long start, unsigned long end,
			    struct mm_walk *walk)
{
	/* What is huge is none, and is not to be split. */
	if (pmd_trans_huge(*pmd) || pmd_devmap(*pmd))
		walk->action = ACTION_CONTINUE;
	return 0;
}

static int find_private_pte(pte_t *ptep, unsigned long start, unsigned long end,
			    struct mm_walk *walk)
{
	pte_t pte = ptep_get(ptep);
	swp_entry_t entry;

	if (pte_none(pte) || pte_present(pte))
		return 0;
	entry = pte_to_swp_entry(pte);
	return is_device_private_entry(entry) &&
	       pgmap_is_p2p(pfn_swap_entry_to_page(entry)->pgmap);
}

/**
 * vma_has_p2p_private() - is there device-private memory that peers may access?
 * @vma: any vma
 * @start: first user virtual address to look at, within @vma
 * @end: the one after the last
 *
 * Context: mmap_lock held for read. May sleep. It may be gone on return.
 */
bool vma_has_p2p_private(struct vm_area_struct *vma, unsigned long start,
			 unsigned long end)
{
	static const struct mm_walk_ops ops = {
		.pmd_entry = find_private_pmd,
		.pte_entry = find_private_pte,
		.walk_lock = PGWALK_RDLOCK,
	};

	if (!atomic_long_read(&p2p_private_pages) || !vma_is_anonymous(vma))
		return false;
	return walk_page_range(vma->vm_mm, start, end, &ops, NULL) > 0;
}
EXPORT_SYMBOL_GPL(vma_has_p2p_private);

/**
 * p2p_unmap() - end a peer mapping
 * @map: the mapping, freed by this
 *
 * When it returns the exporter may give the memory to somebody else: the
 * caller has made sure that the importing device does not use it any more.
 *
 * Context: may sleep. Called inside MMU notifier invalidations, so inside any
 * lock that the exporter invalidates under, and in memory reclaim: neither
 * p2p_unmap() of an exporter nor its caller may wait for either.
 */
void p2p_unmap(struct p2p_mapping *map)
{
	struct dev_pagemap *pgmap = map->pgmap;

	trace_p2p_unmap(map);
	lock_map_acquire(&p2p_unmap_lockdep);
	if (pgmap)
		pgmap->ops->p2p_unmap(map);
	else
		map->vm_ops->p2p_unmap(map);
	lock_map_release(&p2p_unmap_lockdep);

	put_dev_pagemap(pgmap);
}
EXPORT_SYMBOL_GPL(p2p_unmap);

/**
 * p2p_mapping_lookup() - what an address is for the importer
 * @map: the mapping
 * @addr: a user virtual address
 * @run: set to the part of its run from @addr on, if it is mapped
 *
 * Context: any; the caller holds off p2p_unmap().
 *
 * Return: whether @addr is part of @map.
 */
bool p2p_mapping_lookup(const struct p2p_mapping *map, unsigned long addr,
			struct p2p_run *run)
{
	unsigned int low = 0, high = map->nr_runs;
	unsigned long offset;

	if (addr < p2p_mapping_start(map) || addr > map->node.last)
		return false;

	/* The last run that starts at or below addr. */
	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (map->runs[mid].start <= addr)
			low = mid;
		else
			high = mid;
	}

	*run = map->runs[low];
	offset = addr - run->start;
	run->start += offset;
	run->addr += offset;
	run->len -= offset;
	return true;
}
EXPORT_SYMBOL_GPL(p2p_mapping_lookup);

/**
 * p2p_refuse() - say no, and why
 * @req: the request to refuse
 * @exporter: the device that refuses; NULL names the mapped file instead
 * @err: the negative errno to return
 * @reason: for people to read, in less than 64 characters
 *
 * Context: any.
 *
 * Return: ERR_PTR(@err).
 */
struct p2p_mapping *p2p_refuse(struct p2p_request *req,
			       const struct device *exporter, int err,
			       const char *reason)
{
	if (exporter)
		strscpy(req->exporter, dev_name(exporter));
	strscpy(req->reason, reason);
	return ERR_PTR(err);
}
EXPORT_SYMBOL_GPL(p2p_refuse);

/**
 * p2p_map_later() - for an exporter that would have to wait
 * @req: the request
 * @wait: sleeps until it is worth asking again, or a signal is pending, and
 *	gives up @arg. Returns 0 or -ERESTARTSYS.
 * @arg: for @wait: a reference on what it waits for
 *
 * What may take long, the work of a device above all, is not waited for in
 * p2p_map(), where the process could not map or unmap memory meanwhile, nor be
 * killed, and the importer not be removed. Who has waited once may find that
 * others were faster again; then @req->waited allows to wait there after all.
 *
 * Context: inside p2p_map() of a vma.
 *
 * Return: ERR_PTR(-EAGAIN).
 */
struct p2p_mapping *p2p_map_later(struct p2p_request *req,
				  int (*wait)(void *arg), void *arg)
{
	req->wait = wait;
	req->wait_arg = arg;
	return ERR_PTR(-EAGAIN);
}
EXPORT_SYMBOL_GPL(p2p_map_later);

/**
 * p2p_wait() - wait until it is worth asking again
 * @req: the request that p2p_map_vma() or p2p_map_private() has answered with
 *	-EAGAIN; not to be given up without this
 *
 * Context: process, with no lock held: this may take for ever.
 *
 * Return: 0, or -ERESTARTSYS when a signal is pending.
 */
int p2p_wait(struct p2p_request *req)
{
	int (*wait)(void *arg) = req->wait;
	int ret;

	if (!wait) {
		fsleep(100);
		return 0;
	}
	req->wait = NULL;
	req->waited = true;
	ret = wait(req->wait_arg);
	if (req->wait_file)
		fput(req->wait_file);
	return ret;
}
EXPORT_SYMBOL_GPL(p2p_wait);

#if IS_ENABLED(CONFIG_P2P_MAP_KUNIT_TEST)
#include "p2p_map_test.c"
#endif
