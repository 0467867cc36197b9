// SPDX-License-Identifier: GPL-2.0
/*
 * Peer mappings for exporters that are PCI devices: of a BAR, of parts of it,
 * and of host memory that stands in for it. The contract is in
 * Documentation/mm/p2p_map.rst.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/error-injection.h>
#include <linux/iommu-dma.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/p2p_map.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/range.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

/* Parameters are "pci.*", as they are about the bus. */
#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "pci."

/* For exporters of BARs that a process has mapped. */
bool pci_p2p_user_bars = true;
EXPORT_SYMBOL_GPL(pci_p2p_user_bars);
module_param_named(p2p_user_bars, pci_p2p_user_bars, bool, 0644);
MODULE_PARM_DESC(p2p_user_bars,
		 "Let other devices access BARs that a process has mapped (sysfs, procfs, vfio)");

/*
 * Memory mapped for one importer: ranges of a BAR, or pages. It holds no
 * reference: the importer is there for as long as it has mappings, and unmapping
 * does not need the exporter.
 */
struct pci_p2p_mapping {
	struct p2p_mapping map;
	struct device *importer;
	enum dma_data_direction dir;
	struct p2p_run runs[];
};

/* A device that was pulled out answers nothing, before the kernel notices. */
static struct p2p_mapping *refuse_disabled(struct pci_dev *pdev,
					   struct p2p_request *req)
{
	u16 cmd;

	pci_read_config_word(pdev, PCI_COMMAND, &cmd);
	if (PCI_POSSIBLE_ERROR(cmd))
		return p2p_refuse(req, &pdev->dev, -ENODEV,
				  "the device is gone");
	if (!pdev->no_command_memory && !(cmd & PCI_COMMAND_MEMORY))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "memory decoding is off");
	return NULL;
}

/* Is [offset, offset + len) inside a BAR of size bytes? */
static bool range_fits(resource_size_t size, resource_size_t offset, size_t len)
{
	return offset <= size && len <= size - offset;
}

/* Can a device that is limited to mask reach all len bytes from addr on? */
static bool mask_covers(u64 mask, u64 addr, size_t len)
{
	u64 last;

	return !check_add_overflow(addr, len - 1, &last) && last <= mask;
}

static struct pci_p2p_mapping *alloc_mapping(struct p2p_request *req,
					     const struct device *exporter,
					     enum p2p_path path,
					     unsigned int nr_runs)
{
	struct pci_p2p_mapping *map;

	if (exporter)
		strscpy(req->exporter, dev_name(exporter));

	map = kvzalloc(struct_size(map, runs, nr_runs), GFP_KERNEL_ACCOUNT);
	if (!map)
		return NULL;
	map->importer = req->importer;
	map->map.path = path;
	map->dir = req->write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
	map->map.runs = map->runs;
	return map;
}

/* The run that is to be mapped next: it starts where the last one ends. */
static struct p2p_run *next_run(struct pci_p2p_mapping *map,
				const struct p2p_request *req, size_t len)
{
	struct p2p_run *run = &map->runs[map->map.nr_runs];

	run->start = map->map.nr_runs ? run[-1].start + run[-1].len : req->start;
	run->len = len;
	return run;
}

static int map_for_cpu(struct p2p_run *run, phys_addr_t phys, bool prefetch)
{
	void __iomem *va = prefetch ? ioremap_wc(phys, run->len) :
				      ioremap(phys, run->len);

	if (!va)
		return -ENOMEM;
	run->addr = (dma_addr_t)(uintptr_t)va;
	run->iomem = true;
	return 0;
}

/* Can the importer produce these addresses itself? */
static bool reaches(struct device *importer, u64 addr, size_t len)
{
	u64 mask = min_not_zero(dma_get_mask(importer),
				importer->bus_dma_limit);

	return mask_covers(mask, addr, len);
}

/*
 * The same for what passes the host bridge. Where nothing translates, the DMA
 * API would take an address out of reach for a bug of its caller.
 */
static bool reaches_through_host(struct device *importer, phys_addr_t phys,
				 size_t len)
{
	return use_dma_iommu(importer) || get_dma_ops(importer) ||
	       reaches(importer, phys, len);
}

/*
 * Several MRs may map one BAR at the same time. What tells the DMA debugging
 * code that this is no bug is that nobody syncs: there is nothing to.
 */
#define BAR_DMA_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

static int map_through_host(const struct pci_p2p_mapping *map,
			    struct p2p_run *run, phys_addr_t phys)
{
	struct device *dev = map->importer;
	dma_addr_t dma;

	if (!reaches_through_host(dev, phys, run->len))
		return -EREMOTEIO;

	dma = dma_map_resource(dev, phys, run->len, map->dir, BAR_DMA_ATTRS);
	if (dma_mapping_error(dev, dma))
		return -ENOMEM;
	run->addr = dma;
	return 0;
}

static int map_bus_address(const struct pci_p2p_mapping *map,
			   struct p2p_run *run, pci_bus_addr_t addr)
{
	if (!reaches(map->importer, addr, run->len))
		return -EREMOTEIO;
	run->addr = addr;
	return 0;
}

static noinline int map_bar_run(const struct pci_p2p_mapping *map,
				struct p2p_run *run, struct pci_dev *pdev,
				int bar, phys_addr_t phys)
{
	switch (map->map.path) {
	case P2P_PATH_CPU:
		return map_for_cpu(run, phys, pci_resource_flags(pdev, bar) &
					      IORESOURCE_PREFETCH);
	case P2P_PATH_BUS:
		return map_bus_address(map, run, pci_bus_address(pdev, bar) +
				       (phys - pci_resource_start(pdev, bar)));
	case P2P_PATH_HOST:
		return map_through_host(map, run, phys);
	default:
		return -EREMOTEIO;
	}
}
ALLOW_ERROR_INJECTION(map_bar_run, ERRNO);

/*
 * Would the importer see a copy of the page from here on, or an old cache line
 * of it? dma_need_sync() does not tell them apart from having bounced once where
 * there is an IOMMU.
 */
static bool needs_sync(struct device *dev, dma_addr_t dma)
{
	struct iommu_domain *domain;

	if (!use_dma_iommu(dev) || !dev_is_dma_coherent(dev))
		return dma_need_sync(dev, dma);
	domain = iommu_get_domain_for_dev(dev);
	return swiotlb_find_pool(dev, iommu_iova_to_phys(domain, dma));
}

static noinline int map_page_run(const struct pci_p2p_mapping *map,
				 struct p2p_run *run, struct page *page)
{
	struct device *dev = map->importer;
	dma_addr_t dma;

	if (map->map.path == P2P_PATH_CPU) {
		if (PageHighMem(page))
			return -EREMOTEIO;
		run->addr = (dma_addr_t)(uintptr_t)page_address(page);
		return 0;
	}

	if (!reaches_through_host(dev, page_to_phys(page), run->len))
		return -EREMOTEIO;

	dma = dma_map_page(dev, page, 0, run->len, map->dir);
	if (dma_mapping_error(dev, dma))
		return -ENOMEM;
	if (needs_sync(dev, dma)) {
		dma_unmap_page(dev, dma, run->len, map->dir);
		return -EREMOTEIO;
	}
	run->addr = dma;
	return 0;
}
ALLOW_ERROR_INJECTION(map_page_run, ERRNO);

static void unmap_run(const struct pci_p2p_mapping *map,
		      const struct p2p_run *run)
{
	switch (map->map.path) {
	case P2P_PATH_CPU:
		if (!map->map.host)
			iounmap((void __iomem *)(uintptr_t)run->addr);
		break;
	case P2P_PATH_HOST:
		if (map->map.host)
			dma_unmap_page(map->importer, run->addr, run->len,
				       map->dir);
		else
			dma_unmap_resource(map->importer, run->addr, run->len,
					   map->dir, BAR_DMA_ATTRS);
		break;
	default:
		break;
	}
}

/**
 * pci_p2p_unmap() - p2p_unmap() for mappings of the functions below
 * @mapping: the mapping, freed by this
 *
 * Context: that of p2p_unmap() in struct vm_operations_struct. Takes no lock of
 * the exporter's.
 */
void pci_p2p_unmap(struct p2p_mapping *mapping)
{
	struct pci_p2p_mapping *map =
		container_of(mapping, struct pci_p2p_mapping, map);
	struct iommu_domain *domain;
	unsigned int i;

	for (i = 0; i < mapping->nr_runs; i++)
		unmap_run(map, &map->runs[i]);

	/* With a flush queue the IOMMU would remember them for some time. */
	if (map->map.path == P2P_PATH_HOST) {
		domain = iommu_get_domain_for_dev(map->importer);
		if (domain && domain->type == IOMMU_DOMAIN_DMA_FQ)
			iommu_flush_iotlb_all(domain);
	}
	kvfree(map);
}
EXPORT_SYMBOL_GPL(pci_p2p_unmap);

static const char *why_not(const struct pci_p2p_mapping *map, int err)
{
	if (err == -ENOMEM && map->map.path == P2P_PATH_CPU)
		return "no kernel address space to map the BAR";
	if (err == -ENOMEM)
		return "no DMA address space to map the BAR";
	if (map->map.path == P2P_PATH_NONE)
		return "PCI has no path between the two devices";
	return "the BAR is out of reach for the importer's DMA";
}

static struct p2p_mapping *map_bar_ranges(struct pci_dev *pdev, int bar,
					  const struct range *ranges,
					  unsigned int nr,
					  struct p2p_request *req)
{
	struct pci_p2p_mapping *map;
	const char *reason;
	unsigned int i;
	int ret;

	map = alloc_mapping(req, &pdev->dev,
			    device_test_p2p(req->importer, &pdev->dev), nr);
	if (!map)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < nr; i++) {
		ret = map_bar_run(map, next_run(map, req, range_len(&ranges[i])),
				  pdev, bar, ranges[i].start);
		if (ret) {
			reason = why_not(map, ret);
			pci_p2p_unmap(&map->map);
			return p2p_refuse(req, &pdev->dev, ret, reason);
		}
		map->map.nr_runs++;
	}
	return &map->map;
}

/**
 * pci_p2p_map_bar() - p2p_map() for a vma that is a window on a BAR
 * @pdev: the exporter
 * @bar: which BAR
 * @offset: where in the BAR @req->start is, in bytes
 * @req: the request
 *
 * Maps a part of a memory BAR as one run. Whether the importer may have it is
 * for the caller to decide, as is to keep the BAR where it is: the caller holds
 * the lock that it takes to move the BAR, to turn memory decoding off or to
 * remove the device, and calls unmap_mapping_range() within it when it does.
 *
 * Context: that of p2p_map() in struct vm_operations_struct.
 *
 * Return: the mapping, for pci_p2p_unmap(), or ERR_PTR:
 *
 * * -EPERM - not a memory BAR, memory decoding is off, the range is not inside
 *   the BAR or shares a page with something else
 * * -EREMOTEIO - no path between the two devices, or an address that the
 *   importer cannot produce
 * * -ENODEV - it was pulled out
 * * -ENOMEM - out of memory, or of address space, of the kernel or the IOMMU
 */
struct p2p_mapping *pci_p2p_map_bar(struct pci_dev *pdev, int bar,
				    resource_size_t offset,
				    struct p2p_request *req)
{
	resource_size_t size = pci_resource_len(pdev, bar);
	phys_addr_t phys = pci_resource_start(pdev, bar) + offset;
	size_t len = req->end - req->start;
	struct p2p_mapping *map;
	struct range range;

	if ((pci_resource_flags(pdev, bar) &
	     (IORESOURCE_MEM | IORESOURCE_UNSET)) != IORESOURCE_MEM)
		return p2p_refuse(req, &pdev->dev, -EPERM, "not a memory BAR");
	map = refuse_disabled(pdev, req);
	if (map)
		return map;
	if (!PAGE_ALIGNED(phys | len) || !range_fits(size, offset, len))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "not whole pages of the BAR");

	range = (struct range) { .start = phys, .end = phys + len - 1 };
	return map_bar_ranges(pdev, bar, &range, 1, req);
}
EXPORT_SYMBOL_GPL(pci_p2p_map_bar);

/* The memory BAR that a CPU physical address is in, or -1. */
static int bar_of(struct pci_dev *pdev, u64 phys)
{
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		if ((pci_resource_flags(pdev, bar) &
		     (IORESOURCE_MEM | IORESOURCE_UNSET)) == IORESOURCE_MEM &&
		    phys >= pci_resource_start(pdev, bar) &&
		    phys <= pci_resource_end(pdev, bar))
			return bar;
	return -1;
}

/* Are the ranges whole pages of the BAR, and as many as were asked for? */
static bool ranges_fit(struct pci_dev *pdev, int bar,
		       const struct range *ranges, unsigned int nr,
		       const struct p2p_request *req)
{
	u64 left = req->end - req->start;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		u64 len = range_len(&ranges[i]);

		if (ranges[i].start < pci_resource_start(pdev, bar) ||
		    ranges[i].end > pci_resource_end(pdev, bar) ||
		    !PAGE_ALIGNED(ranges[i].start | len) || !len || len > left)
			return false;
		left -= len;
	}
	return !left;
}

/**
 * pci_p2p_map_ranges() - p2p_map() for memory that is scattered over a BAR
 * @pdev: the exporter
 * @ranges: where in one BAR of @pdev the requested memory is, in the order of
 *	the request: CPU physical addresses, page aligned
 * @nr: how many ranges
 * @req: the request
 *
 * Makes a run of each range, for exporters that move their memory about in the
 * BAR. For the rest it is like pci_p2p_map_bar(), errors included.
 *
 * Context: that of p2p_map() in struct vm_operations_struct.
 *
 * Return: the mapping, for pci_p2p_unmap(), or ERR_PTR.
 */
struct p2p_mapping *pci_p2p_map_ranges(struct pci_dev *pdev,
				       const struct range *ranges,
				       unsigned int nr, struct p2p_request *req)
{
	int bar = nr ? bar_of(pdev, ranges[0].start) : -1;
	struct p2p_mapping *map;

	if (bar < 0)
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "the memory is in no BAR");
	map = refuse_disabled(pdev, req);
	if (map)
		return map;
	if (!ranges_fit(pdev, bar, ranges, nr, req))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "not whole pages of the BAR");

	return map_bar_ranges(pdev, bar, ranges, nr, req);
}
EXPORT_SYMBOL_GPL(pci_p2p_map_ranges);

/* How many of the nr pages follow each other in memory, from the first on. */
static unsigned long contiguous_pages(struct page *const *pages,
				      unsigned long nr)
{
	unsigned long i;

	for (i = 1; i < nr; i++)
		if (page_to_pfn(pages[i]) != page_to_pfn(pages[i - 1]) + 1)
			break;
	return i;
}

/**
 * pci_p2p_map_pages() - p2p_map() for memory that is in host pages for now
 * @exporter: whose memory it is, for people to know; NULL names the file
 * @pages: the pages, as many as the request has, in its order
 * @req: the request
 *
 * For exporters that answer with pages of the host, as a GPU driver that has
 * moved the data there. They hold the pages until they have invalidated the
 * range. A run is what is contiguous.
 *
 * Context: that of p2p_map() in struct vm_operations_struct.
 *
 * Return: the mapping, for pci_p2p_unmap(), or ERR_PTR:
 *
 * * -EREMOTEIO - the importer does not reach the pages
 * * -ENOMEM - out of memory
 */
struct p2p_mapping *pci_p2p_map_pages(const struct device *exporter,
				      struct page *const *pages,
				      struct p2p_request *req)
{
	unsigned long nr = (req->end - req->start) >> PAGE_SHIFT;
	struct pci_p2p_mapping *map;
	unsigned long i, n;
	unsigned int nr_runs = 0;
	int ret;

	for (i = 0; i < nr; i += contiguous_pages(pages + i, nr - i))
		nr_runs++;

	/* What does no DMA copies with the CPU, as device_test_p2p() says. */
	map = alloc_mapping(req, exporter,
			    req->importer->dma_mask ? P2P_PATH_HOST :
						      P2P_PATH_CPU,
			    nr_runs);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->map.host = true;

	for (i = 0; i < nr; i += n) {
		n = contiguous_pages(pages + i, nr - i);
		ret = map_page_run(map, next_run(map, req, n << PAGE_SHIFT),
				   pages[i]);
		if (ret) {
			pci_p2p_unmap(&map->map);
			return p2p_refuse(req, exporter, ret,
					  "the pages are out of reach for the importer's DMA");
		}
		map->map.nr_runs++;
	}
	return &map->map;
}
EXPORT_SYMBOL_GPL(pci_p2p_map_pages);

#if IS_ENABLED(CONFIG_P2P_MAP_KUNIT_TEST)
#include "p2p_map_test.c"
#include "p2p_map_ranges_test.c"
#endif
