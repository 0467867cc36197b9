// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "kind.h"

int kind_load(void *library, const struct kind_function *functions, void *kind,
	      struct memory_why *why)
{
	const struct kind_function *f;
	void *found;

	for (f = functions; f->name; f++) {
		found = dlsym(library, f->name);
		if (!found && f->since) {
			why_say(why, "%s is missing: %s or newer has it", f->name,
				f->since);
			return EOPNOTSUPP;
		}
		memcpy((char *)kind + f->at, &found, sizeof(found));
	}
	return 0;
}

int kind_check_range(uint64_t addr, size_t length, uint64_t start, size_t size,
		     struct memory_why *why)
{
	if (!length) {
		why_say(why, "no bytes at %#" PRIx64, addr);
		return EINVAL;
	}
	if (length > size || addr - start > size - length) {
		why_say(why, "%zu bytes at %#" PRIx64 " run over the end of their "
			"allocation, %#" PRIx64, length, addr, start + size);
		return EINVAL;
	}
	return 0;
}

void kind_fill(struct ibv_p2p_addr_attr *attr, enum ibv_p2p_kind kind, uint64_t addr,
	       uint64_t start, size_t size)
{
	memset(attr, 0, sizeof(*attr));
	attr->kind = kind;
	attr->map_addr = start;
	attr->map_length = size;
	attr->map_prot = PROT_READ | PROT_WRITE;
	attr->offset = addr - start;
	attr->comp_mask = IBV_P2P_ADDR_OFFSET;
}

void kind_fill_pci(struct ibv_p2p_addr_attr *attr, const struct kind_pci *pci)
{
	char name[sizeof(attr->pci_address)];

	snprintf(name, sizeof(name), "%04x:%02x:%02x.%x", pci->domain, pci->bus & 0xff,
		 pci->device & 0x1f, pci->function & 7);
	fill_pci(attr, name);
}
