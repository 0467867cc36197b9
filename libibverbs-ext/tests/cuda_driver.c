// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of CUDA with NVIDIA's own driver, where there is one: the test of what the stub
 * only claims. "PASS", "FAIL name: why" or "SKIP name: why" on a line, as in the guest.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"

enum { PAGE = 4096, GRANULE = 2 << 20, LEN = 2 * GRANULE, IN = 3 * PAGE + 16 };
enum { DMA_BUF_SUPPORTED = 124 };

static struct cuda {
	int (*init)(unsigned int flags);
	int (*device_get)(int *device, int ordinal);
	int (*device_attribute)(int *value, int attribute, int device);
	int (*context_create)(void **context, unsigned int flags, int device);
	int (*context_pop)(void **context);
	int (*allocate)(uint64_t *addr, size_t size);
	int (*release)(uint64_t addr);
} cuda;

static int status;

static void verdict(const char *name, const char *why)
{
	if (why)
		printf("FAIL cuda-driver.%s: %s\n", name, why);
	else
		printf("PASS cuda-driver.%s\n", name);
	status |= !!why;
}

static void skip(const char *why)
{
	printf("SKIP cuda-driver: %s\n", why);
	exit(0);
}

/* The driver, its first GPU, and a context; or why there is none. */
static void start(void)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW), *context;
	int device, dmabuf = 0;

	if (!library)
		skip("no CUDA driver");
	*(void **)&cuda.init = dlsym(library, "cuInit");
	*(void **)&cuda.device_get = dlsym(library, "cuDeviceGet");
	*(void **)&cuda.device_attribute = dlsym(library, "cuDeviceGetAttribute");
	*(void **)&cuda.context_create = dlsym(library, "cuCtxCreate_v2");
	*(void **)&cuda.context_pop = dlsym(library, "cuCtxPopCurrent_v2");
	*(void **)&cuda.allocate = dlsym(library, "cuMemAlloc_v2");
	*(void **)&cuda.release = dlsym(library, "cuMemFree_v2");
	if (cuda.init(0) || cuda.device_get(&device, 0))
		skip("the CUDA driver has no GPU");
	if (cuda.device_attribute(&dmabuf, DMA_BUF_SUPPORTED, device) || !dmabuf)
		skip("this GPU's driver gives no dma-bufs");
	if (cuda.context_create(&context, 0, device))
		skip("no context on the GPU");
}

static bool is_dmabuf(int fd)
{
	char path[64], target[64] = "";
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	return len > 0 && strstr(target, "dmabuf");
}

/* NULL, or what is wrong with the dma-buf of this range. */
static const char *check(uint64_t addr, size_t length, uint64_t start)
{
	static struct memory_why why;
	struct memory_dmabuf dmabuf;
	const char *wrong = NULL;

	if (memory_kind_export(&memory_cuda, addr, length, &dmabuf, &why))
		return *why.text ? why.text : "it is taken for memory of somebody else";
	if (!is_dmabuf(dmabuf.fd))
		wrong = "the descriptor is none of a dma-buf";
	else if (!(fcntl(dmabuf.fd, F_GETFD) & FD_CLOEXEC))
		wrong = "the descriptor is not close-on-exec";
	else if (dmabuf.offset % PAGE != (addr - start) % PAGE)
		wrong = "the offset is not that of the address in its page";
	else if (lseek(dmabuf.fd, 0, SEEK_END) < (off_t)(dmabuf.offset + length))
		wrong = "the dma-buf ends before the range does";
	close(dmabuf.fd);
	return wrong;
}

static const char *check_query(uint64_t addr, uint64_t start, size_t size)
{
	struct ibv_p2p_addr_attr attr;

	if (memory_kind_query(&memory_cuda, addr, &attr))
		return "it is taken for memory of somebody else";
	if (attr.map_addr != start || attr.map_length < size)
		return "the allocation is another one";
	if (!(attr.comp_mask & IBV_P2P_ADDR_PCI))
		return "the GPU has no PCI address";
	return NULL;
}

static const char *check_refused(uint64_t addr, size_t length, int want)
{
	struct memory_why why = {};
	struct memory_dmabuf dmabuf;
	int err = memory_kind_export(&memory_cuda, addr, length, &dmabuf, &why);

	if (!err)
		close(dmabuf.fd);
	return err == want ? NULL : err ? strerror(err) : "it gave a dma-buf";
}

int main(void)
{
	static char host[PAGE];
	void *context;
	uint64_t addr;

	start();
	if (cuda.allocate(&addr, LEN))
		skip("no memory of the GPU");
	verdict("whole", check(addr, LEN, addr));
	verdict("inside", check(addr + IN, PAGE, addr));
	verdict("last-byte", check(addr + LEN - 1, 1, addr));
	verdict("query", check_query(addr + IN, addr, LEN));
	verdict("host", check_refused((uintptr_t)host, PAGE, ENOENT));
	/* As in a thread that has never heard of CUDA. */
	cuda.context_pop(&context);
	verdict("no-context", check(addr + IN, GRANULE, addr));
	verdict("no-context/left", cuda.context_pop(&context) ? NULL :
				   "a context was left behind");
	return status;
}
