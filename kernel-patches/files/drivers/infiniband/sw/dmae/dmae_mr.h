/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * What the files about memory regions share.
 *
 * Who may use what of an MR. A reference (refs) keeps the memory of struct
 * dmae_mr, and that alone: operations keep one for as long as they like. The
 * umem and the table are there until the MR is deregistered. Deregistration
 * clears valid under the table's lock, after which nobody translates; waits
 * for users, who begin a fault, look at a dma-buf or change an FRMR; and then
 * for what is in flight. A fault of ODP has a hold on its umem, and fills the table as long as
 * that was not released.
 */
#ifndef DMAE_MR_H
#define DMAE_MR_H

#include "dmae.h"

struct dmae_entry {
	unsigned long first;
	unsigned long npages;
	dma_addr_t dma;
	bool write;
};

void dmae_table_init(struct dmae_mr *mr);
/* The first entry that has a page from @first on. */
bool dmae_table_next(struct dmae_mr *mr, unsigned long first,
		     struct dmae_entry *entry);

/*
 * Runs of pages that are filled in one after the other, merged where they are
 * contiguous for the channel.
 */
struct dmae_fill {
	struct dmae_mr *mr;
	struct dmae_entry run;
	bool may_sleep;		/* -ENOMEM is for good */
};

int dmae_fill_pages(struct dmae_fill *fill, unsigned long first,
		    unsigned long npages, dma_addr_t dma, bool write);
int dmae_fill_end(struct dmae_fill *fill);
/*
 * Memory that the DMA API maps to a buffer, as the channel does not reach it:
 * nobody would copy to and fro. 0, or -EREMOTEIO.
 */
int dmae_check_bounce(struct dmae_mr *mr, dma_addr_t dma);
/* All of the MR, from what is mapped for DMA. May sleep. */
int dmae_fill_sgt(struct dmae_mr *mr, struct sg_table *sgt);
void dmae_table_free_spare(struct dmae_mr *mr);

struct dmae_mr *dmae_mr_alloc(struct ib_pd *pd, enum dmae_mr_kind kind,
			      int access);
void dmae_mr_publish(struct dmae_mr *mr);
void dmae_mr_destroy(struct dmae_mr *mr);
/* Clear mr->valid. Returns what it was. */
bool dmae_mr_clear_valid(struct dmae_mr *mr);

static inline bool dmae_mr_use(struct dmae_mr *mr)
{
	return refcount_inc_not_zero(&mr->users);
}

static inline void dmae_mr_unuse(struct dmae_mr *mr)
{
	if (refcount_dec_and_test(&mr->users))
		complete(&mr->unused);
}

static inline bool dmae_mr_covers(const struct dmae_mr *mr, u64 addr, u64 len)
{
	return addr >= mr->iova && len <= mr->length &&
	       addr - mr->iova <= mr->length - len;
}

/* For users of an MR that has faults, and a range that was checked. */
bool dmae_mr_faults(const struct dmae_mr *mr);
/*
 * Map it, and if fault is set what is not there. The caller, who is no user any
 * more when this returns, waits for as long as that takes.
 */
int dmae_mr_populate(struct dmae_mr *mr, u64 addr, u64 len, bool write,
		     bool fault);
/* The same by and by, of an MR of ODP. */
int dmae_mr_prefetch(struct dmae_mr *mr, u64 addr, u64 len, bool write,
		     struct ib_umem_prefetch *prefetch);

int dmae_odp_attach(struct dmae_mr *mr, u64 start);
int dmae_dmabuf_attach(struct dmae_mr *mr, u64 offset, int fd);

#endif /* DMAE_MR_H */
