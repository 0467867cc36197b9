// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the engine reaches after an invalidation has returned, whatever a driver
 * believes: it is told to read and write the address that the MR had. The IOMMU
 * has to stop it, also one that flushes lazily, and to say so.
 */
#include "engine.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = KIB(64), PROBE = 64, OFFSET = 4096 + 5 };

struct area {
	uint64_t at;
	uint8_t *addr;		/* the mapping that is registered */
	uint8_t *view;		/* one that stays */
	struct ibv_mr *mr;
	uint64_t dma;		/* what the engine has for addr + OFFSET */
};

static struct area area_open(int slot)
{
	struct area a = { .at = DMAE_AT + MIB(1) + slot * LEN };

	a.addr = gpu_map(GPU0, a.at, LEN);
	a.view = gpu_map(GPU0, a.at, LEN);
	pattern_fill(a.view, LEN, seed_of(case_name()), 0);
	return a;
}

/* Use the MR, so that the IOMMU has its pages in its cache. */
static void area_use(struct area *a)
{
	exercise(a->mr, (uintptr_t)a->addr, LEN, a->view, "before");
	a->dma = mr_address(a->mr, (uintptr_t)a->addr + OFFSET);
}

/* Does what the engine writes there arrive? */
static bool writes(const struct area *a, uint64_t seed)
{
	uint8_t data[PROBE], before[PROBE];

	memcpy(before, a->view + OFFSET, PROBE);
	pattern_fill(data, PROBE, seed, 0);
	scratch_write(data, PROBE);
	engine_move(scratch_address(), a->dma, PROBE);
	if (!memcmp(a->view + OFFSET, data, PROBE))
		return true;
	same_check(a->view + OFFSET, before, PROBE, "neither old nor new");
	return false;
}

/* Does it read what is there? */
static bool reads(const struct area *a)
{
	uint8_t data[PROBE] = {};

	scratch_write(data, PROBE);
	engine_move(a->dma, scratch_address(), PROBE);
	scratch_read(data, PROBE);
	return !memcmp(data, a->view + OFFSET, PROBE);
}

static void want_reach(const struct area *a)
{
	if (!writes(a, seed_of("before")) || !reads(a))
		fail("the engine does not reach 0x%" PRIx64 ": this test proves nothing",
		     a->dma);
}

/* QEMU's VT-d loses a report when one was just made, its AMD IOMMU makes none. */
static void want_report(const struct area *a, int kmsg)
{
	char address[32];
	int i;

	if (access("/sys/class/iommu/dmar0", F_OK))
		return;
	snprintf(address, sizeof(address), "%" PRIx64, a->dma & ~(uint64_t)4095);
	for (i = 0; i < 20; i++) {
		if (kmsg_has(kmsg, slow ? 3 : 0.5, "fault", address))
			return;
		engine_move(a->dma, scratch_address(), PROBE);
	}
	fail("the IOMMU reported no fault at 0x%s", address);
}

static void want_stopped(const struct area *a)
{
	int kmsg = kmsg_open();

	if (writes(a, seed_of("after")))
		fail("the engine still writes to 0x%" PRIx64, a->dma);
	if (reads(a))
		fail("the engine still reads from 0x%" PRIx64, a->dma);
	want_report(a, kmsg);
	expect(GPU0, case_name(), a->at, a->view, LEN);
}

static void need_iommu(void)
{
	if (strncmp(engine_domain(), "DMA", 3))
		skip("no IOMMU translates for the engine, its domain is %s",
		     engine_domain());
}

/* ---- the ways to lose memory ---- */

static void do_munmap(struct area *a) { unmap(a->addr, LEN); }
static void do_dereg(struct area *a) { dereg(a->mr); }

static void do_protect(struct area *a)
{
	if (mprotect(a->addr, LEN, PROT_NONE))
		fail("mprotect: %s", strerror(errno));
}

static void do_replace(struct area *a)
{
	host_map_at(a->addr, LEN, PROT_READ | PROT_WRITE);
}

static const struct way {
	const char *name;
	void (*lose)(struct area *a);
} ways[] = {
	{ "munmap", do_munmap },
	{ "dereg", do_dereg },
	{ "mprotect", do_protect },
	{ "replaced-by-host-memory", do_replace },
};

static void run_way(const void *arg)
{
	const struct way *way = arg;
	struct area a;

	need_iommu();
	a = area_open(way - ways);
	a.mr = reg(a.addr, LEN, ACCESS_ALL);
	area_use(&a);
	want_reach(&a);
	way->lose(&a);
	want_stopped(&a);
}

static void need_odp(void)
{
	struct ibv_device_attr_ex attr;

	if (ibv_query_device_ex(dev.ctx, NULL, &attr))
		fail("ibv_query_device_ex: %s", strerror(errno));
	if (!attr.odp_caps.general_caps)
		skip("%s has no on-demand paging", dev_name());
}

/* Writing is lost, reading is not: it faults in again, as read-only. */
static void run_read_only(const void *arg)
{
	struct mem buf = mem_open(HOST, 0, LEN);
	struct area a;
	struct pair p;

	(void)arg;
	need_iommu();
	need_odp();
	a = area_open(5);
	a.mr = reg(a.addr, LEN, ACCESS_ALL);
	area_use(&a);
	want_reach(&a);
	if (mprotect(a.addr, LEN, PROT_READ))
		fail("mprotect: %s", strerror(errno));
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)a.addr,
		  a.mr->rkey, IBV_WC_SUCCESS, "read-only");
	same_check(buf.addr, a.view, LEN, "read");
	a.dma = mr_address(a.mr, (uintptr_t)a.addr + OFFSET);
	if (!reads(&a))
		fail("the engine does not reach what it just read");
	if (writes(&a, seed_of("after")))
		fail("the engine writes what is mapped read-only, 0x%" PRIx64,
		     a.dma);
}

/* The process that has registered it is killed, with all that it had. */
static void run_killed(const void *arg)
{
	struct area a;
	int fd[2];
	pid_t pid;

	(void)arg;
	need_iommu();
	a = area_open(6);
	if (pipe(fd))
		fail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		dev_open(dev_name());
		a.mr = reg(a.addr, LEN, ACCESS_ALL);
		area_use(&a);
		if (write(fd[1], &a.dma, sizeof(a.dma)) != sizeof(a.dma))
			fail("write: %s", strerror(errno));
		pause();
	}
	close(fd[1]);
	if (read(fd[0], &a.dma, sizeof(a.dma)) != sizeof(a.dma))
		join_child(pid, "the owner of the MR");
	want_reach(&a);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	want_stopped(&a);
}

/* Host memory, for which a lazy IOMMU may take its time. */
static void run_host(const void *arg)
{
	struct area a = {};

	(void)arg;
	need_iommu();
	need_odp();
	a.addr = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	a.view = mremap(a.addr, 0, LEN, MREMAP_MAYMOVE);
	if (a.addr == MAP_FAILED || a.view == MAP_FAILED)
		fail("two mappings of memory: %s", strerror(errno));
	a.mr = reg(a.addr, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	area_use(&a);
	want_reach(&a);
	unmap(a.addr, LEN);
	if (!reads(&a) && !writes(&a, seed_of("after")))
		return;
	if (strcmp(engine_domain(), "DMA-FQ"))
		fail("the engine still reaches 0x%" PRIx64, a.dma);
	note("the engine still reaches 0x%" PRIx64 ", as lazy as it is", a.dma);
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		run_case(run_way, &ways[i], "%s", ways[i].name);
	run_case(run_read_only, NULL, "read-only");
	run_case(run_killed, NULL, "killed");
	run_case(run_host, NULL, "host-memory");
	return test_done();
}
