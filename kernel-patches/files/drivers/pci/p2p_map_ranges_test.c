// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the mappings of p2p_map.c with more than one run: parts of a
 * BAR, and pages of the host. Included there after p2p_map_test.c, whose fake
 * devices they use.
 */
#include <linux/gfp.h>

/* ---- pci_p2p_map_ranges() ---- */

/* Of the BAR, the pages from first up to the one before after. */
#define PART(first, after) { \
	.start = BAR_START + (first) * PAGE_SIZE, \
	.end = BAR_START + (after) * PAGE_SIZE - 1, \
}

static void test_map_ranges(struct kunit *test)
{
	static const struct range ranges[] = {
		PART(5, 7), PART(0, 1), PART(1, 5), PART(15, 16),
	};
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *exporter = fake_exporter(test, importer->pdev.bus, 1);
	struct p2p_request req = fake_request(importer, PAGE_SIZE * 8);
	unsigned long start = USER;
	struct p2p_mapping *map;
	int i;

	map = pci_p2p_map_ranges(&exporter->pdev, ranges, ARRAY_SIZE(ranges),
				 &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, map->nr_runs, ARRAY_SIZE(ranges));
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		const struct p2p_run *run = &map->runs[i];

		KUNIT_EXPECT_EQ(test, run->start, start);
		KUNIT_EXPECT_EQ(test, run->len, range_len(&ranges[i]));
		KUNIT_EXPECT_EQ(test, run->addr, WINDOW_OFFSET + SZ_1M +
				(ranges[i].start - BAR_START));
		start += run->len;
	}
	pci_p2p_unmap(map);
}

struct ranges_case {
	const char *name;
	struct range ranges[2];
	unsigned int nr;
	const char *reason;
};

/* All for a request of four pages. */
static const struct ranges_case ranges_cases[] = {
	{ "none", {}, 0, "the memory is in no BAR" },
	{ "below the BAR", { PART(-4, 0) }, 1, "the memory is in no BAR" },
	{ "after the BAR", { PART(16, 20) }, 1, "the memory is in no BAR" },
	{ "past the end", { PART(14, 18) }, 1, "not whole pages of the BAR" },
	{ "second one is elsewhere", { PART(0, 2), PART(32, 34) }, 2,
	  "not whole pages of the BAR" },
	{ "too short", { PART(0, 3) }, 1, "not whole pages of the BAR" },
	{ "too long", { PART(0, 2), PART(4, 7) }, 2,
	  "not whole pages of the BAR" },
	{ "empty", { PART(0, 4), PART(5, 5) }, 2,
	  "not whole pages of the BAR" },
	{ "not whole pages", { { BAR_START + 0x800,
				 BAR_START + 0x800 + 4 * PAGE_SIZE - 1 } }, 1,
	  "not whole pages of the BAR" },
};

KUNIT_ARRAY_PARAM_DESC(ranges, ranges_cases, name);

static void test_map_ranges_refused(struct kunit *test)
{
	const struct ranges_case *param = test->param_value;
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *exporter = fake_exporter(test, importer->pdev.bus, 1);
	struct p2p_request req = fake_request(importer, PAGE_SIZE * 4);
	struct p2p_mapping *map;

	map = pci_p2p_map_ranges(&exporter->pdev, param->ranges, param->nr,
				 &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EPERM);
	KUNIT_EXPECT_STREQ(test, req.reason, param->reason);
}

/* What is mapped when a later range cannot be is unmapped; kmemleak looks. */
static void test_map_ranges_in_part(struct kunit *test)
{
	static const struct range ranges[] = { PART(0, 1), PART(8, 9) };
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct fake_dev *exporter = fake_exporter(test, importer->pdev.bus, 1);
	struct p2p_request req = fake_request(importer, PAGE_SIZE * 2);
	struct p2p_mapping *map;

	importer->pdev.dev.bus_dma_limit = WINDOW_OFFSET + SZ_1M + PAGE_SIZE;
	map = pci_p2p_map_ranges(&exporter->pdev, ranges, ARRAY_SIZE(ranges),
				 &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EREMOTEIO);
	KUNIT_EXPECT_STREQ(test, req.reason,
			   "the BAR is out of reach for the importer's DMA");
}

/* ---- pci_p2p_map_pages() ---- */

static void free_two_pages(void *pages)
{
	__free_pages(pages, 1);
}

/* Two that follow each other, and then the first one once more. */
static struct page **three_pages(struct kunit *test)
{
	struct page **pages = kunit_kcalloc(test, 3, sizeof(*pages),
					    GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pages);
	pages[0] = alloc_pages(GFP_KERNEL, 1);
	KUNIT_ASSERT_NOT_NULL(test, pages[0]);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_two_pages,
							   pages[0]));
	pages[1] = pages[0] + 1;
	pages[2] = pages[0];
	return pages;
}

static void expect_two_runs(struct kunit *test, struct p2p_mapping *map,
			    u64 addr)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, map->nr_runs, 2);
	KUNIT_EXPECT_EQ(test, map->runs[0].start, USER);
	KUNIT_EXPECT_EQ(test, map->runs[0].len, PAGE_SIZE * 2);
	KUNIT_EXPECT_EQ(test, map->runs[0].addr, addr);
	KUNIT_EXPECT_EQ(test, map->runs[1].start, USER + PAGE_SIZE * 2);
	KUNIT_EXPECT_EQ(test, map->runs[1].len, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, map->runs[1].addr, addr);
	KUNIT_EXPECT_FALSE(test, map->runs[0].iomem || map->runs[1].iomem);
}

static void test_map_pages(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct p2p_request req = fake_request(importer, PAGE_SIZE * 3);
	struct page **pages = three_pages(test);
	struct p2p_mapping *map;

	map = pci_p2p_map_pages(NULL, pages, &req);
	expect_two_runs(test, map, page_to_phys(pages[0]));
	pci_p2p_unmap(map);

	req.importer = fake_child(test, NULL);
	req.importer->dma_mask = NULL;
	map = pci_p2p_map_pages(NULL, pages, &req);
	expect_two_runs(test, map, (uintptr_t)page_address(pages[0]));
	pci_p2p_unmap(map);
}

/* It is not told a bounce buffer's address either, and nobody warns. */
static void test_map_pages_out_of_reach(struct kunit *test)
{
	struct pci_bus *root = fake_root(test, HOST_UNKNOWN);
	struct fake_dev *importer = fake_below_port(test, root, 1);
	struct p2p_request req = fake_request(importer, PAGE_SIZE * 3);
	struct page **pages = three_pages(test);
	struct p2p_mapping *map;

	importer->dma_mask = page_to_phys(pages[0]) - 1;
	map = pci_p2p_map_pages(&importer->pdev.dev, pages, &req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map), -EREMOTEIO);
	KUNIT_EXPECT_STREQ(test, req.exporter, "fake PCI device");
	KUNIT_EXPECT_STREQ(test, req.reason,
			   "the pages are out of reach for the importer's DMA");
}

static struct kunit_case p2p_map_ranges_cases[] = {
	KUNIT_CASE(test_map_ranges),
	KUNIT_CASE_PARAM(test_map_ranges_refused, ranges_gen_params),
	KUNIT_CASE(test_map_ranges_in_part),
	KUNIT_CASE(test_map_pages),
	KUNIT_CASE(test_map_pages_out_of_reach),
	{}
};

static struct kunit_suite p2p_map_ranges_suite = {
	.name = "p2p_map_ranges",
	.test_cases = p2p_map_ranges_cases,
};

kunit_test_suite(p2p_map_ranges_suite);
