// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of Intel's GPUs, by Level Zero, where memory is of a context, and nobody tells
 * which one. Intel's drivers find it by any context of theirs, which the specification
 * does not ask for; others may not. The dma-buf is that of a whole allocation.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "kind.h"

/* ze_result_t */
enum {
	RESULT_SUCCESS = 0,
	RESULT_UNINITIALIZED = 0x78000001,
	RESULT_UNSUPPORTED_FEATURE = 0x78000003,
	RESULT_INVALID_ARGUMENT = 0x78000004,
};

/* ze_structure_type_t */
enum {
	STRUCTURE_CONTEXT_DESC = 0xd,
	STRUCTURE_MEMORY_ALLOCATION_PROPERTIES = 0x17,
	STRUCTURE_EXTERNAL_MEMORY_EXPORT_FD = 0x1a,
	STRUCTURE_PCI_EXT_PROPERTIES = 0x10008,
};

/* ze_memory_type_t */
enum {
	MEMORY_DEVICE = 2,
	MEMORY_SHARED = 3,
};

enum {
	EXTERNAL_MEMORY_DMA_BUF = 1 << 1,	/* ze_external_memory_type_flags_t */
	DRIVERS_MAX = 16,
};

/* ze_context_desc_t */
struct context_desc {
	int structure;
	const void *next;
	uint32_t flags;
};

/* ze_memory_allocation_properties_t */
struct memory_properties {
	int structure;
	void *next;
	int type;
	uint64_t id;
	uint64_t page_size;
};

/* ze_external_memory_export_fd_t */
struct export_fd {
	int structure;
	const void *next;
	uint32_t flags;
	int fd;
};

/* ze_pci_ext_properties_t */
struct pci_properties {
	int structure;
	void *next;
	uint32_t domain, bus, device, function;
	int32_t generation, width;
	int64_t bandwidth;
};

/* ze_result_t is an enumeration, and handles are pointers. */
struct ze {
	int (*drivers)(uint32_t *count, void **drivers);
	void *(*default_context)(void *driver);
	int (*create_context)(void *driver, const struct context_desc *desc,
			      void **context);
	int (*destroy_context)(void *context);
	int (*properties)(void *context, const void *ptr, struct memory_properties *p,
			  void **device);
	int (*range)(void *context, const void *ptr, void **base, size_t *size);
	int (*pci)(void *device, struct pci_properties *pci);
};

#define NEEDS "Level Zero 1.0"
#define FUNCTION(field, name, since) { name, offsetof(struct ze, field), since }

static const struct kind_function functions[] = {
	FUNCTION(drivers, "zeDriverGet", NEEDS),
	FUNCTION(default_context, "zeDriverGetDefaultContext", NULL),
	FUNCTION(create_context, "zeContextCreate", NEEDS),
	FUNCTION(destroy_context, "zeContextDestroy", NEEDS),
	FUNCTION(properties, "zeMemGetAllocProperties", NEEDS),
	FUNCTION(range, "zeMemGetAddressRange", NEEDS),
	FUNCTION(pci, "zeDevicePciGetPropertiesExt", NULL),
	{},
};

struct allocation {
	void *context;
	bool own;		/* the context is to be destroyed */
	void *device;
	int type;
	uint64_t id;
	uint64_t start;
	size_t size;
};

static int failed(const char *what, int result, struct memory_why *why)
{
	why_say(why, "%s: error %#x", what, result);
	return EIO;
}

static void leave(const struct ze *ze, const struct allocation *a)
{
	if (a->own)
		ze->destroy_context(a->context);
}

static int enter(const struct ze *ze, void *driver, struct allocation *a,
		 struct memory_why *why)
{
	static const struct context_desc desc = { .structure = STRUCTURE_CONTEXT_DESC };
	int result;

	*a = (struct allocation){};
	if (ze->default_context)
		a->context = ze->default_context(driver);
	if (a->context)
		return 0;
	result = ze->create_context(driver, &desc, &a->context);
	if (result)
		return failed("zeContextCreate", result, why);
	a->own = true;
	return 0;
}

/* What has no allocation there has the type 0. */
static int look(const struct ze *ze, uint64_t addr, struct allocation *a)
{
	struct memory_properties p = {
		.structure = STRUCTURE_MEMORY_ALLOCATION_PROPERTIES,
	};
	int result;

	result = ze->properties(a->context, (const void *)addr, &p, &a->device);
	a->type = p.type;
	a->id = p.id;
	return result;
}

/* Drivers that have no memory of this sort, such as an NPU's, need not know the calls. */
static int find_in(const struct ze *ze, void *driver, uint64_t addr,
		   struct allocation *a, struct memory_why *why)
{
	void *base;
	int result, ret;

	ret = enter(ze, driver, a, why);
	if (ret)
		return ret;
	result = look(ze, addr, a);
	switch (result) {
	case RESULT_SUCCESS:
		ret = a->type == MEMORY_DEVICE || a->type == MEMORY_SHARED ? 0 : ENOENT;
		break;
	case RESULT_UNINITIALIZED:
	case RESULT_UNSUPPORTED_FEATURE:
	case RESULT_INVALID_ARGUMENT:
		ret = ENOENT;
		break;
	default:
		ret = failed("zeMemGetAllocProperties", result, why);
	}
	if (!ret) {
		result = ze->range(a->context, (const void *)addr, &base, &a->size);
		a->start = (uintptr_t)base;
		if (result)
			ret = failed("zeMemGetAddressRange", result, why);
	}
	if (ret)
		leave(ze, a);
	return ret;
}

/* If it succeeds, leave() has to follow. */
static int find(const struct ze *ze, uint64_t addr, struct allocation *a,
		struct memory_why *why)
{
	void *drivers[DRIVERS_MAX];
	uint32_t count = DRIVERS_MAX, i;
	int ret = ENOENT, result, found;

	result = ze->drivers(&count, drivers);
	if (result == RESULT_UNINITIALIZED)
		return ENOENT;
	if (result)
		return failed("zeDriverGet", result, why);
	for (i = 0; i < count; i++) {
		found = find_in(ze, drivers[i], addr, a, why);
		if (!found)
			return 0;
		if (found != ENOENT)
			ret = found;
	}
	return ret;
}

static int ask_fd(const struct ze *ze, const struct allocation *a, uint64_t addr,
		  int *fd, struct memory_why *why)
{
	struct export_fd export = {
		.structure = STRUCTURE_EXTERNAL_MEMORY_EXPORT_FD,
		.flags = EXTERNAL_MEMORY_DMA_BUF,
		.fd = -1,
	};
	struct memory_properties p = {
		.structure = STRUCTURE_MEMORY_ALLOCATION_PROPERTIES,
		.next = &export,
	};
	void *device;
	int result;

	result = ze->properties(a->context, (const void *)addr, &p, &device);
	if (!result && export.fd >= 0) {
		*fd = export.fd;
		return 0;
	}
	failed("zeMemGetAllocProperties gives no dma-buf", result, why);
	return result == RESULT_UNSUPPORTED_FEATURE || !result ? EOPNOTSUPP : EIO;
}

/*
 * Drivers keep the descriptor that they give, and close it with the allocation; up to
 * 2022 Intel's gave a new one each time, to close. Two calls tell which.
 */
static int get_fd(const struct ze *ze, const struct allocation *a, uint64_t addr,
		  int *own, struct memory_why *why)
{
	int first, second, ret;

	ret = ask_fd(ze, a, addr, &first, why);
	if (ret)
		return ret;
	if (ask_fd(ze, a, addr, &second, why))
		second = first;
	*own = fcntl(first, F_DUPFD_CLOEXEC, 0);
	if (*own < 0) {
		ret = errno;
		why_say(why, "no descriptor for the dma-buf: %s", strerror(ret));
	}
	if (second != first) {
		close(first);
		close(second);
	}
	return ret;
}

/*
 * A small allocation may be a part of one that the driver made for many. The dma-buf, of
 * size bytes, is of that one, and begins where the addresses begin that have its id.
 */
static uint64_t dmabuf_start(const struct ze *ze, const struct allocation *a,
			     uint64_t size)
{
	uint64_t in = a->start, out = in > size ? in - size : 0, at = in - 1;
	struct allocation there = *a;

	while (a->id && out < in) {
		if (!look(ze, at, &there) && there.type == a->type && there.id == a->id)
			in = at;
		else
			out = at + 1;
		at = out + (in - out) / 2;
	}
	return in;
}

static int check_dmabuf(const struct ze *ze, const struct allocation *a, uint64_t addr,
			size_t length, struct memory_dmabuf *dmabuf,
			struct memory_why *why)
{
	const off_t size = lseek(dmabuf->fd, 0, SEEK_END);

	if (size < 0) {
		why_say(why, "the dma-buf has no size: %m");
		return EIO;
	}
	dmabuf->offset = addr - dmabuf_start(ze, a, size);
	if (dmabuf->offset + length <= (uint64_t)size)
		return 0;
	why_say(why, "the dma-buf has only %jd bytes: is the memory over several tiles?",
		(intmax_t)size);
	return EOPNOTSUPP;
}

static int export_found(const struct ze *ze, const struct allocation *a, uint64_t addr,
			size_t length, struct memory_dmabuf *dmabuf,
			struct memory_why *why)
{
	struct memory_dmabuf got;
	int ret;

	if (a->type == MEMORY_SHARED) {
		why_say(why, "shared memory (zeMemAllocShared) moves between host and "
			"GPU, and has no dma-buf: use zeMemAllocDevice");
		return EOPNOTSUPP;
	}
	ret = kind_check_range(addr, length, a->start, a->size, why);
	if (!ret)
		ret = get_fd(ze, a, addr, &got.fd, why);
	if (ret)
		return ret;
	ret = check_dmabuf(ze, a, addr, length, &got, why);
	if (ret)
		close(got.fd);
	else
		*dmabuf = got;
	return ret;
}

static int ze_export(void *library, uint64_t addr, size_t length,
		     struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	struct allocation a;
	struct ze ze;
	int ret;

	ret = kind_load(library, functions, &ze, why);
	if (!ret)
		ret = find(&ze, addr, &a, why);
	if (ret)
		return ret;
	ret = export_found(&ze, &a, addr, length, dmabuf, why);
	leave(&ze, &a);
	return ret;
}

static void fill_device(const struct ze *ze, void *device,
			struct ibv_p2p_addr_attr *attr)
{
	struct pci_properties p = { .structure = STRUCTURE_PCI_EXT_PROPERTIES };
	struct kind_pci pci;

	if (!device || !ze->pci || ze->pci(device, &p))
		return;
	pci = (struct kind_pci){ p.domain, p.bus, p.device, p.function };
	kind_fill_pci(attr, &pci);
}

static int ze_query(void *library, uint64_t addr, struct ibv_p2p_addr_attr *attr)
{
	struct memory_why why;
	struct allocation a;
	struct ze ze;

	if (kind_load(library, functions, &ze, &why) || find(&ze, addr, &a, &why))
		return ENOENT;
	kind_fill(attr, IBV_P2P_KIND_ZE, addr, a.start, a.size);
	fill_device(&ze, a.device, attr);
	leave(&ze, &a);
	return 0;
}

const struct memory_kind memory_ze = {
	.name = "ze",
	.soname = "libze_loader.so.1",
	.export = ze_export,
	.query = ze_query,
};
