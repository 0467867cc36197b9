// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "pci.h"

#define PCI_DEVICES "/sys/bus/pci/devices"

/* A line of the file for each BAR: its first and its last address, and flags. */
static bool find_in(const char *name, uint64_t address, struct pci_place *place)
{
	char path[sizeof(PCI_DEVICES) + 256 + sizeof("//resource")];
	uint64_t start, end, flags;
	bool found = false;
	unsigned int bar;
	FILE *file;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	for (bar = 0; bar < PCI_BARS && !found; bar++) {
		if (fscanf(file, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start,
			   &end, &flags) != 3)
			break;
		if (!flags || address < start || address > end)
			continue;
		found = true;
		snprintf(place->name, sizeof(place->name), "%s", name);
		place->bar = bar;
		place->offset = address - start;
	}
	fclose(file);
	return found;
}

/* Bridges have windows, but no BARs that others are in. */
int pci_find_bar(uint64_t address, struct pci_place *place)
{
	DIR *dir = opendir(PCI_DEVICES);
	bool found = false;
	struct dirent *d;

	if (!dir)
		return ENXIO;
	while (!found && (d = readdir(dir)))
		found = d->d_name[0] != '.' && find_in(d->d_name, address, place);
	closedir(dir);
	return found ? 0 : ENXIO;
}
