// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The channel does one thing after the other. Who waits for it, to give memory
 * back or to have a few bytes moved, does not wait for all that others want of it.
 */
#include "../verbs/common.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HOGS = 4, HOG_LEN = MIB(64), ROUNDS = 10 };
/* Seconds for a munmap() of a small buffer, whatever others do. */
static const double munmap_limit = 0.05;

/* Has as much as possible with the channel, for ever. */
static void hog(int ready)
{
	struct mem mem = mem_open(HOST, 0, 2 * HOG_LEN);
	unsigned int under_way = 0, done;
	struct pair pair;

	pair_open(&pair, IBV_QPT_RC, PAIR_PATIENT);
	for (done = 0;; done++) {
		for (; under_way < PAIR_DEPTH; under_way++)
			rdma_post(pair.qp[0], IBV_WR_RDMA_WRITE,
				  sge(&mem, 0, HOG_LEN),
				  (uintptr_t)mem.addr + HOG_LEN, mem.mr->rkey);
		want_wc(pair.cq[0], (size_t)PAIR_DEPTH * HOG_LEN, IBV_WC_SUCCESS,
			"of a hog");
		under_way--;
		if (!done)
			pass(ready);
	}
}

/* A buffer that the device has used, and just now uses; unmapped under its MR. */
static double time_munmap(void)
{
	uint8_t *p = host_map(4 * 4096);
	struct ibv_mr *mr = reg(p, 4 * 4096, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	struct mem mem = { p, 4 * 4096, mr };
	struct ibv_sge s = sge(&mem, 0, 8);
	struct pair pair;
	double began;

	memset(p, 1, 4 * 4096);
	pair_open(&pair, IBV_QPT_RC, PAIR_PATIENT);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, s, (uintptr_t)p + 8192, mr->rkey,
		  IBV_WC_SUCCESS, "before");
	rdma_post(pair.qp[0], IBV_WR_RDMA_WRITE, s, (uintptr_t)p + 8192,
		  mr->rkey);
	usleep(300);
	began = now();
	unmap(p, 4 * 4096);
	began = now() - began;
	pair_close(&pair);
	dereg(mr);
	return began;
}

/* Seconds, in the median. */
static double time_munmaps(void)
{
	double times[ROUNDS];
	int i;

	for (i = 0; i < ROUNDS; i++)
		times[i] = time_munmap();
	return median(times, ROUNDS);
}

static void run_munmap(const void *arg)
{
	const double limit = munmap_limit * (slow ? 4 : 1);
	pid_t hogs[HOGS];
	int ready[2], i;
	double time;

	(void)arg;
	make_pipe(ready);
	for (i = 0; i < HOGS; i++) {
		hogs[i] = fork();
		if (!hogs[i]) {
			dev_open(dev_name());
			hog(ready[1]);
		}
	}
	for (i = 0; i < HOGS; i++)
		if (!await(ready[0]))
			fail("a hog is gone");
	/* Other VMs may make us late for a while, but not always. */
	time = time_munmaps();
	for (i = 0; i < 4 && time > limit; i++)
		time = time_munmaps();
	for (i = 0; i < HOGS; i++) {
		kill(hogs[i], SIGKILL);
		join_killed(hogs[i], SIGKILL, "hog");
	}
	note("munmap: %.1f ms in the median", time * 1e3);
	if (time > limit)
		fail("munmap() of 16 KiB takes %.0f ms while others copy",
		     time * 1e3);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_munmap, NULL, "munmap");
	return test_done();
}
