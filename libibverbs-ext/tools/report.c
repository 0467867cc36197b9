// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <infiniband/verbs.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "p2pinfo.h"
#include "pairs.h"
#include "report.h"

static const char *status_name(const struct report *r)
{
	static const char *const names[] = {
		[IBV_P2P_PATH_WORKS] = "works", [IBV_P2P_PATH_FAILED] = "failed",
		[IBV_P2P_PATH_SILENT] = "silent", [IBV_P2P_PATH_WRONG] = "wrong",
	};

	if (r->reg_error)
		return "refused";
	return r->test_error ? "untested" : names[r->attr.status];
}

static const char *way_text(uint32_t way)
{
	static const char *const texts[] = {
		[IBV_P2P_PATH_REMOTE_WRITE] = "an RDMA write to it",
		[IBV_P2P_PATH_REMOTE_READ] = "an RDMA read from it",
		[IBV_P2P_PATH_LOCAL_READ] = "an RDMA write out of it",
		[IBV_P2P_PATH_LOCAL_WRITE] = "an RDMA read into it",
		[IBV_P2P_PATH_CPU] = "a look at it with the CPU",
	};

	return way < sizeof(texts) / sizeof(*texts) && texts[way] ? texts[way] : "?";
}

static const char *way_key(uint32_t way)
{
	static const char *const keys[] = {
		[IBV_P2P_PATH_REMOTE_WRITE] = "remote_write",
		[IBV_P2P_PATH_REMOTE_READ] = "remote_read",
		[IBV_P2P_PATH_LOCAL_READ] = "local_read",
		[IBV_P2P_PATH_LOCAL_WRITE] = "local_write",
		[IBV_P2P_PATH_CPU] = "cpu",
	};

	return way < sizeof(keys) / sizeof(*keys) ? keys[way] : NULL;
}

static const char *why_device_refused(int error)
{
	switch (error) {
	case EFAULT:
		return "The kernel took it for pages of the host, and found none: it has "
		       "no way from a mapping of a device to this RDMA device.";
	case EPERM:
		return "The exporting device's side refuses: its driver has the BAR for "
		       "itself, or the export of BARs is off (pci.p2p_user_bars=0).";
	case EREMOTEIO:
		return "There is no path from this RDMA device to that memory, or none "
		       "that its DMA mask covers.";
	case EOPNOTSUPP:
		return "The RDMA device has no on-demand paging, which this takes.";
	case ENODEV:
		return "The exporting device was removed, or does not answer any more.";
	case ENOMEM:
		return "No memory, or no address space of the IOMMU's is left to map it.";
	default:
		return "";
	}
}

static const char *why_host_refused(int error)
{
	return error == ENOMEM ?
		       "The limit of locked memory may be too low (ulimit -l), or there "
		       "is no memory." :
		       "This is not about device memory: the RDMA device takes none at "
		       "all.";
}

static const char *why_untested(int error)
{
	return error == ENODEV ? "no port of it is active (ibv_devinfo -v shows why)" :
				 strerror(error);
}

/* One sentence or more. free() it. */
static char *result_text(const struct report *r)
{
	const struct ibv_p2p_path_attr *a = &r->attr;

	if (r->reg_error)
		return text_of("ibv_reg_mr failed: %s (%s).",
			       strerrorname_np(r->reg_error),
			       strerror(r->reg_error));
	if (r->test_error)
		return text_of("It registers, but there was nothing to try it with: %s.",
			       why_untested(r->test_error));
	switch (a->status) {
	case IBV_P2P_PATH_WORKS:
		return text_of("All bytes were right, both ways, as local and as remote "
			       "memory.");
	case IBV_P2P_PATH_FAILED:
		return text_of("It registers, but %s ended with: %s.", way_text(a->way),
			       ibv_wc_status_str(a->wc_status));
	case IBV_P2P_PATH_SILENT:
		return text_of("It registers, but %s did not end.", way_text(a->way));
	default:
		return text_of("It registers, and all transfers succeeded, but with %s "
			       "the byte at 0x%" PRIx64 " was not the one that had been "
			       "written. Do not use this path.", way_text(a->way),
			       a->wrong_at);
	}
}

static const char *why_refused(const struct report *r, const struct target *t)
{
	return t->function ? why_device_refused(r->reg_error) :
			     why_host_refused(r->reg_error);
}

/* ---- for people ---- */

static void print_rates(const struct ibv_p2p_path_attr *a)
{
	char text[SIZE_TEXT];

	if (!(a->comp_mask & IBV_P2P_PATH_RATES))
		return;
	printf("  from the memory  %s\n", rate_text(text, a->read_rate));
	printf("  to the memory    %s\n", rate_text(text, a->write_rate));
}

/* What is known of the path, and how to change it. */
static void print_pair(const struct report *r, const struct target *t)
{
	struct memory memory = memory_of(t->function, t->function->name);
	struct pairs pairs = pairs_one(r->inventory, r->nic, &memory);
	const struct pair *pair = &pairs.pairs[0];
	char *kernel = kernel_text(&pairs.kernel);
	struct advice advice;
	size_t i;

	printf("\n");
	print_paragraph("  kernel:  ", kernel);
	printf("  path:    %s%s, as %s\n", path_name(pair->path.kind),
	       pair->path.kind == PATH_HOST && pair->path.translated ? "+iommu" : "",
	       pair->told ? "the kernel says" : "sysfs looks");
	for (i = 0; i < pairs.nr_notes; i++) {
		advice = advice_of(&pairs.notes[i]);
		print_advice(i + 1 == pair->way_note ? "  way:     " : "           ",
			     &advice);
		advice_free(&advice);
	}
	free(kernel);
	pairs_free(&pairs);
}

static void print_text(const struct report *r, const struct target *t)
{
	const enum colour colour = r->attr.status == IBV_P2P_PATH_WORKS ? GREEN : RED;
	char *text = result_text(r), *what = target_text(t), *lead;
	const char *const why = r->reg_error ? why_refused(r, t) : "";

	printf("%s and %s: %s%s%s\n", r->nic->name, what, colour_on(colour),
	       status_name(r), colour_off(colour));
	lead = text_of("%s%s%s", text, *why ? " " : "", why);
	print_paragraph("  ", lead);
	print_rates(&r->attr);
	if (r->attr.lost)
		print_paragraph("  ", "What was there could not be restored.");
	if (r->reg_error && t->function)
		print_paragraph("  ", "The end of dmesg may say more.");
	if (r->attr.status != IBV_P2P_PATH_WORKS && t->function)
		print_pair(r, t);
	free(lead);
	free(text);
	free(what);
}

/* ---- for programs ---- */

static void add_target(struct json_object *to, const struct target *t)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "kind", t->function ? "pci_bar" : "host");
	json_add_text(object, "pci_address", t->function ? t->function->name : NULL);
	if (t->function) {
		json_add_number(object, "bar", t->bar);
		json_add_address(object, "offset", t->offset);
	}
	json_add_size(object, "length", t->length);
	json_object_object_add(to, "memory", object);
}

static void add_advice(struct json_object *to, const struct report *r,
		       const struct target *t)
{
	struct memory memory = memory_of(t->function, t->function->name);
	struct pairs pairs = pairs_one(r->inventory, r->nic, &memory);
	struct json_object *array = json_object_new_array(), *object;
	struct advice advice;
	size_t i;

	json_add_text(to, "path", path_name(pairs.pairs[0].path.kind));
	json_add_text(to, "path_source", source_name(pairs.pairs[0].told));
	for (i = 0; i < pairs.nr_notes; i++) {
		advice = advice_of(&pairs.notes[i]);
		object = json_object_new_object();
		advice_add_json(object, &advice);
		json_object_array_add(array, object);
		advice_free(&advice);
	}
	json_object_object_add(to, "advice", array);
	pairs_free(&pairs);
}

static void add_result(struct json_object *to, const struct ibv_p2p_path_attr *a)
{
	if (a->comp_mask & IBV_P2P_PATH_WAY)
		json_add_text(to, "way", way_key(a->way));
	if (a->comp_mask & IBV_P2P_PATH_WC_STATUS)
		json_add_text(to, "wc_status", ibv_wc_status_str(a->wc_status));
	if (a->comp_mask & IBV_P2P_PATH_WRONG_AT)
		json_add_address(to, "wrong_at", a->wrong_at);
	if (a->comp_mask & IBV_P2P_PATH_RATES) {
		json_add_size(to, "read_rate", a->read_rate);
		json_add_size(to, "write_rate", a->write_rate);
	}
	json_add_bool(to, "lost", a->lost);
}

static void print_json(const struct report *r, const struct target *t)
{
	const int error = r->reg_error ? r->reg_error : r->test_error;
	struct json_object *object = json_new();
	char *text = result_text(r);

	json_add_text(object, "rdma_device", r->nic->name);
	add_target(object, t);
	json_add_text(object, "status", status_name(r));
	json_add_text(object, "text", text);
	json_add_text(object, "errno", error ? strerrorname_np(error) : NULL);
	if (!error)
		add_result(object, &r->attr);
	if (t->function)
		add_advice(object, r, t);
	json_print(object);
	free(text);
}

void report_print(const struct report *report, const struct target *target)
{
	if (report->json)
		print_json(report, target);
	else
		print_text(report, target);
}
