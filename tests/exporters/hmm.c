// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Memory of the process that was migrated to a device (HMM; the kernel's dmirror
 * is the device): RDMA reads and writes it there, and it does not come back for
 * that. It migrates to and fro as it likes.
 */
#include "../verbs/verify.h"
#include "mirror.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LEN = KIB(512), SOME = KIB(64), RW = PROT_READ | PROT_WRITE };

/* Memory, filled, registered on demand, and the mirror of this process. */
struct bed {
	struct mirror mirror;
	uint8_t *addr;
	struct ibv_mr *mr;
};

static struct ibv_mr *reg_odp(void *addr, size_t len)
{
	return reg(addr, len, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
}

static struct bed bed_open(void)
{
	struct bed bed = { .mirror = mirror_open(), .addr = host_map(LEN) };

	pattern_fill(bed.addr, LEN, seed_of(case_name()), 0);
	return bed;
}

static void want_on_device(const struct bed *bed, size_t offset, size_t len,
			   const char *what)
{
	size_t pages = mirror_count(&bed->mirror, bed->addr + offset, len);

	if (pages != len / 4096)
		fail("%s: %zu of %zu pages are on the device", what, pages,
		     len / 4096);
}

/* RDMA to all of it and back, of which the CPU sees nothing. */
static void use(struct ibv_mr *mr, uint8_t *addr, size_t len)
{
	struct mem out = mem_open(HOST, 0, len), in = mem_open(HOST, 0, len);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	pattern_fill(out.addr, len, seed_of("written"), 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&out, 0, len), (uintptr_t)addr,
		  mr->rkey, IBV_WC_SUCCESS, "write");
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&in, 0, len), (uintptr_t)addr,
		  mr->rkey, IBV_WC_SUCCESS, "read");
	same_check(in.addr, out.addr, len, "read back");
	pair_close(&p);
	mem_close(&out);
	mem_close(&in);
}

static void read_only(struct ibv_mr *mr, uint8_t *addr, size_t len,
		      enum ibv_wc_status want, const char *what)
{
	struct mem in = mem_open(HOST, 0, len);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&in, 0, len), (uintptr_t)addr,
		  mr->rkey, want, what);
	if (want == IBV_WC_SUCCESS)
		pattern_check(in.addr, len, seed_of(case_name()), 0, what);
	pair_close(&p);
	mem_close(&in);
}

static void bed_close(struct bed *bed)
{
	dereg(bed->mr);
	unmap(bed->addr, LEN);
	mirror_balanced();
	mirror_close(&bed->mirror);
}

/* ---- in place ---- */

static void in_place(struct bed *bed)
{
	long faults = mirror_counter("faults"), maps = mirror_counter("p2p_maps");

	read_only(bed->mr, bed->addr, LEN, IBV_WC_SUCCESS, "read in place");
	use(bed->mr, bed->addr, LEN);
	want_on_device(bed, 0, LEN, "after RDMA");
	if (mirror_counter("faults") != faults)
		fail("%ld pages migrated back",
		     mirror_counter("faults") - faults);
	if (mirror_counter("p2p_maps") == maps)
		fail("nothing was mapped on the device");
	/* The CPU has it migrate back, with what RDMA wrote. */
	pattern_check(bed->addr, LEN, seed_of("written"), 0, "seen by the CPU");
	if (mirror_counter("faults") != faults + LEN / 4096)
		fail("%ld pages migrated for the CPU",
		     mirror_counter("faults") - faults);
	exercise(bed->mr, (uintptr_t)bed->addr, LEN, bed->addr, "on the host");
	bed_close(bed);
}

static void run_registered_there(const void *arg)
{
	struct bed bed = bed_open();

	mirror_to_device(&bed.mirror, bed.addr, LEN);
	bed.mr = reg(bed.addr, LEN, *(const int *)arg);
	want_on_device(&bed, 0, LEN, "registered");
	in_place(&bed);
}

static void run_registered_before(const void *arg)
{
	struct bed bed = bed_open();

	(void)arg;
	bed.mr = reg_odp(bed.addr, LEN);
	read_only(bed.mr, bed.addr, LEN, IBV_WC_SUCCESS, "on the host");
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	in_place(&bed);
}

/* Pages of the host, of the device and that are nowhere yet, every third. */
static void run_mixed(const void *arg)
{
	struct bed bed = bed_open();
	size_t i, n = LEN / 4096, there = 0;

	for (i = 0; i < n; i++) {
		uint8_t *page = bed.addr + i * 4096;

		if (i % 3 == 1) {
			mirror_to_device(&bed.mirror, page, 4096);
			there++;
		}
		if (i % 3 == 2 && madvise(page, 4096, MADV_DONTNEED))
			fail("madvise: %s", strerror(errno));
	}
	bed.mr = reg(bed.addr, LEN, *(const int *)arg);
	use(bed.mr, bed.addr, LEN);
	if (mirror_count(&bed.mirror, bed.addr, LEN) != there)
		fail("%zu of %zu pages are on the device",
		     mirror_count(&bed.mirror, bed.addr, LEN), there);
	pattern_check(bed.addr, LEN, seed_of("written"), 0, "seen by the CPU");
	bed_close(&bed);
}

/* ---- as today ---- */

static void run_refused(const void *arg)
{
	struct bed bed = bed_open();
	long maps;

	(void)arg;
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	bed.mr = reg_odp(bed.addr, LEN);
	maps = mirror_counter("p2p_maps");
	mirror_refuse(true);
	read_only(bed.mr, bed.addr, LEN, IBV_WC_SUCCESS, "refused");
	if (mirror_counter("p2p_maps") != maps)
		fail("it was mapped, though refused");
	if (mirror_count(&bed.mirror, bed.addr, LEN))
		fail("it stayed on the device");
	mirror_refuse(false);
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	in_place(&bed);
}

/* What was on the host when it was registered is pinned there. */
static void run_pinned(const void *arg)
{
	struct bed bed = bed_open();

	(void)arg;
	bed.mr = reg(bed.addr, LEN, ACCESS_ALL);
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	if (mirror_count(&bed.mirror, bed.addr, LEN))
		fail("%zu pages of a pinned MR have migrated",
		     mirror_count(&bed.mirror, bed.addr, LEN));
	use(bed.mr, bed.addr, LEN);
	pattern_check(bed.addr, LEN, seed_of("written"), 0, "seen by the CPU");
	bed_close(&bed);
}

/* ---- what changes the mapping ---- */

static void run_protect(const void *arg)
{
	struct bed bed = bed_open();

	(void)arg;
	bed.mr = reg_odp(bed.addr, LEN);
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	read_only(bed.mr, bed.addr, LEN, IBV_WC_SUCCESS, "to begin with");
	protect(bed.addr, LEN, PROT_READ);
	read_only(bed.mr, bed.addr, LEN, IBV_WC_SUCCESS, "read-only");
	want_on_device(&bed, 0, LEN, "read-only");
	protect(bed.addr, LEN, PROT_NONE);
	read_only(bed.mr, bed.addr, LEN, IBV_WC_REM_ACCESS_ERR, "PROT_NONE");
	protect(bed.addr, LEN, RW);
	use(bed.mr, bed.addr, LEN);
	pattern_check(bed.addr, LEN, seed_of("written"), 0, "seen by the CPU");
	bed_close(&bed);
}

/* Shared on fork, copied on write: each has its own, as on the host. */
static void run_fork(const void *arg)
{
	struct bed bed = bed_open();
	pid_t pid;

	(void)arg;
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	bed.mr = reg_odp(bed.addr, LEN);
	read_only(bed.mr, bed.addr, LEN, IBV_WC_SUCCESS, "before");
	pid = fork();
	if (!pid) {
		/* Until the parent has written, and was killed else. */
		sleep(1);
		pattern_check(bed.addr, LEN, seed_of(case_name()), 0,
			      "the child's");
		memset(bed.addr, 0, LEN);
		_exit(0);
	}
	use(bed.mr, bed.addr, LEN);
	join_child(pid, "the child");
	pattern_check(bed.addr, LEN, seed_of("written"), 0, "the parent's");
	use(bed.mr, bed.addr, LEN);
	bed_close(&bed);
}

static void run_munmap(const void *arg)
{
	struct mem in = mem_open(HOST, 0, LEN);
	struct bed bed = bed_open();
	struct pair p;

	(void)arg;
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	bed.mr = reg_odp(bed.addr, LEN);
	use(bed.mr, bed.addr, LEN);
	pair_open(&p, IBV_QPT_RC, 0);
	unmap(bed.addr, LEN);
	mirror_balanced();
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&in, 0, LEN), (uintptr_t)bed.addr,
		  bed.mr->rkey, IBV_WC_REM_ACCESS_ERR, "munmapped");
	host_map_at(bed.addr, LEN, RW);
	use(bed.mr, bed.addr, LEN);
	bed_close(&bed);
}

static void run_killed(const void *arg)
{
	pid_t pid;

	(void)arg;
	pid = fork();
	if (!pid) {
		struct bed bed;

		dev_open(dev_name());
		bed = bed_open();
		mirror_to_device(&bed.mirror, bed.addr, LEN);
		bed.mr = reg_odp(bed.addr, LEN);
		use(bed.mr, bed.addr, LEN);
		raise(SIGKILL);
	}
	join_killed(pid, SIGKILL, "the owner");
	mirror_balanced();
}

/* What RDMA writes on the device is not thrown away as clean. */
static void run_dirty(const void *arg)
{
	struct bed bed = bed_open();

	(void)arg;
	let_drop(bed.addr, LEN);
	mirror_to_device(&bed.mirror, bed.addr, LEN);
	bed.mr = reg_odp(bed.addr, LEN);
	use(bed.mr, bed.addr, LEN);
	want_on_device(&bed, 0, LEN, "written");
	mirror_to_host(&bed.mirror, bed.addr, LEN);
	dereg(bed.mr);
	if (madvise(bed.addr, LEN, MADV_PAGEOUT))
		fail("madvise: %s", strerror(errno));
	bed.mr = reg_odp(bed.addr, LEN);
	pattern_check(bed.addr, LEN, seed_of("written"), 0, "after reclaim");
	bed_close(&bed);
}

/* ---- userfaultfd tracks writes ---- */

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)	/* since Linux 6.7, as is what follows */
#endif

/* The argument of PAGEMAP_SCAN, and what it finds. */
struct scan {
	uint64_t size, flags, start, end, walk_end, found, nr_found, max_pages;
	uint64_t inverted, mask, any_of, wanted;
};

struct scan_found {
	uint64_t start, end, what;
};

enum { SCAN_PROTECT = 1, SCAN_PAGE_WRITTEN = 2 };

static void track_writes(void *addr, size_t len)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register range = {
		.range = { (uintptr_t)addr, len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		skip("no userfaultfd that tracks writes: %s", strerror(errno));
	if (ioctl(fd, UFFDIO_REGISTER, &range))
		fail("UFFDIO_REGISTER: %s", strerror(errno));
}

/* How many pages were written since this was called last. */
static size_t written(void *addr, size_t len)
{
	struct scan_found found[LEN / 4096];
	struct scan scan = {
		.size = sizeof(scan), .flags = SCAN_PROTECT,
		.start = (uintptr_t)addr, .end = (uintptr_t)addr + len,
		.found = (uintptr_t)found, .nr_found = ARRAY_SIZE(found),
		.mask = SCAN_PAGE_WRITTEN, .wanted = SCAN_PAGE_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY), i, n;
	size_t pages = 0;

	n = ioctl(fd, _IOWR('f', 16, struct scan), &scan);
	if (n < 0)
		fail("PAGEMAP_SCAN: %s", strerror(errno));
	close(fd);
	for (i = 0; i < n; i++)
		pages += (found[i].end - found[i].start) / 4096;
	return pages;
}

static void want_written(const struct bed *bed, size_t len, const char *what)
{
	size_t pages = written(bed->addr, LEN);

	if (pages != len / 4096)
		fail("%s: %zu pages were written, expected %zu", what, pages,
		     len / 4096);
}

static void run_tracked(const void *arg)
{
	struct bed bed = bed_open();
	int i;

	(void)arg;
	bed.mr = reg_odp(bed.addr, LEN);
	track_writes(bed.addr, LEN);
	for (i = 0; i < 3; i++) {
		mirror_to_device(&bed.mirror, bed.addr, LEN);
		written(bed.addr, LEN);
		want_on_device(&bed, 0, LEN, "after the scan");
		use(bed.mr, bed.addr, SOME);
		want_written(&bed, SOME, "by RDMA");
		want_written(&bed, 0, "since then");
		use(bed.mr, bed.addr, SOME);
		want_written(&bed, SOME, "by RDMA again");
	}
	bed_close(&bed);
}

/* ---- to and fro ---- */

enum { WORKERS = 3, REGION = KIB(128) };

static void run_to_and_fro(const void *arg)
{
	const bool *refuse = arg;
	long faults = mirror_counter("faults"), maps = mirror_counter("p2p_maps");
	struct verifier workers[WORKERS];
	struct bed bed = bed_open();
	uint64_t random = seed_of(case_name());
	int i, n = slow ? 150 : 1500;

	bed.mr = reg_odp(bed.addr, LEN);
	for (i = 0; i < WORKERS; i++) {
		workers[i] = (struct verifier) {
			.mr = bed.mr, .addr = bed.addr + i * REGION,
			.len = REGION,
		};
		/* One of them has the CPU look, so that it faults as well. */
		if (i == 0)
			workers[i].view = workers[i].addr;
		verify_start(&workers[i], i);
	}
	for (i = 0; i < n; i++) {
		uint64_t r = next_random(&random);
		size_t at = r % (LEN / 4096) * 4096;
		size_t len = ((r >> 20) % 32 + 1) * 4096;

		if (len > LEN - at)
			len = LEN - at;
		if (*refuse)
			mirror_refuse(r >> 62 == 0);
		if (r >> 60 & 1)
			mirror_to_device(&bed.mirror, bed.addr + at, len);
		else
			mirror_to_host(&bed.mirror, bed.addr + at, len);
	}
	mirror_refuse(false);
	for (i = 0; i < WORKERS; i++) {
		verify_flows(&workers[i]);
		verify_end(&workers[i]);
		note("worker %d: %lu rounds", i, workers[i].done);
	}
	note("%d migrations, %ld pages came back by faults, %ld times mapped", n,
	     mirror_counter("faults") - faults,
	     mirror_counter("p2p_maps") - maps);
	if (mirror_counter("p2p_maps") == maps)
		fail("nothing was ever mapped on the device");
	bed_close(&bed);
}

int main(int argc, char **argv)
{
	static const bool refuse[] = { false, true };
	static const int plain = ACCESS_ALL;
	static const int odp = ACCESS_ALL | IBV_ACCESS_ON_DEMAND;
	static const struct {
		const char *name;
		void (*run)(const void *arg);
		const void *arg;
	} cases[] = {
		{ "in-place/registered-there", run_registered_there, &odp },
		{ "in-place/plain", run_registered_there, &plain },
		{ "in-place/registered-before", run_registered_before, NULL },
		{ "in-place/mixed", run_mixed, &odp },
		{ "in-place/mixed-plain", run_mixed, &plain },
		{ "refused", run_refused, NULL },
		{ "pinned", run_pinned, NULL },
		{ "mprotect", run_protect, NULL },
		{ "fork", run_fork, NULL },
		{ "munmap", run_munmap, NULL },
		{ "killed", run_killed, NULL },
		{ "dirty", run_dirty, NULL },
		{ "tracked", run_tracked, NULL },
		{ "to-and-fro", run_to_and_fro, &refuse[0] },
		{ "to-and-fro/refused-at-times", run_to_and_fro, &refuse[1] },
	};
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, cases[i].arg, "%s", cases[i].name);
	return test_done();
}
