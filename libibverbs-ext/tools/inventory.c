// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "output.h"
#include "sysfs.h"

enum {
	CLASS_NETWORK = 0x02, CLASS_DISPLAY = 0x03, CLASS_BRIDGE = 0x06,
	CLASS_ACCELERATOR = 0x12,
};

/* ---- RDMA devices ---- */

static const struct rdma_driver drivers[] = {
	{ "mlx5", .odp = true, .dmabuf = true },
	{ "irdma", .dmabuf = true },
	{ "bnxt_re", .dmabuf = true },
	{ "efa", .dmabuf = true },
	{ "mana", .dmabuf = true },
	{ "dmae", .odp = true, .dmabuf = true },
	{ "rxe", .odp = true, .copies = true },
	{ "siw", .copies = true },
	{ .name = "" },	/* any other */
};

/* Below one PCI function there may be two drivers, of which sysfs shows the lower. */
static const struct { const char *lower, *rdma; } rdma_halves[] = {
	{ "mlx5_core", "mlx5" }, { "mlx4_core", "mlx4" }, { "ice", "irdma" },
	{ "i40e", "irdma" }, { "idpf", "irdma" }, { "bnxt_en", "bnxt_re" },
	{ "cxgb4", "iw_cxgb4" }, { "qede", "qedr" },
};

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* The description may have been changed, to the name of the host. */
static bool described_as(const struct nic *nic, const char *description,
			 const char *prefix)
{
	char text[64];

	sysfs_text(text, sizeof(text), "class/infiniband/%s/node_desc", nic->name);
	return starts_with(text, description) || starts_with(nic->name, prefix);
}

static const char *soft_driver(const struct nic *nic)
{
	if (sysfs_exists("class/infiniband/%s/parent", nic->name))
		return "rxe";
	if (described_as(nic, "Software iWARP", "siw"))
		return "siw";
	if (described_as(nic, "dmae", "dmae"))
		return "dmae";
	return NULL;
}

static const char *driver_of(const struct nic *nic)
{
	const char *soft = soft_driver(nic);
	size_t i;

	if (soft || !nic->function)
		return soft ? soft : "";
	for (i = 0; i < sizeof(rdma_halves) / sizeof(*rdma_halves); i++)
		if (!strcmp(nic->function->driver, rdma_halves[i].lower))
			return rdma_halves[i].rdma;
	return nic->function->driver;
}

static const struct rdma_driver *find_driver(const char *name)
{
	const struct rdma_driver *d = drivers;

	while (*d->name && strcmp(d->name, name))
		d++;
	return d;
}

/* The device may be a child of the PCI function: /sys/devices/.../PCI/.../NAME. */
static const struct function *function_of(const struct topology *topology,
					  const char *name)
{
	char *path = sysfs_resolve("class/infiniband/%s/device", name), *slash;
	const struct function *f = NULL;

	while (path && !f && (slash = strrchr(path, '/'))) {
		f = topology_find(topology, slash + 1);
		*slash = '\0';
	}
	free(path);
	return f;
}

static void read_nic(struct inventory *inv, const char *name)
{
	struct nic *nic;
	uint64_t on;

	inv->nics = grow(inv->nics, inv->nr_nics + 1, sizeof(*inv->nics));
	nic = &inv->nics[inv->nr_nics++];
	*nic = (struct nic){ .function = function_of(&inv->topology, name) };
	snprintf(nic->name, sizeof(nic->name), "%s", name);
	snprintf(nic->driver, sizeof(nic->driver), "%s", driver_of(nic));
	nic->can = find_driver(nic->driver);
	/* Some kernels put them below the network card that they are on. */
	if (nic->can->copies)
		nic->function = NULL;
	sysfs_text(nic->netdev, sizeof(nic->netdev), "class/infiniband/%s/parent", name);
	nic->hooked = sysfs_number(&on, "class/infiniband/%s/p2p", name);
	nic->hook_on = on;
}

static void read_nics(struct inventory *inv)
{
	char **names = sysfs_list("class/infiniband"), **name;

	for (name = names; *name; name++)
		read_nic(inv, *name);
	sysfs_list_free(names);
}

static bool is_nic(const struct inventory *inv, const struct function *f)
{
	size_t i;

	for (i = 0; i < inv->nr_nics; i++)
		if (inv->nics[i].function == f)
			return true;
	return false;
}

/* ---- memories ---- */

static bool is_better(const struct bar *a, const struct bar *b)
{
	if (a->prefetchable != b->prefetchable)
		return a->prefetchable;
	return a->size > b->size;
}

struct memory memory_of(const struct function *f, const char *name)
{
	struct memory m = { .function = f, .kind = MEMORY_BAR, .bar = PCI_BARS };
	unsigned int i;

	snprintf(m.name, sizeof(m.name), "%s", name);
	if (function_base_class(f) == CLASS_DISPLAY)
		m.kind = MEMORY_GPU;
	else if (function_base_class(f) == CLASS_ACCELERATOR)
		m.kind = MEMORY_ACCELERATOR;
	for (i = 0; i < PCI_BARS; i++)
		if (f->bars[i].memory &&
		    (m.bar == PCI_BARS || is_better(&f->bars[i], &f->bars[m.bar])))
			m.bar = i;
	if (m.bar < PCI_BARS)
		m.size = f->bars[m.bar].size;
	return m;
}

static void name_node(struct memory *m, const char *class, const char *prefix)
{
	char **names = sysfs_list("bus/pci/devices/%s/%s", m->function->name, class);
	char **name;

	for (name = names; *name; name++)
		if (starts_with(*name, prefix) && !*m->node)
			snprintf(m->node, sizeof(m->node), "%s", *name);
	sysfs_list_free(names);
}

static void add_memory(struct inventory *inv, const struct memory *memory)
{
	inv->memories = grow(inv->memories, inv->nr_memories + 1,
			     sizeof(*inv->memories));
	inv->memories[inv->nr_memories++] = *memory;
}

static void name_memory(const struct inventory *inv, struct memory *m)
{
	static const char *const names[] = {
		[MEMORY_GPU] = "GPU", [MEMORY_ACCELERATOR] = "ACC",
		[MEMORY_CMB] = "CMB", [MEMORY_BAR] = "MEM",
	};
	size_t i, nr = 0;

	for (i = 0; i < inv->nr_memories; i++)
		nr += inv->memories[i].kind == m->kind;
	snprintf(m->name, sizeof(m->name), "%s%zu", names[m->kind], nr);
}

/* Registers of the NVMe specification: where the controller memory buffer is. */
static bool read_cmb(struct memory *m, const char *controller)
{
	enum { BAR_MASK = 7, SHIFT = 12, UNIT_SHIFT = 8, UNIT_MASK = 0xf };
	unsigned int location, size, unit;
	char text[128];
	ssize_t n;

	n = sysfs_bytes(text, sizeof(text) - 1, "class/nvme/%s/cmb", controller);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "cmbloc : x%x cmbsz : x%x", &location, &size) != 2 || !size)
		return false;
	unit = size >> UNIT_SHIFT & UNIT_MASK;
	m->kind = MEMORY_CMB;
	m->bar = location & BAR_MASK;
	m->offset = (uint64_t)(location >> SHIFT) << (12 + 4 * unit);
	m->size = (uint64_t)(size >> SHIFT) << (12 + 4 * unit);
	if (m->bar >= PCI_BARS || m->offset >= m->function->bars[m->bar].size)
		return false;
	/* Controllers were seen to claim more than the BAR has. */
	if (m->size > m->function->bars[m->bar].size - m->offset)
		m->size = m->function->bars[m->bar].size - m->offset;
	return true;
}

static void read_cmbs(struct inventory *inv)
{
	char **names = sysfs_list("class/nvme"), **name, pci[64];
	const struct function *f;
	struct memory m;

	for (name = names; *name; name++) {
		sysfs_link(pci, sizeof(pci), "class/nvme/%s/device", *name);
		f = topology_find(&inv->topology, pci);
		if (!f)
			continue;
		m = (struct memory){ .function = f };
		if (!read_cmb(&m, *name))
			continue;
		name_memory(inv, &m);
		snprintf(m.node, sizeof(m.node), "%s", *name);
		add_memory(inv, &m);
	}
	sysfs_list_free(names);
}

static bool is_listed(const struct inventory *inv, const struct function *f)
{
	size_t i;

	for (i = 0; i < inv->nr_memories; i++)
		if (inv->memories[i].function == f)
			return true;
	return false;
}

/* BARs of network cards are registers and doorbells, whatever their size. */
static bool is_memory(const struct inventory *inv, const struct memory *m)
{
	const unsigned int class = function_base_class(m->function);
	const struct bar *bar = &m->function->bars[m->bar];

	if (class == CLASS_BRIDGE || class == CLASS_NETWORK || m->bar == PCI_BARS ||
	    is_nic(inv, m->function) || is_listed(inv, m->function))
		return false;
	return m->kind != MEMORY_BAR ||
	       (bar->prefetchable && bar->wide && bar->size >= 1 << 20);
}

static void read_functions(struct inventory *inv, enum memory_kind kind)
{
	const struct topology *t = &inv->topology;
	struct memory m;
	size_t i;

	for (i = 0; i < t->nr; i++) {
		m = memory_of(&t->functions[i], "");
		if (m.kind != kind || !is_memory(inv, &m))
			continue;
		name_memory(inv, &m);
		name_node(&m, "drm", "card");
		add_memory(inv, &m);
	}
}

/* ---- all ---- */

bool inventory_read(struct inventory *inv)
{
	bool pci;

	*inv = (struct inventory){};
	pci = topology_read(&inv->topology);
	read_nics(inv);
	read_functions(inv, MEMORY_GPU);
	read_functions(inv, MEMORY_ACCELERATOR);
	read_cmbs(inv);
	read_functions(inv, MEMORY_BAR);
	return pci || inv->nr_nics;
}

void inventory_free(struct inventory *inv)
{
	size_t i;

	for (i = 0; i < inv->nr_nics; i++)
		free(inv->nics[i].told);
	free(inv->nics);
	free(inv->memories);
	topology_free(&inv->topology);
}

const struct nic *inventory_nic(const struct inventory *inv, const char *name)
{
	size_t i;

	for (i = 0; i < inv->nr_nics; i++)
		if (!strcmp(inv->nics[i].name, name))
			return &inv->nics[i];
	return NULL;
}

const struct told *nic_told(const struct nic *nic, const struct function *function)
{
	size_t i;

	for (i = 0; i < nic->nr_told; i++)
		if (nic->told[i].function == function)
			return &nic->told[i];
	return NULL;
}

const struct memory *inventory_memory(const struct inventory *inv, const char *name)
{
	const struct function *f = topology_find(&inv->topology, name);
	size_t i;

	for (i = 0; i < inv->nr_memories; i++)
		if (inv->memories[i].function == f ||
		    !strcmp(inv->memories[i].name, name))
			return &inv->memories[i];
	return NULL;
}

const char *memory_kind_name(enum memory_kind kind)
{
	static const char *const names[] = {
		[MEMORY_GPU] = "gpu", [MEMORY_ACCELERATOR] = "accelerator",
		[MEMORY_CMB] = "cmb", [MEMORY_BAR] = "bar",
	};

	return names[kind];
}
