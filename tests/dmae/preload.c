// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * libibverbs-ext-preload in front of a program that was not written for it, and starts
 * itself under ibv_p2prun for that: plain ibv_reg_mr() of memory that only a library
 * knows, and of all other memory, for which nothing changes.
 */
#include "../verbs/common.h"
#include "vendor.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs_p2p.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, LEN = 64 * PAGE, IN = 3 * PAGE + 16, PART = 2 * PAGE };
enum { ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
		IBV_ACCESS_REMOTE_READ };

/* In what order a dma-buf comes, if it does. */
enum mode { BARE, PRELOADED, FORCED, FORBIDDEN, NR_MODES };

static const char *const mode_names[] = { "bare", "preload", "force", "forbid" };
static enum mode mode;

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Into the memory and out of it, by RDMA; the stub's CPU sees the same. */
static void want_bytes_move(struct ibv_mr *mr, uint8_t *addr, size_t len, uint64_t iova)
{
	struct mem host = mem_open(HOST, 0, len);
	struct pair pair;

	pair_open(&pair, IBV_QPT_RC, 0);
	pattern_fill(host.addr, len, seed_of(case_name()), 0);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&host, 0, len), iova, mr->rkey,
		  IBV_WC_SUCCESS, "to the GPU");
	pattern_check(vendor_bytes(addr), len, seed_of(case_name()), 0, "in the GPU");
	memset(host.addr, 0, len);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&host, 0, len), iova, mr->rkey,
		  IBV_WC_SUCCESS, "from the GPU");
	pattern_check(host.addr, len, seed_of(case_name()), 0, "back");
	pair_close(&pair);
	mem_close(&host);
}

static void run_vendor(const void *arg)
{
	uint8_t *p;
	struct ibv_mr *mr;
	int fds, err;

	vendor_load(arg);
	p = vendor_allocate(LEN);
	mr = try_reg(p + IN, PART, ACCESS, &err);
	if (mode == BARE || mode == FORBIDDEN) {
		if (mr || err != EFAULT)
			fail("%s, expected EFAULT", mr ? "registered" : strerrorname_np(err));
		return;
	}
	if (!mr)
		fail("ibv_reg_mr: %s", strerrorname_np(err));
	if (mr->addr != p + IN || mr->length != PART)
		fail("an MR of %zu bytes at %p, expected %d at %p", mr->length, mr->addr,
		     PART, p + IN);
	want_bytes_move(mr, p + IN, PART, (uintptr_t)p + IN);
	dereg(mr);

	/* What the library keeps is open now. */
	fds = open_fds();
	mr = reg(p, PAGE, ACCESS);
	if (open_fds() != fds)
		fail("%d descriptors more are open", open_fds() - fds);
	dereg(mr);

	/* At another address, which has the same place in its page. */
	mr = ibv_reg_mr_iova(dev.pd, p + IN, PART, 0x10000 + IN, ACCESS);
	if (!mr)
		fail("ibv_reg_mr_iova: %s", strerrorname_np(errno));
	want_bytes_move(mr, p + IN, PART, 0x10000 + IN);
	dereg(mr);
	/* What is a hint, or comes with a dma-buf anyway. */
	mr = try_reg(p, LEN, ACCESS | IBV_ACCESS_RELAXED_ORDERING | IBV_ACCESS_ON_DEMAND,
		     &err);
	if (!mr)
		fail("with hints: %s", strerrorname_np(err));
	want_bytes_move(mr, p, LEN, (uintptr_t)p);
	dereg(mr);
	vendor_check();
}

/* It is refused as without us, also if a library was asked. */
static void run_unknown(const void *arg)
{
	int err;

	vendor_load(arg);
	if (try_reg((void *)(uintptr_t)0x7000, PAGE, ACCESS, &err) || err != EFAULT)
		fail("%s, expected EFAULT", err ? strerrorname_np(err) : "registered");
	if (arg == &vendors[0] && !!vendor_calls("cuPointerGetAttributes") !=
				  (mode == PRELOADED || mode == FORCED))
		fail("CUDA was asked %lu times", vendor_calls("cuPointerGetAttributes"));
	vendor_check();
}

/* Over the end of its memory: it knows the memory, and says no. */
static void run_too_long(const void *arg)
{
	uint8_t *p;
	int err;

	vendor_load(arg);
	p = vendor_allocate(LEN);
	if (try_reg(p + PAGE, LEN, ACCESS, &err))
		fail("registered");
	if (err != (mode == PRELOADED || mode == FORCED ? EINVAL : EFAULT))
		fail("%s", strerrorname_np(err));
	vendor_check();
}

/* Memory that the kernel takes: nobody else is asked, unless that is wanted. */
static void run_kernel(const void *arg)
{
	const char *function = "cuPointerGetAttributes";
	uint8_t *p;

	vendor_load(&vendors[0]);
	vendor_allocate(LEN);
	p = *(const int *)arg == HOST ? host_map(LEN) : gpu_map(GPU0, DMAE_AT, LEN);
	dereg(reg(p, LEN, ACCESS_ALL));
	if (!!vendor_calls(function) != (mode == FORCED))
		fail("CUDA was asked %lu times", vendor_calls(function));
}

static void run_many(const void *arg)
{
	const struct rlimit few = { 256, 256 };
	int i, n = slow ? 2000 : 100000;
	uint8_t *p;

	(void)arg;
	vendor_load(&vendors[0]);
	p = vendor_allocate(LEN);
	setrlimit(RLIMIT_NOFILE, &few);
	for (i = 0; i < n; i++)
		dereg(reg(p + i % 60 * PAGE, PART, ACCESS));
	vendor_check();
}

enum { THREADS = 8 };

static uint8_t *threads_memory;

static void *thread(void *arg)
{
	int i, n = slow ? 20 : 200;
	uint8_t *p = threads_memory + (uintptr_t)arg * PART;
	pid_t pid;

	for (i = 0; i < n; i++) {
		struct ibv_mr *mr = reg(p, PART, ACCESS);

		if (i % 16 == 0) {
			pid = fork();
			if (!pid && i % 32)
				_exit(0);
			if (!pid)
				_exit(execl("/bin/true", "true", NULL));
			join_child(pid, "the child");
		}
		dereg(mr);
	}
	return NULL;
}

static void run_threads(const void *arg)
{
	pthread_t threads[THREADS];
	uintptr_t i;

	(void)arg;
	vendor_load(&vendors[0]);
	threads_memory = vendor_allocate(LEN);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)i))
			fail("no thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	vendor_check();
}

/* As NCCL gets at libibverbs. */
static void run_dlvsym(const void *arg)
{
	void *lib = dlopen("libibverbs.so.1", RTLD_NOW);
	struct ibv_mr *(*reg_mr)(struct ibv_pd *, void *, size_t, int);
	struct ibv_mr *(*iova2)(struct ibv_pd *, void *, size_t, uint64_t, unsigned int);
	struct ibv_mr *mr;
	uint8_t *p;

	(void)arg;
	vendor_load(&vendors[0]);
	p = vendor_allocate(LEN);
	if (!lib)
		fail("%s", dlerror());
	if (!dlvsym(lib, "ibv_get_device_list", "IBVERBS_1.1"))
		fail("no ibv_get_device_list: %s", dlerror());
	reg_mr = dlvsym(lib, "ibv_reg_mr", "IBVERBS_1.1");
	iova2 = dlvsym(lib, "ibv_reg_mr_iova2", "IBVERBS_1.8");
	if (!reg_mr || !iova2)
		fail("%s", dlerror());
	mr = reg_mr(dev.pd, p, LEN, ACCESS);
	if (!mr)
		fail("ibv_reg_mr: %s", strerrorname_np(errno));
	dereg(mr);
	mr = iova2(dev.pd, p, LEN, (uintptr_t)p, ACCESS);
	if (!mr)
		fail("ibv_reg_mr_iova2: %s", strerrorname_np(errno));
	dereg(mr);
	dlclose(lib);
}

/* Older versions would madvise() what is registered, which fails for such memory. */
static void run_fork_init(const void *arg)
{
	uint8_t *p;

	(void)arg;
	if (ibv_fork_init())
		fail("ibv_fork_init");
	vendor_load(&vendors[0]);
	p = vendor_allocate(LEN);
	dereg(reg(p, LEN, ACCESS));
}

/* A program that has a say in it is heard, whatever is in front of libibverbs. */
static void run_ways(const void *arg)
{
	struct ibv_p2p_reg_attr attr = { .ways = IBV_P2P_WAY_KERNEL };
	struct ibv_p2p_addr_attr at;
	uint8_t *p;
	struct ibv_mr *mr;

	vendor_load(arg);
	p = vendor_allocate(LEN);
	if (ibv_p2p_query_addr(p + IN, &at, sizeof(at)) || !at.dmabuf ||
	    at.map_addr != (uintptr_t)p || at.offset != IN)
		fail("of kind %u, offset %llu, dma-buf %u", at.kind,
		     (unsigned long long)at.offset, at.dmabuf);
	if (ibv_p2p_query_addr(host_map(PAGE), &at, sizeof(at)) || at.dmabuf ||
	    at.kind != IBV_P2P_KIND_HOST)
		fail("memory of the host is of kind %u, dma-buf %u", at.kind, at.dmabuf);
	mr = ibv_p2p_reg_mr(dev.pd, p, LEN, (uintptr_t)p, ACCESS, &attr, sizeof(attr));
	if (mr || errno != EFAULT)
		fail("by the kernel: %s, expected EFAULT",
		     mr ? "registered" : strerrorname_np(errno));
	attr.ways = IBV_P2P_WAY_DMABUF;
	mr = ibv_p2p_reg_mr(dev.pd, p, LEN, (uintptr_t)p, ACCESS, &attr, sizeof(attr));
	if (!mr)
		fail("as a dma-buf: %s", strerrorname_np(errno));
	want_bytes_move(mr, p, LEN, (uintptr_t)p);
	dereg(mr);
	attr.ways = 0;
	attr.flags = IBV_P2P_REG_DEVICE_ONLY;
	mr = ibv_p2p_reg_mr(dev.pd, p + IN, PART, (uintptr_t)p + IN,
			    ACCESS | IBV_ACCESS_ON_DEMAND, &attr, sizeof(attr));
	if (!mr)
		fail("by any way, on demand: %s", strerrorname_np(errno));
	want_bytes_move(mr, p + IN, PART, (uintptr_t)p + IN);
	dereg(mr);
	vendor_check();
}

static void run_cases(void)
{
	const char *name = mode_names[mode];
	const int host = HOST, gpu = GPU0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(vendors); i++) {
		run_case(run_vendor, &vendors[i], "%s/%s", name, vendors[i].name);
		run_case(run_unknown, &vendors[i], "%s/unknown/%s", name, vendors[i].name);
		run_case(run_too_long, &vendors[i], "%s/too-long/%s", name,
			 vendors[i].name);
	}
	run_case(run_kernel, &host, "%s/host", name);
	run_case(run_kernel, &gpu, "%s/bar", name);
	if (mode == BARE || mode == PRELOADED)
		for (i = 0; i < ARRAY_SIZE(vendors); i++)
			run_case(run_ways, &vendors[i], "%s/ways/%s", name,
				 vendors[i].name);
	if (mode != PRELOADED)
		return;
	run_case(run_many, NULL, "%s/many", name);
	run_case(run_threads, NULL, "%s/threads", name);
	run_case(run_dlvsym, NULL, "%s/dlvsym", name);
	run_case(run_fork_init, NULL, "%s/fork-init", name);
}

/* This program once more. */
static int start_in(enum mode next, const char *self)
{
	static const char *const options[] = { NULL, "--", "--force", "--memory=none" };
	char number[] = { '0' + next, '\0' };
	pid_t pid = fork();
	int status;

	if (!pid) {
		setenv("PRELOAD_MODE", number, 1);
		setenv("IBV_P2P_PRELOAD", PRELOAD, 1);
		setenv("LD_LIBRARY_PATH", STUBS, 1);
		if (next == BARE)
			execl(self, self, NULL);
		else
			execl(P2PRUN, P2PRUN, options[next], self, NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) != pid || status;
}

int main(int argc, char **argv)
{
	const char *chosen = getenv("PRELOAD_MODE");
	int failed = 0;

	if (chosen) {
		mode = atoi(chosen);
		test_init(argc, argv);
		run_cases();
		return test_done();
	}
	for (mode = 0; mode < NR_MODES; mode++)
		failed |= start_in(mode, argv[0]);
	return failed;
}
