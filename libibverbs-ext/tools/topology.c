// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "sysfs.h"
#include "topology.h"

#define DEVICES "bus/pci/devices"

/* ---- what sysfs says of a function ---- */

enum { RESOURCE_MEMORY = 0x200, RESOURCE_PREFETCH = 0x2000, RESOURCE_64 = 0x100000 };

static void read_bars(struct function *f)
{
	uint64_t start, end, flags;
	char text[4096], *line = text;
	unsigned int i;
	ssize_t n;

	n = sysfs_bytes(text, sizeof(text) - 1, DEVICES "/%s/resource", f->name);
	text[n > 0 ? n : 0] = '\0';
	for (i = 0; i < PCI_BARS && line; i++) {
		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start, &end,
			   &flags) != 3)
			break;
		if (flags && end >= start)
			f->bars[i] = (struct bar){
				.address = start,
				.size = end - start + 1,
				.memory = flags & RESOURCE_MEMORY,
				.prefetchable = flags & RESOURCE_PREFETCH,
				.wide = flags & RESOURCE_64,
			};
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
}

enum {
	CONFIG_SIZE = 4096, CONFIG_UNPRIVILEGED = 64,
	EXT_CAP_FIRST = 256, EXT_CAP_ACS = 0x0d, ACS_CONTROL = 6,
};

static uint32_t config_word(const uint8_t *config, size_t at, size_t bytes)
{
	uint32_t value = 0;

	while (bytes--)
		value = value << 8 | config[at + bytes];
	return value;
}

/* The list of extended capabilities goes on to higher and lower addresses. */
static size_t find_acs(const uint8_t *config, size_t size)
{
	size_t at = EXT_CAP_FIRST, steps;
	uint32_t header;

	for (steps = 0; steps < CONFIG_SIZE / 8; steps++) {
		if (at < EXT_CAP_FIRST || at + ACS_CONTROL + 2 > size)
			break;
		header = config_word(config, at, 4);
		if ((header & 0xffff) == EXT_CAP_ACS)
			return at;
		at = header >> 20 & ~3u;
	}
	return 0;
}

static void read_acs(struct function *f)
{
	uint8_t config[CONFIG_SIZE];
	ssize_t n = sysfs_bytes(config, sizeof(config), DEVICES "/%s/config", f->name);
	size_t at;

	if (n <= CONFIG_UNPRIVILEGED)
		return;
	at = find_acs(config, n);
	f->acs = at ? ACS_THERE : ACS_NONE;
	if (at)
		f->acs_control = config_word(config, at + ACS_CONTROL, 2);
}

static void read_iommu(struct function *f)
{
	sysfs_link(f->iommu_group, sizeof(f->iommu_group), DEVICES "/%s/iommu_group",
		   f->name);
	if (*f->iommu_group)
		sysfs_text(f->iommu_type, sizeof(f->iommu_type),
			   "kernel/iommu_groups/%s/type", f->iommu_group);
}

static uint32_t read_id(const struct function *f, const char *file)
{
	uint64_t id;

	sysfs_number(&id, DEVICES "/%s/%s", f->name, file);
	return id;
}

static int read_numa_node(const struct function *f)
{
	char text[16];

	return sysfs_text(text, sizeof(text), DEVICES "/%s/numa_node", f->name) ?
		       atoi(text) : -1;
}

static void read_function(struct function *f, const char *name)
{
	*f = (struct function){};
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->vendor = read_id(f, "vendor");
	f->device = read_id(f, "device");
	f->class = read_id(f, "class");
	f->numa_node = read_numa_node(f);
	sysfs_link(f->driver, sizeof(f->driver), DEVICES "/%s/driver", f->name);
	read_bars(f);
	read_acs(f);
	read_iommu(f);
}

/* ---- the tree ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct function *)a)->name,
		      ((const struct function *)b)->name);
}

static const struct function *find_exact(const struct topology *t, const char *name)
{
	struct function key = {};

	if ((size_t)snprintf(key.name, sizeof(key.name), "%s", name) >= sizeof(key.name))
		return NULL;
	return t->nr ? bsearch(&key, t->functions, t->nr, sizeof(key), by_name) : NULL;
}

/* .../pci0000:00/0000:00:01.0/0000:01:00.0: the folders above are what is above it. */
static void place(const struct topology *t, struct function *f)
{
	char *path = sysfs_resolve(DEVICES "/%s", f->name), *slash;
	const char *above;

	slash = path ? strrchr(path, '/') : NULL;
	while (slash && slash != path && !*f->root) {
		*slash = '\0';
		slash = strrchr(path, '/');
		above = slash ? slash + 1 : path;
		if (!strncmp(above, "pci", 3))
			snprintf(f->root, sizeof(f->root), "%.*s",
				 (int)sizeof(f->root) - 1, above);
		else if (!f->bridge)
			f->bridge = find_exact(t, above);
	}
	free(path);
}

/* In sysfs, as /proc/cpuinfo may be another machine's than a made-up tree. */
static bool is_zen(void)
{
	enum { AMD = 2, ZEN = 0x17 };
	unsigned int vendor, family;
	char text[64];

	return sysfs_text(text, sizeof(text), "devices/system/cpu/modalias") &&
	       sscanf(text, "cpu:type:x86,ven%4xfam%4x", &vendor, &family) == 2 &&
	       vendor == AMD && family >= ZEN;
}

bool topology_read(struct topology *t)
{
	char **names = sysfs_list(DEVICES), **name;
	size_t i;

	*t = (struct topology){ .zen = is_zen() };
	for (name = names; *name; name++) {
		t->functions = grow(t->functions, t->nr + 1, sizeof(*t->functions));
		read_function(&t->functions[t->nr++], *name);
	}
	sysfs_list_free(names);
	if (t->nr)
		qsort(t->functions, t->nr, sizeof(*t->functions), by_name);
	for (i = 0; i < t->nr; i++)
		place(t, &t->functions[i]);
	return sysfs_exists(DEVICES);
}

void topology_free(struct topology *t)
{
	free(t->functions);
}

const struct function *topology_find(const struct topology *t, const char *name)
{
	const struct function *f = find_exact(t, name);
	char full[32];

	if (f)
		return f;
	snprintf(full, sizeof(full), "0000:%.16s", name);
	return find_exact(t, full);
}

unsigned int function_base_class(const struct function *f)
{
	return f->class >> 16;
}

bool function_decodes(const struct function *f)
{
	enum { COMMAND = 4, COMMAND_MEMORY = 1 << 1 };
	uint8_t config[COMMAND + 2];

	return sysfs_bytes(config, sizeof(config), DEVICES "/%s/config", f->name) !=
		       sizeof(config) ||
	       config[COMMAND] & COMMAND_MEMORY;
}

bool function_translated(const struct function *f)
{
	return !strncmp(f->iommu_type, "DMA", strlen("DMA"));
}

/* ---- host bridges ---- */

static const struct host {
	uint16_t vendor, device;
	bool one;		/* not from one host bridge to another */
} hosts[] = {
	/* What the kernel has: Linux 6.12. All are Intel's. */
	{ 0x8086, 0x3c00, true }, { 0x8086, 0x3c01, true },	/* Xeon E5 */
	{ 0x8086, 0x2f00, true }, { 0x8086, 0x2f01, true },	/* Xeon E5 and E7 v3 */
	{ 0x8086, 0x2030, false }, { 0x8086, 0x2031, false },	/* Skylake-E and later */
	{ 0x8086, 0x2032, false }, { 0x8086, 0x2033, false },
	{ 0x8086, 0x2020, false }, { 0x8086, 0x09a2, false },
};

/*
 * The first function of the root bus, if that is 00.0 or a root port. Whether a bridge
 * is a root port only root can read; others on a root bus are on no list.
 */
const struct function *host_bridge(const struct topology *t, const char *root)
{
	enum { BRIDGE = 0x0604 };
	const struct function *f;
	size_t i;

	for (i = 0; i < t->nr; i++) {
		f = &t->functions[i];
		if (f->bridge || strcmp(f->root, root))
			continue;
		if (!strcmp(strrchr(f->name, ':'), ":00.0") || f->class >> 8 == BRIDGE)
			return f;
		return NULL;
	}
	return NULL;
}

static const struct host *find_host(const struct function *bridge)
{
	size_t i;

	for (i = 0; bridge && i < sizeof(hosts) / sizeof(*hosts); i++)
		if (hosts[i].vendor == bridge->vendor &&
		    hosts[i].device == bridge->device)
			return &hosts[i];
	return NULL;
}

bool host_bridge_listed(const struct function *bridge, bool one)
{
	const struct host *host = find_host(bridge);

	return host && (one || !host->one);
}

enum host_trust host_trust(const struct topology *t, const struct function *a,
			   const struct function *b)
{
	const struct function *host_a = host_bridge(t, a->root);
	const struct function *host_b = host_bridge(t, b->root);
	const bool one = !strcmp(a->root, b->root);

	if (t->zen)
		return HOST_ZEN;
	if (!find_host(host_a) || !find_host(host_b))
		return HOST_UNLISTED;
	return host_bridge_listed(host_a, one) && host_bridge_listed(host_b, one) ?
		       HOST_LISTED : HOST_APART;
}

bool host_forwards(enum host_trust trust)
{
	return trust == HOST_ZEN || trust == HOST_LISTED;
}

/* ---- paths ---- */

static unsigned int depth(const struct function *f)
{
	unsigned int n = 0;

	for (; f; f = f->bridge)
		n++;
	return n;
}

/* The nearest that is both above or equal to a and to b. */
static const struct function *find_common(const struct function *a,
					  const struct function *b)
{
	unsigned int depth_a = depth(a), depth_b = depth(b);

	for (; depth_a > depth_b; depth_a--)
		a = a->bridge;
	for (; depth_b > depth_a; depth_b--)
		b = b->bridge;
	while (a != b) {
		a = a->bridge;
		b = b->bridge;
	}
	return a;
}

static void ports_add(struct ports *ports, const struct function *port)
{
	if (ports->nr < PATH_PORTS)
		ports->port[ports->nr++] = port;
}

/* From f up to common, which is not looked at: nothing has to pass it. */
static void look_at_ports(struct path *path, const struct function *f)
{
	for (; f != path->common; f = f->bridge) {
		if (f->acs_control & ACS_REDIRECT)
			ports_add(&path->redirect, f);
		else if (f->acs == ACS_UNKNOWN)
			ports_add(&path->unread, f);
	}
}

struct path path_find(const struct topology *t, const struct function *importer,
		      const struct function *exporter)
{
	const struct function *common = find_common(importer, exporter);
	struct path path = {
		.from = importer,
		.to = exporter,
		.common = common,
		.hops = depth(importer) + depth(exporter) - 2 * depth(common),
		.translated = function_translated(importer),
	};

	if (common) {
		look_at_ports(&path, exporter);
		look_at_ports(&path, importer);
	}
	if (common && !path.redirect.nr)
		path.kind = path.unread.nr ? PATH_UNKNOWN : PATH_BUS;
	else
		path.kind = host_forwards(host_trust(t, importer, exporter)) ?
				    PATH_HOST : PATH_NONE;
	return path;
}

const char *path_name(enum path_kind kind)
{
	static const char *const names[] = {
		[PATH_NONE] = "none", [PATH_CPU] = "cpu", [PATH_BUS] = "bus",
		[PATH_HOST] = "host", [PATH_UNKNOWN] = "unknown",
	};

	return names[kind];
}
