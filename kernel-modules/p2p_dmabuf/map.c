// SPDX-License-Identifier: GPL-2.0
/*
 * Runs of BAR memory, as an importing device addresses them. When a map is destroyed
 * or revoked, the device reaches none of it any more, the IOMMU's cache included.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "p2p_dmabuf.h"

/*
 * Several dma-bufs may map one BAR at the same time. What tells the DMA debugging
 * code that this is no bug is that nobody syncs: there is nothing to.
 */
#define BAR_DMA_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

#define ENTRY_MAX	SZ_1G	/* bytes: a scatterlist counts them in 32 bits */

/* The domain that translates what a device does, or NULL. */
static struct iommu_domain *translating_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type & __IOMMU_DOMAIN_PAGING ? domain : NULL;
}

/* Can the device produce these addresses itself? */
static bool reaches(struct device *dev, u64 addr, size_t len)
{
	u64 mask = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);

	return addr <= mask && len - 1 <= mask - addr;
}

/*
 * The same for what passes the host bridge. Where nothing translates, the DMA API
 * would take an address out of reach for a bug of its caller.
 */
static bool reaches_through_host(struct device *dev, phys_addr_t phys, size_t len)
{
	return translating_domain(dev) || reaches(dev, phys, len);
}

static unsigned int nr_entries(const struct p2p_runs *runs)
{
	unsigned int i, nr = 0;

	for (i = 0; i < runs->nr; i++)
		nr += DIV_ROUND_UP(runs->run[i].len, ENTRY_MAX);
	return nr;
}

static int map_by_bus(struct p2p_map *map, struct p2p_run *run,
		      struct p2p_refusal *why)
{
	u64 addr = pci_bus_address(run->pdev, run->bar) +
		   (run->phys - pci_resource_start(run->pdev, run->bar));

	if (!reaches(map->dev, addr, run->len))
		return p2p_refuse(why, pci_name(run->pdev), -EREMOTEIO,
				  "the BAR is out of reach for the importer's DMA");
	run->dma = addr;
	run->path = P2P_PATH_BUS;
	return 0;
}

static int map_through_host(struct p2p_map *map, struct p2p_run *run,
			    struct p2p_refusal *why)
{
	dma_addr_t dma;

	if (!reaches_through_host(map->dev, run->phys, run->len))
		return p2p_refuse(why, pci_name(run->pdev), -EREMOTEIO,
				  "the BAR is out of reach for the importer's DMA");
	dma = dma_map_resource(map->dev, run->phys, run->len, map->dir, BAR_DMA_ATTRS);
	if (dma_mapping_error(map->dev, dma))
		return p2p_refuse(why, pci_name(run->pdev), -ENOMEM,
				  "no DMA address space to map the BAR");
	run->dma = dma;
	run->path = P2P_PATH_HOST;
	map->through_host = true;
	return 0;
}

static int map_run(struct p2p_map *map, unsigned int i, const char *iommu,
		   struct p2p_refusal *why)
{
	struct p2p_run *run = &map->runs.run[i];
	enum p2p_path path;

	/* Mostly they are all of one device. */
	if (i && run[-1].pdev == run->pdev)
		path = run[-1].path;
	else
		path = p2p_path_test(map->dev, run->pdev);

	if (path == P2P_PATH_NONE)
		return p2p_refuse(why, pci_name(run->pdev), -EREMOTEIO,
				  "PCI has no path between the two devices");
	if (iommu && (path == P2P_PATH_BUS || !translating_domain(map->dev)))
		return p2p_refuse(why, pci_name(run->pdev), -EOPNOTSUPP, iommu);
	return path == P2P_PATH_BUS ? map_by_bus(map, run, why) :
				      map_through_host(map, run, why);
}

/* What the importer sees of a run. It may trim its copy, so we keep to our own. */
static void fill_entries(struct scatterlist **sg, const struct p2p_run *run)
{
	size_t offset, len;

	for (offset = 0; offset < run->len; offset += len) {
		len = min_t(size_t, run->len - offset, ENTRY_MAX);
		sg_set_page(*sg, NULL, len, 0);
		sg_dma_address(*sg) = run->dma + offset;
		sg_dma_len(*sg) = len;
		*sg = sg_next(*sg);
	}
}

/*
 * It is there before it is needed: that may be in reclaim. As large as what it stands
 * for is, as far as page tables like that.
 */
static int alloc_nobodys(struct p2p_map *map)
{
	unsigned int i;

	for (i = 0; i < map->runs.nr; i++)
		if (map->runs.run[i].len >= PMD_SIZE)
			map->nobodys_order = PMD_SHIFT - PAGE_SHIFT;
	map->nobodys = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN,
				   map->nobodys_order);
	return map->nobodys ? 0 : -ENOMEM;
}

struct p2p_map *p2p_map_create(struct device *dev, struct p2p_runs *runs,
			       bool write, const char *iommu,
			       struct p2p_refusal *why)
{
	struct scatterlist *sg;
	struct p2p_map *map;
	unsigned int i;
	int err;

	map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	if (map && sg_alloc_table(&map->sgt, nr_entries(runs), GFP_KERNEL_ACCOUNT)) {
		kfree(map);
		map = NULL;
	}
	if (!map) {
		p2p_runs_free(runs);
		return ERR_PTR(-ENOMEM);
	}
	map->dev = get_device(dev);
	map->dir = write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
	map->runs = *runs;
	*runs = (struct p2p_runs) {};

	sg = map->sgt.sgl;
	err = iommu ? alloc_nobodys(map) : 0;
	for (i = 0; i < map->runs.nr && !err; i++) {
		err = map_run(map, i, iommu, why);
		if (!err)
			fill_entries(&sg, &map->runs.run[i]);
	}
	if (!err)
		return map;
	p2p_map_destroy(map);
	return ERR_PTR(err);
}

/* With a flush queue the IOMMU would remember what was there for some time. */
static void flush_iotlb(struct device *dev)
{
	struct iommu_domain *domain = translating_domain(dev);

	if (domain)
		iommu_flush_iotlb_all(domain);
}

void p2p_map_destroy(struct p2p_map *map)
{
	struct p2p_run *run;

	for (run = map->runs.run; run < map->runs.run + map->runs.nr; run++)
		if (run->path == P2P_PATH_HOST)
			dma_unmap_resource(map->dev, run->dma, run->len, map->dir,
					   BAR_DMA_ATTRS);
	if (map->through_host)
		flush_iotlb(map->dev);
	if (map->nobodys)
		__free_pages(map->nobodys, map->nobodys_order);
	sg_free_table(&map->sgt);
	p2p_runs_free(&map->runs);
	put_device(map->dev);
	kfree(map);
}

static int map_page(struct iommu_domain *domain, dma_addr_t dma, struct page *page,
		    size_t size)
{
	int prot = IOMMU_READ | IOMMU_WRITE;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	return iommu_map(domain, dma, page_to_phys(page), size, prot, GFP_KERNEL);
#else
	return iommu_map(domain, dma, page_to_phys(page), size, prot);
#endif
}

/* The same page at all addresses of a run, in the largest pieces that fit. */
static int map_nobodys(struct iommu_domain *domain, const struct p2p_map *map,
		       const struct p2p_run *run)
{
	size_t large = PAGE_SIZE << map->nobodys_order, offset, size;
	int err = 0;

	for (offset = 0; offset < run->len && !err; offset += size) {
		size = IS_ALIGNED(run->dma + offset, large) &&
		       run->len - offset >= large ? large : PAGE_SIZE;
		err = map_page(domain, run->dma + offset, map->nobodys, size);
	}
	return err;
}

bool p2p_map_revoke(struct p2p_map *map)
{
	struct iommu_domain *domain = translating_domain(map->dev);
	struct p2p_run *run, *end = map->runs.run + map->runs.nr;

	if (!map->nobodys)
		return false;

	/* All of it is gone before any of it is something else. */
	for (run = map->runs.run; run < end; run++)
		iommu_unmap(domain, run->dma, run->len);
	iommu_flush_iotlb_all(domain);

	/*
	 * Without it the device's accesses fault, which an administrator sees as an
	 * error of the hardware, and unmapping would find less than was mapped.
	 */
	for (run = map->runs.run; run < end; run++)
		if (map_nobodys(domain, map, run))
			dev_err(map->dev, "no memory to map a page of nobody's: accesses to the memory that was taken back fault\n");
	return true;
}
