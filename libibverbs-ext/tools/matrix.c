// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* Who reaches whose memory, and what is in the way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "ask.h"
#include "p2pinfo.h"
#include "pairs.h"
#include "table.h"

enum { INDENT = 2 };

/* ---- what is asked for ---- */

static void show_nic(struct shown *s, const struct nic *nic)
{
	s->nics = grow(s->nics, s->nr_nics + 1, sizeof(*s->nics));
	s->nics[s->nr_nics++] = nic;
}

static void show_memory(struct shown *s, const struct memory *memory)
{
	s->memories = grow(s->memories, s->nr_memories + 1, sizeof(*s->memories));
	s->memories[s->nr_memories++] = memory;
}

static bool show_named(struct shown *s, const struct inventory *inv, const char *name)
{
	const struct memory *memory = inventory_memory(inv, name);
	const struct nic *nic = inventory_nic(inv, name);

	if (nic)
		show_nic(s, nic);
	else if (memory)
		show_memory(s, memory);
	else
		complain("%s is neither a command nor an RDMA device or memory here; "
			 "ibv_p2pinfo without arguments lists both", name);
	return nic || memory;
}

/* Those that are named, or all if none of their kind is. */
static bool choose(struct shown *s, const struct inventory *inv, int argc, char **argv)
{
	size_t i;
	int arg;

	for (arg = 0; arg < argc; arg++)
		if (!show_named(s, inv, argv[arg]))
			return false;
	if (!s->nr_nics)
		for (i = 0; i < inv->nr_nics; i++)
			show_nic(s, &inv->nics[i]);
	if (!s->nr_memories)
		for (i = 0; i < inv->nr_memories; i++)
			show_memory(s, &inv->memories[i]);
	return true;
}

static enum exit_status verdict(const struct pairs *pairs)
{
	enum exit_status status = ANSWER_NO;
	size_t i;

	for (i = 0; i < pairs->nr; i++) {
		if (pairs->pairs[i].path.kind == PATH_UNKNOWN)
			status = NO_ANSWER;
		else if (pairs->pairs[i].path.kind != PATH_NONE)
			return ANSWER_YES;
	}
	return status;
}

/* ---- for people ---- */

static void print_header(const char *title)
{
	printf("\n%s%s%s\n", colour_on(BOLD), title, colour_off(BOLD));
}

static void print_machine(const struct pairs *pairs)
{
	char *kernel = kernel_text(&pairs->kernel), *text;
	struct utsname u;

	uname(&u);
	text = text_of("Linux %s: %s.", u.release, kernel);
	print_paragraph("", text);
	free(text);
	free(kernel);
}

static bool path_is_told(const struct pair *pair)
{
	return pair->told;
}

static bool way_is_told(const struct pair *pair)
{
	return pair->nic->asked;
}

/* One of the two tables with a cell a pair. */
struct cells {
	const char *title;
	bool (*is_told)(const struct pair *pair);	/* by the kernel */
	void (*add)(struct table *table, const struct pair *pair, const char *star);
};

static void add_path(struct table *table, const struct pair *pair, const char *star)
{
	static const enum colour colours[] = {
		[PATH_NONE] = RED, [PATH_CPU] = YELLOW, [PATH_BUS] = GREEN,
		[PATH_HOST] = PLAIN, [PATH_UNKNOWN] = YELLOW,
	};
	const struct path *path = &pair->path;
	const char *name = path->kind == PATH_UNKNOWN ? "?" : path_name(path->kind);
	char *notes = note_numbers(pair->path_notes, PAIR_NOTES);
	char hops[16] = "";

	if (pair->nic->function)
		snprintf(hops, sizeof(hops), " %u", path->hops);
	table_add(table, colours[path->kind], "%s%s%s%s%s%s", name,
		  path->kind == PATH_HOST && path->translated ? "+iommu" : "",
		  star, hops, *notes ? " " : "", notes);
	free(notes);
}

static void add_way(struct table *table, const struct pair *pair, const char *star)
{
	static const enum colour colours[] = {
		[WAY_NONE] = RED, [WAY_KERNEL] = GREEN, [WAY_MODULE] = GREEN,
		[WAY_PEER] = GREEN, [WAY_DMABUF] = YELLOW,
	};

	table_add(table, colours[pair->way.kind], "%s%s [%u]", way_name(pair->way.kind),
		  star, pair->way_note);
}

/* What the kernel did not say has a star, if there is anything that it said. */
static const char *print_source(const struct pairs *pairs, const struct cells *cells)
{
	size_t i, told = 0;
	char *title;

	for (i = 0; i < pairs->nr; i++)
		told += cells->is_told(&pairs->pairs[i]);
	title = text_of("%s, as %s%s", cells->title,
			told ? "the kernel says" : "sysfs looks",
			told && told < pairs->nr ? " (*: as sysfs looks)" : "");
	print_header(title);
	free(title);
	return told ? "*" : "";
}

static void print_matrix(const struct shown *s, const struct pairs *pairs,
			 const struct cells *cells)
{
	const char *star = print_source(pairs, cells);
	struct table table = table_new(s->nr_memories + 1);
	const struct pair *pair = pairs->pairs;
	size_t row, column;

	table_add(&table, PLAIN, "%s", "");
	for (column = 0; column < s->nr_memories; column++)
		table_add(&table, BOLD, "%s", s->memories[column]->name);
	for (row = 0; row < s->nr_nics; row++) {
		table_add(&table, BOLD, "%s", s->nics[row]->name);
		for (column = 0; column < s->nr_memories; column++, pair++)
			cells->add(&table, pair, cells->is_told(pair) ? "" : star);
	}
	table_print(&table, INDENT, output_width());
}

static void add_titles(struct table *table, const char *const *titles)
{
	for (; *titles; titles++)
		table_add(table, BOLD, "%s", *titles);
}

static void add_function(struct table *table, const struct function *f,
			 const char *driver)
{
	table_add(table, PLAIN, "%s", f->name);
	table_add(table, PLAIN, "%04x:%04x", f->vendor, f->device);
	table_add(table, PLAIN, "%s", *driver ? driver : "-");
	if (!*f->iommu_group)
		table_add(table, PLAIN, "-");
	else
		table_add(table, PLAIN, "%s %s", f->iommu_group,
			  *f->iommu_type ? f->iommu_type : "?");
	if (f->numa_node < 0)
		table_add(table, PLAIN, "-");
	else
		table_add(table, PLAIN, "%d", f->numa_node);
}

static void add_no_function(struct table *table, const char *driver)
{
	table_add(table, PLAIN, "-");
	table_add(table, PLAIN, "-");
	table_add(table, PLAIN, "%s", *driver ? driver : "-");
	table_add(table, PLAIN, "-");
	table_add(table, PLAIN, "-");
}

static void print_nics(const struct shown *s)
{
	static const char *const titles[] = {
		"", "PCI", "ID", "driver", "IOMMU", "NUMA", "netdev", NULL,
	};
	struct table table = table_new(7);
	const struct nic *nic;
	size_t i;

	print_header("RDMA devices");
	if (s->nr_nics)
		add_titles(&table, titles);
	else
		printf("%*snone: no driver has made one (rdma link add rxe0 type rxe "
		       "netdev eth0 makes a soft one)\n", INDENT, "");
	for (i = 0; i < s->nr_nics; i++) {
		nic = s->nics[i];
		table_add(&table, BOLD, "%s", nic->name);
		if (nic->function)
			add_function(&table, nic->function, nic->driver);
		else
			add_no_function(&table, nic->driver);
		table_add(&table, PLAIN, "%s", *nic->netdev ? nic->netdev : "-");
	}
	table_print(&table, INDENT, INT32_MAX);
}

/* The one with the memory has a star. */
static void add_bars(struct table *table, const struct memory *m)
{
	char *list = text_of("%s", ""), *longer, size[SIZE_TEXT], offset[SIZE_TEXT];
	unsigned int i;

	for (i = 0; i < PCI_BARS; i++) {
		if (!m->function->bars[i].memory)
			continue;
		longer = text_of("%s%sBAR%u %s%s", list, *list ? ", " : "", i,
				 size_text(size, m->function->bars[i].size),
				 i == m->bar ? "*" : "");
		free(list);
		list = longer;
	}
	if (m->kind == MEMORY_CMB)
		table_add(table, PLAIN, "%s at %s in BAR%u; %s", size_text(size, m->size),
			  size_text(offset, m->offset), m->bar, list);
	else
		table_add(table, PLAIN, "%s", list);
	free(list);
}

static void print_memories(const struct shown *s)
{
	static const char *const titles[] = {
		"", "PCI", "ID", "driver", "IOMMU", "NUMA", "node",
		"BARs (*: with the memory)", NULL,
	};
	struct table table = table_new(8);
	const struct memory *m;
	size_t i;

	print_header("Memories");
	if (s->nr_memories)
		add_titles(&table, titles);
	else
		printf("%*snone: no GPU, accelerator, NVMe CMB or prefetchable 64-bit "
		       "BAR of 1 MiB or more\n", INDENT, "");
	for (i = 0; i < s->nr_memories; i++) {
		m = s->memories[i];
		table_add(&table, BOLD, "%s", m->name);
		add_function(&table, m->function, m->function->driver);
		table_add(&table, PLAIN, "%s", *m->node ? m->node : "-");
		add_bars(&table, m);
	}
	table_print(&table, INDENT, INT32_MAX);
}

static void print_notes(const struct pairs *pairs)
{
	struct advice advice;
	char *lead;
	size_t i;

	if (pairs->nr_notes)
		print_header("Notes");
	for (i = 0; i < pairs->nr_notes; i++) {
		advice = advice_of(&pairs->notes[i]);
		lead = text_of("  [%zu]%*s", i + 1, i + 1 < 10 ? 2 : 1, "");
		print_advice(lead, &advice);
		free(lead);
		advice_free(&advice);
	}
}

static void print_all(const struct shown *s, const struct pairs *pairs)
{
	static const struct cells paths = {
		"Path and PCI distance", path_is_told, add_path,
	};
	static const struct cells ways = {
		"Way that ibv_reg_mr goes", way_is_told, add_way,
	};

	print_machine(pairs);
	if (pairs->nr) {
		print_matrix(s, pairs, &paths);
		print_matrix(s, pairs, &ways);
	}
	print_nics(s);
	print_memories(s);
	print_notes(pairs);
}

/* ---- for programs ---- */

static struct json_object *function_json(const char *name, const struct function *f,
					 const char *driver)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "name", name);
	json_add_text(object, "pci_address", f ? f->name : NULL);
	json_add_text(object, "driver", *driver ? driver : NULL);
	json_add_text(object, "iommu_group",
		      f && *f->iommu_group ? f->iommu_group : NULL);
	json_add_text(object, "iommu_type", f && *f->iommu_type ? f->iommu_type : NULL);
	json_add_number(object, "numa_node", f ? f->numa_node : -1);
	return object;
}

static struct json_object *nics_json(const struct shown *s)
{
	struct json_object *array = json_object_new_array(), *object;
	const struct nic *nic;
	size_t i;

	for (i = 0; i < s->nr_nics; i++) {
		nic = s->nics[i];
		object = function_json(nic->name, nic->function, nic->driver);
		json_add_text(object, "netdev", *nic->netdev ? nic->netdev : NULL);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *bars_json(const struct function *f)
{
	struct json_object *array = json_object_new_array(), *object;
	unsigned int i;

	for (i = 0; i < PCI_BARS; i++) {
		if (!f->bars[i].memory)
			continue;
		object = json_object_new_object();
		json_add_number(object, "bar", i);
		json_add_address(object, "address", f->bars[i].address);
		json_add_size(object, "size", f->bars[i].size);
		json_add_bool(object, "prefetchable", f->bars[i].prefetchable);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *memories_json(const struct shown *s)
{
	struct json_object *array = json_object_new_array(), *object;
	const struct memory *m;
	size_t i;

	for (i = 0; i < s->nr_memories; i++) {
		m = s->memories[i];
		object = function_json(m->name, m->function, m->function->driver);
		json_add_text(object, "kind", memory_kind_name(m->kind));
		json_add_text(object, "node", *m->node ? m->node : NULL);
		json_add_number(object, "bar", m->bar);
		json_add_address(object, "offset", m->offset);
		json_add_size(object, "size", m->size);
		json_object_object_add(object, "bars", bars_json(m->function));
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *ports_json(const struct ports *ports, bool control)
{
	struct json_object *array = json_object_new_array(), *object;
	size_t i;

	for (i = 0; i < ports->nr; i++) {
		object = json_object_new_object();
		json_add_text(object, "pci_address", ports->port[i]->name);
		if (control)
			json_add_address(object, "acs_control",
					 ports->port[i]->acs_control);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *numbers_json(const struct pair *pair)
{
	struct json_object *array = json_object_new_array();
	size_t i;

	for (i = 0; i < PAIR_NOTES && pair->path_notes[i]; i++)
		json_object_array_add(array, json_object_new_int(pair->path_notes[i]));
	json_object_array_add(array, json_object_new_int(pair->way_note));
	return array;
}

static struct json_object *pair_json(const struct pair *pair)
{
	struct json_object *object = json_object_new_object();
	const struct path *path = &pair->path;

	json_add_text(object, "rdma_device", pair->nic->name);
	json_add_text(object, "memory", pair->memory->name);
	json_add_text(object, "path", path_name(path->kind));
	json_add_text(object, "path_source", source_name(pair->told));
	json_add_text(object, "sysfs_path", path_name(pair->looks));
	json_add_bool(object, "translated", path->kind == PATH_HOST && path->translated);
	if (pair->nic->function)
		json_add_number(object, "hops", path->hops);
	else
		json_object_object_add(object, "hops", NULL);
	json_object_object_add(object, "acs_redirect", ports_json(&path->redirect, true));
	json_object_object_add(object, "acs_unknown", ports_json(&path->unread, false));
	json_add_text(object, "way", way_name(pair->way.kind));
	json_add_text(object, "way_source", source_name(pair->nic->asked));
	json_add_text(object, "reason", pair->way.reason);
	json_object_object_add(object, "notes", numbers_json(pair));
	return object;
}

static struct json_object *pairs_json(const struct pairs *pairs)
{
	struct json_object *array = json_object_new_array();
	size_t i;

	for (i = 0; i < pairs->nr; i++)
		json_object_array_add(array, pair_json(&pairs->pairs[i]));
	return array;
}

static struct json_object *notes_json(const struct pairs *pairs)
{
	struct json_object *array = json_object_new_array(), *object;
	struct advice advice;
	size_t i;

	for (i = 0; i < pairs->nr_notes; i++) {
		advice = advice_of(&pairs->notes[i]);
		object = json_object_new_object();
		json_add_number(object, "number", i + 1);
		advice_add_json(object, &advice);
		json_object_array_add(array, object);
		advice_free(&advice);
	}
	return array;
}

static void print_json(const struct shown *s, const struct pairs *pairs)
{
	char *kernel = kernel_text(&pairs->kernel);
	struct json_object *object = json_new();
	struct utsname u;

	uname(&u);
	json_add_text(object, "release", u.release);
	json_add_text(object, "kernel", kernel);
	json_object_object_add(object, "rdma_devices", nics_json(s));
	json_object_object_add(object, "memories", memories_json(s));
	json_object_object_add(object, "pairs", pairs_json(pairs));
	json_object_object_add(object, "notes", notes_json(pairs));
	json_print(object);
	free(kernel);
}

/* ---- the command ---- */

static enum exit_status show(const struct options *options, const struct shown *s,
			     struct inventory *inv)
{
	enum exit_status status;
	struct pairs pairs;

	ask_all(inv, s);
	pairs = pairs_new(inv, s);
	status = verdict(&pairs);
	if (options->json)
		print_json(s, &pairs);
	else
		print_all(s, &pairs);
	pairs_free(&pairs);
	return status;
}

enum exit_status matrix_command(const struct options *options, int argc, char **argv)
{
	enum exit_status status = NO_ANSWER;
	struct shown shown = {};
	struct inventory inv;

	if (!inventory_read(&inv))
		complain("there is neither bus/pci nor class/infiniband in sysfs: is it "
			 "mounted, at /sys?");
	else if (choose(&shown, &inv, argc, argv))
		status = show(options, &shown, &inv);
	free(shown.nics);
	free(shown.memories);
	inventory_free(&inv);
	return status;
}
