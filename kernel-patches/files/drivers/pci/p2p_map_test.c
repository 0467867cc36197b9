// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for p2p_map.c, which includes this file, and for PCI's answer to
 * device_test_p2p(), on a PCI topology that exists nowhere else.
 */
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/list.h>
#include <linux/sizes.h>

#define ACS_CAP		0x100

/* ---- the topology ---- */

struct fake_host {
	struct pci_host_bridge bridge;
	struct resource_entry window;
	struct resource memory;
};

struct fake_dev {
	struct pci_dev pdev;
	u64 dma_mask;
	u16 command;
	u16 acs_ctrl;
};

/* Known to the list in p2pdma.c, and not. */
#define HOST_ANY	0x2030	/* Skylake-E */
#define HOST_ALONE	0x3c00	/* Xeon E5, for devices below the same one */
#define HOST_UNKNOWN	0x1237	/* 440FX */

/*
 * Memory that the host bridges forward is at another address on the bus, and
 * where no test machine has anything.
 */
#define WINDOW_START	BIT_ULL(44)
#define WINDOW_SIZE	SZ_1G
#define WINDOW_OFFSET	0x80000000ULL

static int fake_config_read(struct pci_bus *bus, unsigned int devfn, int where,
			    int size, u32 *val)
{
	struct fake_dev *dev;

	list_for_each_entry(dev, &bus->devices, pdev.bus_list) {
		if (dev->pdev.devfn != devfn)
			continue;
		if (where == PCI_COMMAND && size == 2)
			*val = dev->command;
		else if (where == ACS_CAP + PCI_ACS_CTRL && size == 2)
			*val = dev->acs_ctrl;
		else
			break;
		return PCIBIOS_SUCCESSFUL;
	}
	return PCIBIOS_DEVICE_NOT_FOUND;
}

static struct pci_ops fake_config = { .read = fake_config_read };

static struct pci_bus *fake_bus(struct kunit *test, struct pci_dev *bridge)
{
	struct pci_bus *bus = kunit_kzalloc(test, sizeof(*bus), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bus);
	INIT_LIST_HEAD(&bus->devices);
	bus->ops = &fake_config;
	if (bridge) {
		bus->self = bridge;
		bus->parent = bridge->bus;
		bridge->subordinate = bus;
	}
	return bus;
}

static void fake_dev_free(struct device *dev)
{
	kfree(container_of(dev, struct fake_dev, pdev.dev));
}

static void fake_dev_put(void *dev)
{
	put_device(dev);
}

static struct fake_dev *fake_dev(struct kunit *test, struct pci_bus *bus,
				 unsigned int devfn)
{
	struct fake_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	device_initialize(&dev->pdev.dev);
	dev->pdev.dev.release = fake_dev_free;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fake_dev_put,
							   &dev->pdev.dev));

	dev->pdev.dev.init_name = "fake PCI device";
	dev->pdev.dev.bus = &pci_bus_type;
	dev->dma_mask = DMA_BIT_MASK(64);
	dev->pdev.dev.dma_mask = &dev->dma_mask;
	dev->pdev.error_state = pci_channel_io_normal;
	dev->pdev.bus = bus;
	dev->pdev.devfn = devfn;
	dev->command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	list_add_tail(&dev->pdev.bus_list, &bus->devices);
	return dev;
}

/* The root bus of a new host bridge, with the bridge's own function, 00.0. */
static struct pci_bus *fake_root(struct kunit *test, unsigned short device)
{
	struct fake_host *host = kunit_kzalloc(test, sizeof(*host), GFP_KERNEL);
	struct pci_bus *bus = fake_bus(test, NULL);
	struct fake_dev *dev;

	KUNIT_ASSERT_NOT_NULL(test, host);
	host->bridge.bus = bus;
	bus->bridge = &host->bridge.dev;

	host->memory = DEFINE_RES_MEM(WINDOW_START, WINDOW_SIZE);
	host->window.res = &host->memory;
	host->window.offset = WINDOW_START - WINDOW_OFFSET;
	INIT_LIST_HEAD(&host->bridge.windows);
	list_add(&host->window.node, &host->bridge.windows);

	dev = fake_dev(test, bus, PCI_DEVFN(0, 0));
	dev->pdev.vendor = PCI_VENDOR_ID_INTEL;
	dev->pdev.device = device;
	return bus;
}

/* A root port, or a port of a switch. */
static struct fake_dev *fake_port(struct kunit *test, struct pci_bus *bus,
				  unsigned int devfn)
{
	struct fake_dev *dev = fake_dev(test, bus, devfn);

	dev->pdev.acs_cap = ACS_CAP;
	fake_bus(test, &dev->pdev);
	return dev;
}

/*
 * Two devices, each below a port of its own of one switch:
 *
 *	root - port - upstream - down[0] - dev[0]
 *			       - down[1] - dev[1]
 */
struct fake_switch {
	struct fake_dev *port, *upstream, *down[2], *dev[2];
};

static struct fake_switch fake_switch(struct kunit *test, struct pci_bus *root)
{
	struct fake_switch sw;
	int i;

	sw.port = fake_port(test, root, PCI_DEVFN(1, 0));
	sw.upstream = fake_port(test, sw.port->pdev.subordinate, 0);
	for (i = 0; i < 2; i++) {
		sw.down[i] = fake_port(test, sw.upstream->pdev.subordinate,
				       PCI_DEVFN(i, 0));
		sw.dev[i] = fake_dev(test, sw.down[i]->pdev.subordinate, 0);
	}
	return sw;
}

/* A device below a root port of its own. */
static struct fake_dev *fake_below_port(struct kunit *test,
					struct pci_bus *root, int slot)
{
	struct fake_dev *port = fake_port(test, root, PCI_DEVFN(slot, 0));

	return fake_dev(test, port->pdev.subordinate, 0);
}

static enum p2p_path path(struct fake_dev *importer, struct fake_dev *exporter)
{
	return device_test_p2p(&importer->pdev.dev, &exporter->pdev.dev);
}

/* With these the kernel needs no list of host bridges. */
static void skip_if_cpu_forwards(struct kunit *test)
{
#ifdef CONFIG_X86
	if (boot_cpu_data.x86_vendor == X86_VENDOR_AMD &&
	    boot_cpu_data.x86 >= 0x17)
		kunit_skip(test, "this CPU forwards between all host bridges (AMD family %#x)",
			   boot_cpu_data.x86);
#endif
}

/* ---- device_test_p2p() ---- */

static void test_same_function(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *dev = fake_below_port(test, root, 1);

	KUNIT_EXPECT_EQ(test, path(dev, dev), P2P_PATH_BUS);
}

static void test_same_bus(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *a = fake_below_port(test, root, 1);
	struct fake_dev *b = fake_dev(test, a->pdev.bus, PCI_DEVFN(0, 1));

	KUNIT_EXPECT_EQ(test, path(a, b), P2P_PATH_BUS);
	KUNIT_EXPECT_EQ(test, path(b, a), P2P_PATH_BUS);
}

static void test_below_switch(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_switch sw = fake_switch(test, root);

	KUNIT_EXPECT_EQ(test, path(sw.dev[0], sw.dev[1]), P2P_PATH_BUS);
	KUNIT_EXPECT_EQ(test, path(sw.dev[1], sw.dev[0]), P2P_PATH_BUS);
}

static const u16 acs_redirects[] = { PCI_ACS_RR, PCI_ACS_CR, PCI_ACS_EC };

static void test_acs_redirects(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_ANY);
	struct fake_switch sw = fake_switch(test, root);
	unsigned int i, port;

	for (port = 0; port < 2; port++) {
		for (i = 0; i < ARRAY_SIZE(acs_redirects); i++) {
			sw.down[port]->acs_ctrl = acs_redirects[i];
			KUNIT_EXPECT_EQ_MSG(test, path(sw.dev[0], sw.dev[1]),
					    P2P_PATH_HOST, "port %u, ACS %#x",
					    port, acs_redirects[i]);
		}
		sw.down[port]->acs_ctrl = 0;
	}
	KUNIT_EXPECT_EQ(test, path(sw.dev[0], sw.dev[1]), P2P_PATH_BUS);
}

static void test_acs_redirects_to_unknown_host(struct kunit *test)
{
	struct pci_bus *root;
	struct fake_switch sw;

	skip_if_cpu_forwards(test);
	root = fake_root(test, HOST_UNKNOWN);
	sw = fake_switch(test, root);
	sw.down[0]->acs_ctrl = PCI_ACS_RR;
	KUNIT_EXPECT_EQ(test, path(sw.dev[0], sw.dev[1]), P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, path(sw.dev[1], sw.dev[0]), P2P_PATH_NONE);
}

static void test_acs_elsewhere(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_ANY);
	struct fake_switch sw = fake_switch(test, root);

	/* What does not redirect, and what is not on the way. */
	sw.down[0]->acs_ctrl = PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_UF | PCI_ACS_DT;
	sw.port->acs_ctrl = PCI_ACS_RR | PCI_ACS_CR;
	KUNIT_EXPECT_EQ(test, path(sw.dev[0], sw.dev[1]), P2P_PATH_BUS);
}

static void test_two_root_ports(struct kunit *test)
{
	const unsigned short known[] = { HOST_ANY, HOST_ALONE };
	struct fake_dev *a, *b;
	struct pci_bus *root;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		root = fake_root(test, known[i]);
		a = fake_below_port(test, root, 1);
		b = fake_below_port(test, root, 2);
		KUNIT_EXPECT_EQ(test, path(a, b), P2P_PATH_HOST);
		KUNIT_EXPECT_EQ(test, path(b, a), P2P_PATH_HOST);
	}
}

static void test_two_root_ports_of_unknown_host(struct kunit *test)
{
	struct fake_dev *a, *b;
	struct pci_bus *root;

	skip_if_cpu_forwards(test);
	root = fake_root(test, HOST_UNKNOWN);
	a = fake_below_port(test, root, 1);
	b = fake_below_port(test, root, 2);
	KUNIT_EXPECT_EQ(test, path(a, b), P2P_PATH_NONE);
}

static void test_two_hosts(struct kunit *test)
{
	struct fake_dev *a = fake_below_port(test, fake_root(test, HOST_ANY), 1);
	struct fake_dev *b = fake_below_port(test, fake_root(test, HOST_ANY), 1);

	KUNIT_EXPECT_EQ(test, path(a, b), P2P_PATH_HOST);
}

static void test_two_hosts_that_do_not_forward(struct kunit *test)
{
	struct fake_dev *any, *alone, *unknown;

	skip_if_cpu_forwards(test);
	any = fake_below_port(test, fake_root(test, HOST_ANY), 1);
	alone = fake_below_port(test, fake_root(test, HOST_ALONE), 1);
	unknown = fake_below_port(test, fake_root(test, HOST_UNKNOWN), 1);
	KUNIT_EXPECT_EQ(test, path(any, alone), P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, path(alone, any), P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, path(any, unknown), P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, path(unknown, any), P2P_PATH_NONE);
}

/* A device that is on no bus, as that of an RDMA driver above a PCI function. */
static struct device *fake_child(struct kunit *test, struct device *parent)
{
	struct fake_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	device_initialize(&dev->pdev.dev);
	dev->pdev.dev.release = fake_dev_free;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fake_dev_put,
							   &dev->pdev.dev));

	dev->pdev.dev.init_name = "fake device";
	dev->pdev.dev.parent = parent;
	dev->pdev.dev.dma_mask = &dev->dma_mask;
	return &dev->pdev.dev;
}

static void test_importer_is_child(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_ANY);
	struct fake_switch sw = fake_switch(test, root);
	struct device *child = fake_child(test, &sw.dev[0]->pdev.dev);
	struct device *grandchild = fake_child(test, child);
	struct device *exporter = &sw.dev[1]->pdev.dev;

	KUNIT_EXPECT_EQ(test, device_test_p2p(child, exporter), P2P_PATH_BUS);
	KUNIT_EXPECT_EQ(test, device_test_p2p(grandchild, exporter),
			P2P_PATH_BUS);
	sw.down[0]->acs_ctrl = PCI_ACS_RR;
	KUNIT_EXPECT_EQ(test, device_test_p2p(grandchild, exporter),
			P2P_PATH_HOST);
	/* What it took of the devices on the way up it gave back. */
	KUNIT_EXPECT_EQ(test, kref_read(&child->kobj.kref), 1);
	KUNIT_EXPECT_EQ(test, kref_read(&grandchild->kobj.kref), 1);
	KUNIT_EXPECT_EQ(test, kref_read(&sw.dev[0]->pdev.dev.kobj.kref), 1);
}

static void test_not_pci(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_ANY);
	struct device *pci = &fake_below_port(test, root, 1)->pdev.dev;
	struct device *other = fake_child(test, NULL);

	KUNIT_EXPECT_EQ(test, device_test_p2p(other, pci), P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, device_test_p2p(pci, other), P2P_PATH_NONE);
	KUNIT_EXPECT_EQ(test, device_test_p2p(other, other), P2P_PATH_NONE);
}

static void test_importer_without_dma(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct device *pci = &fake_below_port(test, root, 1)->pdev.dev;
	struct device *importer = fake_child(test, NULL);

	importer->dma_mask = NULL;
	KUNIT_EXPECT_EQ(test, device_test_p2p(importer, pci), P2P_PATH_CPU);
	/* The CPU reaches what is not PCI, too. */
	KUNIT_EXPECT_EQ(test, device_test_p2p(importer, fake_child(test, NULL)),
			P2P_PATH_CPU);
}

/* ---- arithmetic ---- */

static void test_range_fits(struct kunit *test)
{
	const resource_size_t max = (resource_size_t)-1;

	KUNIT_EXPECT_TRUE(test, range_fits(0x4000, 0, 0x4000));
	KUNIT_EXPECT_TRUE(test, range_fits(0x4000, 0, 1));
	KUNIT_EXPECT_TRUE(test, range_fits(0x4000, 0x3000, 0x1000));
	KUNIT_EXPECT_TRUE(test, range_fits(max, 0, SIZE_MAX));
	KUNIT_EXPECT_TRUE(test, range_fits(max, max - 1, 1));

	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, 0, 0x4001));
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, 0x3000, 0x1001));
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, 0x4000, 1));
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, 0x4001, 0));
	KUNIT_EXPECT_FALSE(test, range_fits(0, 0, 1));
	/* The end of the range wraps. */
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, 0x1000, SIZE_MAX));
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, 0x1000, -0x1000UL));
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, max, 1));
	KUNIT_EXPECT_FALSE(test, range_fits(0x4000, max - 0xfff, 0x1000));
}

static void test_mask_covers(struct kunit *test)
{
	const u64 mask = DMA_BIT_MASK(32), all = DMA_BIT_MASK(64);

	KUNIT_EXPECT_TRUE(test, mask_covers(mask, 0, 1));
	KUNIT_EXPECT_TRUE(test, mask_covers(mask, 0xfffff000, 0x1000));
	KUNIT_EXPECT_TRUE(test, mask_covers(mask, 0xffffffff, 1));
	KUNIT_EXPECT_TRUE(test, mask_covers(all, U64_MAX, 1));
	KUNIT_EXPECT_TRUE(test, mask_covers(all, U64_MAX - 0xfff, 0x1000));

	KUNIT_EXPECT_FALSE(test, mask_covers(mask, 0xfffff000, 0x1001));
	KUNIT_EXPECT_FALSE(test, mask_covers(mask, 0x100000000, 1));
	KUNIT_EXPECT_FALSE(test, mask_covers(mask, 0x100000000, 0x1000));
	/* The end of the range wraps. */
	KUNIT_EXPECT_FALSE(test, mask_covers(all, U64_MAX, 2));
	KUNIT_EXPECT_FALSE(test, mask_covers(all, U64_MAX - 0xfff, 0x1001));
	KUNIT_EXPECT_FALSE(test, mask_covers(mask, U64_MAX - 0xfff, 0x2000));
}

/* ---- pci_p2p_map_bar() ---- */

enum { BAR_IO, BAR_MEM, BAR_SMALL };

#define BAR_START	(WINDOW_START + SZ_1M)
#define BAR_SIZE	SZ_64K
#define USER		0x10000000UL

static struct fake_dev *fake_exporter(struct kunit *test, struct pci_bus *bus,
				      unsigned int devfn)
{
	struct fake_dev *dev = fake_dev(test, bus, devfn);

	dev->pdev.resource[BAR_IO] = DEFINE_RES_IO(0x1000, SZ_64K);
	dev->pdev.resource[BAR_MEM] =
		DEFINE_RES_MEM(BAR_START, BAR_SIZE);
	/* Shares its page with another one. */
	dev->pdev.resource[BAR_SMALL] =
		DEFINE_RES_MEM(WINDOW_START + 0x800, PAGE_SIZE);
	return dev;
}

static struct p2p_request fake_request(struct fake_dev *importer, size_t len)
{
	return (struct p2p_request) {
		.importer = &importer->pdev.dev,
		.start = USER,
		.end = USER + len,
		.write = true,
	};
}

static void test_map_bar_by_bus_address(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *exporter = fake_exporter(test, importer->pdev.bus, 1);
	struct p2p_request req = fake_request(importer, PAGE_SIZE * 2);
	struct p2p_mapping *map;

	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, PAGE_SIZE, &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_EXPECT_EQ(test, map->nr_runs, 1);
	KUNIT_EXPECT_EQ(test, map->runs[0].start, USER);
	KUNIT_EXPECT_EQ(test, map->runs[0].len, PAGE_SIZE * 2);
	KUNIT_EXPECT_EQ(test, map->runs[0].addr,
			WINDOW_OFFSET + SZ_1M + PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, map->runs[0].iomem);
	pci_p2p_unmap(map);

	/* All of the BAR. */
	req = fake_request(importer, BAR_SIZE);
	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_EXPECT_EQ(test, map->runs[0].addr, WINDOW_OFFSET + SZ_1M);
	pci_p2p_unmap(map);
}

static void test_map_bar_out_of_reach(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *exporter = fake_exporter(test, importer->pdev.bus, 1);
	struct p2p_request req = fake_request(importer, BAR_SIZE);
	struct p2p_mapping *map;

	importer->dma_mask = DMA_BIT_MASK(31);
	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EREMOTEIO);
	KUNIT_EXPECT_STREQ(test, req.exporter, "fake PCI device");
	KUNIT_EXPECT_STREQ(test, req.reason,
			   "the BAR is out of reach for the importer's DMA");

	/* The same by the limit of a bridge above the importer. */
	importer->dma_mask = DMA_BIT_MASK(64);
	importer->pdev.dev.bus_dma_limit = DMA_BIT_MASK(31);
	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EREMOTEIO);

	/* The bus address fits here, the one that the CPU uses would not. */
	importer->pdev.dev.bus_dma_limit = DMA_BIT_MASK(32);
	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	pci_p2p_unmap(map);
}

/* Two mappings at once, as two MRs of one BAR are. */
static void test_map_bar_through_host(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_ANY);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *port = fake_port(test, root, PCI_DEVFN(2, 0));
	struct fake_dev *exporter =
		fake_exporter(test, port->pdev.subordinate, 0);
	struct p2p_request req = fake_request(importer, BAR_SIZE);
	struct p2p_mapping *map[2];
	int i;

	for (i = 0; i < 2; i++) {
		map[i] = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map[i]);
		KUNIT_EXPECT_EQ(test, map[i]->runs[0].addr, BAR_START);
		KUNIT_EXPECT_FALSE(test, map[i]->runs[0].iomem);
	}
	pci_p2p_unmap(map[0]);
	pci_p2p_unmap(map[1]);
}

/* The importer cannot produce the address, and that is no kernel bug. */
static void test_map_bar_through_host_out_of_reach(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_ANY);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *port = fake_port(test, root, PCI_DEVFN(2, 0));
	struct fake_dev *exporter =
		fake_exporter(test, port->pdev.subordinate, 0);
	struct p2p_request req = fake_request(importer, BAR_SIZE);
	struct p2p_mapping *map;

	importer->dma_mask = DMA_BIT_MASK(32);
	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EREMOTEIO);
	KUNIT_EXPECT_STREQ(test, req.reason,
			   "the BAR is out of reach for the importer's DMA");
}

static void test_map_bar_without_path(struct kunit *test)
{
	struct fake_dev *importer, *port, *exporter;
	struct p2p_mapping *map;
	struct p2p_request req;
	struct pci_bus *root;

	skip_if_cpu_forwards(test);
	root = fake_root(test, HOST_UNKNOWN);
	importer = fake_below_port(test, root, 1);
	port = fake_port(test, root, PCI_DEVFN(2, 0));
	exporter = fake_exporter(test, port->pdev.subordinate, 0);
	req = fake_request(importer, BAR_SIZE);

	map = pci_p2p_map_bar(&exporter->pdev, BAR_MEM, 0, &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EREMOTEIO);
	KUNIT_EXPECT_STREQ(test, req.reason,
			   "PCI has no path between the two devices");
}

struct bar_case {
	const char *name;
	int bar;
	resource_size_t offset;
	size_t len;
	u16 command;
	const char *reason;
	int err;		/* 0: -EPERM */
};

static const struct bar_case bar_cases[] = {
	{ "I/O ports", BAR_IO, 0, SZ_64K, PCI_COMMAND_MEMORY | PCI_COMMAND_IO,
	  "not a memory BAR" },
	{ "no BAR", 5, 0, PAGE_SIZE, PCI_COMMAND_MEMORY, "not a memory BAR" },
	{ "memory is off", BAR_MEM, 0, BAR_SIZE, PCI_COMMAND_IO,
	  "memory decoding is off" },
	{ "device is gone", BAR_MEM, 0, BAR_SIZE, 0xffff,
	  "the device is gone", -ENODEV },
	{ "larger than the BAR", BAR_MEM, 0, BAR_SIZE + PAGE_SIZE,
	  PCI_COMMAND_MEMORY, "not whole pages of the BAR" },
	{ "past the end", BAR_MEM, PAGE_SIZE, BAR_SIZE, PCI_COMMAND_MEMORY,
	  "not whole pages of the BAR" },
	{ "after the end", BAR_MEM, BAR_SIZE, PAGE_SIZE, PCI_COMMAND_MEMORY,
	  "not whole pages of the BAR" },
	{ "offset is not a page", BAR_MEM, 0x800, PAGE_SIZE, PCI_COMMAND_MEMORY,
	  "not whole pages of the BAR" },
	{ "BAR is not a page", BAR_SMALL, 0, PAGE_SIZE, PCI_COMMAND_MEMORY,
	  "not whole pages of the BAR" },
};

KUNIT_ARRAY_PARAM_DESC(bar, bar_cases, name);

static void test_map_bar_refused(struct kunit *test)
{
	const struct bar_case *param = test->param_value;
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *exporter = fake_exporter(test, importer->pdev.bus, 1);
	struct p2p_request req = fake_request(importer, param->len);
	struct p2p_mapping *map;

	exporter->command = param->command;
	map = pci_p2p_map_bar(&exporter->pdev, param->bar, param->offset, &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), param->err ?: -EPERM);
	KUNIT_EXPECT_STREQ(test, req.reason, param->reason);
}

static struct kunit_case p2p_map_pci_cases[] = {
	KUNIT_CASE(test_same_function),
	KUNIT_CASE(test_same_bus),
	KUNIT_CASE(test_below_switch),
	KUNIT_CASE(test_acs_redirects),
	KUNIT_CASE(test_acs_redirects_to_unknown_host),
	KUNIT_CASE(test_acs_elsewhere),
	KUNIT_CASE(test_two_root_ports),
	KUNIT_CASE(test_two_root_ports_of_unknown_host),
	KUNIT_CASE(test_two_hosts),
	KUNIT_CASE(test_two_hosts_that_do_not_forward),
	KUNIT_CASE(test_importer_is_child),
	KUNIT_CASE(test_not_pci),
	KUNIT_CASE(test_importer_without_dma),
	KUNIT_CASE(test_range_fits),
	KUNIT_CASE(test_mask_covers),
	KUNIT_CASE(test_map_bar_by_bus_address),
	KUNIT_CASE(test_map_bar_out_of_reach),
	KUNIT_CASE(test_map_bar_through_host),
	KUNIT_CASE(test_map_bar_through_host_out_of_reach),
	KUNIT_CASE(test_map_bar_without_path),
	KUNIT_CASE_PARAM(test_map_bar_refused, bar_gen_params),
	{}
};

static struct kunit_suite p2p_map_pci_suite = {
	.name = "p2p_map_pci",
	.test_cases = p2p_map_pci_cases,
};

kunit_test_suite(p2p_map_pci_suite);
