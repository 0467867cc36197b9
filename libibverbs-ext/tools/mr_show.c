// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mrs.h"
#include "table.h"

#define WHO_TAKES_IT "perf record -ag -e p2p:p2p_invalidate -- sleep 10 && " \
		     "perf report --stdio"

static bool any_has(const struct mrs *mrs, enum mr_has what)
{
	size_t i;

	for (i = 0; i < mrs->nr; i++)
		if (mrs->mr[i].has & what)
			return true;
	return false;
}

/* ---- for people ---- */

struct columns {
	bool rates, keys;
};

static void add_titles(struct table *table, const struct columns *columns)
{
	static const char *const titles[] = {
		"MR", "pid", "command", "length", "ranges", "memory", "exporter",
		"path", "mapped", "maps", "faults", "inval.",
	};
	size_t i;

	for (i = 0; i < sizeof(titles) / sizeof(*titles); i++)
		table_add(table, BOLD, "%s", titles[i]);
	if (columns->rates) {
		table_add(table, BOLD, "faults/s");
		table_add(table, BOLD, "inval./s");
	}
	table_add(table, BOLD, "revoked");
	if (columns->keys) {
		table_add(table, BOLD, "lkey");
		table_add(table, BOLD, "rkey");
	}
}

static void add_word(struct table *table, const char *text)
{
	table_add(table, PLAIN, "%s", *text ? text : "-");
}

static void add_count(struct table *table, const struct mr *mr, enum mr_has what,
		      uint64_t count)
{
	if (mr->has & what)
		table_add(table, PLAIN, "%" PRIu64, count);
	else
		table_add(table, PLAIN, "-");
}

static void add_size(struct table *table, bool known, uint64_t bytes)
{
	char text[SIZE_TEXT];

	table_add(table, PLAIN, "%s", known ? size_text(text, bytes) : "-");
}

static void add_key(struct table *table, const struct mr *mr, uint32_t key)
{
	if (mr->has & MR_KEYS)
		table_add(table, PLAIN, "0x%" PRIx32, key);
	else
		table_add(table, PLAIN, "-");
}

static void add_rates(struct table *table, const struct mr *mr)
{
	const bool thrashes = mr_thrashes(mr);

	if (!(mr->has & MR_RATES)) {
		add_word(table, "");
		add_word(table, "");
		return;
	}
	table_add(table, PLAIN, "%.1f", mr->fault_rate);
	table_add(table, thrashes ? RED : PLAIN, "%.1f%s", mr->invalidation_rate,
		  thrashes ? " *" : "");
}

static void add_revoked(struct table *table, const struct mr *mr)
{
	if (!(mr->has & MR_REVOKED))
		add_word(table, "");
	else
		table_add(table, mr->revoked ? RED : PLAIN, "%s",
			  mr->revoked ? "yes" : "no");
}

/* An implicit one is of the whole address space, which the kernel gives no length. */
static void add_memory(struct table *table, const struct mr *mr)
{
	if (!strcmp(mr->odp, "implicit"))
		add_word(table, "all");
	else
		add_size(table, true, mr->length);
	add_count(table, mr, MR_RANGES, mr->ranges);
	add_word(table, mr->memory);
	add_word(table, mr->exporter);
	add_word(table, mr->path);
	add_size(table, mr->has & MR_BYTES, mr->bytes);
}

static void add_mr(struct table *table, const struct columns *columns,
		   const struct mr *mr)
{
	table_add(table, BOLD, "%s/%" PRIu32, mr->device, mr->mrn);
	add_count(table, mr, MR_PID, mr->pid);
	add_word(table, mr->command);
	add_memory(table, mr);
	add_count(table, mr, MR_MAPS, mr->maps);
	add_count(table, mr, MR_FAULTS, mr->faults);
	add_count(table, mr, MR_INVALIDATIONS, mr->invalidations);
	if (columns->rates)
		add_rates(table, mr);
	add_revoked(table, mr);
	if (columns->keys) {
		add_key(table, mr, mr->lkey);
		add_key(table, mr, mr->rkey);
	}
}

static void print_table(const struct mrs *mrs, bool rates)
{
	const struct columns columns = { rates, any_has(mrs, MR_KEYS) };
	struct table table = table_new(13 + 2 * columns.rates + 2 * columns.keys);
	size_t i;

	add_titles(&table, &columns);
	for (i = 0; i < mrs->nr; i++)
		add_mr(&table, &columns, &mrs->mr[i]);
	table_print(&table, 0, isatty(STDOUT_FILENO) ? output_width() : INT32_MAX);
}

static void print_thrashing(const struct mrs *mrs)
{
	char *text;
	size_t i;

	for (i = 0; i < mrs->nr; i++)
		if (mr_thrashes(&mrs->mr[i]))
			break;
	if (i == mrs->nr)
		return;
	text = text_of("This memory is taken from the RDMA device %d times a second or "
		       "more, and comes back by a page fault when it is used next. Who "
		       "takes it:", THRASHES);
	putchar('\n');
	print_paragraph("*  ", text);
	print_command("   ", WHO_TAKES_IT);
	free(text);
}

static bool keys_missing(const struct mrs *mrs)
{
	return mrs->nr && !any_has(mrs, MR_KEYS);
}

void mrs_print(const struct mrs *mrs, const struct mr_view *view)
{
	if (!mrs->nr) {
		puts(view->tells ? "There is no such MR with device memory." :
				   "There is no such MR.");
		return;
	}
	print_table(mrs, view->rates);
	print_thrashing(mrs);
	if (!keys_missing(mrs) && view->tells)
		return;
	putchar('\n');
	if (keys_missing(mrs))
		print_paragraph("", "Not shown: lkey and rkey, which the kernel tells "
				    "only whoever has CAP_NET_ADMIN, such as root.");
	if (!view->tells)
		print_paragraph("", "Not known: which of them have device memory. This "
				    "kernel lacks the p2p series, and does not tell.");
}

/* ---- for programs ---- */

static void add_number(struct json_object *to, const struct mr *mr, enum mr_has what,
		       const char *key, uint64_t number)
{
	json_object_object_add(to, key, mr->has & what ?
			       json_object_new_uint64(number) : NULL);
}

static void add_text(struct json_object *to, const char *key, const char *text)
{
	json_add_text(to, key, *text ? text : NULL);
}

static void add_json_keys(struct json_object *to, const struct mr *mr)
{
	if (mr->has & MR_KEYS) {
		json_add_address(to, "lkey", mr->lkey);
		json_add_address(to, "rkey", mr->rkey);
	} else {
		json_add_text(to, "lkey", NULL);
		json_add_text(to, "rkey", NULL);
	}
}

static void add_json_rates(struct json_object *to, const struct mr *mr)
{
	const bool has = mr->has & MR_RATES;

	json_object_object_add(to, "fault_rate",
			       has ? json_object_new_double(mr->fault_rate) : NULL);
	json_object_object_add(to, "invalidation_rate", has ?
			       json_object_new_double(mr->invalidation_rate) : NULL);
	json_add_bool(to, "thrashes", mr_thrashes(mr));
}

static struct json_object *mr_json(const struct mr *mr)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "rdma_device", mr->device);
	json_add_number(object, "mrn", mr->mrn);
	add_number(object, mr, MR_PID, "pid", mr->pid);
	add_text(object, "command", mr->command);
	json_add_size(object, "length", mr->length);
	add_text(object, "odp", mr->odp);
	add_number(object, mr, MR_RANGES, "ranges", mr->ranges);
	add_text(object, "memory", mr->memory);
	add_text(object, "exporter", mr->exporter);
	add_text(object, "path", mr->path);
	add_number(object, mr, MR_BYTES, "device_bytes", mr->bytes);
	add_number(object, mr, MR_MAPS, "maps", mr->maps);
	add_number(object, mr, MR_FAULTS, "faults", mr->faults);
	add_number(object, mr, MR_INVALIDATIONS, "invalidations", mr->invalidations);
	add_json_rates(object, mr);
	json_object_object_add(object, "revoked", mr->has & MR_REVOKED ?
			       json_object_new_boolean(mr->revoked) : NULL);
	add_json_keys(object, mr);
	return object;
}

struct json_object *mrs_json(const struct mrs *mrs)
{
	struct json_object *array = json_object_new_array();
	size_t i;

	for (i = 0; i < mrs->nr; i++)
		json_object_array_add(array, mr_json(&mrs->mr[i]));
	return array;
}
