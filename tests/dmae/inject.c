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

/* Device memory, and what the engine has for addr + OFFSET. */
struct target {
	struct area area;
	uint64_t dma;
};

static struct target target_open(int slot)
{
	return (struct target) {
		.area = area_map(DMAE_AT + MIB(1) + slot * LEN, LEN),
	};
}

/* Use the MR, so that the IOMMU has its pages in its cache. */
static void target_use(struct target *t)
{
	exercise(t->area.mr, (uintptr_t)t->area.addr, LEN, t->area.view, "before");
	t->dma = mr_address(t->area.mr, (uintptr_t)t->area.addr + OFFSET);
}

/* Does what the engine writes there arrive? */
static bool writes(const struct target *t, uint64_t seed)
{
	uint8_t data[PROBE], before[PROBE];

	memcpy(before, t->area.view + OFFSET, PROBE);
	pattern_fill(data, PROBE, seed, 0);
	scratch_write(data, PROBE);
	engine_move(scratch_address(), t->dma, PROBE);
	if (!memcmp(t->area.view + OFFSET, data, PROBE))
		return true;
	same_check(t->area.view + OFFSET, before, PROBE, "neither old nor new");
	return false;
}

/* Does it read what is there? */
static bool reads(const struct target *t)
{
	uint8_t data[PROBE] = {};

	scratch_write(data, PROBE);
	engine_move(t->dma, scratch_address(), PROBE);
	scratch_read(data, PROBE);
	return !memcmp(data, t->area.view + OFFSET, PROBE);
}

static void want_reach(const struct target *t)
{
	if (!writes(t, seed_of("before")) || !reads(t))
		fail("the engine does not reach 0x%" PRIx64 ": this test proves nothing",
		     t->dma);
}

/* QEMU's VT-d loses a report when one was just made, its AMD IOMMU makes none. */
static void want_report(const struct target *t, int kmsg)
{
	double until = now() + patience(0);
	char address[32];

	if (access("/sys/class/iommu/dmar0", F_OK))
		return;
	snprintf(address, sizeof(address), "%" PRIx64, t->dma & ~(uint64_t)4095);
	while (now() < until) {
		if (kmsg_has(kmsg, slow ? 3 : 0.5, "fault", address))
			return;
		engine_move(t->dma, scratch_address(), PROBE);
	}
	fail("the IOMMU reported no fault at 0x%s", address);
}

static void want_stopped(const struct target *t)
{
	int kmsg = kmsg_open();

	if (writes(t, seed_of("after")))
		fail("the engine still writes to 0x%" PRIx64, t->dma);
	if (reads(t))
		fail("the engine still reads from 0x%" PRIx64, t->dma);
	want_report(t, kmsg);
	expect(GPU0, case_name(), t->area.at, t->area.view, LEN);
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
	protect(a->addr, LEN, PROT_NONE);
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
	struct target t;

	need_iommu();
	t = target_open(way - ways);
	t.area.mr = reg(t.area.addr, LEN, ACCESS_ALL);
	target_use(&t);
	want_reach(&t);
	way->lose(&t.area);
	want_stopped(&t);
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
	struct target t;
	struct pair p;

	(void)arg;
	need_iommu();
	need_odp();
	t = target_open(5);
	t.area.mr = reg(t.area.addr, LEN, ACCESS_ALL);
	target_use(&t);
	want_reach(&t);
	protect(t.area.addr, LEN, PROT_READ);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)t.area.addr,
		  t.area.mr->rkey, IBV_WC_SUCCESS, "read-only");
	same_check(buf.addr, t.area.view, LEN, "read");
	t.dma = mr_address(t.area.mr, (uintptr_t)t.area.addr + OFFSET);
	if (!reads(&t))
		fail("the engine does not reach what it just read");
	if (writes(&t, seed_of("after")))
		fail("the engine writes what is mapped read-only, 0x%" PRIx64,
		     t.dma);
}

/* The process that has registered it is killed, with all that it had. */
static void run_killed(const void *arg)
{
	struct target t;
	int fd[2];
	pid_t pid;

	(void)arg;
	need_iommu();
	t = target_open(6);
	make_pipe(fd);
	pid = fork();
	if (!pid) {
		dev_open(dev_name());
		t.area.mr = reg(t.area.addr, LEN, ACCESS_ALL);
		target_use(&t);
		if (write(fd[1], &t.dma, sizeof(t.dma)) != sizeof(t.dma))
			fail("write: %s", strerror(errno));
		pause();
	}
	close(fd[1]);
	if (read(fd[0], &t.dma, sizeof(t.dma)) != sizeof(t.dma))
		join_child(pid, "the owner of the MR");
	want_reach(&t);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	want_stopped(&t);
}

/* Host memory, for which a lazy IOMMU may take its time. */
static void run_host(const void *arg)
{
	struct target t = {};

	(void)arg;
	need_iommu();
	need_odp();
	t.area.addr = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t.area.view = mremap(t.area.addr, 0, LEN, MREMAP_MAYMOVE);
	if (t.area.addr == MAP_FAILED || t.area.view == MAP_FAILED)
		fail("two mappings of memory: %s", strerror(errno));
	t.area.mr = reg(t.area.addr, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	target_use(&t);
	want_reach(&t);
	unmap(t.area.addr, LEN);
	if (!reads(&t) && !writes(&t, seed_of("after")))
		return;
	if (strcmp(engine_domain(), "DMA-FQ"))
		fail("the engine still reaches 0x%" PRIx64, t.dma);
	note("the engine still reaches 0x%" PRIx64 ", as lazy as it is", t.dma);
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
