// SPDX-License-Identifier: GPL-2.0
/*
 * From the page tables of a process to runs of BAR memory. A page table is read as a
 * whole: what takes the time, and the lock, is to get there.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "p2p_dmabuf.h"

/* Where a walk is. */
struct walk {
	struct p2p_runs *runs;
	struct vm_area_struct *vma;
	unsigned long addr, end;	/* end: of what is wanted of the vma */
	bool write;
	bool new_run;			/* nothing of this vma is in a run yet */
};

/* Another page, or more that follow it. False: no room, see runs_grow(). */
static bool add_run(struct walk *walk, unsigned long pfn, unsigned long npages)
{
	struct p2p_runs *runs = walk->runs;
	struct p2p_run *last = runs->nr ? &runs->run[runs->nr - 1] : NULL;
	phys_addr_t phys = PFN_PHYS(pfn);
	size_t len = npages << PAGE_SHIFT;

	if (last && !walk->new_run && last->phys + last->len == phys) {
		last->len += len;
	} else {
		if (runs->nr == runs->max)
			return false;
		runs->run[runs->nr++] = (struct p2p_run) { .phys = phys, .len = len };
		walk->new_run = false;
	}
	walk->addr += len;
	return true;
}

static int runs_grow(struct p2p_runs *runs)
{
	unsigned int max = max(16u, runs->max * 2);
	struct p2p_run *run;

	run = kvmalloc_array(max, sizeof(*run), GFP_KERNEL_ACCOUNT);
	if (!run)
		return -ENOMEM;
	memcpy(run, runs->run, runs->nr * sizeof(*run));
	kvfree(runs->run);
	runs->run = run;
	runs->max = max;
	return 0;
}

/*
 * Do @nr entries differ in the page frame alone, each by one from the one before? A BAR
 * is tens of thousands of pages: a few instructions for each.
 */
static bool are_linear(const pte_t *ptep, unsigned long nr)
{
#ifdef CONFIG_X86_64
	u64 first = READ_ONCE(ptep->pte), differs = 0;
	unsigned long i;

	/* Plain reads: under the lock the CPU alone changes them, to bits ignored here. */
#pragma GCC unroll 16
	for (i = 0; i < nr; i++)
		differs |= ptep[i].pte ^ (first + i * PAGE_SIZE);
	return !(differs & ~(u64)(_PAGE_ACCESSED | _PAGE_DIRTY));
#else
	return false;
#endif
}

/* The entries of a page table from @ptep on, whose lock is held. */
static void read_entries(struct walk *walk, pte_t *ptep)
{
	unsigned long end = min(walk->end, ALIGN(walk->addr + 1, PMD_SIZE));
	unsigned long nr = (end - walk->addr) >> PAGE_SHIFT;
	pte_t pte = READ_ONCE(*ptep);

	if (nr > 1 && pte_present(pte) && (!walk->write || pte_write(pte)) &&
	    are_linear(ptep, nr)) {
		add_run(walk, pte_pfn(pte), nr);
		return;
	}
	for (; walk->addr < end; ptep++) {
		pte = READ_ONCE(*ptep);
		if (!pte_present(pte) || (walk->write && !pte_write(pte)) ||
		    !add_run(walk, pte_pfn(pte), 1))
			break;
	}
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
/* What is mapped from walk->addr on, of one page table, or one larger page. */
static void read_table(struct walk *walk)
{
	struct follow_pfnmap_args args = {
		.vma = walk->vma,
		.address = walk->addr,
	};
	unsigned long end;

	if (follow_pfnmap_start(&args))
		return;
	if (args.ptep) {
		read_entries(walk, args.ptep);
	} else if (args.writable || !walk->write) {
		end = min(walk->end, ALIGN(walk->addr + 1, PMD_SIZE));
		add_run(walk, args.pfn, (end - walk->addr) >> PAGE_SHIFT);
	}
	follow_pfnmap_end(&args);
}
#else
static void read_table(struct walk *walk)
{
	spinlock_t *lock;
	pte_t *ptep;

	if (follow_pte(walk->vma->vm_mm, walk->addr, &ptep, &lock))
		return;
	read_entries(walk, ptep);
	pte_unmap_unlock(ptep, lock);
}
#endif

/*
 * There may be no entry yet, or one that may not be written: kernfs has those made
 * writable again by a fault after mprotect() has taken it and given it back.
 */
static int fault_in(struct walk *walk, struct p2p_refusal *why)
{
	bool unlocked = false;
	int err;

	err = fixup_user_fault(walk->vma->vm_mm, walk->addr,
			       FAULT_FLAG_REMOTE |
			       (walk->write ? FAULT_FLAG_WRITE : 0), &unlocked);
	if (err == -EFAULT)
		return p2p_refuse(why, NULL, err,
				  "nothing is mapped there: its memory is gone, or disabled");
	if (!err && unlocked)
		return -EAGAIN;
	return err;
}

static int walk_vma(struct walk *walk, struct p2p_refusal *why)
{
	unsigned long faulted = 0, addr;
	int err;

	while (walk->addr < walk->end) {
		addr = walk->addr;
		read_table(walk);
		if (walk->addr > addr)
			continue;

		if (walk->runs->nr == walk->runs->max) {
			err = runs_grow(walk->runs);
		} else if (faulted == addr) {
			/* Zapped again by somebody: he has invalidated. */
			err = -EAGAIN;
		} else {
			err = fault_in(walk, why);
			faulted = addr;
		}
		if (err)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

int p2p_runs_walk(struct p2p_runs *runs, struct mm_struct *mm,
		  unsigned long start, unsigned long end, bool write,
		  struct p2p_refusal *why)
{
	struct walk walk = { .runs = runs, .addr = start, .write = write };
	int err;

	while (walk.addr < end) {
		walk.vma = find_vma(mm, walk.addr);
		if (!walk.vma || walk.addr < walk.vma->vm_start)
			return p2p_refuse(why, "", -EFAULT,
					  "nothing is mapped in a part of it");
		switch (p2p_vma_source(walk.vma, why)) {
		case P2P_SOURCE_BAR:
			break;
		case P2P_SOURCE_OTHER:
			return why->err;
		default:
			return p2p_refuse(why, "", -EFAULT,
					  "it is no BAR any more");
		}
		err = p2p_vma_access(walk.vma, write, why);
		if (err)
			return err;
		walk.end = min(end, walk.vma->vm_end);
		/* The next vma may be of a BAR that happens to be the neighbour. */
		walk.new_run = true;
		err = walk_vma(&walk, why);
		if (err)
			return err;
	}
	return 0;
}

/* The device and BAR that have a physical address, with a reference. */
static struct pci_dev *find_bar(phys_addr_t phys, int *bar)
{
	struct pci_dev *pdev = NULL;
	const struct resource *res;

	for_each_pci_dev(pdev) {
		for (*bar = 0; *bar < PCI_STD_NUM_BARS; (*bar)++) {
			res = &pdev->resource[*bar];
			if (res->flags & IORESOURCE_MEM && res->parent &&
			    phys >= res->start && phys <= res->end)
				return pdev;
		}
	}
	return NULL;
}

static bool run_fits(const struct p2p_run *run)
{
	const struct resource *res = &run->pdev->resource[run->bar];

	return run->phys >= res->start && run->phys <= res->end &&
	       run->len - 1 <= res->end - run->phys;
}

/* A device that was pulled out answers nothing, before the kernel notices. */
static int check_decoding(struct pci_dev *pdev, struct p2p_refusal *why)
{
	u16 cmd;

	pci_read_config_word(pdev, PCI_COMMAND, &cmd);
	if (p2p_going(pdev) || cmd == (u16)~0)
		return p2p_refuse(why, pci_name(pdev), -ENODEV, "the device is gone");
	if (!pdev->no_command_memory && !(cmd & PCI_COMMAND_MEMORY))
		return p2p_refuse(why, pci_name(pdev), -EPERM, "memory decoding is off");
	return 0;
}

int p2p_runs_resolve(struct p2p_runs *runs, struct p2p_refusal *why)
{
	struct p2p_run *run, *last = NULL;
	int err;

	for (run = runs->run; run < runs->run + runs->nr; last = run++) {
		if (last) {
			run->bar = last->bar;
			run->pdev = pci_dev_get(last->pdev);
			if (run_fits(run))
				continue;
			pci_dev_put(run->pdev);
		}
		run->pdev = find_bar(run->phys, &run->bar);
		if (!run->pdev)
			return p2p_refuse(why, NULL, -EFAULT, "it is no PCI BAR");
		if (!run_fits(run))
			return p2p_refuse(why, pci_name(run->pdev), -EPERM,
					  "not whole pages of the BAR");
		err = check_decoding(run->pdev, why);
		if (err)
			return err;
	}
	return 0;
}

void p2p_runs_free(struct p2p_runs *runs)
{
	unsigned int i;

	for (i = 0; i < runs->nr; i++)
		pci_dev_put(runs->run[i].pdev);
	kvfree(runs->run);
	*runs = (struct p2p_runs) {};
}
