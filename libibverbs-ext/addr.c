// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What is behind an address: a mapping is of a file, and the file says whose
 * memory it is.
 */
#include <errno.h>
#include <infiniband/verbs_p2p.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "addr.h"
#include "attr.h"
#include "fill.h"
#include "maps.h"
#include "memory.h"
#include "pci.h"

enum { DRM_MAJOR = 226, VFIO_REGION_SHIFT = 40 };

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* sysfs and procfs give such a mapping its physical address as the offset. */
static bool shows_bar(const struct map *map)
{
	const char *file = strrchr(map->name, '/');

	if (starts_with(map->name, "/sys/devices/"))
		return file && starts_with(file, "/resource");
	return starts_with(map->name, "/proc/bus/pci/");
}

static void set_offset(struct ibv_p2p_addr_attr *attr, uint64_t offset)
{
	attr->offset = offset;
	attr->comp_mask |= IBV_P2P_ADDR_OFFSET;
}

static void fill_bar(struct ibv_p2p_addr_attr *attr, uint64_t address)
{
	struct pci_place place;

	attr->kind = IBV_P2P_KIND_PCI_BAR;
	if (pci_find_bar(address, &place))
		return;
	attr->bar = place.bar;
	attr->comp_mask |= IBV_P2P_ADDR_BAR;
	set_offset(attr, place.offset);
	fill_pci(attr, place.name);
}

/* vfio-pci has its regions in one file, the BARs first, but does not say whose. */
static void fill_vfio(struct ibv_p2p_addr_attr *attr, uint64_t offset)
{
	const uint64_t region = offset >> VFIO_REGION_SHIFT;

	attr->kind = IBV_P2P_KIND_PCI_BAR;
	fill_exporter(attr, "vfio-pci");
	if (region >= PCI_BARS)
		return;
	attr->bar = region;
	attr->comp_mask |= IBV_P2P_ADDR_BAR;
	set_offset(attr, offset - (region << VFIO_REGION_SHIFT));
}

/* The device below a character device, if it is a PCI one. */
static void fill_device(struct ibv_p2p_addr_attr *attr, struct map *map,
			dev_t device)
{
	char path[PATH_MAX], name[sizeof(attr->exporter)];

	attr->kind = major(device) == DRM_MAJOR ? IBV_P2P_KIND_DRM :
						  IBV_P2P_KIND_DEVICE;
	fill_exporter(attr, basename(map->name));
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device/subsystem",
		 major(device), minor(device));
	if (!link_name(path, name, sizeof(name)) || strcmp(name, "pci"))
		return;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device",
		 major(device), minor(device));
	if (link_name(path, name, PCI_NAME_LEN))
		fill_pci(attr, name);
}

/*
 * The file may have been removed, and its name be that of another one. It is a name in
 * the process's root, which may be a container's.
 */
static bool is_device(const char *process, const struct map *map, dev_t *device)
{
	char path[PATH_MAX + 64];
	struct stat st;

	snprintf(path, sizeof(path), "%s/root%s", process, map->name);
	if (!map->inode || stat(path, &st) || st.st_ino != map->inode ||
	    !S_ISCHR(st.st_mode))
		return false;
	*device = st.st_rdev;
	/* /dev/zero is memory of the host. */
	return *device != makedev(1, 5);
}

static void fill(struct ibv_p2p_addr_attr *attr, const char *process, struct map *map,
		 uint64_t addr)
{
	const uint64_t offset = map->offset + (addr - map->start);
	dev_t device;

	attr->map_addr = map->start;
	attr->map_length = map->end - map->start;
	attr->map_prot = (map->readable ? PROT_READ : 0) |
			 (map->writable ? PROT_WRITE : 0);
	if (shows_bar(map)) {
		fill_bar(attr, offset);
	} else if (strstr(map->name, "[vfio-device]")) {
		fill_vfio(attr, offset);
	} else if (starts_with(map->name, "/dmabuf:")) {
		attr->kind = IBV_P2P_KIND_DMABUF;
		set_offset(attr, offset);
		if (map->name[sizeof("/dmabuf:") - 1])
			fill_exporter(attr, map->name + sizeof("/dmabuf:") - 1);
	} else if (is_device(process, map, &device)) {
		fill_device(attr, map, device);
	} else {
		attr->kind = IBV_P2P_KIND_HOST;
		if (map->inode)
			set_offset(attr, offset);
	}
}

int addr_query(const char *process, uint64_t addr, struct ibv_p2p_addr_attr *attr)
{
	struct map map;
	int ret = map_find(process, addr, &map);

	if (ret)
		return ret;
	*attr = (struct ibv_p2p_addr_attr){};
	fill(attr, process, &map, addr);
	return 0;
}

int ibv_p2p_query_addr(const void *addr, struct ibv_p2p_addr_attr *attr,
		       size_t inlen)
{
	struct ibv_p2p_addr_attr full = {};
	int ret;

	if (!attr || inlen < ADDR_ATTR_V1)
		return EINVAL;
	/* Its addresses may be mapped for another purpose, or not at all. */
	ret = memory_query((uintptr_t)addr, &full);
	if (ret == ENOENT)
		ret = addr_query(MAPS_SELF, (uintptr_t)addr, &full);
	if (ret)
		return ret;
	full.dmabuf = full.kind != IBV_P2P_KIND_HOST &&
		      memory_has_dmabuf((uintptr_t)addr, full.map_prot & PROT_WRITE);
	attr_give(attr, inlen, &full, sizeof(full));
	return 0;
}
