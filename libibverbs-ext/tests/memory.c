// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of the vendors' libraries, of which stubs are loaded here: whose an address is,
 * that the dma-buf has the bytes that are there, and what is said if there is none.
 * After each test the stub has nothing left that it gave, nor saw anything done wrong.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs_p2p.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include "exported.h"

#include "memory.h"

enum { PAGE = 4096, LEN = 64 * PAGE, UNTOUCHED = -77 };

/* A function of the loaded stub. */
#define CALL(type, name, ...) ((type (*)(__VA_ARGS__))symbol(name))

struct failure {
	const char *function;
	int result;
	int error;
};

struct subject {
	const struct memory_kind *kind;
	const char *soname;
	uint32_t id;
	const char *exporter;		/* NULL: not known without PCI */
	const char *pci, *pci_other;	/* of both GPUs */
	void (*start)(void);
	void (*stop)(void);
	uint64_t (*allocate)(size_t size, int gpu);
	uint64_t (*allocate_managed)(size_t size);
	uint64_t (*allocate_host)(size_t size);
	void (*release)(uint64_t addr);
	void (*release_host)(uint64_t addr);
	const struct failure *failures;
};

static void *library;
static const struct subject *now;

static void *symbol(const char *name)
{
	void *found = dlsym(library, name);

	if (!found)
		fail_msg("%s: %s", name, dlerror());
	return found;
}

static void *stub(const char *name)
{
	char full[64];

	snprintf(full, sizeof(full), "stub_%s_%s", now->kind->name, name);
	return symbol(full);
}

static uint8_t *bytes_at(uint64_t addr)
{
	return ((uint8_t *(*)(uint64_t))stub("bytes"))(addr);
}

static unsigned long calls(const char *name)
{
	return ((unsigned long (*)(const char *))stub("calls"))(name);
}

static void set_failure(const char *name, int result)
{
	((void (*)(const char *, int))stub("fail"))(name, result);
}

static unsigned int open_dmabufs(void)
{
	return ((unsigned int (*)(void))stub("open_dmabufs"))();
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* CUDA */

static void *cuda_contexts[2];

static void cuda_set_current(void *context)
{
	void *old;

	while (!CALL(int, "cuCtxPopCurrent_v2", void **)(&old))
		;
	if (context)
		assert_int_equal(CALL(int, "cuCtxPushCurrent_v2", void *)(context), 0);
}

static void cuda_start(void)
{
	int gpu;

	assert_int_equal(CALL(int, "cuInit", unsigned int)(0), 0);
	for (gpu = 0; gpu < 2; gpu++)
		assert_int_equal(CALL(int, "cuCtxCreate_v2", void **, unsigned int,
				      int)(&cuda_contexts[gpu], 0, gpu), 0);
	cuda_set_current(cuda_contexts[0]);
}

static void cuda_stop(void)
{
	int gpu;

	assert_int_equal(CALL(unsigned int, "stub_cuda_pushed", void)(), 1);
	assert_int_equal(CALL(int, "stub_cuda_retained", void)(), 0);
	cuda_set_current(NULL);
	for (gpu = 0; gpu < 2; gpu++)
		CALL(int, "cuCtxDestroy_v2", void *)(cuda_contexts[gpu]);
}

static uint64_t cuda_allocate(size_t size, int gpu)
{
	void *old;
	uint64_t addr;

	CALL(int, "cuCtxPushCurrent_v2", void *)(cuda_contexts[gpu]);
	assert_int_equal(CALL(int, "cuMemAlloc_v2", uint64_t *, size_t)(&addr, size), 0);
	CALL(int, "cuCtxPopCurrent_v2", void **)(&old);
	return addr;
}

static uint64_t cuda_allocate_managed(size_t size)
{
	uint64_t addr;

	assert_int_equal(CALL(int, "cuMemAllocManaged", uint64_t *, size_t,
			      unsigned int)(&addr, size, 1), 0);
	return addr;
}

static uint64_t cuda_allocate_host(size_t size)
{
	uint64_t addr;

	assert_int_equal(CALL(int, "cuMemAllocHost_v2", uint64_t *, size_t)(&addr, size),
			 0);
	return addr;
}

static void cuda_release(uint64_t addr)
{
	assert_int_equal(CALL(int, "cuMemFree_v2", uint64_t)(addr), 0);
}

static void cuda_release_host(uint64_t addr)
{
	assert_int_equal(CALL(int, "cuMemFreeHost", uint64_t)(addr), 0);
}

/* With no context current, so that all of them are called. */
static const struct failure cuda_failures[] = {
	{ "cuPointerGetAttributes", 700, EIO },
	{ "cuPointerGetAttributes", 201, ENOENT },
	{ "cuDeviceGetAttribute", 1, EOPNOTSUPP },
	{ "cuCtxPushCurrent_v2", 201, EIO },
	{ "cuMemGetHandleForAddressRange", 1, EINVAL },
	{ "cuMemGetHandleForAddressRange", 2, ENOMEM },
	{ "cuMemGetHandleForAddressRange", 801, EOPNOTSUPP },
	{ "cuMemGetHandleForAddressRange", 999, EIO },
	{},
};

static const struct subject cuda = {
	.kind = &memory_cuda,
	.soname = "libcuda.so.1",
	.id = IBV_P2P_KIND_CUDA,
	.exporter = "nvidia",
	.pci = "0000:3b:00.0",
	.pci_other = "0000:af:00.0",
	.start = cuda_start,
	.stop = cuda_stop,
	.allocate = cuda_allocate,
	.allocate_managed = cuda_allocate_managed,
	.allocate_host = cuda_allocate_host,
	.release = cuda_release,
	.release_host = cuda_release_host,
	.failures = cuda_failures,
};

/* ROCm: agent 1 is the CPU. */

struct handle {
	uint64_t handle;
};

static void rocm_start(void)
{
	assert_int_equal(CALL(int, "hsa_init", void)(), 0);
}

static void rocm_stop(void)
{
	assert_int_equal(CALL(unsigned int, "stub_rocm_given", void)(), 0);
	CALL(int, "hsa_shut_down", void)();
}

static uint64_t rocm_allocate_of(uint64_t agent, size_t size)
{
	uint64_t addr;

	assert_int_equal(CALL(int, "hsa_amd_memory_pool_allocate", struct handle, size_t,
			      uint32_t, uint64_t *)((struct handle){ agent }, size, 0,
						    &addr), 0);
	return addr;
}

static uint64_t rocm_allocate(size_t size, int gpu)
{
	return rocm_allocate_of(2 + gpu, size);
}

static uint64_t rocm_allocate_host(size_t size)
{
	return rocm_allocate_of(1, size);
}

static void rocm_release(uint64_t addr)
{
	assert_int_equal(CALL(int, "hsa_amd_memory_pool_free", uint64_t)(addr), 0);
}

static const struct failure rocm_failures[] = {
	{ "hsa_amd_pointer_info", 0x1000, EIO },
	{ "hsa_amd_pointer_info", 0x100b, ENOENT },
	{ "hsa_agent_get_info", 0x1004, ENOENT },
	{ "hsa_amd_portable_export_dmabuf", 0x1003, EINVAL },
	{ "hsa_amd_portable_export_dmabuf", 0x1004, EOPNOTSUPP },
	{ "hsa_amd_portable_export_dmabuf", 0x1008, EIO },
	{},
};

static const struct subject rocm = {
	.kind = &memory_rocm,
	.soname = "libhsa-runtime64.so.1",
	.id = IBV_P2P_KIND_ROCM,
	.exporter = "amdgpu",
	.pci = "0000:43:00.0",
	.pci_other = "0002:c3:04.1",
	.start = rocm_start,
	.stop = rocm_stop,
	.allocate = rocm_allocate,
	.allocate_host = rocm_allocate_host,
	.release = rocm_release,
	.release_host = rocm_release,
	.failures = rocm_failures,
};

/* Level Zero */

struct description {
	int structure;
	const void *next;
	uint32_t flags;
	uint32_t ordinal;
};

static void *ze_context, *ze_gpus[2];

static void ze_start(void)
{
	static const struct description desc = { .structure = 0xd };
	uint32_t count = 2;
	void *drivers[2];

	assert_int_equal(CALL(int, "zeInit", uint32_t)(0), 0);
	assert_int_equal(CALL(int, "zeDriverGet", uint32_t *, void **)(&count, drivers),
			 0);
	count = 2;
	assert_int_equal(CALL(int, "zeDeviceGet", void *, uint32_t *,
			      void **)(drivers[1], &count, ze_gpus), 0);
	assert_int_equal(CALL(int, "zeContextCreate", void *, const void *,
			      void **)(drivers[1], &desc, &ze_context), 0);
}

static void ze_stop(void)
{
	assert_int_equal(CALL(unsigned int, "stub_ze_contexts", void)(), 1);
	CALL(int, "zeContextDestroy", void *)(ze_context);
}

static uint64_t ze_allocate(size_t size, int gpu)
{
	static const struct description desc = { .structure = 0x15 };
	uint64_t addr;

	assert_int_equal(CALL(int, "zeMemAllocDevice", void *, const void *, size_t,
			      size_t, void *, uint64_t *)(ze_context, &desc, size, 0,
							  ze_gpus[gpu], &addr), 0);
	return addr;
}

static uint64_t ze_allocate_managed(size_t size)
{
	uint64_t addr;

	assert_int_equal(CALL(int, "zeMemAllocShared", void *, void *, void *, size_t,
			      size_t, void *, uint64_t *)(ze_context, NULL, NULL, size,
							  0, ze_gpus[0], &addr), 0);
	return addr;
}

static uint64_t ze_allocate_host(size_t size)
{
	uint64_t addr;

	assert_int_equal(CALL(int, "zeMemAllocHost", void *, void *, size_t, size_t,
			      uint64_t *)(ze_context, NULL, size, 0, &addr), 0);
	return addr;
}

static void ze_release(uint64_t addr)
{
	assert_int_equal(CALL(int, "zeMemFree", void *, uint64_t)(ze_context, addr), 0);
}

static const struct failure ze_failures[] = {
	{ "zeDriverGet", 0x70000001, EIO },
	{ "zeDriverGet", 0x78000001, ENOENT },
	{ "zeMemGetAllocProperties", 0x70000001, EIO },
	{ "zeMemGetAllocProperties", 0x78000003, ENOENT },
	{ "zeMemGetAddressRange", 0x78000021, EIO },
	{},
};

static const struct subject ze = {
	.kind = &memory_ze,
	.soname = "libze_loader.so.1",
	.id = IBV_P2P_KIND_ZE,
	.pci = "0000:1d:00.0",
	.pci_other = "0000:9a:00.0",
	.start = ze_start,
	.stop = ze_stop,
	.allocate = ze_allocate,
	.allocate_managed = ze_allocate_managed,
	.allocate_host = ze_allocate_host,
	.release = ze_release,
	.release_host = ze_release,
	.failures = ze_failures,
};

/* For each kind. */

static unsigned int fds_before, dmabufs_before;

static bool is_loaded(void)
{
	void *got = library_get(now->soname);

	if (got)
		library_put(got);
	return got;
}

static void load(const struct subject *subject, const char *age)
{
	char path[PATH_MAX];

	/* What a test that failed has left is not this one's. */
	if (library)
		dlclose(library);
	now = subject;
	assert_false(is_loaded());
	fds_before = open_fds();
	snprintf(path, sizeof(path), "%s/%s/%s", STUBS, age, now->soname);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	dmabufs_before = open_dmabufs();
}

static void unload(void)
{
	const char *misuse = ((const char *(*)(void))stub("misuse"))();
	const unsigned int left = open_dmabufs();

	if (misuse)
		print_error("%s\n", misuse);
	dlclose(library);
	library = NULL;
	assert_null(misuse);
	assert_int_equal(left, dmabufs_before);
	assert_false(is_loaded());
	assert_int_equal(open_fds(), fds_before);
}

static int setup(void **state)
{
	load(*state, "now");
	now->start();
	return 0;
}

static int setup_old(void **state)
{
	load(*state, "old");
	now->start();
	return 0;
}

static int setup_bare(void **state)
{
	load(*state, "bare");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	now->stop();
	unload();
	return 0;
}

static int teardown_bare(void **state)
{
	(void)state;
	unload();
	return 0;
}

static uint64_t allocate_filled(size_t size, int gpu)
{
	uint64_t addr = now->allocate(size, gpu);
	size_t i;

	for (i = 0; i < size; i++)
		*bytes_at(addr + i) = byte_of(addr + i);
	return addr;
}

static int try(uint64_t addr, size_t length, struct memory_dmabuf *dmabuf,
	       struct memory_why *why)
{
	int ret;

	*dmabuf = (struct memory_dmabuf){ .fd = UNTOUCHED };
	why->text[0] = '\0';
	ret = memory_kind_export(now->kind, addr, length, dmabuf, why);
	if (ret)
		assert_int_equal(dmabuf->fd, UNTOUCHED);
	if (ret && ret != ENOENT)
		assert_int_not_equal(strlen(why->text), 0);
	return ret;
}

static void refused(uint64_t addr, size_t length, int error, const char *says)
{
	struct memory_dmabuf dmabuf;
	struct memory_why why;

	assert_int_equal(try(addr, length, &dmabuf, &why), error);
	if (says && !strstr(why.text, says))
		fail_msg("'%s' does not say '%s'", why.text, says);
}

static struct memory_dmabuf export(uint64_t addr, size_t length)
{
	struct memory_dmabuf dmabuf;
	struct memory_why why;
	int ret = try(addr, length, &dmabuf, &why);

	if (ret)
		fail_msg("%zu at %#" PRIx64 ": %d, %s", length, addr, ret, why.text);
	return dmabuf;
}

static void check_export(uint64_t addr, size_t length)
{
	const struct memory_dmabuf dmabuf = export(addr, length);

	check_exported(&dmabuf, addr, length);
}

static void test_not_loaded(void **state)
{
	const struct subject *subject = *state;
	struct ibv_p2p_addr_attr attr, before;

	now = subject;
	memset(&attr, 0xa5, sizeof(attr));
	before = attr;
	refused((uintptr_t)&attr, 1, ENOENT, NULL);
	refused(0, 1, ENOENT, NULL);
	assert_int_equal(memory_kind_query(subject->kind, (uintptr_t)&attr, &attr), ENOENT);
	assert_memory_equal(&attr, &before, sizeof(attr));
	assert_false(is_loaded());
}

static void test_soname(void **state)
{
	void *got = library_get(now->soname);

	(void)state;
	assert_ptr_equal(got, library);
	library_put(got);
}

static void test_whole(void **state)
{
	static const size_t sizes[] = {
		1, 511, 512, PAGE - 1, PAGE, PAGE + 1, LEN, 5 * LEN + 3,
	};
	uint64_t addr;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		addr = allocate_filled(sizes[i], 0);
		check_export(addr, sizes[i]);
		now->release(addr);
	}
}

static void test_inside(void **state)
{
	static const size_t at[] = {
		0, 1, PAGE - 1, PAGE, PAGE + 1, 7 * PAGE, LEN / 2 + 5,
	};
	static const size_t lengths[] = { 1, 2, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE };
	uint64_t before = now->allocate(3 * PAGE, 0), addr = allocate_filled(LEN, 0);
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(at) / sizeof(*at); i++)
		for (j = 0; j < sizeof(lengths) / sizeof(*lengths); j++)
			check_export(addr + at[i], lengths[j]);
	now->release(before);
	now->release(addr);
}

static void test_end(void **state)
{
	const size_t size = 2 * LEN - 3;
	uint64_t addr = allocate_filled(size, 0);
	char end[32];

	(void)state;
	snprintf(end, sizeof(end), "%#" PRIx64, addr + size);
	check_export(addr + size - 1, 1);
	check_export(addr + 1, size - 1);
	refused(addr + size - 1, 2, EINVAL, end);
	refused(addr, size + 1, EINVAL, end);
	refused(addr + size, 1, ENOENT, NULL);
	refused(addr - 1, 1, ENOENT, NULL);
	now->release(addr);
}

static void test_over_two(void **state)
{
	uint64_t one = allocate_filled(LEN, 0), other = allocate_filled(LEN, 0);
	char end[32];

	(void)state;
	snprintf(end, sizeof(end), "%#" PRIx64, one + LEN);
	if (now != &rocm)
		assert_int_equal(other, one + LEN);
	refused(one, other + LEN - one, EINVAL, end);
	refused(one + LEN - 1, other + 1 - one - LEN + 1, EINVAL, end);
	check_export(one + LEN - 1, 1);
	check_export(other, 1);
	now->release(one);
	now->release(other);
}

static void test_no_range(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0);

	(void)state;
	refused(addr, 0, EINVAL, NULL);
	refused(addr + LEN - 1, 0, EINVAL, NULL);
	refused(addr, SIZE_MAX, EINVAL, NULL);
	refused(addr, -addr, EINVAL, NULL);
	refused(addr + 1, SIZE_MAX - addr, EINVAL, NULL);
	refused(addr + PAGE, SIZE_MAX - PAGE + 1, EINVAL, NULL);
	refused(0, 1, ENOENT, NULL);
	refused(UINT64_MAX, 1, ENOENT, NULL);
	now->release(addr);
}

static void test_not_device(void **state)
{
	uint64_t host = now->allocate_host(LEN), managed;
	struct ibv_p2p_addr_attr attr;
	void *heap = malloc(LEN);

	(void)state;
	refused(host + 5, 1, ENOENT, NULL);
	refused((uintptr_t)heap, LEN, ENOENT, NULL);
	refused((uintptr_t)&host, 1, ENOENT, NULL);
	assert_int_equal(memory_kind_query(now->kind, host, &attr), ENOENT);
	assert_int_equal(memory_kind_query(now->kind, (uintptr_t)heap, &attr), ENOENT);
	free(heap);
	now->release_host(host);
	if (!now->allocate_managed)
		return;
	managed = now->allocate_managed(LEN);
	refused(managed + PAGE, PAGE, EOPNOTSUPP, "has no dma-buf: use ");
	refused(managed, LEN + 1, EOPNOTSUPP, NULL);
	assert_int_equal(memory_kind_query(now->kind, managed, &attr), 0);
	now->release(managed);
}

static void test_failures(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0);
	const struct failure *f;

	(void)state;
	for (f = now->failures; f->function; f++) {
		if (now == &cuda)
			cuda_set_current(NULL);
		set_failure(f->function, f->result);
		refused(addr + 1, PAGE, f->error, NULL);
		set_failure(f->function, 0);
		if (now == &cuda) {
			assert_int_equal(CALL(unsigned int, "stub_cuda_pushed",
					      void)(), 0);
			cuda_set_current(cuda_contexts[0]);
		}
		check_export(addr + 1, PAGE);
	}
	now->release(addr);
}

static void test_cloexec(void **state)
{
	uint64_t addr = allocate_filled(PAGE, 0);
	struct memory_dmabuf dmabuf = export(addr, PAGE);

	(void)state;
	assert_int_equal(fcntl(dmabuf.fd, F_GETFD), FD_CLOEXEC);
	close(dmabuf.fd);
	now->release(addr);
}

/* The caller's descriptor lasts, whatever becomes of the allocation. */
static void test_own_fd(void **state)
{
	uint64_t addr = allocate_filled(2 * LEN, 0);
	struct memory_dmabuf one = export(addr, PAGE), other = export(addr, PAGE);

	(void)state;
	assert_int_not_equal(one.fd, other.fd);
	assert_int_equal(close(one.fd), 0);
	now->release(addr);
	assert_int_equal(fcntl(other.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(close(other.fd), 0);
}

static void test_many(void **state)
{
	enum { EXPORTS = 100000, FDS = 256 };
	struct rlimit before, few = { FDS, FDS };
	uint64_t addr = allocate_filled(2 * PAGE, 0);
	int i, fds[FDS];

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	few.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (i = 0; i < EXPORTS; i++)
		close(export(addr + i % PAGE, 1 + i % 100).fd);
	for (i = 0; i < FDS && (fds[i] = dup(0)) >= 0; i++)
		;
	assert_in_range(i, 1, FDS - 1);
	refused(addr, 1, now == &cuda ? ENOMEM : now == &rocm ? EIO : EMFILE, NULL);
	/* Enough for the library's, or for the caller's. */
	close(fds[--i]);
	if (now == &rocm)
		refused(addr, 1, EMFILE, "no descriptor");
	else
		check_export(addr, 1);
	while (i--)
		close(fds[i]);
	check_export(addr, PAGE);
	setrlimit(RLIMIT_NOFILE, &before);
	now->release(addr);
}

static void test_unloaded(void **state)
{
	struct ibv_p2p_addr_attr attr;
	uint64_t addr;

	load(*state, "now");
	now->start();
	addr = allocate_filled(PAGE, 0);
	check_export(addr, PAGE);
	now->release(addr);
	now->stop();
	unload();
	refused(addr, PAGE, ENOENT, NULL);
	assert_int_equal(memory_kind_query(now->kind, addr, &attr), ENOENT);
}

/* A process that has the library, but does not use it. */
static void test_unused(void **state)
{
	struct ibv_p2p_addr_attr attr;

	load(*state, "now");
	refused((uintptr_t)&attr, 1, ENOENT, NULL);
	assert_int_equal(memory_kind_query(now->kind, (uintptr_t)&attr, &attr), ENOENT);
	unload();
}

enum { THREADS = 8 };

static uint64_t thread_addrs[THREADS];

static void *export_often(void *arg)
{
	const uint64_t addr = *(uint64_t *)arg;
	struct ibv_p2p_addr_attr attr;
	struct memory_dmabuf dmabuf;
	struct memory_why why;
	uint8_t byte;
	int i;

	for (i = 0; i < 1000; i++) {
		if (memory_kind_export(now->kind, addr + i, 1 + i, &dmabuf, &why) ||
		    pread(dmabuf.fd, &byte, 1, 0) == 0 || close(dmabuf.fd))
			return "export";
		if (memory_kind_query(now->kind, addr + i, &attr) || attr.offset != (uint64_t)i)
			return "query";
		if (now == &cuda && CALL(unsigned int, "stub_cuda_pushed", void)())
			return "context";
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];
	void *failed;
	int i;

	(void)state;
	for (i = 0; i < THREADS; i++) {
		thread_addrs[i] = allocate_filled(LEN, i % 2);
		assert_int_equal(pthread_create(&threads[i], NULL, export_often,
						&thread_addrs[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		if (failed)
			fail_msg("thread %d: %s", i, (char *)failed);
		now->release(thread_addrs[i]);
	}
}

static void test_fork(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0);
	struct memory_dmabuf dmabuf;
	struct memory_why why;
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (!child)
		_exit(memory_kind_export(now->kind, addr, 1, &dmabuf, &why));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ENOENT);
	check_export(addr, LEN);
	now->release(addr);
}

/* The first of its functions that is called names itself. */
static void test_bare(void **state)
{
	struct ibv_p2p_addr_attr attr;

	(void)state;
	refused((uintptr_t)&attr, 1, EOPNOTSUPP, "is missing: ");
	assert_int_equal(memory_kind_query(now->kind, (uintptr_t)&attr, &attr), ENOENT);
}

static void check_query(uint64_t addr, uint64_t start, size_t size, const char *pci)
{
	struct ibv_p2p_addr_attr attr;
	char driver[64];

	memset(&attr, 0xff, sizeof(attr));
	assert_int_equal(memory_kind_query(now->kind, addr, &attr), 0);
	assert_int_equal(attr.kind, now->id);
	assert_int_equal(attr.map_addr, start);
	assert_int_equal(attr.map_length, size);
	assert_int_equal(attr.map_prot, PROT_READ | PROT_WRITE);
	assert_int_equal(attr.offset, addr - start);
	assert_int_equal(attr.comp_mask, IBV_P2P_ADDR_OFFSET |
			 (pci ? IBV_P2P_ADDR_PCI : 0) |
			 (now->exporter ? IBV_P2P_ADDR_EXPORTER : 0));
	assert_string_equal(attr.pci_address, pci ? pci : "");
	snprintf(driver, sizeof(driver), "/sys/bus/pci/devices/%s/driver", pci);
	if (access(driver, F_OK))
		assert_string_equal(attr.exporter, now->exporter ? now->exporter : "");
}

static void test_query(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0), other = allocate_filled(2 * LEN, 1);
	struct ibv_p2p_addr_attr attr;

	(void)state;
	check_query(addr, addr, LEN, now->pci);
	check_query(addr + LEN - 1, addr, LEN, now->pci);
	check_query(other + PAGE + 3, other, 2 * LEN, now->pci_other);
	now->release(other);
	assert_int_equal(memory_kind_query(now->kind, other, &attr), ENOENT);
	now->release(addr);
}

/* CUDA alone. */

static void test_cuda_contexts(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0), other = allocate_filled(LEN, 1);
	unsigned long pushed = calls("cuCtxPushCurrent_v2");
	void *context;

	(void)state;
	check_export(addr, LEN);
	assert_int_equal(calls("cuCtxPushCurrent_v2"), pushed);
	check_export(other, LEN);
	assert_int_equal(calls("cuCtxPushCurrent_v2"), pushed + 1);
	assert_int_equal(CALL(int, "cuCtxGetCurrent", void **)(&context), 0);
	assert_ptr_equal(context, cuda_contexts[0]);
	cuda_set_current(NULL);
	check_export(addr, LEN);
	check_export(other, LEN);
	assert_int_equal(CALL(unsigned int, "stub_cuda_pushed", void)(), 0);
	assert_int_equal(calls("cuDevicePrimaryCtxRetain"), 0);
	cuda_set_current(cuda_contexts[0]);
	now->release(addr);
	now->release(other);
}

struct cuda_properties {
	int type, handle_types, location_type, location_id;
	void *windows;
	uint8_t compression, rdma;
	uint16_t usage;
	uint8_t reserved[4];
};

static uint64_t reserve(size_t size)
{
	uint64_t addr;

	assert_int_equal(CALL(int, "cuMemAddressReserve", uint64_t *, size_t, size_t,
			      uint64_t, unsigned long long)(&addr, size, 0, 0, 0), 0);
	return addr;
}

static void map_physical(uint64_t addr, size_t size, int gpu, int rdma)
{
	struct cuda_properties p = {
		.type = 1, .location_type = 1, .location_id = gpu, .rdma = rdma,
	};
	void *physical;
	size_t i;

	assert_int_equal(CALL(int, "cuMemCreate", void **, size_t, const void *,
			      unsigned long long)(&physical, size, &p, 0), 0);
	assert_int_equal(CALL(int, "cuMemMap", uint64_t, size_t, size_t, void *,
			      unsigned long long)(addr, size, 0, physical, 0), 0);
	CALL(int, "cuMemRelease", void *)(physical);
	for (i = 0; i < size; i++)
		*bytes_at(addr + i) = byte_of(addr + i);
}

static void unreserve(uint64_t addr, size_t size)
{
	assert_int_equal(CALL(int, "cuMemAddressFree", uint64_t, size_t)(addr, size), 0);
}

/* As expandable segments have it: more and more of a reservation is mapped. */
static void test_cuda_mapped(void **state)
{
	uint64_t addr = reserve(8 * LEN), next = reserve(LEN);

	(void)state;
	assert_int_equal(next, addr + 8 * LEN);
	map_physical(addr, LEN, 1, 1);
	check_export(addr + 5, LEN - 5);
	map_physical(addr + LEN, 2 * LEN, 1, 1);
	check_export(addr, 3 * LEN);
	check_export(addr + LEN - 1, 2);
	cuda_set_current(NULL);
	check_export(addr + LEN - 1, 2);
	assert_int_equal(calls("cuDevicePrimaryCtxRetain"), 3 + 1);
	set_failure("cuDevicePrimaryCtxRetain", 2);
	refused(addr, 1, ENOMEM, "cuDevicePrimaryCtxRetain");
	set_failure("cuDevicePrimaryCtxRetain", 0);
	set_failure("cuCtxPushCurrent_v2", 201);
	refused(addr, 1, EIO, "cuCtxPushCurrent: CUDA_ERROR_INVALID_CONTEXT (201)");
	set_failure("cuCtxPushCurrent_v2", 0);
	assert_int_equal(calls("cuDevicePrimaryCtxRetain"), 3 + 1 + 2);
	assert_int_equal(CALL(int, "stub_cuda_retained", void)(), 0);
	cuda_set_current(cuda_contexts[1]);
	check_export(addr + LEN - 1, 2);
	assert_int_equal(calls("cuDevicePrimaryCtxRetain"), 3 + 1 + 2);
	cuda_set_current(cuda_contexts[0]);
	check_query(addr + LEN + 9, addr, 8 * LEN, now->pci_other);
	map_physical(next, LEN, 1, 1);
	refused(addr + 2 * LEN, 7 * LEN, EINVAL, "run over the end");
	unreserve(next, LEN);
	unreserve(addr, 8 * LEN);
}

static void test_cuda_holes(void **state)
{
	uint64_t addr = reserve(8 * LEN);
	char hole[32];

	(void)state;
	refused(addr, 1, ENOENT, NULL);
	map_physical(addr, LEN, 0, 1);
	map_physical(addr + 2 * LEN, LEN, 0, 1);
	snprintf(hole, sizeof(hole), "%#" PRIx64, addr + LEN);
	refused(addr, 3 * LEN, EINVAL, hole);
	refused(addr + LEN - 1, 2, EINVAL, hole);
	check_export(addr + 2 * LEN, LEN);
	assert_int_equal(CALL(int, "cuMemUnmap", uint64_t, size_t)(addr, LEN), 0);
	refused(addr, 1, ENOENT, NULL);
	unreserve(addr, 8 * LEN);
}

static void test_cuda_cannot(void **state)
{
	uint64_t addr = reserve(LEN), pool, plain = allocate_filled(LEN, 0);

	(void)state;
	map_physical(addr, LEN, 0, 0);
	refused(addr, LEN, EOPNOTSUPP, "gpuDirectRDMACapable");
	unreserve(addr, LEN);
	assert_int_equal(CALL(int, "cuMemAllocAsync", uint64_t *, size_t,
			      void *)(&pool, LEN, NULL), 0);
	refused(pool, LEN, EOPNOTSUPP, "cudaMallocAsync");
	now->release(pool);
	CALL(void, "stub_cuda_no_dmabufs", bool)(true);
	refused(plain, 1, EOPNOTSUPP, "nvidia_peermem");
	assert_int_equal(calls("cuMemGetHandleForAddressRange"), 2);
	CALL(void, "stub_cuda_no_dmabufs", bool)(false);
	check_export(plain, 1);
	set_failure("cuMemGetHandleForAddressRange", 1);
	refused(plain, 1, EINVAL, "CUDA_ERROR_INVALID_VALUE");
	set_failure("cuMemGetHandleForAddressRange", 0);
	now->release(plain);
}

/* Several in a page, none of which begins it. */
static void test_cuda_small(void **state)
{
	uint64_t addrs[5];
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++)
		addrs[i] = allocate_filled(1000 + i, 0);
	for (i = 0; i < 5; i++)
		check_export(addrs[i], 1000 + i);
	assert_int_equal(addrs[1], addrs[0] + 1024);
	refused(addrs[1], 1024, EINVAL, NULL);
	refused(addrs[1] + 1001, 1, ENOENT, NULL);
	for (i = 0; i < 5; i++)
		now->release(addrs[i]);
}

static void test_cuda_no_pci(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0);

	(void)state;
	set_failure("cuDeviceGetPCIBusId", 101);
	check_query(addr, addr, LEN, NULL);
	set_failure("cuDeviceGetPCIBusId", 0);
	now->release(addr);
}

/* A device that this machine has, for which sysfs knows better what drives it. */
static void test_cuda_driver(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0);
	struct ibv_p2p_addr_attr attr;
	char path[300], driver[PATH_MAX];
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *d;
	ssize_t len = -1;

	(void)state;
	while (dir && len < 0 && (d = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", d->d_name);
		len = readlink(path, driver, sizeof(driver) - 1);
	}
	if (len > 0) {
		driver[len] = '\0';
		CALL(void, "stub_cuda_set_pci", const char *)(d->d_name);
		assert_int_equal(memory_kind_query(now->kind, addr, &attr), 0);
		assert_string_equal(attr.exporter, strrchr(driver, '/') + 1);
		assert_string_equal(attr.pci_address, d->d_name);
	}
	if (dir)
		closedir(dir);
	now->release(addr);
}

static void test_cuda_old(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0), host = now->allocate_host(LEN);

	(void)state;
	refused(addr, LEN, EOPNOTSUPP, "cuMemGetHandleForAddressRange");
	refused(addr, LEN, EOPNOTSUPP, "515");
	refused(host, LEN, ENOENT, NULL);
	check_query(addr + 1, addr, LEN, now->pci);
	now->release(addr);
	now->release_host(host);
}

/* ROCm alone. */

static void test_rocm_cannot(void **state)
{
	static const struct {
		int type, error;
		const char *says;
	} cases[] = {
		{ 0, ENOENT, NULL }, { 2, ENOENT, NULL },
		{ 3, EOPNOTSUPP, "graphics" }, { 4, EOPNOTSUPP, "another process" },
		{ 5, EOPNOTSUPP, "hsa_amd_vmem_address_reserve" }, { 6, ENOENT, NULL },
	};
	uint64_t addr = allocate_filled(LEN, 0);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CALL(void, "stub_rocm_set_type", uint64_t, int)(addr, cases[i].type);
		refused(addr, LEN, cases[i].error, cases[i].says);
	}
	CALL(void, "stub_rocm_set_type", uint64_t, int)(addr, 1);
	check_export(addr, LEN);
	CALL(void, "stub_rocm_no_dmabufs", bool)(true);
	refused(addr, LEN, EOPNOTSUPP, "CONFIG_PCI_P2PDMA");
	set_failure("hsa_system_get_info", 0x1001);
	check_export(addr, LEN);
	set_failure("hsa_system_get_info", 0);
	now->release(addr);
}

static void test_rocm_no_agent(void **state)
{
	uint64_t addr = rocm_allocate_of(0, LEN);

	(void)state;
	refused(addr, LEN, ENOENT, NULL);
	now->release(addr);
}

static void test_rocm_old(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0), host = now->allocate_host(LEN);

	(void)state;
	refused(addr, LEN, EOPNOTSUPP, "hsa_amd_portable_export_dmabuf");
	refused(addr, LEN, EOPNOTSUPP, "ROCm 5.4");
	refused(host, LEN, ENOENT, NULL);
	check_query(addr + 1, addr, LEN, now->pci);
	now->release(addr);
	now->release_host(host);
}

/* Level Zero alone. */

static void test_ze_parts(void **state)
{
	enum { PARTS = 40 };
	uint64_t addrs[PARTS], large = allocate_filled(LEN, 0);
	size_t sizes[PARTS], i;

	(void)state;
	for (i = 0; i < PARTS; i++) {
		sizes[i] = 1 + i * 1237;
		addrs[i] = allocate_filled(sizes[i], 0);
	}
	for (i = 0; i < PARTS; i++) {
		check_export(addrs[i], sizes[i]);
		check_export(addrs[i] + sizes[i] - 1, 1);
		refused(addrs[i] + sizes[i] - 1, 2, EINVAL, NULL);
	}
	check_query(addrs[PARTS - 1] + 2, addrs[PARTS - 1], sizes[PARTS - 1], now->pci);
	for (i = 0; i < PARTS - 1; i++)
		now->release(addrs[i]);
	check_export(addrs[PARTS - 1], sizes[PARTS - 1]);
	now->release(addrs[PARTS - 1]);
	check_export(large, LEN);
	now->release(large);
}

static void test_ze_tiles(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0);

	(void)state;
	CALL(void, "stub_ze_tiles", bool)(true);
	check_export(addr, LEN / 2);
	refused(addr, LEN / 2 + 1, EOPNOTSUPP, "several tiles");
	now->release(addr);
}

/* A driver of 2022: it has no context of its own, and keeps no descriptor. */
static void test_ze_old(void **state)
{
	uint64_t addr = allocate_filled(LEN, 0), next = allocate_filled(LEN, 0);

	(void)state;
	check_export(addr, LEN);
	check_export(addr + LEN - 1, 1);
	check_export(next + 1, LEN - 1);
	assert_int_equal(open_dmabufs(), dmabufs_before);
	refused(addr, LEN + 1, EINVAL, NULL);
	assert_int_equal(CALL(unsigned int, "stub_ze_contexts", void)(), 1);
	check_query(next + 1, next, LEN, NULL);
	set_failure("zeContextCreate", 0x70000002);
	refused(addr, 1, EIO, "zeContextCreate");
	set_failure("zeContextCreate", 0);
	now->release(addr);
	now->release(next);
}

#define TEST(function, subject, before, after)				\
	{ #function " " #subject, function, before, after, (void *)&subject }
#define EACH(function, before, after)					\
	TEST(function, cuda, before, after),				\
	TEST(function, rocm, before, after),				\
	TEST(function, ze, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_not_loaded, NULL, NULL),
		EACH(test_soname, setup, teardown),
		EACH(test_whole, setup, teardown),
		EACH(test_inside, setup, teardown),
		EACH(test_end, setup, teardown),
		EACH(test_over_two, setup, teardown),
		EACH(test_no_range, setup, teardown),
		EACH(test_not_device, setup, teardown),
		EACH(test_failures, setup, teardown),
		EACH(test_cloexec, setup, teardown),
		EACH(test_own_fd, setup, teardown),
		EACH(test_many, setup, teardown),
		EACH(test_unloaded, NULL, NULL),
		EACH(test_unused, NULL, NULL),
		EACH(test_threads, setup, teardown),
		EACH(test_fork, setup, teardown),
		EACH(test_bare, setup_bare, teardown_bare),
		EACH(test_query, setup, teardown),
		TEST(test_cuda_contexts, cuda, setup, teardown),
		TEST(test_cuda_mapped, cuda, setup, teardown),
		TEST(test_cuda_holes, cuda, setup, teardown),
		TEST(test_cuda_cannot, cuda, setup, teardown),
		TEST(test_cuda_small, cuda, setup, teardown),
		TEST(test_cuda_no_pci, cuda, setup, teardown),
		TEST(test_cuda_driver, cuda, setup, teardown),
		TEST(test_cuda_old, cuda, setup_old, teardown),
		TEST(test_rocm_cannot, rocm, setup, teardown),
		TEST(test_rocm_no_agent, rocm, setup, teardown),
		TEST(test_rocm_old, rocm, setup_old, teardown),
		TEST(test_ze_parts, ze, setup, teardown),
		TEST(test_ze_tiles, ze, setup, teardown),
		TEST(test_ze_old, ze, setup_old, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
