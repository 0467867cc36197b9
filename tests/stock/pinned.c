// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * An importer that pins, as most NICs do: dmae with odp=0. Behind an IOMMU its memory is
 * taken from it all the same, under traffic, and what it goes on to access is a page of
 * nobody's. Without one it gets none.
 */
#include "../dmae/engine.h"
#include "../verbs/traffic.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = KIB(64), PROBE = 64, OFFSET = 4096 + 5 };

static bool behind_iommu(void) { return !strncmp(engine_domain(), "DMA", 3); }

static void run_refused(const void *arg)
{
	int kmsg = kmsg_open(), err;
	struct ibv_mr *mr;

	(void)arg;
	if (behind_iommu())
		skip("an IOMMU translates for the engine");
	mr = try_reg(gpu_map(GPU0, DMAE_AT, LEN), LEN, ACCESS_ALL, &err);
	if (mr || err != EOPNOTSUPP)
		fail("ibv_reg_mr: %s", mr ? "success" : strerrorname_np(err));
	if (!kmsg_has(kmsg, patience(0), "pins memory", "no IOMMU"))
		fail("the log does not say why");
}

static void do_munmap(struct area *a) { unmap(a->addr, LEN); }
static void do_protect(struct area *a) { protect(a->addr, LEN, PROT_READ); }
static void do_replace(struct area *a)
{
	host_map_at(a->addr, LEN, PROT_READ | PROT_WRITE);
}
static void do_elsewhere(struct area *a)
{
	gpu_map_at(GPU0, a->addr, DMAE_AT + MIB(4), LEN, PROT_READ | PROT_WRITE);
}

static const struct way {
	const char *name;
	void (*lose)(struct area *a);
} ways[] = {
	{ "munmap", do_munmap },
	{ "mprotect", do_protect },
	{ "replaced-by-host-memory", do_replace },
	{ "elsewhere", do_elsewhere },
};

/* What the engine reads and writes by the address that the MR had. */
static void want_nobodys(const struct area *a, uint64_t dma)
{
	uint8_t data[PROBE], before[LEN], zero[PROBE] = {};

	memcpy(before, a->view, LEN);
	pattern_fill(data, PROBE, seed_of("after"), 0);
	scratch_write(data, PROBE);
	engine_move(scratch_address(), dma, PROBE);
	same_check(a->view, before, LEN, "the BAR, after a write to its old address");

	scratch_write(zero, PROBE);
	engine_move(dma, scratch_address(), PROBE);
	scratch_read(zero, PROBE);
	same_check(zero, data, PROBE, "what was written to a page of nobody's");
}

static void run_lost(const void *arg)
{
	const struct way *way = arg;
	struct area a;
	struct traffic *t;
	uint64_t dma;
	int kmsg;

	if (!behind_iommu())
		skip("no IOMMU translates for the engine");
	a = area_map(DMAE_AT + (way - ways) * LEN, LEN);
	a.mr = reg(a.addr, LEN, ACCESS_ALL);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "before");
	dma = mr_address(a.mr, (uintptr_t)a.addr + OFFSET);
	t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);
	traffic_flows(t);
	kmsg = kmsg_open();
	way->lose(&a);
	stays(&a, 0, LEN);
	if (!kmsg_has(kmsg, patience(0), "was taken back", "IOMMU"))
		fail("the log does not say that it was taken back");
	/* The device goes on, and harms nobody. */
	traffic_flows(t);
	stays(&a, 0, LEN);
	traffic_stop(t);
	want_nobodys(&a, dma);
	dereg(a.mr);
	expect(GPU0, case_name(), a.at, a.view, LEN);
}

/* Its owner is gone, the MR is another process's view of it. */
static void run_killed(const void *arg)
{
	uint8_t *view = gpu_map(GPU0, DMAE_AT + MIB(5), LEN), before[LEN];
	int to[2];
	pid_t pid;

	(void)arg;
	if (!behind_iommu())
		skip("no IOMMU translates for the engine");
	make_pipe(to);
	pid = fork();
	if (!pid) {
		struct area a;

		dev_open(dev_name());
		a = area_map(DMAE_AT + MIB(5), LEN);
		a.mr = reg(a.addr, LEN, ACCESS_ALL);
		exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "before");
		traffic_flows(traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN));
		pass(to[1]);
		pause();
	}
	if (!await(to[0]))
		fail("the child did not register");
	want_killed_at_once(pid, "in the middle of traffic");
	memcpy(before, view, LEN);
	usleep(200000);
	same_check(view, before, LEN, "the BAR, after its owner was killed");
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	run_case(run_refused, NULL, "refused");
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		run_case(run_lost, &ways[i], "%s", ways[i].name);
	run_case(run_killed, NULL, "killed");
	return test_done();
}
