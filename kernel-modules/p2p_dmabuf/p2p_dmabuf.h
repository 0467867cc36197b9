/* SPDX-License-Identifier: GPL-2.0 */
/*
 * p2p_dmabuf: a dma-buf for device memory that a process has mapped. In the order
 * in which it is best read:
 *
 *   source.c	what a vma is a window on, and whether that may be exported
 *   borrow.c	memory that has a dma-buf already, or whose driver makes one
 *   walk.c	from the page tables of a process to runs of BAR memory
 *   path.c	does one PCI device reach the BARs of another?
 *   map.c	runs, as a device addresses them, and how that is taken back
 *   buffer.c	the dma-buf that follows a process: who may wait for whom
 *   main.c	the device node, and what the module does at all
 */
#ifndef P2P_DMABUF_H
#define P2P_DMABUF_H

#include <linux/dma-direction.h>
#include <linux/mm.h>
#include <linux/p2p_dmabuf.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/version.h>
#include <uapi/linux/p2p_dmabuf.h>

/* Say no, and why: returns @err. @exporter may be NULL, @why too. */
int p2p_refuse(struct p2p_refusal *why, const char *exporter, int err,
	       const char *reason);

/* ---- source.c; mmap_lock is held for all of it ---- */

enum p2p_source {
	P2P_SOURCE_HOST,	/* nothing that needs a dma-buf */
	P2P_SOURCE_BAR,
	P2P_SOURCE_DMABUF,
	P2P_SOURCE_GEM,
	P2P_SOURCE_OTHER,	/* refused, with a reason */
};

enum p2p_source p2p_vma_source(const struct vm_area_struct *vma,
			       struct p2p_refusal *why);
/* Does the mapping give the right to read, or to read and write, or -EACCES. */
int p2p_vma_access(const struct vm_area_struct *vma, bool write,
		   struct p2p_refusal *why);

/* ---- borrow.c ---- */

/*
 * An fd of the dma-buf that @file is one of, or of the GEM buffer that is mapped from
 * @file at page @pgoff on. Process context; may sleep.
 */
int p2p_borrow_dmabuf(struct file *file, unsigned long pgoff, unsigned long npages,
		      u64 *offset, struct p2p_refusal *why);
int p2p_borrow_gem(struct file *file, unsigned long pgoff, unsigned long npages,
		   bool may_write, u64 *offset, struct p2p_refusal *why);

/* ---- walk.c ---- */

enum p2p_path { P2P_PATH_NONE, P2P_PATH_BUS, P2P_PATH_HOST };

struct p2p_run {		/* contiguous memory of one BAR */
	phys_addr_t phys;
	size_t len;		/* bytes */
	struct pci_dev *pdev;	/* a reference, once p2p_runs_resolve() is done */
	int bar;
	/* Of p2p_map_create(): where it is for the importer, if path is not NONE. */
	enum p2p_path path;
	dma_addr_t dma;
};

struct p2p_runs {
	struct p2p_run *run;
	unsigned int nr, max;
};

/*
 * What [start, end) of @mm is mapped to, mmap_lock held for read. May fault pages in.
 * 0, -EAGAIN (mmap_lock was dropped meanwhile: start again), or a refusal.
 */
int p2p_runs_walk(struct p2p_runs *runs, struct mm_struct *mm,
		  unsigned long start, unsigned long end, bool write,
		  struct p2p_refusal *why);
/* Whose they are. May sleep. 0 or a refusal. */
int p2p_runs_resolve(struct p2p_runs *runs, struct p2p_refusal *why);
void p2p_runs_free(struct p2p_runs *runs);

/* ---- path.c ---- */

/* @importer is a PCI device, or has one as a parent. May sleep. */
enum p2p_path p2p_path_test(struct device *importer, struct pci_dev *exporter);

/* ---- map.c ---- */

/* Runs that a device may access. */
struct p2p_map {
	struct sg_table sgt;
	struct device *dev;		/* the importer */
	struct p2p_runs runs;
	enum dma_data_direction dir;
	bool through_host;		/* some of it, by dma_map_resource() */
	/* What p2p_map_revoke() puts behind its addresses, of that many pages. */
	struct page *nobodys;
	unsigned int nobodys_order;
};

/*
 * Takes the runs, also when it fails. @iommu: NULL, or why an IOMMU has to translate all
 * that the device does. May sleep.
 */
struct p2p_map *p2p_map_create(struct device *dev, struct p2p_runs *runs,
			       bool write, const char *iommu,
			       struct p2p_refusal *why);
void p2p_map_destroy(struct p2p_map *map);
/*
 * From a device that keeps its addresses: its IOMMU shows it a page of nobody's there,
 * or false if it was not created for that. May sleep.
 */
bool p2p_map_revoke(struct p2p_map *map);

/* ---- buffer.c ---- */

/* Of a reader's (P2P_DMABUF_READER), @reader is set to the dma-buf, with a reference. */
int p2p_buffer_fd(unsigned long start, unsigned long end, unsigned int flags,
		  struct dma_buf **reader);
void p2p_buffer_seal(struct dma_buf *dmabuf);
int p2p_buffer_init(void);
void p2p_buffer_exit(void);
/* Is the device on its way out? Any context. */
bool p2p_going(const struct pci_dev *pdev);

#endif /* P2P_DMABUF_H */
