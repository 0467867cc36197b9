// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "fill.h"

bool link_name(const char *path, char *name, size_t size)
{
	char target[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof(target) - 1);

	if (len <= 0)
		return false;
	target[len] = '\0';
	return snprintf(name, size, "%s", basename(target)) < (int)size;
}

void fill_exporter(struct ibv_p2p_addr_attr *attr, const char *name)
{
	snprintf(attr->exporter, sizeof(attr->exporter), "%s", name);
	attr->comp_mask |= IBV_P2P_ADDR_EXPORTER;
}

void fill_pci(struct ibv_p2p_addr_attr *attr, const char *name)
{
	char path[PATH_MAX], driver[sizeof(attr->exporter)];

	snprintf(attr->pci_address, sizeof(attr->pci_address), "%s", name);
	attr->comp_mask |= IBV_P2P_ADDR_PCI;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", name);
	if (link_name(path, driver, sizeof(driver)))
		fill_exporter(attr, driver);
}
