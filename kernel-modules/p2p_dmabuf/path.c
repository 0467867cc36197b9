// SPDX-License-Identifier: GPL-2.0
/*
 * Does one PCI device reach the BARs of another, and by which address? The rules are
 * those of the kernel's pci_p2pdma_distance(), which distributions often leave out.
 */
#include <linux/device.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "p2p_dmabuf.h"

/* Does a port send what its own siblings are meant to get up to the host bridge? */
static bool redirects(struct pci_dev *port)
{
	u16 ctrl;

	if (!port->acs_cap)
		return false;
	pci_read_config_word(port, port->acs_cap + PCI_ACS_CTRL, &ctrl);
	return ctrl & (PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC);
}

static bool is_upstream(struct pci_dev *dev, const struct pci_dev *ancestor)
{
	for (; dev; dev = pci_upstream_bridge(dev))
		if (dev == ancestor)
			return true;
	return false;
}

/* Any port from dev up to end redirects; NULL is the host bridge. */
static bool any_redirects(struct pci_dev *dev, const struct pci_dev *end)
{
	for (; dev && dev != end; dev = pci_upstream_bridge(dev))
		if (redirects(dev))
			return true;
	return false;
}

static bool by_bus(struct pci_dev *importer, struct pci_dev *exporter)
{
	struct pci_dev *common = exporter;

	while (common && !is_upstream(importer, common))
		common = pci_upstream_bridge(common);
	return common && !redirects(common) && !any_redirects(exporter, common) &&
	       !any_redirects(importer, common);
}

#ifdef CONFIG_PCI_P2PDMA
static bool by_host(struct pci_dev *importer, struct pci_dev *exporter)
{
	struct device *client = &importer->dev;

	return pci_p2pdma_distance_many(exporter, &client, 1, false) >= 0;
}
#else
/* AMD's, from Zen on, forward between any two of their root ports. */
static bool cpu_forwards(void)
{
#ifdef CONFIG_X86
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD && boot_cpu_data.x86 >= 0x17;
#else
	return false;
#endif
}

/* Intel's root complexes that forward, by the first device of the root bus. */
static const struct {
	unsigned short device;
	bool same;		/* only between ports of the same host bridge */
} intel_forwards[] = {
	{ 0x3c00, true }, { 0x3c01, true },	/* Xeon E5, Core i7 */
	{ 0x2f00, true }, { 0x2f01, true },	/* Xeon E7 v3, Xeon E5 v3, Core i7 */
	{ 0x2030, false }, { 0x2031, false }, { 0x2032, false },	/* Skylake-E */
	{ 0x2033, false }, { 0x2020, false }, { 0x09a2, false },
};

static bool bridge_forwards(struct pci_host_bridge *bridge, bool same)
{
	struct pci_dev *first = list_first_entry_or_null(&bridge->bus->devices,
							 struct pci_dev, bus_list);
	int i;

	if (!first || first->vendor != PCI_VENDOR_ID_INTEL ||
	    (first->devfn && pci_pcie_type(first) != PCI_EXP_TYPE_ROOT_PORT))
		return false;
	for (i = 0; i < ARRAY_SIZE(intel_forwards); i++)
		if (first->device == intel_forwards[i].device)
			return same || !intel_forwards[i].same;
	return false;
}

static bool by_host(struct pci_dev *importer, struct pci_dev *exporter)
{
	struct pci_host_bridge *a = pci_find_host_bridge(importer->bus);
	struct pci_host_bridge *b = pci_find_host_bridge(exporter->bus);

	return cpu_forwards() ||
	       (bridge_forwards(a, a == b) && bridge_forwards(b, a == b));
}
#endif

enum p2p_path p2p_path_test(struct device *importer, struct pci_dev *exporter)
{
	while (importer && !dev_is_pci(importer))
		importer = importer->parent;
	if (!importer)
		return P2P_PATH_NONE;
	if (by_bus(to_pci_dev(importer), exporter))
		return P2P_PATH_BUS;
	return by_host(to_pci_dev(importer), exporter) ? P2P_PATH_HOST :
							 P2P_PATH_NONE;
}
