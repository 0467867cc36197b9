// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * A libze_loader.so.1 with two drivers, an NPU's without memory and one of two GPUs. As
 * in Intel's driver, memory is found by any context of the driver, small allocations are
 * parts of a larger one, and an allocation has one descriptor, which is closed with it.
 * With STUB_OLD it is from before all that: there is no default context either, and each
 * descriptor is a new one.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stub.h"

enum {
	SUCCESS = 0,
	OUT_OF_DEVICE_MEMORY = 0x70000003,
	UNINITIALIZED = 0x78000001,
	UNSUPPORTED_FEATURE = 0x78000003,
	INVALID_ARGUMENT = 0x78000004,
	ADDRESS_NOT_FOUND = 0x78000021,
};

/* An allocation's type, as ze_memory_type_t; and what many are parts of. */
enum { UNKNOWN, HOST, DEVICE, SHARED, POOL };

enum { POOL_SIZE = 2 << 20, POOLED = 64 << 10, PART_ALIGN = 512 };

struct driver {
	int gpu;
};

struct context {
	struct driver *driver;
};

struct device {
	uint32_t bus;
};

/* What all descriptions begin with. */
struct description {
	int structure;
	void *next;
};

struct properties {
	int structure;
	void *next;
	int type;
	uint64_t id, page_size;
};

struct export_fd {
	int structure;
	const void *next;
	uint32_t flags;
	int fd;
};

struct pci_properties {
	int structure;
	void *next;
	uint32_t domain, bus, device, function;
	int32_t generation, width;
	int64_t bandwidth;
};

static struct driver drivers[] = { { 0 }, { 1 } };
static struct context defaults[] = { { &drivers[0] }, { &drivers[1] } };
static struct device devices[] = { { 0x1d }, { 0x9a } };
static bool initialized, tiles;
static unsigned int contexts;
static unsigned int ids;

static int begin(const char *name)
{
	int result;

	pthread_mutex_lock(&stub_lock);
	result = stub_called(name);
	return result ? result : initialized && !stub_forked() ? SUCCESS : UNINITIALIZED;
}

static int end(int result)
{
	pthread_mutex_unlock(&stub_lock);
	return result;
}

/* How many were made and not destroyed. */
STUB_EXPORT(unsigned int, stub_ze_contexts, void)
{
	return contexts;
}

/* A dma-buf has the first half of an allocation only. */
STUB_EXPORT(void, stub_ze_tiles, bool on)
{
	tiles = on;
}

STUB_EXPORT(int, zeInit, uint32_t flags)
{
	(void)flags;
	initialized = true;
	return SUCCESS;
}

STUB_EXPORT(int, zeDriverGet, uint32_t *count, struct driver **all)
{
	int result = begin(__func__);
	uint32_t i;

	if (!result && (!*count || *count > 2))
		*count = 2;
	for (i = 0; !result && all && i < *count; i++)
		all[i] = &drivers[i];
	return end(result);
}

STUB_EXPORT(int, zeDeviceGet, struct driver *driver, uint32_t *count, struct device **all)
{
	int result = begin(__func__);
	uint32_t i;

	if (!result && (!*count || *count > 2))
		*count = driver->gpu ? 2 : 0;
	for (i = 0; !result && all && i < *count; i++)
		all[i] = &devices[i];
	return end(result);
}

#ifndef STUB_OLD
STUB_EXPORT(struct context *, zeDriverGetDefaultContext, struct driver *driver)
{
	int result = end(begin(__func__));

	return result ? NULL : &defaults[driver - drivers];
}

STUB_EXPORT(int, zeDevicePciGetPropertiesExt, struct device *device,
	    struct pci_properties *p)
{
	int result = begin(__func__);

	if (!result && p->structure != 0x10008)
		result = INVALID_ARGUMENT;
	if (!result) {
		p->domain = 0;
		p->bus = device->bus;
		p->device = p->function = 0;
	}
	return end(result);
}
#endif

STUB_EXPORT(int, zeContextCreate, struct driver *driver, const struct description *desc,
	    struct context **context)
{
	int result = begin(__func__);

	if (!result && desc->structure != 0xd)
		result = INVALID_ARGUMENT;
	if (!result) {
		*context = calloc(1, sizeof(**context));
		(*context)->driver = driver;
		contexts++;
	}
	return end(result);
}

STUB_EXPORT(int, zeContextDestroy, struct context *context)
{
	int result = begin(__func__);

	if (context == &defaults[0] || context == &defaults[1])
		stub_misuse("a default context destroyed");
	contexts--;
	free(context);
	return end(result);
}

static struct stub_allocation *allocate(size_t size, int type, struct device *device)
{
	struct stub_allocation *a = stub_allocate(size, STUB_PAGE, 0);

	if (a) {
		a->type = type;
		a->owner = device;
		a->flag = ++ids;
	}
	return a;
}

/* The part after all others, in the first pool that has room. */
static struct stub_allocation *allocate_part(size_t size, struct device *device)
{
	struct stub_allocation *a, *part;
	uint64_t at;

	for (a = stub_allocations; a; a = a->next) {
		if (a->type != POOL || a->owner != device)
			continue;
		at = a->start;
		for (part = a->parts; part; part = part->next)
			at = (part->start + part->size + PART_ALIGN - 1) & -PART_ALIGN;
		if (at + size <= a->start + a->size)
			break;
	}
	if (!a) {
		a = allocate(POOL_SIZE, POOL, device);
		at = a->start;
	}
	part = calloc(1, sizeof(*part));
	part->start = at;
	part->size = size;
	stub_insert(&a->parts, part);
	return part;
}

STUB_EXPORT(int, zeMemAllocDevice, struct context *context,
	    const struct description *desc, size_t size, size_t align,
	    struct device *device, void **ptr)
{
	int result = begin(__func__);
	struct stub_allocation *a;
	bool pooled = size <= POOLED && !desc->next;

	(void)context;
	(void)align;
	if (result)
		return end(result);
#ifdef STUB_OLD
	pooled = false;
#endif
	a = pooled ? allocate_part(size, device) : allocate(size, DEVICE, device);
	if (!a)
		return end(OUT_OF_DEVICE_MEMORY);
	*ptr = (void *)a->start;
	return end(SUCCESS);
}

STUB_EXPORT(int, zeMemAllocShared, struct context *context,
	    const struct description *desc, const struct description *host, size_t size,
	    size_t align, struct device *device, void **ptr)
{
	int result = begin(__func__);

	(void)context;
	(void)desc;
	(void)host;
	(void)align;
	if (!result)
		*ptr = (void *)allocate(size, SHARED, device)->start;
	return end(result);
}

STUB_EXPORT(int, zeMemAllocHost, struct context *context, const struct description *desc,
	    size_t size, size_t align, void **ptr)
{
	int result = begin(__func__);

	(void)context;
	(void)desc;
	(void)align;
	if (!result)
		*ptr = (void *)allocate(size, HOST, NULL)->start;
	return end(result);
}

STUB_EXPORT(int, zeMemFree, struct context *context, void *ptr)
{
	int result = begin(__func__);
	struct stub_allocation *a = stub_find(stub_allocations, (uintptr_t)ptr), *part;

	(void)context;
	if (!a)
		return end(INVALID_ARGUMENT);
	if (a->type == POOL) {
		part = stub_find(a->parts, (uintptr_t)ptr);
		stub_remove(&a->parts, part);
		free(part);
	}
	if (!a->parts)
		stub_free(a);
	return end(result);
}

static int fill_fd(struct stub_allocation *a, struct export_fd *export)
{
	size_t size = (a->size + STUB_PAGE - 1) & -STUB_PAGE;

	if (export->structure != 0x1a || export->flags != 2)
		return INVALID_ARGUMENT;
	if (a->type == SHARED)
		return UNSUPPORTED_FEATURE;
	export->fd = a->fd;
	if (export->fd < 0)
		export->fd = stub_dmabuf(a->start, tiles ? size / 2 : size);
#ifndef STUB_OLD
	a->fd = export->fd;
#endif
	return export->fd < 0 ? OUT_OF_DEVICE_MEMORY : SUCCESS;
}

STUB_EXPORT(int, zeMemGetAllocProperties, struct context *context, const void *ptr,
	    struct properties *p, struct device **device)
{
	struct stub_allocation *a = NULL;
	int result = begin(__func__);

	if (!result && p->structure != 0x17)
		result = INVALID_ARGUMENT;
	if (!result && !context->driver->gpu)
		result = UNSUPPORTED_FEATURE;
	if (!result)
		a = stub_find(stub_allocations, (uintptr_t)ptr);
	p->type = a ? a->type == POOL ? DEVICE : a->type : UNKNOWN;
	if (!a)
		return end(result);
	p->id = a->flag;
	p->page_size = STUB_PAGE;
	*device = a->owner;
	return end(p->next ? fill_fd(a, p->next) : SUCCESS);
}

STUB_EXPORT(int, zeMemGetAddressRange, struct context *context, const void *ptr,
	    void **base, size_t *size)
{
	int result = begin(__func__);
	struct stub_allocation *a = stub_find(stub_allocations, (uintptr_t)ptr);

	(void)context;
	if (a && a->type == POOL)
		a = stub_find(a->parts, (uintptr_t)ptr);
	if (!result && !a)
		result = ADDRESS_NOT_FOUND;
	if (!result) {
		*base = (void *)a->start;
		*size = a->size;
	}
	return end(result);
}
