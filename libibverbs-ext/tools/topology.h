/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The PCI functions of this machine as a tree, and how one reaches the memory of
 * another, by the rules of the kernel (drivers/pci/p2pdma.c).
 */
#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../pci.h"

struct bar {
	uint64_t address, size;		/* size 0: there is none */
	bool memory, prefetchable, wide;	/* wide: 64 bits */
};

enum acs { ACS_UNKNOWN, ACS_NONE, ACS_THERE };

/* In the ACS control register: what sends requests or completions to the root. */
enum {
	ACS_REQUEST = 1 << 2,
	ACS_COMPLETION = 1 << 3,
	ACS_EGRESS = 1 << 5,
	ACS_REDIRECT = ACS_REQUEST | ACS_COMPLETION | ACS_EGRESS,
};

struct function {
	char name[PCI_NAME_LEN];
	char root[PCI_NAME_LEN];	/* its host bridge: pci0000:00 */
	const struct function *bridge;	/* above it; NULL on the root bus */
	uint16_t vendor, device;
	uint32_t class;
	char driver[32];		/* "": none */
	struct bar bars[PCI_BARS];
	enum acs acs;
	uint16_t acs_control;
	int numa_node;			/* or -1 */
	char iommu_group[16];		/* "": none */
	char iommu_type[16];		/* DMA, DMA-FQ, identity, ... */
};

struct topology {
	struct function *functions;	/* by name */
	size_t nr;
	bool zen;	/* AMD's CPUs since then forward between all ports */
};

/* False: there is no PCI in this sysfs. */
bool topology_read(struct topology *topology);
void topology_free(struct topology *topology);
/* Also without the domain, if that is 0. NULL: there is none. */
const struct function *topology_find(const struct topology *topology, const char *name);

/* From the classes of the PCI Code and ID Assignment Specification. */
unsigned int function_base_class(const struct function *function);
/* Does it answer accesses to its BARs? Yes if that cannot be read. */
bool function_decodes(const struct function *function);
/* Does an IOMMU translate what this function sends? */
bool function_translated(const struct function *function);

enum path_kind {
	PATH_NONE,
	PATH_CPU,	/* no DMA: the importer's driver copies */
	PATH_BUS,	/* by bus address, below one bridge that does not redirect */
	PATH_HOST,	/* through the host bridge, and the importer's IOMMU, if any */
	PATH_UNKNOWN,	/* bus, unless a port redirects, which only root can see */
};

enum { PATH_PORTS = 32 };

struct ports {
	const struct function *port[PATH_PORTS];
	size_t nr;
};

struct path {
	enum path_kind kind;
	unsigned int hops;		/* as the kernel counts them */
	bool translated;
	const struct function *common;	/* bridge that both are below, or one of them */
	struct ports redirect;		/* ports below common that do */
	struct ports unread;		/* ... and whose ACS only root can read */
	const struct function *from, *to;
};

struct path path_find(const struct topology *topology, const struct function *importer,
		      const struct function *exporter);
const char *path_name(enum path_kind kind);

enum host_trust {
	HOST_ZEN, HOST_LISTED,
	HOST_UNLISTED,
	HOST_APART,		/* listed for what is below one host bridge only */
};

/* Does the kernel let the host bridges of two functions forward between them? */
enum host_trust host_trust(const struct topology *topology, const struct function *a,
			   const struct function *b);
bool host_forwards(enum host_trust trust);
/* What the kernel takes for the host bridge, to look it up; or NULL. */
const struct function *host_bridge(const struct topology *topology, const char *root);
/* Is it on the list, for peers below one host bridge or below two? */
bool host_bridge_listed(const struct function *bridge, bool one);

#endif
