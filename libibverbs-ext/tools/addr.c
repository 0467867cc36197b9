// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* What memory another process has mapped at an address. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../addr.h"
#include "p2pinfo.h"
#include "sysfs.h"
#include "table.h"

static const char *kind_text(uint32_t kind)
{
	static const char *const texts[] = {
		[IBV_P2P_KIND_HOST] = "memory of the host",
		[IBV_P2P_KIND_PCI_BAR] = "PCI BAR",
		[IBV_P2P_KIND_DRM] = "buffer of a GPU (DRM)",
		[IBV_P2P_KIND_DMABUF] = "dma-buf",
		[IBV_P2P_KIND_DEVICE] = "memory of another device",
	};

	return kind < sizeof(texts) / sizeof(*texts) && texts[kind] ? texts[kind] : "?";
}

static const char *kind_key(uint32_t kind)
{
	static const char *const keys[] = {
		[IBV_P2P_KIND_HOST] = "host", [IBV_P2P_KIND_PCI_BAR] = "pci_bar",
		[IBV_P2P_KIND_DRM] = "drm", [IBV_P2P_KIND_DMABUF] = "dmabuf",
		[IBV_P2P_KIND_DEVICE] = "device",
	};

	return kind < sizeof(keys) / sizeof(*keys) && keys[kind] ? keys[kind] : "unknown";
}

/* What it is an offset in. */
static const char *offset_in(const struct ibv_p2p_addr_attr *attr)
{
	switch (attr->kind) {
	case IBV_P2P_KIND_PCI_BAR:
		return "the BAR";
	case IBV_P2P_KIND_DMABUF:
		return "the dma-buf";
	default:
		return "the file";
	}
}

/* It exports only to whoever has the mapping, so it cannot be asked. */
static char *export_text(void)
{
	return text_of("%s", sysfs_exists("module/p2p_dmabuf") ?
		       "by p2p_dmabuf, if the exporter allows it" :
		       "none: the module p2p_dmabuf is not loaded (modprobe p2p_dmabuf)");
}

static void add_row(struct table *table, const char *name, char *value)
{
	table_add(table, BOLD, "%s", name);
	table_add(table, PLAIN, "%s", value);
	free(value);
}

static void print_answer(const char *pid, uint64_t addr,
			 const struct ibv_p2p_addr_attr *attr)
{
	const uint32_t has = attr->comp_mask;
	struct table table = table_new(2);
	char size[SIZE_TEXT];

	add_row(&table, "process", text_of("%s", pid));
	add_row(&table, "address", text_of("0x%" PRIx64, addr));
	add_row(&table, "kind", text_of("%s", kind_text(attr->kind)));
	if (has & IBV_P2P_ADDR_EXPORTER)
		add_row(&table, "exporter", text_of("%s", attr->exporter));
	if (has & IBV_P2P_ADDR_PCI)
		add_row(&table, "PCI address", text_of("%s", attr->pci_address));
	if (has & IBV_P2P_ADDR_BAR)
		add_row(&table, "BAR", text_of("%u", attr->bar));
	if (has & IBV_P2P_ADDR_OFFSET)
		add_row(&table, "offset", text_of("0x%" PRIx64 " in %s", attr->offset,
						  offset_in(attr)));
	add_row(&table, "mapping",
		text_of("0x%" PRIx64 " to 0x%" PRIx64 ", %s, %s%s%s", attr->map_addr,
			attr->map_addr + attr->map_length,
			size_text(size, attr->map_length),
			attr->map_prot & PROT_READ ? "read" : "",
			attr->map_prot == (PROT_READ | PROT_WRITE) ? " and " : "",
			attr->map_prot & PROT_WRITE ? "write" :
			attr->map_prot ? "" : "no access"));
	if (attr->kind != IBV_P2P_KIND_HOST)
		add_row(&table, "dma-buf", export_text());
	table_print(&table, 0, INT32_MAX);
}

static void add_or_null(struct json_object *to, bool has, const char *key,
			struct json_object *value)
{
	if (!has) {
		json_object_put(value);
		value = NULL;
	}
	json_object_object_add(to, key, value);
}

static void print_json(const char *pid, uint64_t addr,
		       const struct ibv_p2p_addr_attr *attr)
{
	struct json_object *object = json_new();
	const uint32_t has = attr->comp_mask;

	json_add_number(object, "pid", atoi(pid));
	json_add_address(object, "address", addr);
	json_add_text(object, "kind", kind_key(attr->kind));
	json_add_text(object, "exporter",
		      has & IBV_P2P_ADDR_EXPORTER ? attr->exporter : NULL);
	json_add_text(object, "pci_address",
		      has & IBV_P2P_ADDR_PCI ? attr->pci_address : NULL);
	add_or_null(object, has & IBV_P2P_ADDR_BAR, "bar",
		    json_object_new_int(attr->bar));
	if (has & IBV_P2P_ADDR_OFFSET)
		json_add_address(object, "offset", attr->offset);
	else
		json_object_object_add(object, "offset", NULL);
	json_add_address(object, "map_address", attr->map_addr);
	json_add_size(object, "map_length", attr->map_length);
	json_add_bool(object, "readable", attr->map_prot & PROT_READ);
	json_add_bool(object, "writable", attr->map_prot & PROT_WRITE);
	add_or_null(object, attr->kind != IBV_P2P_KIND_HOST, "p2p_dmabuf",
		    json_object_new_boolean(sysfs_exists("module/p2p_dmabuf")));
	json_print(object);
}

static void print_nothing(const struct options *options, const char *pid, uint64_t addr)
{
	struct json_object *object;

	if (!options->json) {
		complain("process %s has nothing mapped at 0x%" PRIx64
			 " (/proc/%s/maps lists what it has)", pid, addr, pid);
		return;
	}
	object = json_new();
	json_add_number(object, "pid", atoi(pid));
	json_add_address(object, "address", addr);
	json_add_text(object, "kind", NULL);
	json_print(object);
}

static void explain(const char *pid, int error)
{
	if (error == ENOENT || error == ESRCH)
		complain("there is no process %s", pid);
	else if (error == EACCES || error == EPERM)
		complain("cannot read /proc/%s/maps: %s. Only a process's own user and "
			 "root may, and only root if it runs set-user-ID, is not "
			 "dumpable or has more capabilities: run this as root", pid,
			 strerror(error));
	else
		complain("cannot read /proc/%s/maps: %s", pid, strerror(error));
}

/* maps show them without 0x, so as hexadecimal they are taken. */
static bool parse_address(const char *text, uint64_t *addr)
{
	char *end;

	errno = 0;
	*addr = strtoull(text, &end, 16);
	return end != text && !*end && !errno && *text != '-';
}

static bool is_pid(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

enum exit_status addr_command(const struct options *options, int argc, char **argv)
{
	struct ibv_p2p_addr_attr attr;
	char process[32];
	uint64_t addr;
	int ret;

	if (argc != 2 || !is_pid(argv[0]) || !parse_address(argv[1], &addr)) {
		complain("addr takes a PID and an address in hexadecimal, such as: "
			 "ibv_p2pinfo addr 4711 0x7f0012345000");
		return WRONG_USAGE;
	}
	snprintf(process, sizeof(process), "/proc/%s", argv[0]);
	ret = addr_query(process, addr, &attr);
	if (ret == EFAULT) {
		print_nothing(options, argv[0], addr);
		return ANSWER_NO;
	}
	if (ret) {
		explain(argv[0], ret);
		return NO_ANSWER;
	}
	if (options->json)
		print_json(argv[0], addr, &attr);
	else
		print_answer(argv[0], addr, &attr);
	return ANSWER_YES;
}
