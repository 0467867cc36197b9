/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * What the kinds have in common. Of each library only what is called is declared, by
 * hand, so that no header of it is needed to build, nor the library to run.
 */
#ifndef KIND_H
#define KIND_H

#include "../fill.h"
#include "../memory.h"

#include <stdbool.h>

/* A function of the library; the last of a list has no name. */
struct kind_function {
	const char *name;
	size_t at;		/* where to put it, in the kind's structure */
	const char *since;	/* what has it; NULL: it can be done without */
};

/* Where a device is on PCI. */
struct kind_pci {
	unsigned int domain, bus, device, function;
};

/*
 * Look the functions up. 0, or EOPNOTSUPP and why: the library is older than one that
 * cannot be done without.
 */
int kind_load(void *library, const struct kind_function *functions, void *kind,
	      struct memory_why *why);

/* 0, or EINVAL and why: not a range within the size bytes at start, which have addr. */
int kind_check_range(uint64_t addr, size_t length, uint64_t start, size_t size,
		     struct memory_why *why);

/* All of attr but what the device's place tells. */
void kind_fill(struct ibv_p2p_addr_attr *attr, enum ibv_p2p_kind kind, uint64_t addr,
	       uint64_t start, size_t size);

/* The device's address, and its driver if that is to be seen. */
void kind_fill_pci(struct ibv_p2p_addr_attr *attr, const struct kind_pci *pci);

#endif
