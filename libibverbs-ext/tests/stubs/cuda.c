// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * A libcuda.so.1 with two GPUs. It is stricter than the real one: a dma-buf needs a
 * context of the memory's GPU. With STUB_OLD it is one that had no dma-bufs yet.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stub.h"

enum {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	INVALID_DEVICE = 101,
	INVALID_CONTEXT = 201,
	NOT_SUPPORTED = 801,
};

enum { GPUS = 2, DEPTH = 8, SMALLEST = 512, INVALID = -2 };

/* Of an allocation. */
enum { PLAIN, MANAGED, POOL, RESERVED, HOST };

struct context {
	int device;
};

/* CUmemAllocationProp */
struct properties {
	int type, handle_types, location_type, location_id;
	void *windows;
	uint8_t compression, rdma;
	uint16_t usage;
	uint8_t reserved[4];
};

struct physical {
	size_t size;
	int device, rdma;
};

static bool initialized, no_dmabufs;
static struct stub_allocation *hosts;
static struct context primaries[GPUS] = { { 0 }, { 1 } };
static int retained[GPUS];
static char pci[GPUS][32] = { "0000:3B:00.0", "0000:AF:00.0" };

static __thread struct context *stack[DEPTH];
static __thread unsigned int depth;

static int begin(const char *name)
{
	int result;

	pthread_mutex_lock(&stub_lock);
	result = stub_called(name);
	if (!result && (!initialized || stub_forked()))
		result = NOT_INITIALIZED;
	return result;
}

static int end(int result)
{
	pthread_mutex_unlock(&stub_lock);
	return result;
}

static struct context *current(void)
{
	return depth ? stack[depth - 1] : NULL;
}

/* What was pushed and not popped in this thread, and what is retained at all. */
STUB_EXPORT(unsigned int, stub_cuda_pushed, void)
{
	return depth;
}

STUB_EXPORT(int, stub_cuda_retained, void)
{
	return retained[0] + retained[1];
}

STUB_EXPORT(void, stub_cuda_no_dmabufs, bool no)
{
	no_dmabufs = no;
}

STUB_EXPORT(void, stub_cuda_set_pci, const char *address)
{
	snprintf(pci[0], sizeof(pci[0]), "%s", address);
}

STUB_EXPORT(int, cuInit, unsigned int flags)
{
	(void)flags;
	initialized = true;
	return SUCCESS;
}

STUB_EXPORT(int, cuGetErrorName, int result, const char **name)
{
	switch (result) {
	case INVALID_VALUE:
		*name = "CUDA_ERROR_INVALID_VALUE";
		return SUCCESS;
	case INVALID_CONTEXT:
		*name = "CUDA_ERROR_INVALID_CONTEXT";
		return SUCCESS;
	default:
		return INVALID_VALUE;
	}
}

STUB_EXPORT(int, cuDeviceGetAttribute, int *value, int attribute, int device)
{
	int result = begin(__func__);

	if (!result && (unsigned int)device >= GPUS)
		result = INVALID_DEVICE;
	if (!result && attribute != 124)
		result = INVALID_VALUE;
	if (!result)
		*value = !no_dmabufs;
	return end(result);
}

STUB_EXPORT(int, cuDeviceGetPCIBusId, char *id, int len, int device)
{
	int result = begin(__func__);

	if (!result)
		snprintf(id, len, "%s", pci[device]);
	return end(result);
}

STUB_EXPORT(int, cuCtxCreate_v2, struct context **context, unsigned int flags, int device)
{
	int result = begin(__func__);

	(void)flags;
	if (!result) {
		*context = calloc(1, sizeof(**context));
		(*context)->device = device;
		stack[depth++] = *context;
	}
	return end(result);
}

STUB_EXPORT(int, cuCtxDestroy_v2, struct context *context)
{
	int result = begin(__func__);

	if (!result && depth && current() == context)
		depth--;
	if (!result)
		free(context);
	return end(result);
}

STUB_EXPORT(int, cuCtxGetCurrent, struct context **context)
{
	int result = begin(__func__);

	if (!result)
		*context = current();
	return end(result);
}

STUB_EXPORT(int, cuCtxGetDevice, int *device)
{
	int result = begin(__func__);

	if (!result && !depth)
		result = INVALID_CONTEXT;
	if (!result)
		*device = current()->device;
	return end(result);
}

STUB_EXPORT(int, cuCtxPushCurrent_v2, struct context *context)
{
	int result = begin(__func__);

	if (!result && !context)
		result = INVALID_CONTEXT;
	if (!result)
		stack[depth++] = context;
	return end(result);
}

STUB_EXPORT(int, cuCtxPopCurrent_v2, struct context **context)
{
	int result = begin(__func__);

	if (!result && !depth)
		result = INVALID_CONTEXT;
	if (!result)
		*context = stack[--depth];
	return end(result);
}

STUB_EXPORT(int, cuDevicePrimaryCtxRetain, struct context **context, int device)
{
	int result = begin(__func__);

	if (!result && (unsigned int)device >= GPUS)
		result = INVALID_DEVICE;
	if (!result) {
		retained[device]++;
		*context = &primaries[device];
	}
	return end(result);
}

STUB_EXPORT(int, cuDevicePrimaryCtxRelease_v2, int device)
{
	int result = begin(__func__);

	if (!result && !retained[device])
		stub_misuse("a primary context released that is not retained");
	else if (!result)
		retained[device]--;
	return end(result);
}

static int allocate(const char *name, uint64_t *ptr, size_t size, size_t align, int type)
{
	int result = begin(name);
	struct stub_allocation *a;

	if (!result && !depth)
		result = INVALID_CONTEXT;
	if (!result) {
		a = stub_allocate(size, align, 0);
		if (!a)
			return end(OUT_OF_MEMORY);
		a->type = type;
		a->device = current()->device;
		a->owner = type == PLAIN || type == MANAGED ? current() : NULL;
		*ptr = a->start;
	}
	return end(result);
}

static int give_back(const char *name, uint64_t ptr)
{
	int result = begin(name);
	struct stub_allocation *a;

	if (!result) {
		a = stub_find(stub_allocations, ptr);
		if (!a || a->start != ptr)
			return end(INVALID_VALUE);
		stub_free(a);
	}
	return end(result);
}

STUB_EXPORT(int, cuMemAlloc_v2, uint64_t *ptr, size_t size)
{
	return allocate(__func__, ptr, size, SMALLEST, PLAIN);
}

STUB_EXPORT(int, cuMemAllocManaged, uint64_t *ptr, size_t size, unsigned int flags)
{
	(void)flags;
	return allocate(__func__, ptr, size, STUB_PAGE, MANAGED);
}

STUB_EXPORT(int, cuMemAllocAsync, uint64_t *ptr, size_t size, void *stream)
{
	(void)stream;
	return allocate(__func__, ptr, size, STUB_PAGE, POOL);
}

STUB_EXPORT(int, cuMemFree_v2, uint64_t ptr)
{
	return give_back(__func__, ptr);
}

STUB_EXPORT(int, cuMemAllocHost_v2, void **ptr, size_t size)
{
	struct stub_allocation *a = calloc(1, sizeof(*a));
	int result = begin(__func__);

	a->start = (uintptr_t)malloc(size);
	a->size = size;
	a->type = HOST;
	stub_insert(&hosts, a);
	*ptr = (void *)a->start;
	return end(result);
}

STUB_EXPORT(int, cuMemFreeHost, void *ptr)
{
	int result = begin(__func__);
	struct stub_allocation *a = stub_find(hosts, (uintptr_t)ptr);

	if (!a)
		return end(INVALID_VALUE);
	stub_remove(&hosts, a);
	free(a);
	free(ptr);
	return end(result);
}

STUB_EXPORT(int, cuMemAddressReserve, uint64_t *ptr, size_t size, size_t align,
	    uint64_t addr, unsigned long long flags)
{
	(void)align;
	(void)addr;
	(void)flags;
	return allocate(__func__, ptr, size, STUB_PAGE, RESERVED);
}

STUB_EXPORT(int, cuMemAddressFree, uint64_t ptr, size_t size)
{
	(void)size;
	return give_back(__func__, ptr);
}

STUB_EXPORT(int, cuMemCreate, struct physical **handle, size_t size,
	    const struct properties *p, unsigned long long flags)
{
	int result = begin(__func__);

	(void)flags;
	if (!result) {
		*handle = calloc(1, sizeof(**handle));
		**handle = (struct physical){ size, p->location_id, p->rdma };
	}
	return end(result);
}

STUB_EXPORT(int, cuMemRelease, struct physical *handle)
{
	int result = begin(__func__);

	free(handle);
	return end(result);
}

STUB_EXPORT(int, cuMemMap, uint64_t ptr, size_t size, size_t offset,
	    struct physical *handle, unsigned long long flags)
{
	int result = begin(__func__);
	struct stub_allocation *a = stub_find(stub_allocations, ptr), *part;

	(void)flags;
	if (!result && (!a || a->type != RESERVED || offset || size > handle->size ||
			stub_find(a->parts, ptr)))
		result = INVALID_VALUE;
	if (!result) {
		part = calloc(1, sizeof(*part));
		part->start = ptr;
		part->size = size;
		part->device = handle->device;
		part->flag = handle->rdma;
		stub_insert(&a->parts, part);
	}
	return end(result);
}

STUB_EXPORT(int, cuMemUnmap, uint64_t ptr, size_t size)
{
	int result = begin(__func__);
	struct stub_allocation *a = stub_find(stub_allocations, ptr), *part;

	(void)size;
	part = a ? stub_find(a->parts, ptr) : NULL;
	if (!part)
		return end(INVALID_VALUE);
	stub_remove(&a->parts, part);
	free(part);
	return end(result);
}

static int attribute_get(int attribute, void *data, uint64_t ptr)
{
	const struct stub_allocation *a = stub_find(stub_allocations, ptr), *part = a;

	if (!a)
		a = part = stub_find(hosts, ptr);
	if (a && a->type == RESERVED)
		part = stub_find(a->parts, ptr);
	switch (attribute) {
	case 1:
		*(void **)data = a ? a->owner : NULL;
		return SUCCESS;
	case 2:
		*(unsigned int *)data = !part ? 0 : a->type == HOST ? 1 : 2;
		return SUCCESS;
	case 8:
		*(unsigned int *)data = a && a->type == MANAGED;
		return SUCCESS;
	case 9:
		*(int *)data = part ? part->device : INVALID;
		return SUCCESS;
	case 11:
		*(uint64_t *)data = a ? a->start : 0;
		return SUCCESS;
	case 12:
		*(size_t *)data = a ? a->size : 0;
		return SUCCESS;
	case 13:
		*(int *)data = !!part;
		return SUCCESS;
	case 15:
		*(int *)data = part && (a->type != RESERVED || part->flag);
		return SUCCESS;
	case 17:
		*(void **)data = a && a->type == POOL ? &hosts : NULL;
		return SUCCESS;
	case 18:
		*(size_t *)data = part ? part->size : 0;
		return SUCCESS;
	case 19:
		*(uint64_t *)data = part ? part->start : 0;
		return SUCCESS;
	default:
		return INVALID_VALUE;
	}
}

STUB_EXPORT(int, cuPointerGetAttributes, unsigned int count, const int *attributes,
	    void **data, uint64_t ptr)
{
	int result = begin(__func__);
	unsigned int i;

	for (i = 0; i < count && !result; i++)
		result = attribute_get(attributes[i], data[i], ptr);
	return end(result);
}

#ifndef STUB_OLD

/* All of it is of one allocation, but for the rest of its first and last page. */
static int check_range(uint64_t ptr, size_t size)
{
	const uint64_t page = STUB_PAGE;
	const struct stub_allocation *a, *part;
	uint64_t at;

	for (a = stub_allocations; a; a = a->next)
		if (ptr >= (a->start & -page) &&
		    ptr + size <= ((a->start + a->size + page - 1) & -page))
			break;
	if (!a || a->type == MANAGED || a->type == POOL)
		return INVALID_VALUE;
	if (!depth || current()->device != (a->parts ? a->parts : a)->device) {
		stub_misuse("a dma-buf without a context of its GPU");
		return INVALID_CONTEXT;
	}
	for (at = ptr; a->type == RESERVED && at < ptr + size; at += page) {
		part = stub_find(a->parts, at);
		if (!part || !part->flag)
			return INVALID_VALUE;
	}
	return SUCCESS;
}

STUB_EXPORT(int, cuMemGetHandleForAddressRange, int *fd, uint64_t ptr, size_t size,
	    int type, unsigned long long flags)
{
	int result = begin(__func__);

	if (ptr % STUB_PAGE || size % STUB_PAGE)
		stub_misuse("a dma-buf of parts of pages");
	if (!result && (type != 1 || flags || !size))
		result = INVALID_VALUE;
	if (!result && no_dmabufs)
		result = NOT_SUPPORTED;
	if (!result)
		result = check_range(ptr, size);
	if (!result) {
		*fd = stub_dmabuf(ptr, size);
		if (*fd < 0)
			result = OUT_OF_MEMORY;
	}
	return end(result);
}

#endif
