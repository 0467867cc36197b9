// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "vendor.h"

#include "../verbs/common.h"

#include <dlfcn.h>
#include <stdio.h>

static const struct vendor *chosen;
static void *library;

/* A function of the loaded library. */
#define CALL(type, name, ...) ((type (*)(__VA_ARGS__))function(name))

static void *function(const char *name)
{
	void *found = dlsym(library, name);

	if (!found)
		fail("%s: %s", name, dlerror());
	return found;
}

static void *of_stub(const char *name)
{
	char full[64];

	snprintf(full, sizeof(full), "stub_%s_%s", chosen->name, name);
	return function(full);
}

static void want_zero(int result, const char *what)
{
	if (result)
		fail("%s: %d", what, result);
}

static uint64_t cuda_allocate(size_t size)
{
	uint64_t addr;
	void *context;

	want_zero(CALL(int, "cuInit", unsigned int)(0), "cuInit");
	want_zero(CALL(int, "cuCtxCreate_v2", void **, unsigned int,
		       int)(&context, 0, 0), "cuCtxCreate");
	want_zero(CALL(int, "cuMemAlloc_v2", uint64_t *, size_t)(&addr, size),
		  "cuMemAlloc");
	return addr;
}

/* Agent 2 is the first GPU. */
static uint64_t rocm_allocate(size_t size)
{
	struct handle {
		uint64_t handle;
	} gpu = { 2 };
	uint64_t addr;

	want_zero(CALL(int, "hsa_init", void)(), "hsa_init");
	want_zero(CALL(int, "hsa_amd_memory_pool_allocate", struct handle, size_t,
		       uint32_t, uint64_t *)(gpu, size, 0, &addr),
		  "hsa_amd_memory_pool_allocate");
	return addr;
}

/* Types of the two descriptions, as in ze_structure_type_t. */
enum { ZE_CONTEXT = 0xd, ZE_DEVICE_MEM = 0x15 };

static uint64_t ze_allocate(size_t size)
{
	struct {
		int type;
		const void *next;
		uint32_t flags, ordinal;
	} context_desc = { .type = ZE_CONTEXT }, desc = { .type = ZE_DEVICE_MEM };
	void *drivers[2], *gpus[2], *context;
	uint32_t count = 2;
	uint64_t addr;

	want_zero(CALL(int, "zeInit", uint32_t)(0), "zeInit");
	want_zero(CALL(int, "zeDriverGet", uint32_t *, void **)(&count, drivers),
		  "zeDriverGet");
	count = 2;
	want_zero(CALL(int, "zeDeviceGet", void *, uint32_t *,
		       void **)(drivers[1], &count, gpus), "zeDeviceGet");
	want_zero(CALL(int, "zeContextCreate", void *, const void *,
		       void **)(drivers[1], &context_desc, &context), "zeContextCreate");
	want_zero(CALL(int, "zeMemAllocDevice", void *, const void *, size_t, size_t,
		       void *, uint64_t *)(context, &desc, size, 0, gpus[0], &addr),
		  "zeMemAllocDevice");
	return addr;
}

const struct vendor vendors[3] = {
	{ "cuda", "libcuda.so.1", cuda_allocate },
	{ "rocm", "libhsa-runtime64.so.1", rocm_allocate },
	{ "ze", "libze_loader.so.1", ze_allocate },
};

void vendor_load(const struct vendor *v)
{
	chosen = v;
	library = dlopen(v->soname, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail("%s", dlerror());
}

void *vendor_allocate(size_t size)
{
	return (void *)(uintptr_t)chosen->allocate(size);
}

uint8_t *vendor_bytes(const void *addr)
{
	return ((uint8_t *(*)(uint64_t))of_stub("bytes"))((uintptr_t)addr);
}

unsigned long vendor_calls(const char *name)
{
	return ((unsigned long (*)(const char *))of_stub("calls"))(name);
}

void vendor_check(void)
{
	const char *misuse = ((const char *(*)(void))of_stub("misuse"))();

	if (misuse)
		fail("%s: %s", chosen->soname, misuse);
}
