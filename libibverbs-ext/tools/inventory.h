/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Who may want memory, and who has some: the rows and columns of the matrix. */
#ifndef INVENTORY_H
#define INVENTORY_H

#include "topology.h"

/* What a driver of RDMA devices can do with device memory. */
struct rdma_driver {
	const char *name;
	bool odp;	/* on-demand paging, or revocation; if need be, with the series */
	bool dmabuf;	/* takes dma-buf MRs, maybe in later kernels than 6.12 */
	bool copies;	/* does no DMA: the CPU copies */
};

/* What the kernel itself says of the path to a PCI function: see ask.h. */
struct told {
	const struct function *function;
	enum path_kind kind;
	bool translated;
};

struct nic {
	char name[64];
	const struct function *function;	/* NULL: it is no PCI device */
	char driver[32];		/* of the RDMA device: mlx5, not mlx5_core */
	const struct rdma_driver *can;		/* never NULL; name is "" if not known */
	char netdev[16];			/* what a soft one is on, or "" */
	bool hooked, hook_on;		/* by ib_p2p; and that is not switched off */
	bool asked;			/* the kernel, and it is in can */
	struct rdma_driver own;		/* where can points to then */
	char no_series[128], no_dmabuf[128];	/* why can does not have it, or "" */
	char unasked[160];		/* why it was tried and the kernel not asked */
	struct told *told;
	size_t nr_told;
};

enum memory_kind { MEMORY_GPU, MEMORY_ACCELERATOR, MEMORY_CMB, MEMORY_BAR };

struct memory {
	char name[16];			/* GPU0: its column */
	enum memory_kind kind;
	const struct function *function;
	char node[32];			/* card0, nvme0, or "" */
	unsigned int bar;		/* the one that has it; PCI_BARS: none */
	uint64_t offset, size;		/* in the BAR */
};

struct inventory {
	struct topology topology;
	struct nic *nics;
	size_t nr_nics;
	struct memory *memories;
	size_t nr_memories;
};

/* False: there is neither PCI nor RDMA in this sysfs. */
bool inventory_read(struct inventory *inventory);
void inventory_free(struct inventory *inventory);

const struct nic *inventory_nic(const struct inventory *inventory, const char *name);
/* NULL: the kernel said nothing of it. */
const struct told *nic_told(const struct nic *nic, const struct function *function);
/* By the name of the column, or the PCI address. */
const struct memory *inventory_memory(const struct inventory *inventory,
				      const char *name);
/* Of any function: its largest BAR for memory. */
struct memory memory_of(const struct function *function, const char *name);
const char *memory_kind_name(enum memory_kind kind);

#endif
