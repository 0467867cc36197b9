// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of NVIDIA's GPUs: cudaMalloc(), cuMemMap(). The driver's library makes a
 * dma-buf of any pages of it, for whoever has a context of the GPU current.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kind.h"

/* CUresult */
enum {
	CUDA_SUCCESS = 0,
	CUDA_ERROR_INVALID_VALUE = 1,
	CUDA_ERROR_OUT_OF_MEMORY = 2,
	CUDA_ERROR_NOT_INITIALIZED = 3,
	CUDA_ERROR_DEINITIALIZED = 4,
	CUDA_ERROR_INVALID_CONTEXT = 201,
	CUDA_ERROR_NOT_SUPPORTED = 801,
};

/* CUpointer_attribute */
enum {
	POINTER_CONTEXT = 1,
	POINTER_MEMORY_TYPE = 2,
	POINTER_IS_MANAGED = 8,
	POINTER_DEVICE_ORDINAL = 9,
	POINTER_RANGE_START_ADDR = 11,
	POINTER_RANGE_SIZE = 12,
	POINTER_MAPPED = 13,
	POINTER_IS_GPU_DIRECT_RDMA_CAPABLE = 15,
	POINTER_MEMPOOL_HANDLE = 17,
	POINTER_MAPPING_SIZE = 18,
	POINTER_MAPPING_BASE_ADDR = 19,
};

enum {
	MEMORYTYPE_DEVICE = 2,			/* CUmemorytype */
	DEVICE_DMA_BUF_SUPPORTED = 124,		/* CUdevice_attribute */
	RANGE_HANDLE_DMA_BUF_FD = 1,		/* CUmemRangeHandleType */
};

/* CUresult and CUdevice are int, CUdeviceptr has 64 bits, CUcontext is a pointer. */
struct cuda {
	int (*error_name)(int result, const char **name);
	int (*pointer)(unsigned int count, int *attributes, void **data, uint64_t ptr);
	int (*pci_bus_id)(char *id, int len, int device);
	int (*device)(int *value, int attribute, int device);
	int (*get_current)(void **context);
	int (*current_device)(int *device);
	int (*push)(void *context);
	int (*pop)(void **context);
	int (*retain_primary)(void **context, int device);
	int (*release_primary)(int device);
	int (*range_handle)(void *handle, uint64_t ptr, size_t size, int type,
			    unsigned long long flags);
};

#define NEEDS "CUDA 11.7 (driver 515)"
#define FUNCTION(field, name, since) { name, offsetof(struct cuda, field), since }

static const struct kind_function to_look[] = {
	FUNCTION(error_name, "cuGetErrorName", NEEDS),
	FUNCTION(pointer, "cuPointerGetAttributes", NEEDS),
	FUNCTION(pci_bus_id, "cuDeviceGetPCIBusId", NULL),
	{},
};

static const struct kind_function to_export[] = {
	FUNCTION(device, "cuDeviceGetAttribute", NEEDS),
	FUNCTION(get_current, "cuCtxGetCurrent", NEEDS),
	FUNCTION(current_device, "cuCtxGetDevice", NEEDS),
	FUNCTION(push, "cuCtxPushCurrent_v2", NEEDS),
	FUNCTION(pop, "cuCtxPopCurrent_v2", NEEDS),
	FUNCTION(retain_primary, "cuDevicePrimaryCtxRetain", NEEDS),
	FUNCTION(release_primary, "cuDevicePrimaryCtxRelease_v2", NEEDS),
	FUNCTION(range_handle, "cuMemGetHandleForAddressRange", NEEDS),
	{},
};

struct allocation {
	unsigned int type;
	int managed;
	int device;
	void *context;	/* NULL: of cuMemMap() or of a pool */
	uint64_t start;
	size_t size;
};

/* A context that was made current; in is false if there was no need to. */
struct stay {
	bool in, retained;
	int device;
};

static int failed(const struct cuda *cuda, const char *what, int result,
		  struct memory_why *why)
{
	const char *name;

	if (cuda->error_name(result, &name))
		name = "error";
	why_say(why, "%s: %s (%d)", what, name, result);
	switch (result) {
	case CUDA_ERROR_INVALID_VALUE:
		return EINVAL;
	case CUDA_ERROR_OUT_OF_MEMORY:
		return ENOMEM;
	case CUDA_ERROR_NOT_SUPPORTED:
		return EOPNOTSUPP;
	default:
		return EIO;
	}
}

/* The library knows all memory of the process; other pointers have the type 0. */
static int find(const struct cuda *cuda, uint64_t addr, struct allocation *a,
		struct memory_why *why)
{
	int attributes[] = {
		POINTER_MEMORY_TYPE, POINTER_IS_MANAGED, POINTER_DEVICE_ORDINAL,
		POINTER_CONTEXT, POINTER_RANGE_START_ADDR, POINTER_RANGE_SIZE,
	};
	void *data[] = {
		&a->type, &a->managed, &a->device, &a->context, &a->start, &a->size,
	};
	int result;

	memset(a, 0, sizeof(*a));
	result = cuda->pointer(sizeof(data) / sizeof(*data), attributes, data, addr);
	switch (result) {
	case CUDA_SUCCESS:
		return a->managed || a->type == MEMORYTYPE_DEVICE ? 0 : ENOENT;
	case CUDA_ERROR_INVALID_VALUE:
	case CUDA_ERROR_INVALID_CONTEXT:
	case CUDA_ERROR_NOT_INITIALIZED:	/* in a child of its process, too */
	case CUDA_ERROR_DEINITIALIZED:
		return ENOENT;
	default:
		return failed(cuda, "cuPointerGetAttributes", result, why);
	}
}

/* What an older library does not know of it is left as it was. */
static void look_up(const struct cuda *cuda, uint64_t addr, int attribute, void *value)
{
	cuda->pointer(1, &attribute, &value, addr);
}

static void leave(const struct cuda *cuda, const struct stay *stay)
{
	void *context;

	if (stay->in)
		cuda->pop(&context);
	if (stay->retained)
		cuda->release_primary(stay->device);
}

static int enter(const struct cuda *cuda, const struct allocation *a, struct stay *stay,
		 struct memory_why *why)
{
	void *context = NULL;
	int device, result;

	*stay = (struct stay){ .device = a->device };
	if (!cuda->get_current(&context) && context && !cuda->current_device(&device) &&
	    device == a->device)
		return 0;
	context = a->context;
	if (!context) {
		result = cuda->retain_primary(&context, a->device);
		if (result)
			return failed(cuda, "cuDevicePrimaryCtxRetain", result, why);
		stay->retained = true;
	}
	result = cuda->push(context);
	if (result) {
		leave(cuda, stay);
		return failed(cuda, "cuCtxPushCurrent", result, why);
	}
	stay->in = true;
	return 0;
}

/* False if there is none, or the library cannot say. */
static bool find_hole(const struct cuda *cuda, uint64_t addr, uint64_t end,
		      uint64_t *hole)
{
	uint64_t base, size;
	int mapped;

	while (addr < end) {
		mapped = 1;
		base = size = 0;
		look_up(cuda, addr, POINTER_MAPPED, &mapped);
		if (!mapped) {
			*hole = addr;
			return true;
		}
		look_up(cuda, addr, POINTER_MAPPING_BASE_ADDR, &base);
		look_up(cuda, addr, POINTER_MAPPING_SIZE, &size);
		if (base + size <= addr)
			return false;
		addr = base + size;
	}
	return false;
}

/* The library's error says little: find out what it may not have liked. */
static int refused(const struct cuda *cuda, uint64_t addr, size_t length, int result,
		   struct memory_why *why)
{
	int capable = 1;
	void *pool = NULL;
	uint64_t hole;

	if (find_hole(cuda, addr, addr + length, &hole)) {
		why_say(why, "nothing is mapped at %#" PRIx64, hole);
		return EINVAL;
	}
	look_up(cuda, addr, POINTER_MEMPOOL_HANDLE, &pool);
	if (pool) {
		why_say(why, "memory of a pool (cudaMallocAsync) has no dma-buf: "
			"use cudaMalloc or cuMemMap");
		return EOPNOTSUPP;
	}
	look_up(cuda, addr, POINTER_IS_GPU_DIRECT_RDMA_CAPABLE, &capable);
	if (!capable) {
		why_say(why, "not made for RDMA: give cuMemCreate "
			"allocFlags.gpuDirectRDMACapable");
		return EOPNOTSUPP;
	}
	return failed(cuda, "cuMemGetHandleForAddressRange", result, why);
}

static int get_fd(const struct cuda *cuda, uint64_t addr, size_t length,
		  struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	const uint64_t start = addr & -page, end = (addr + length + page - 1) & -page;
	int fd = -1, result;

	result = cuda->range_handle(&fd, start, end - start, RANGE_HANDLE_DMA_BUF_FD, 0);
	if (result)
		return refused(cuda, addr, length, result, why);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC)) {
		why_say(why, "cuMemGetHandleForAddressRange gave no descriptor: %m");
		return EIO;
	}
	dmabuf->fd = fd;
	dmabuf->offset = addr - start;
	return 0;
}

static int check_device(const struct cuda *cuda, int device, struct memory_why *why)
{
	int supported = 0;

	if (!cuda->device(&supported, DEVICE_DMA_BUF_SUPPORTED, device) && supported)
		return 0;
	why_say(why, "GPU %d has no dma-bufs: load the open kernel modules of NVIDIA's "
		"driver (515 or newer), or nvidia_peermem", device);
	return EOPNOTSUPP;
}

static int cuda_export(void *library, uint64_t addr, size_t length,
		       struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	struct allocation a;
	struct stay stay;
	struct cuda cuda;
	int ret;

	ret = kind_load(library, to_look, &cuda, why);
	if (!ret)
		ret = find(&cuda, addr, &a, why);
	if (ret)
		return ret;
	if (a.managed) {
		why_say(why, "managed memory (cudaMallocManaged) moves between host and "
			"GPU, and has no dma-buf: use cudaMalloc");
		return EOPNOTSUPP;
	}
	ret = kind_check_range(addr, length, a.start, a.size, why);
	if (!ret)
		ret = kind_load(library, to_export, &cuda, why);
	if (!ret)
		ret = check_device(&cuda, a.device, why);
	if (!ret)
		ret = enter(&cuda, &a, &stay, why);
	if (ret)
		return ret;
	ret = get_fd(&cuda, addr, length, dmabuf, why);
	leave(&cuda, &stay);
	return ret;
}

/* "0000:3B:00.0" */
static void fill_device(const struct cuda *cuda, int device,
			struct ibv_p2p_addr_attr *attr)
{
	struct kind_pci pci;
	char id[32];

	fill_exporter(attr, "nvidia");
	if (cuda->pci_bus_id && !cuda->pci_bus_id(id, sizeof(id), device) &&
	    sscanf(id, "%x:%x:%x.%x", &pci.domain, &pci.bus, &pci.device,
		   &pci.function) == 4)
		kind_fill_pci(attr, &pci);
}

static int cuda_query(void *library, uint64_t addr, struct ibv_p2p_addr_attr *attr)
{
	struct allocation a;
	struct memory_why why;
	struct cuda cuda;

	if (kind_load(library, to_look, &cuda, &why) || find(&cuda, addr, &a, &why))
		return ENOENT;
	kind_fill(attr, IBV_P2P_KIND_CUDA, addr, a.start, a.size);
	fill_device(&cuda, a.device, attr);
	return 0;
}

const struct memory_kind memory_cuda = {
	.name = "cuda",
	.soname = "libcuda.so.1",
	.export = cuda_export,
	.query = cuda_query,
};
