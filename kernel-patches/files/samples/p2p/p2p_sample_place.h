/* SPDX-License-Identifier: GPL-2.0 */
/* Places for buffers: in the BAR, in one range or many, or in host pages. */
#ifndef P2P_SAMPLE_PLACE_H
#define P2P_SAMPLE_PLACE_H

#include <linux/types.h>

struct p2p_mapping;
struct p2p_request;
struct page;
struct pci_dev;

#define SAMPLE_BAR 2

/* The BAR, page by page. */
struct sample_space {
	struct pci_dev *pdev;
	void __iomem *bar;
	unsigned long nr_pages;
	unsigned long used;
	unsigned long *map;	/* a bit for each page that is taken */
};

/* Where the pages of a buffer are. Without any, nowhere yet. */
struct sample_place {
	u32 where;		/* P2P_SAMPLE_BAR or P2P_SAMPLE_SYSTEM */
	u32 nr;			/* ranges of equal size, or pages */
	unsigned long nr_pages;
	union {
		u32 *ranges;	/* the first page of each in the BAR */
		struct page **pages;
	};
};

/* The caller of all these holds the exporter's lock, or is alone. */
int sample_space_init(struct sample_space *space, struct pci_dev *pdev);
void sample_space_unmap(struct sample_space *space);
void sample_space_exit(struct sample_space *space);
bool sample_space_is_over_quota(const struct sample_space *space);

int sample_place_alloc(struct sample_place *place, struct sample_space *space,
		       u32 where, u32 nr, unsigned long nr_pages);
void sample_place_free(struct sample_place *place, struct sample_space *space);
void sample_place_clear(struct sample_place *place, struct sample_space *space);
void sample_place_copy(struct sample_place *to, struct sample_place *from,
		       struct sample_space *space);
unsigned long sample_place_pfn(const struct sample_place *place,
			       const struct sample_space *space,
			       unsigned long page);
struct p2p_mapping *sample_place_map(const struct sample_place *place,
				     const struct sample_space *space,
				     unsigned long first,
				     struct p2p_request *req);

#endif
