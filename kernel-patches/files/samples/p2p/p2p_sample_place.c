// SPDX-License-Identifier: GPL-2.0
/*
 * Places for buffers: in the BAR, in one range or many, or in host pages. And
 * how a place is mapped for a peer device: with a helper that takes ranges of a
 * BAR, and one that takes pages.
 */
#include <linux/bitmap.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/p2p_map.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/range.h>
#include <linux/slab.h>

#include "p2p_sample.h"
#include "p2p_sample_place.h"

static ulong quota_mib = ULONG_MAX >> 20;
module_param(quota_mib, ulong, 0644);
MODULE_PARM_DESC(quota_mib,
		 "MiB of a BAR that buffers may take; what is above goes to host memory when it is mapped for a peer");

static unsigned long quota_pages(void)
{
	return READ_ONCE(quota_mib) << (20 - PAGE_SHIFT);
}

bool sample_space_is_over_quota(const struct sample_space *space)
{
	return space->used > quota_pages();
}

int sample_space_init(struct sample_space *space, struct pci_dev *pdev)
{
	space->pdev = pdev;
	space->nr_pages = pci_resource_len(pdev, SAMPLE_BAR) >> PAGE_SHIFT;
	space->map = bitmap_zalloc(space->nr_pages, GFP_KERNEL);
	if (!space->map)
		return -ENOMEM;
	space->bar = ioremap_wc(pci_resource_start(pdev, SAMPLE_BAR),
				pci_resource_len(pdev, SAMPLE_BAR));
	return space->bar ? 0 : -ENOMEM;
}

/* The BAR is not ours any more; the places in it are as they were. */
void sample_space_unmap(struct sample_space *space)
{
	if (space->bar)
		iounmap(space->bar);
	space->bar = NULL;
}

void sample_space_exit(struct sample_space *space)
{
	bitmap_free(space->map);
}

/* ---- places ---- */

static unsigned long range_pages(const struct sample_place *place)
{
	return place->nr_pages / place->nr;
}

static int take_ranges(struct sample_place *place, struct sample_space *space)
{
	unsigned long each = range_pages(place), at = 0;
	u32 i;

	if (space->used + place->nr_pages > quota_pages())
		return -ENOSPC;
	place->ranges = kvmalloc_array(place->nr, sizeof(u32), GFP_KERNEL);
	if (!place->ranges)
		return -ENOMEM;

	for (i = 0; i < place->nr; i++, at += each) {
		at = bitmap_find_next_zero_area(space->map, space->nr_pages, at,
						each, 0);
		if (at >= space->nr_pages)
			break;
		bitmap_set(space->map, at, each);
		/* Backwards, so that none continues the one before it. */
		place->ranges[place->nr - 1 - i] = at;
	}
	if (i == place->nr) {
		space->used += place->nr_pages;
		return 0;
	}

	while (i--)
		bitmap_clear(space->map, place->ranges[place->nr - 1 - i], each);
	kvfree(place->ranges);
	return -ENOSPC;
}

static void free_pages_of(struct sample_place *place, u32 nr)
{
	while (nr--)
		__free_page(place->pages[nr]);
	kvfree(place->pages);
}

static int take_pages(struct sample_place *place)
{
	u32 i;

	place->pages = kvmalloc_array(place->nr, sizeof(struct page *),
				      GFP_KERNEL);
	if (!place->pages)
		return -ENOMEM;
	for (i = 0; i < place->nr; i++) {
		place->pages[i] = alloc_page(GFP_KERNEL);
		if (!place->pages[i]) {
			free_pages_of(place, i);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Find a place. On failure it is one without pages. */
int sample_place_alloc(struct sample_place *place, struct sample_space *space,
		       u32 where, u32 nr, unsigned long nr_pages)
{
	int ret = -EINVAL;

	*place = (struct sample_place) {
		.where = where, .nr = nr, .nr_pages = nr_pages,
	};
	if (!nr || nr_pages % nr)
		ret = -EINVAL;
	else if (where == P2P_SAMPLE_BAR)
		ret = take_ranges(place, space);
	else if (where == P2P_SAMPLE_SYSTEM && nr == nr_pages)
		ret = take_pages(place);
	if (ret)
		place->nr_pages = 0;
	return ret;
}

void sample_place_free(struct sample_place *place, struct sample_space *space)
{
	u32 i;

	if (!place->nr_pages)
		return;
	if (place->where == P2P_SAMPLE_SYSTEM) {
		free_pages_of(place, place->nr);
		return;
	}
	for (i = 0; i < place->nr; i++)
		bitmap_clear(space->map, place->ranges[i], range_pages(place));
	space->used -= place->nr_pages;
	kvfree(place->ranges);
}

/* Which page of the BAR a page of the buffer is. */
static unsigned long bar_page(const struct sample_place *place,
			      unsigned long page)
{
	unsigned long each = range_pages(place);

	return place->ranges[page / each] + page % each;
}

unsigned long sample_place_pfn(const struct sample_place *place,
			       const struct sample_space *space,
			       unsigned long page)
{
	if (place->where == P2P_SAMPLE_SYSTEM)
		return page_to_pfn(place->pages[page]);
	return (pci_resource_start(space->pdev, SAMPLE_BAR) >> PAGE_SHIFT) +
	       bar_page(place, page);
}

/* ---- contents ---- */

static void __iomem *bar_address(const struct sample_place *place,
				 const struct sample_space *space,
				 unsigned long page)
{
	return space->bar + (bar_page(place, page) << PAGE_SHIFT);
}

/* What a buffer starts with is not what somebody else has left there. */
void sample_place_clear(struct sample_place *place, struct sample_space *space)
{
	unsigned long i;

	for (i = 0; i < place->nr_pages; i++)
		if (place->where == P2P_SAMPLE_SYSTEM)
			clear_page(page_address(place->pages[i]));
		else
			memset_io(bar_address(place, space, i), 0, PAGE_SIZE);
}

static void copy_bar_to_bar(void __iomem *to, void __iomem *from)
{
	u8 some[256];
	size_t done;

	for (done = 0; done < PAGE_SIZE; done += sizeof(some)) {
		memcpy_fromio(some, from + done, sizeof(some));
		memcpy_toio(to + done, some, sizeof(some));
	}
}

void sample_place_copy(struct sample_place *to, struct sample_place *from,
		       struct sample_space *space)
{
	bool from_bar = from->where == P2P_SAMPLE_BAR;
	unsigned long i;

	for (i = 0; i < to->nr_pages; i++) {
		if (to->where == P2P_SAMPLE_BAR && from_bar)
			copy_bar_to_bar(bar_address(to, space, i),
					bar_address(from, space, i));
		else if (to->where == P2P_SAMPLE_BAR)
			memcpy_toio(bar_address(to, space, i),
				    page_address(from->pages[i]), PAGE_SIZE);
		else if (from_bar)
			memcpy_fromio(page_address(to->pages[i]),
				      bar_address(from, space, i), PAGE_SIZE);
		else
			copy_page(page_address(to->pages[i]),
				  page_address(from->pages[i]));
	}
	/* It has arrived before a peer is told of the place. */
	wmb();
}

/* ---- for a peer device ---- */

static struct p2p_mapping *map_ranges(const struct sample_place *place,
				      const struct sample_space *space,
				      unsigned long first,
				      struct p2p_request *req)
{
	u64 start = pci_resource_start(space->pdev, SAMPLE_BAR);
	unsigned long left = (req->end - req->start) >> PAGE_SHIFT;
	unsigned long each = range_pages(place), len;
	struct p2p_mapping *map;
	struct range *ranges;
	u32 nr = 0;

	ranges = kvmalloc_array((first + left - 1) / each - first / each + 1,
				sizeof(*ranges), GFP_KERNEL);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	for (; left; first += len, left -= len, nr++) {
		len = min(each - first % each, left);
		ranges[nr].start = start + ((u64)bar_page(place, first) << PAGE_SHIFT);
		ranges[nr].end = ranges[nr].start + (len << PAGE_SHIFT) - 1;
	}
	map = pci_p2p_map_ranges(space->pdev, ranges, nr, req);
	kvfree(ranges);
	return map;
}

/* Map as much as was asked for, from the buffer's page first on. */
struct p2p_mapping *sample_place_map(const struct sample_place *place,
				     const struct sample_space *space,
				     unsigned long first,
				     struct p2p_request *req)
{
	if (place->where == P2P_SAMPLE_SYSTEM)
		return pci_p2p_map_pages(&space->pdev->dev,
					 place->pages + first, req);
	return map_ranges(place, space, first, req);
}
