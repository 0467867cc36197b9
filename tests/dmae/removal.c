// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The engine goes away in the middle of traffic, in all the ways that there
 * are: what was posted completes, with an error at the end, nothing is written
 * any more when it is gone, and what has nothing to do with it goes on.
 */
#include "../verbs/slow_file.h"
#include "../verbs/sysfs.h"
#include "engine.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LEN = KIB(64), DEPTH = 8, AT = DMAE_AT + MIB(3), SLOT = KIB(256) };

/* Writes all the time, until that fails or it is told to stop. */
struct load {
	struct pair pair;
	struct mem host;
	uint64_t remote;
	uint32_t rkey;
	pthread_t thread;
	atomic_ulong done;
	atomic_bool stop;
	enum ibv_wc_status status;	/* of the first that failed */
	int post_errno;			/* or the post that failed */
};

static int load_post(struct load *l, unsigned long n)
{
	struct ibv_sge from = sge(&l->host, n % DEPTH * LEN, LEN);
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.sg_list = &from,
		.num_sge = 1,
		.wr.rdma = { l->remote, l->rkey },
	}, *bad;

	return ibv_post_send(l->pair.qp[0], &wr, &bad);
}

static void *load_run(void *arg)
{
	struct load *l = arg;
	unsigned long posted = 0, completed = 0;
	struct ibv_wc wc;

	for (;;) {
		while (posted < completed + DEPTH && !l->stop &&
		       !l->status && !l->post_errno) {
			l->post_errno = load_post(l, posted);
			posted += !l->post_errno;
		}
		/* All that were taken complete, also after the first error. */
		if (completed == posted)
			return NULL;
		wc = wait_wc(l->pair.cq[0], 0, "load");
		completed++;
		if (!wc.status)
			l->done++;
		else if (!l->status)
			l->status = wc.status;
	}
}

static struct load *load_start(struct ibv_mr *mr, const void *addr)
{
	struct load *l = calloc(1, sizeof(*l));

	l->remote = (uintptr_t)addr;
	l->rkey = mr->rkey;
	l->host = mem_open(HOST, 0, DEPTH * LEN);
	pattern_fill(l->host.addr, DEPTH * LEN, seed_of(case_name()), 0);
	pair_open(&l->pair, IBV_QPT_RC, 0);
	if (pthread_create(&l->thread, NULL, load_run, l))
		fail("pthread_create failed");
	return l;
}

static void load_flows(struct load *l)
{
	unsigned long goal = l->done + 2 * DEPTH;
	double end = now() + patience(0);

	while (l->done < goal) {
		if (now() > end)
			fail("the traffic stands still");
		usleep(500);
	}
}

static void load_ends(struct load *l, bool by_itself)
{
	if (!by_itself)
		l->stop = true;
	pthread_join(l->thread, NULL);
	if (!l->status && !l->post_errno && !by_itself)
		return;
	note("%lu transfers, then \"%s\"%s%s", l->done,
	     ibv_wc_status_str(l->status), l->post_errno ? ", posting: " : "",
	     l->post_errno ? strerrorname_np(l->post_errno) : "");
	if (by_itself && !l->status && !l->post_errno)
		fail("no transfer failed");
}

/* ---- the device, before and after ---- */

static bool is_there(const char *fmt, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), fmt, name);
	return !access(path, F_OK);
}

/* Some of what makes it leave is left to a work item. */
static void want_device_gone(void)
{
	double end = now() + patience(0);

	while (is_there("/sys/class/infiniband/%s", dev_name())) {
		if (now() > end)
			fail("%s is still there", dev_name());
		usleep(10000);
	}
}

static void run_command(const char *command)
{
	if (system(command))
		fail("%s failed", command);
}

/* Make it what it was, whatever the case before has left. */
static void restore(void)
{
	const char *engine = getenv("ENGINE");
	char command[PATH_MAX];

	if (!engine || is_there("/sys/class/infiniband/%s", dev_name()))
		return;
	if (!is_there("%s", engine) && system("echo 1 >/sys/bus/pci/rescan"))
		return;
	if (!is_there("%s/driver", engine)) {
		snprintf(command, sizeof(command),
			 "echo %s >/sys/bus/pci/drivers/lsi53c895a_dma/bind",
			 strrchr(engine, '/') + 1);
		if (system(command))
			return;
	}
	snprintf(command, sizeof(command),
		 "rdma link add %s type dmae netdev eth0", dev_name());
	if (system(command))
		return;
}

static void test(void (*run)(const void *arg), const void *arg, const char *name)
{
	restore();
	run_case(run, arg, "%s", name);
}

/* Another RDMA device, which does not know the engine. */
static void others_live(void)
{
	struct rdma_dev dmae = dev;
	struct mem mem;

	dev_open(getenv("RXE"));
	mem = mem_open(HOST, 0, LEN);
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "another device");
	dev = dmae;
}

/* ---- the engine goes ---- */

static void do_unbind(void)
{
	put_in(engine_path(), "driver/unbind",
			strrchr(engine_path(), '/') + 1);
}

static void do_remove(void)
{
	put_in(engine_path(), "remove", "1");
}

static void do_link_delete(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rdma link delete %s", dev_name());
	run_command(command);
}

static const struct leave {
	const char *name, *parked;
	void (*leave)(void);
} leaves[] = {
	{ "unbind", "unbind/parked", do_unbind },
	{ "remove", "remove/parked", do_remove },
	{ "link-delete", "link-delete/parked", do_link_delete },
};

static void run_leave(const void *arg)
{
	const struct leave *how = arg;
	const uint64_t at = AT + (how - leaves) * SLOT;
	uint8_t *p = gpu_map(GPU0, at, LEN), *copy = malloc(LEN);
	struct mem host = mem_open(HOST, 0, LEN);
	struct load *bar, *ram;

	bar = load_start(reg(p, LEN, ACCESS_ALL), p);
	ram = load_start(host.mr, host.addr);
	load_flows(bar);
	load_flows(ram);
	how->leave();
	memcpy(copy, p, LEN);
	usleep(300000);
	same_check(p, copy, LEN, "300 ms after the engine was gone");
	load_ends(bar, true);
	load_ends(ram, true);
	want_fatal_event();
	want_device_gone();
	expect(GPU0, case_name(), at, p, LEN);
	others_live();
}

/* Requests that wait for pages that never come do not keep it. */
static void run_parked(const void *arg)
{
	const struct leave *how = arg;
	struct slow_file file = slow_file_open(LEN, 1);
	struct mem host = mem_open(HOST, 0, LEN);
	struct mem late = { file.addr, LEN, NULL };
	double began = now();
	struct pair pairs[2];
	size_t i;

	late.mr = reg(late.addr, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	for (i = 0; i < ARRAY_SIZE(pairs); i++)
		pair_open(&pairs[i], IBV_QPT_RC, PAIR_PATIENT);
	/* The requester's own page, and the peer's. */
	rdma_post(pairs[0].qp[0], IBV_WR_RDMA_WRITE, sge(&late, 0, LEN),
		  (uintptr_t)host.addr, host.mr->rkey);
	rdma_post(pairs[1].qp[0], IBV_WR_RDMA_WRITE, sge(&host, 0, LEN),
		  (uintptr_t)late.addr, late.mr->rkey);
	while (!*file.waiting) {
		if (now() > began + patience(0))
			fail("nobody asks for a page");
		usleep(1000);
	}
	usleep(100000);
	began = now();
	how->leave();
	if (now() - began > at_once())
		fail("it took %.1f s", now() - began);
	for (i = 0; i < ARRAY_SIZE(pairs); i++)
		want_wc(pairs[i].cq[0], 0, IBV_WC_WR_FLUSH_ERR, "without its page");
	want_fatal_event();
	want_device_gone();
	others_live();
}

/* The network device under it goes; another one than eth0, on which we live. */
static void run_netdev(const void *arg)
{
	struct mem host;
	struct load *load;
	char command[256];

	(void)arg;
	ibv_dealloc_pd(dev.pd);
	ibv_close_device(dev.ctx);
	do_link_delete();
	run_command("ip link add dmaetest type dummy && ip link set dmaetest up mtu 9000 && ip address add 10.9.9.1/24 dev dmaetest");
	snprintf(command, sizeof(command),
		 "rdma link add %s type dmae netdev dmaetest", dev_name());
	run_command(command);
	dev_open(dev_name());
	host = mem_open(HOST, 0, LEN);
	load = load_start(host.mr, host.addr);
	load_flows(load);
	run_command("ip link delete dmaetest");
	load_ends(load, true);
	want_fatal_event();
	want_device_gone();
	others_live();
}

/* Traffic is aborted, or comes in between; the device stays. */
static void run_reset(const void *arg)
{
	const char *folder = *(const int *)arg == HOST ? engine_path() :
							 gpu_path(GPU0);
	uint64_t at = AT + (4 + *(const int *)arg) * SLOT;
	uint8_t *p = gpu_map(GPU0, at, LEN);
	struct ibv_mr *mr = reg(p, LEN, ACCESS_ALL);
	struct load *loads[4];
	int i, failed = 0;
	size_t j;

	if (!is_there("%s/reset", folder))
		fail("there is no way to reset %s", folder);
	for (i = 0; i < (slow ? 4 : 10); i++) {
		for (j = 0; j < ARRAY_SIZE(loads); j++)
			loads[j] = load_start(mr, p);
		load_flows(loads[0]);
		put_in(folder, "reset", "1");
		usleep(i * 500);
		for (j = 0; j < ARRAY_SIZE(loads); j++) {
			load_ends(loads[j], false);
			failed += loads[j]->status != IBV_WC_SUCCESS;
			pair_close(&loads[j]->pair);
			mem_close(&loads[j]->host);
		}
	}
	note("%d of %zu were aborted", failed, i * ARRAY_SIZE(loads));
	exercise(mr, (uintptr_t)p, LEN, p, "after the last reset");
	expect(GPU0, case_name(), at, p, LEN);
	others_live();
}

static void run_again(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT + 6 * SLOT, LEN);

	(void)arg;
	exercise(reg(p, LEN, ACCESS_ALL), (uintptr_t)p, LEN, p, "made anew");
	expect(GPU0, case_name(), AT + 6 * SLOT, p, LEN);
}

int main(int argc, char **argv)
{
	const int engine = HOST, gpu = GPU0;
	size_t i;

	test_init(argc, argv);
	test(run_reset, &engine, "reset/engine");
	test(run_reset, &gpu, "reset/gpu");
	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		test(run_leave, &leaves[i], leaves[i].name);
	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		test(run_parked, &leaves[i], leaves[i].parked);
	test(run_netdev, NULL, "netdev");
	test(run_again, NULL, "made-anew");
	return test_done();
}
