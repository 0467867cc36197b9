// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What one MR may span, and the ways to come to it. */
#include "common.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PART = KIB(64) };

/* Each case has its own 256 KiB. */
enum {
	MIXED_AT	= RANGES_AT,
	TWO_BARS_AT	= RANGES_AT + KIB(256),
	ODD_AT		= RANGES_AT + KIB(512),
	IOVA_AT		= RANGES_AT + KIB(768),
	WC_AT		= RANGES_AT + KIB(1024),
	ON_DEMAND_AT	= RANGES_AT + KIB(1280),
	TWO_MRS_AT	= RANGES_AT + KIB(1536),
	PROCFS_AT	= RANGES_AT + KIB(1792),
	MEMLOCK_AT	= RANGES_AT + KIB(2048),
	MANY_AT		= RANGES_AT + KIB(2304),
	UNTOUCHED_AT	= RANGES_AT + KIB(2560),	/* never written */
};

static void *reserve(size_t len)
{
	return host_map_at(NULL, len, PROT_NONE);
}

/* Host memory, device memory, host memory, each in its own mapping. */
static uint8_t *map_mixed(uint64_t bar_at)
{
	uint8_t *p = reserve(3 * PART);

	host_map_at(p, PART, PROT_READ | PROT_WRITE);
	gpu_map_at(GPU0, p + PART, bar_at, PART, PROT_READ | PROT_WRITE);
	host_map_at(p + 2 * PART, PART, PROT_READ | PROT_WRITE);
	return p;
}

/* As exercise(), and the MR as the local side of a transfer too. */
static void exercise_both(struct ibv_mr *mr, uint8_t *p, size_t len)
{
	struct mem mem = { p, len, mr };
	struct mem buf = mem_open(HOST, 0, len);
	uint64_t seed = seed_of(case_name());
	struct pair pair;

	exercise(mr, (uintptr_t)p, len, p, "remote side");

	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&mem, 0, len),
		  (uintptr_t)buf.addr, buf.mr->rkey, IBV_WC_SUCCESS, "source");
	same_check(buf.addr, p, len, "as the source of a write");
	pattern_fill(buf.addr, len, seed, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&mem, 0, len),
		  (uintptr_t)buf.addr, buf.mr->rkey, IBV_WC_SUCCESS, "target");
	pattern_check(p, len, seed, 0, "as the target of a read");
	pair_close(&pair);
	mem_close(&buf);
}

static void run_mixed(const void *arg)
{
	int access = *(const int *)arg;
	uint8_t *p = map_mixed(MIXED_AT);
	struct ibv_mr *mr = reg(p, 3 * PART, access);

	exercise_both(mr, p, 3 * PART);
	dereg(mr);
	/* At the end of both cases the same pattern. */
	pattern_fill(p + PART, PART, seed_of("mixed"), 0);
	if (access & IBV_ACCESS_ON_DEMAND)
		expect(GPU0, "mixed", MIXED_AT, p + PART, PART);
}

/* Unaligned at both ends, which lie in host memory. */
static void run_mixed_unaligned(const void *arg)
{
	uint8_t *p = map_mixed(MIXED_AT + PART);
	size_t len = PART + 2 * 999;
	struct ibv_mr *mr = reg(p + PART - 999, len, ACCESS_ALL);

	(void)arg;
	exercise_both(mr, p + PART - 999, len);
}

static void run_two_bars(const void *arg)
{
	uint8_t *p = reserve(2 * PART);
	struct ibv_mr *mr;

	(void)arg;
	gpu_map_at(GPU0, p, TWO_BARS_AT, PART, PROT_READ | PROT_WRITE);
	gpu_map_at(GPU1, p + PART, RANGES_AT1, PART, PROT_READ | PROT_WRITE);
	mr = reg(p, 2 * PART, ACCESS_ALL);
	exercise_both(mr, p, 2 * PART);
	expect(GPU0, "two-bars-first", TWO_BARS_AT, p, PART);
	expect(GPU1, "two-bars-second", RANGES_AT1, p + PART, PART);
}

/* Pieces of the BAR in reverse order, and host memory between some. */
static void run_many(const void *arg)
{
	enum { PIECES = 16, PIECE = 4096 };
	uint8_t *p = reserve(PIECES * PIECE);
	struct ibv_mr *mr;
	int i;

	(void)arg;
	for (i = 0; i < PIECES; i++) {
		if (i % 4 == 3)
			host_map_at(p + i * PIECE, PIECE, PROT_READ | PROT_WRITE);
		else
			gpu_map_at(GPU0, p + i * PIECE,
				   MANY_AT + (PIECES - i) * PIECE, PIECE,
				   PROT_READ | PROT_WRITE);
	}
	mr = reg(p, PIECES * PIECE, ACCESS_ALL);
	exercise_both(mr, p, PIECES * PIECE);
	expect(GPU0, "many", MANY_AT + PIECES * PIECE, p, PIECE);
}

/* Nothing but the mapping is there when it is registered and read. */
static void run_untouched(const void *arg)
{
	int access = *(const int *)arg;
	uint8_t *p = gpu_map(GPU0, UNTOUCHED_AT, 4 * PART);
	struct ibv_mr *mr = reg(p, 4 * PART, access);
	struct mem buf = mem_open(HOST, 0, 4 * PART);
	uint64_t seed = gpu_seed();
	struct pair pair;

	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&buf, 0, buf.len), (uintptr_t)p,
		  mr->rkey, IBV_WC_SUCCESS, "untouched");
	pattern_check(buf.addr, buf.len, seed, UNTOUCHED_AT, "read");
}

static void run_whole_bar(const void *arg)
{
	static const char *const names[] = { "start", "middle", "end" };
	size_t size = gpu_size(GPU0);
	const uint64_t at[] = { 5, WHOLE_BAR_AT + 4095, size - 4099 };
	uint8_t *p = gpu_map(GPU0, 0, size);
	struct ibv_mr *mr = reg(p, size, ACCESS_ALL);
	char name[32];
	size_t i;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		snprintf(name, sizeof(name), "whole-bar-%s", names[i]);
		exercise(mr, (uintptr_t)p + at[i], 4099, p + at[i], name);
		expect(GPU0, name, at[i], p + at[i], 4099);
	}
	dereg(mr);
}

/* An MR is what was registered, to the byte, and not the pages around it. */
static void run_odd(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, ODD_AT, PART);
	uint8_t *start = p + 4097;
	size_t len = 8191;
	struct ibv_mr *mr = reg(start, len, ACCESS_ALL);
	struct mem buf = mem_open(HOST, 0, len + 1);
	const uintptr_t outside[] = { (uintptr_t)start - 1, (uintptr_t)start + 1,
				      (uintptr_t)start + len - 1 };
	struct pair pair;
	size_t i;

	(void)arg;
	exercise(mr, (uintptr_t)start, len, start, "all of it");
	memset(p, 0xee, PART);
	for (i = 0; i < ARRAY_SIZE(outside); i++) {
		size_t n = i == 1 ? len : 2;

		pair_open(&pair, IBV_QPT_RC, 0);
		want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&buf, 0, n), outside[i],
			  mr->rkey, IBV_WC_REM_ACCESS_ERR, "outside of the MR");
		pair_close(&pair);
	}
	for (i = 0; i < PART; i++)
		if ((p + i < start || p + i >= start + len) && p[i] != 0xee)
			fail("byte %zu, outside of the MR, was written", i);
	expect(GPU0, "odd-before", ODD_AT, p, 4097);
	expect(GPU0, "odd-after", ODD_AT + 4097 + len, start + len,
	       PART - 4097 - len);
}

/* The peer and the SGEs use an address of their own. */
static void run_iova(const void *arg)
{
	const uint64_t base = *(const uint64_t *)arg;
	uint8_t *p = gpu_map(GPU0, IOVA_AT, PART);
	size_t len = PART - 1000;
	uint64_t iova = base + 1000;
	struct mem buf = mem_open(HOST, 0, len);
	struct ibv_sge local = { .addr = iova, .length = len };
	struct ibv_mr *mr;
	struct pair pair;

	mr = ibv_reg_mr_iova(dev.pd, p + 1000, len, iova, ACCESS_ALL);
	if (!mr)
		fail("ibv_reg_mr_iova to 0x%" PRIx64 ": %s", iova, strerror(errno));
	exercise(mr, iova, len, p + 1000, "remote side");
	local.lkey = mr->lkey;
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, local, (uintptr_t)buf.addr,
		  buf.mr->rkey, IBV_WC_SUCCESS, "local side");
	same_check(buf.addr, p + 1000, len, "as the source of a write");
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&buf, 0, 8), iova + len - 7,
		  mr->rkey, IBV_WC_REM_ACCESS_ERR, "past its end");
}

/* A kernel without CONFIG_X86_PAT has no such files. */
static void *map_wc(void *at, uint64_t offset)
{
	char path[256];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/resource2_wc", gpu_path(GPU0));
	if (access(path, F_OK))
		skip("%s is not there", path);
	fd = gpu_open(GPU0, "resource2_wc", O_RDWR);
	p = mmap(at, PART, PROT_READ | PROT_WRITE,
		 MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset);
	if (p == MAP_FAILED)
		fail("mmap of %s: %s", path, strerror(errno));
	close(fd);
	return p;
}

static void run_wc(const void *arg)
{
	uint8_t *p = map_wc(NULL, WC_AT);

	(void)arg;
	exercise_both(reg(p, PART, ACCESS_ALL), p, PART);
	expect(GPU0, "write-combining", WC_AT, p, PART);
}

/* Both kinds of mapping at once, one after the other in one MR. */
static void run_wc_and_plain(const void *arg)
{
	uint8_t *p = reserve(2 * PART);

	(void)arg;
	gpu_map_at(GPU0, p, WC_AT + PART, PART, PROT_READ | PROT_WRITE);
	map_wc(p + PART, WC_AT + 2 * PART);
	exercise_both(reg(p, 2 * PART, ACCESS_ALL), p, 2 * PART);
}

static void run_on_demand(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, ON_DEMAND_AT, PART);

	(void)arg;
	exercise_both(reg(p, PART, ACCESS_ALL | IBV_ACCESS_ON_DEMAND), p, PART);
	expect(GPU0, "on-demand", ON_DEMAND_AT, p, PART);
}

static void run_two_mrs(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, TWO_MRS_AT, PART);
	struct ibv_mr *all = reg(p, PART, ACCESS_ALL);
	struct ibv_mr *half = reg(p + PART / 4, PART / 2, ACCESS_ALL);
	struct mem buf = mem_open(HOST, 0, PART / 2);
	struct pair pair;

	(void)arg;
	exercise(all, (uintptr_t)p, PART, p, "first MR");
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&buf, 0, PART / 2),
		  (uintptr_t)p + PART / 4, half->rkey, IBV_WC_SUCCESS, "second MR");
	same_check(buf.addr, p + PART / 4, PART / 2, "through the second MR");
	dereg(all);
	exercise(half, (uintptr_t)p + PART / 4, PART / 2, p + PART / 4,
		 "second MR, the first is gone");
}

static void run_procfs(const void *arg)
{
	uint8_t *p = gpu_map_procfs(GPU0, PROCFS_AT, PART);

	(void)arg;
	exercise_both(reg(p, PART, ACCESS_ALL), p, PART);
	expect(GPU0, "procfs", PROCFS_AT, p, PART);
}

/* Device memory is not memory that anybody locks. */
static void run_memlock(const void *arg)
{
	const struct rlimit none = { 0, 0 };
	uint8_t *p = gpu_map(GPU0, MEMLOCK_AT, PART);
	struct ibv_mr *mr;
	int err;

	(void)arg;
	if (setrlimit(RLIMIT_MEMLOCK, &none) || setgroups(0, NULL) ||
	    setgid(65534) || setuid(65534))
		fail("cannot become nobody with RLIMIT_MEMLOCK 0: %s",
		     strerror(errno));
	/* uverbs wants the same credentials as when it was opened. */
	dev_open(dev_name());

	mr = try_reg(host_map(PART), PART, ACCESS_ALL, &err);
	if (mr || err != EPERM)
		fail("host memory, RLIMIT_MEMLOCK 0: %s, expected EPERM",
		     strerror(err));
	mr = try_reg(p, PART, ACCESS_ALL, &err);
	if (!mr)
		fail("device memory, RLIMIT_MEMLOCK 0: %s", strerror(err));
}

int main(int argc, char **argv)
{
	const int plain = ACCESS_ALL, odp = ACCESS_ALL | IBV_ACCESS_ON_DEMAND;
	const uint64_t low = 0, high = 0x123456789000ull, top = ~0ull - MIB(1) + 1;

	test_init(argc, argv);
	run_case(run_mixed, &plain, "mixed/plain");
	run_case(run_mixed, &odp, "mixed/on-demand");
	run_case(run_mixed_unaligned, NULL, "mixed/unaligned");
	run_case(run_two_bars, NULL, "two-bars");
	run_case(run_many, NULL, "many-pieces");
	run_case(run_untouched, &plain, "untouched/plain");
	run_case(run_untouched, &odp, "untouched/on-demand");
	run_case(run_whole_bar, NULL, "whole-bar");
	run_case(run_odd, NULL, "odd-ends");
	run_case(run_iova, &low, "iova/0");
	run_case(run_iova, &high, "iova/high");
	run_case(run_iova, &top, "iova/top");
	run_case(run_wc, NULL, "write-combining");
	run_case(run_wc_and_plain, NULL, "write-combining-and-plain");
	run_case(run_on_demand, NULL, "on-demand");
	run_case(run_two_mrs, NULL, "two-mrs");
	run_case(run_procfs, NULL, "procfs");
	run_case(run_memlock, NULL, "memlock");
	return test_done();
}
