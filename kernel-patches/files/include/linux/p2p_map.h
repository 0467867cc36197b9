/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Peer mappings: device memory, found through a vma, as another device
 * reaches it. The contract is in Documentation/mm/p2p_map.rst.
 */
#ifndef _LINUX_P2P_MAP_H
#define _LINUX_P2P_MAP_H

#include <linux/device/p2p.h>
#include <linux/err.h>
#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/types.h>

struct device;
struct file;

/**
 * struct p2p_run - memory that is contiguous for the importer
 * @start: user virtual address of its first byte, page aligned
 * @len: bytes, a multiple of PAGE_SIZE when an exporter fills it in
 * @addr: address of its first byte for the importing device. For an importer
 *	that copies with the CPU (P2P_PATH_CPU) a kernel virtual address.
 * @iomem: @addr of such an importer is __iomem, not memory
 */
struct p2p_run {
	unsigned long start;
	size_t len;
	dma_addr_t addr;
	bool iomem;
};

/**
 * struct p2p_mapping - what an exporter's p2p_map() returns
 * @runs: the runs, ascending by @p2p_run.start and without a gap; together
 *	they are exactly the range that was asked for. Set by the exporter.
 * @nr_runs: how many, at least one. Set by the exporter.
 * @path: how the importer gets there, for people to know. Set by the exporter.
 * @host: it is memory of the host that the exporter has moved the data to, for
 *	people to know. Set by the exporter.
 * @write: the importer may write. Set by p2p_map_vma(), as are the rest.
 * @importer: whose mapping it is; it is there for as long as it has mappings
 * @exporter: for people to know: the device that the memory is of, or the file
 * @vm_ops: whose p2p_unmap() ends the mapping. The vma it was made from may
 *	be gone by then.
 * @pgmap: the same, where device-private pages are mapped; else NULL. The
 *	mapping has a reference on it.
 * @node: the range of user virtual addresses, in the importer's interval tree
 * @list: for whoever collects mappings
 *
 * Exporters embed it in a structure with what they need to unmap, and allocate
 * it zeroed.
 */
struct p2p_mapping {
	const struct p2p_run *runs;
	unsigned int nr_runs;
	enum p2p_path path;
	bool host;
	bool write;
	struct device *importer;
	char exporter[32];
	const struct vm_operations_struct *vm_ops;
	struct dev_pagemap *pgmap;
	struct interval_tree_node node;
	struct list_head list;
};

/**
 * struct p2p_request - what an importer asks of an exporter
 * @importer: the device that will access the memory
 * @start: first user virtual address, page aligned
 * @end: the one after the last, page aligned; within the same vma
 * @write: the importer wants to write
 * @exporter: for people to know: the device or file that was asked
 * @reason: for an error message: why it did; set by p2p_refuse()
 * @waited: p2p_wait() was called for it: to lose no race for ever, p2p_map() may
 *	wait now, interruptibly
 * @wait: how to wait until it is worth asking again; set by p2p_map_later()
 * @wait_arg: what for; @wait gives it up
 * @wait_file: the mapped file, which keeps the exporter meanwhile
 */
struct p2p_request {
	struct device *importer;
	unsigned long start;
	unsigned long end;
	bool write;
	char exporter[32];
	char reason[64];
	bool waited;
	int (*wait)(void *arg);
	void *wait_arg;
	struct file *wait_file;
};

static inline unsigned long p2p_mapping_start(const struct p2p_mapping *map)
{
	return map->node.start;
}

/* The address after the last one, as in vma->vm_end. */
static inline unsigned long p2p_mapping_end(const struct p2p_mapping *map)
{
	return map->node.last + 1;
}

#ifdef CONFIG_P2P_MAP
/**
 * vma_is_p2p() - does a vma offer its memory to peer devices?
 * @vma: any vma; the caller holds its mm's mmap_lock
 *
 * A private mapping that can be written is no window on device memory: what
 * the process writes there becomes pages of its own.
 */
static inline bool vma_is_p2p(const struct vm_area_struct *vma)
{
	return vma->vm_ops && vma->vm_ops->p2p_map &&
	       !is_cow_mapping(vma->vm_flags);
}

/**
 * pgmap_is_p2p() - does the owner of device-private pages offer them to peers?
 * @pgmap: of any such page
 */
static inline bool pgmap_is_p2p(const struct dev_pagemap *pgmap)
{
	return pgmap->ops->p2p_map;
}

struct p2p_mapping *p2p_map_vma(struct vm_area_struct *vma,
				struct p2p_request *req);
struct p2p_mapping *p2p_map_private(struct page *const *pages,
				    struct p2p_request *req);
bool vma_has_p2p_private(struct vm_area_struct *vma, unsigned long start,
			 unsigned long end);
void p2p_private_page_get(const struct dev_pagemap *pgmap);
void p2p_private_page_put(const struct dev_pagemap *pgmap);
void p2p_unmap(struct p2p_mapping *map);
bool p2p_mapping_lookup(const struct p2p_mapping *map, unsigned long addr,
			struct p2p_run *run);
struct p2p_mapping *p2p_refuse(struct p2p_request *req,
			       const struct device *exporter, int err,
			       const char *reason);
struct p2p_mapping *p2p_map_later(struct p2p_request *req,
				  int (*wait)(void *arg), void *arg);
int p2p_wait(struct p2p_request *req);
#else
static inline bool vma_is_p2p(const struct vm_area_struct *vma)
{
	return false;
}

static inline bool pgmap_is_p2p(const struct dev_pagemap *pgmap)
{
	return false;
}

static inline struct p2p_mapping *p2p_map_vma(struct vm_area_struct *vma,
					      struct p2p_request *req)
{
	return ERR_PTR(-EFAULT);
}

static inline struct p2p_mapping *p2p_map_private(struct page *const *pages,
						  struct p2p_request *req)
{
	return ERR_PTR(-EPERM);
}

static inline bool vma_has_p2p_private(struct vm_area_struct *vma,
				       unsigned long start, unsigned long end)
{
	return false;
}

static inline void p2p_private_page_get(const struct dev_pagemap *pgmap) {}
static inline void p2p_private_page_put(const struct dev_pagemap *pgmap) {}

static inline void p2p_unmap(struct p2p_mapping *map) {}

static inline int p2p_wait(struct p2p_request *req)
{
	return 0;
}

static inline bool p2p_mapping_lookup(const struct p2p_mapping *map,
				      unsigned long addr, struct p2p_run *run)
{
	return false;
}
#endif /* CONFIG_P2P_MAP */

#endif /* _LINUX_P2P_MAP_H */
