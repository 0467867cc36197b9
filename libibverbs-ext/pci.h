/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* PCI functions and their BARs, as sysfs shows them. */
#ifndef PCI_H
#define PCI_H

#include <stdint.h>

enum { PCI_NAME_LEN = 16, PCI_BARS = 6 };	/* 0000:3b:00.0, domains of 32 bits */

struct pci_place {
	char name[PCI_NAME_LEN];
	unsigned int bar;
	uint64_t offset;	/* in the BAR */
};

/* Whose BAR has this physical address. 0, or ENXIO. */
int pci_find_bar(uint64_t address, struct pci_place *place);

#endif
