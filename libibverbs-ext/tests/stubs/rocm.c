// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * A libhsa-runtime64.so.1 with a CPU and two GPUs. Each allocation is a part of a block
 * that begins a page before it, and the dma-buf is of the block. With STUB_OLD there are
 * no dma-bufs yet.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stub.h"

enum {
	SUCCESS = 0,
	INVALID_ARGUMENT = 0x1001,
	INVALID_ALLOCATION = 0x1003,
	INVALID_AGENT = 0x1004,
	OUT_OF_RESOURCES = 0x1008,
	RESOURCE_FREE = 0x100a,
	NOT_INITIALIZED = 0x100b,
};

/* The handles of agents, and of their pools of memory. */
enum { CPU = 1, GPU0, GPU1 };

/* An allocation's type, as hsa_amd_pointer_type_t. */
enum { UNKNOWN = 0, HSA = 1 };

struct handle {
	uint64_t handle;
};

struct pointer_info {
	uint32_t size, type;
	uint64_t agent_base, host_base;
	size_t length;
	void *user;
	struct handle owner;
	uint32_t flags;
};

static unsigned int references, given;
static bool no_dmabufs;

static int begin(const char *name)
{
	int result;

	pthread_mutex_lock(&stub_lock);
	result = stub_called(name);
	return result ? result : references ? SUCCESS : NOT_INITIALIZED;
}

static int end(int result)
{
	pthread_mutex_unlock(&stub_lock);
	return result;
}

STUB_EXPORT(void, stub_rocm_no_dmabufs, bool no)
{
	no_dmabufs = no;
}

/* Descriptors that were not given back to hsa_amd_portable_close_dmabuf(). */
STUB_EXPORT(unsigned int, stub_rocm_given, void)
{
	return given;
}

/* As if it had been allocated in another way. */
STUB_EXPORT(void, stub_rocm_set_type, uint64_t addr, int type)
{
	stub_find(stub_allocations, addr)->type = type;
}

STUB_EXPORT(int, hsa_init, void)
{
	references++;
	return SUCCESS;
}

STUB_EXPORT(int, hsa_shut_down, void)
{
	references--;
	return SUCCESS;
}

STUB_EXPORT(int, hsa_status_string, int status, const char **string)
{
	if (status == OUT_OF_RESOURCES)
		*string = "HSA_STATUS_ERROR_OUT_OF_RESOURCES";
	return status == OUT_OF_RESOURCES ? SUCCESS : INVALID_ARGUMENT;
}

STUB_EXPORT(int, hsa_system_get_info, int attribute, void *value)
{
	int result = begin(__func__);

	if (!result && attribute != 0x204)
		result = INVALID_ARGUMENT;
	if (!result)
		*(bool *)value = !no_dmabufs;
	return end(result);
}

STUB_EXPORT(int, hsa_iterate_agents, int (*each)(struct handle agent, void *data),
	    void *data)
{
	struct handle agent;
	int result = end(begin(__func__));

	for (agent.handle = CPU; agent.handle <= GPU1 && !result; agent.handle++)
		result = each(agent, data);
	return result;
}

STUB_EXPORT(int, hsa_amd_agent_iterate_memory_pools, struct handle agent,
	    int (*each)(struct handle pool, void *data), void *data)
{
	int result = end(begin(__func__));

	return result ? result : each(agent, data);
}

STUB_EXPORT(int, hsa_agent_get_info, struct handle agent, int attribute, void *value)
{
	int result = begin(__func__);

	if (!result && !agent.handle)
		stub_misuse("asked for agent 0");
	if (result)
		return end(result);
	switch (attribute) {
	case 17:
		*(uint32_t *)value = agent.handle != CPU;
		return end(SUCCESS);
	case 0xa006:
		*(uint32_t *)value = agent.handle == GPU0 ? 0x4300 : 0xc321;
		return end(SUCCESS);
	case 0xa00f:
		*(uint32_t *)value = agent.handle == GPU0 ? 0 : 2;
		return end(SUCCESS);
	default:
		return end(INVALID_ARGUMENT);
	}
}

STUB_EXPORT(int, hsa_amd_memory_pool_allocate, struct handle pool, size_t size,
	    uint32_t flags, void **ptr)
{
	int result = begin(__func__);
	struct stub_allocation *a;

	(void)flags;
	if (result)
		return end(result);
	a = stub_allocate(size, STUB_PAGE, STUB_PAGE);
	if (!a)
		return end(OUT_OF_RESOURCES);
	a->device = pool.handle;
	a->type = HSA;
	*ptr = (void *)a->start;
	return end(SUCCESS);
}

STUB_EXPORT(int, hsa_amd_memory_pool_free, void *ptr)
{
	struct stub_allocation *a;
	int result = begin(__func__);

	a = stub_find(stub_allocations, (uintptr_t)ptr);
	if (!result && !a)
		result = INVALID_ALLOCATION;
	if (!result)
		stub_free(a);
	return end(result);
}

STUB_EXPORT(int, hsa_amd_pointer_info, const void *ptr, struct pointer_info *info,
	    void *(*alloc)(size_t), uint32_t *count, struct handle **accessible)
{
	int result = begin(__func__);
	struct stub_allocation *a;
	uint32_t size;

	if (!result && (!ptr || !info || !info->size || alloc || count || accessible))
		result = INVALID_ARGUMENT;
	if (result)
		return end(result);
	a = stub_forked() ? NULL : stub_find(stub_allocations, (uintptr_t)ptr);
	size = info->size < sizeof(*info) ? info->size : sizeof(*info);
	if (a)
		memcpy(info, &(struct pointer_info){
			.size = size,
			.type = a->type,
			.agent_base = a->start,
			.host_base = a->start,
			.length = a->size,
			.owner = { a->device },
		}, size);
	else
		memcpy(info, &(struct pointer_info){ .size = size }, size);
	return end(SUCCESS);
}

#ifndef STUB_OLD

STUB_EXPORT(int, hsa_amd_portable_export_dmabuf, const void *ptr, size_t size, int *fd,
	    uint64_t *offset)
{
	const uint64_t page = STUB_PAGE, addr = (uintptr_t)ptr;
	int result = begin(__func__);
	struct stub_allocation *a = stub_find(stub_allocations, addr);
	uint64_t start;

	if (!result && (!a || addr - a->start + size > a->size))
		result = INVALID_ALLOCATION;
	if (!result && a->type != HSA)
		stub_misuse("a dma-buf of what was not allocated here");
	if (!result && a->device == CPU)
		result = INVALID_AGENT;
	if (!result) {
		start = a->start - page;
		*fd = stub_dmabuf(start, (a->start + a->size - start + page - 1) & -page);
		*offset = addr - start;
		result = *fd < 0 ? OUT_OF_RESOURCES : SUCCESS;
		given += !result;
	}
	return end(result);
}

STUB_EXPORT(int, hsa_amd_portable_close_dmabuf, int fd)
{
	int result = begin(__func__);

	given--;
	return end(close(fd) ? RESOURCE_FREE : result);
}

#endif
