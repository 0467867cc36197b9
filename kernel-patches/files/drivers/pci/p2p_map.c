// SPDX-License-Identifier: GPL-2.0
/*
 * Peer mappings of PCI BARs, for exporters whose vma is a plain window on one.
 * The contract is in Documentation/mm/p2p_map.rst.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu-dma.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/p2p_map.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/slab.h>

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
 * A part of a BAR, mapped for one importer. It holds no reference: the importer
 * is there for as long as it has mappings, and unmapping does not need the
 * exporter.
 */
struct pci_bar_mapping {
	struct p2p_mapping map;
	struct p2p_run run;
	struct device *importer;
	enum p2p_path path;
	enum dma_data_direction dir;
};

static bool memory_enabled(struct pci_dev *pdev)
{
	u16 cmd;

	pci_read_config_word(pdev, PCI_COMMAND, &cmd);
	return !PCI_POSSIBLE_ERROR(cmd) && cmd & PCI_COMMAND_MEMORY;
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

static int map_for_cpu(struct pci_bar_mapping *bar, phys_addr_t phys,
		       bool prefetch)
{
	void __iomem *va = prefetch ? ioremap_wc(phys, bar->run.len) :
				      ioremap(phys, bar->run.len);

	if (!va)
		return -ENOMEM;
	bar->run.addr = (dma_addr_t)(uintptr_t)va;
	bar->run.iomem = true;
	return 0;
}

/* Can the importer produce these addresses itself, with nothing to translate? */
static bool reaches(const struct pci_bar_mapping *bar, u64 addr)
{
	u64 mask = min_not_zero(dma_get_mask(bar->importer),
				bar->importer->bus_dma_limit);

	return mask_covers(mask, addr, bar->run.len);
}

/*
 * Several MRs may map one BAR at the same time. What tells the DMA debugging
 * code that this is no bug is that nobody syncs: there is nothing to.
 */
#define BAR_DMA_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

static int map_through_host(struct pci_bar_mapping *bar, phys_addr_t phys)
{
	struct device *dev = bar->importer;
	dma_addr_t dma;

	/* dma_map_resource() would take the request for a bug of its caller. */
	if (!use_dma_iommu(dev) && !get_dma_ops(dev) && !reaches(bar, phys))
		return -EREMOTEIO;

	dma = dma_map_resource(dev, phys, bar->run.len, bar->dir,
			       BAR_DMA_ATTRS);
	if (dma_mapping_error(dev, dma))
		return -EREMOTEIO;
	bar->run.addr = dma;
	return 0;
}

static int map_bus_address(struct pci_bar_mapping *bar, pci_bus_addr_t addr)
{
	if (!reaches(bar, addr))
		return -EREMOTEIO;
	bar->run.addr = addr;
	return 0;
}

/*
 * dma_unmap_resource(), and the translation is gone when this returns: with a
 * flush queue the IOMMU would remember it for some milliseconds more.
 */
static void unmap_through_host(struct pci_bar_mapping *bar)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(bar->importer);

	dma_unmap_resource(bar->importer, bar->run.addr, bar->run.len, bar->dir,
			   BAR_DMA_ATTRS);
	if (domain && domain->type == IOMMU_DOMAIN_DMA_FQ)
		iommu_flush_iotlb_all(domain);
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
 * Return: the mapping, for pci_p2p_unmap_bar(), or ERR_PTR:
 *
 * * -EPERM - not a memory BAR, memory decoding is off, the range is not inside
 *   the BAR or shares a page with something else
 * * -EREMOTEIO - no path between the two devices, or an address that the
 *   importer cannot produce
 * * -ENOMEM - out of memory, or of kernel address space
 */
struct p2p_mapping *pci_p2p_map_bar(struct pci_dev *pdev, int bar,
				    resource_size_t offset,
				    struct p2p_request *req)
{
	resource_size_t size = pci_resource_len(pdev, bar);
	phys_addr_t phys = pci_resource_start(pdev, bar) + offset;
	size_t len = req->end - req->start;
	struct pci_bar_mapping *map;
	int ret;

	if ((pci_resource_flags(pdev, bar) &
	     (IORESOURCE_MEM | IORESOURCE_UNSET)) != IORESOURCE_MEM)
		return p2p_refuse(req, &pdev->dev, -EPERM, "not a memory BAR");
	if (!memory_enabled(pdev))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "memory decoding is off");
	if (!PAGE_ALIGNED(phys | len) || !range_fits(size, offset, len))
		return p2p_refuse(req, &pdev->dev, -EPERM,
				  "not whole pages of the BAR");

	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->importer = req->importer;
	map->dir = req->write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
	map->run.start = req->start;
	map->run.len = len;
	map->map.runs = &map->run;
	map->map.nr_runs = 1;

	map->path = device_test_p2p(req->importer, &pdev->dev);
	switch (map->path) {
	case P2P_PATH_CPU:
		ret = map_for_cpu(map, phys, pci_resource_flags(pdev, bar) &
					     IORESOURCE_PREFETCH);
		break;
	case P2P_PATH_BUS:
		ret = map_bus_address(map, pci_bus_address(pdev, bar) + offset);
		break;
	case P2P_PATH_HOST:
		ret = map_through_host(map, phys);
		break;
	default:
		ret = -EREMOTEIO;
	}
	if (ret) {
		const char *reason = ret == -ENOMEM ?
			"no kernel address space to map the BAR" :
			map->path == P2P_PATH_NONE ?
			"PCI has no path between the two devices" :
			"the BAR is out of reach for the importer's DMA";

		kfree(map);
		return p2p_refuse(req, &pdev->dev, ret, reason);
	}
	return &map->map;
}
EXPORT_SYMBOL_GPL(pci_p2p_map_bar);

/**
 * pci_p2p_unmap_bar() - p2p_unmap() for mappings of pci_p2p_map_bar()
 * @mapping: the mapping, freed by this
 *
 * Context: that of p2p_unmap() in struct vm_operations_struct. Takes no lock of
 * the exporter's.
 */
void pci_p2p_unmap_bar(struct p2p_mapping *mapping)
{
	struct pci_bar_mapping *map =
		container_of(mapping, struct pci_bar_mapping, map);

	switch (map->path) {
	case P2P_PATH_CPU:
		iounmap((void __iomem *)(uintptr_t)map->run.addr);
		break;
	case P2P_PATH_HOST:
		unmap_through_host(map);
		break;
	default:
		break;
	}
	kfree(map);
}
EXPORT_SYMBOL_GPL(pci_p2p_unmap_bar);

#if IS_ENABLED(CONFIG_P2P_MAP_KUNIT_TEST)
#include "p2p_map_test.c"
#endif
