// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The OOM killer, its reaper and process_mrelease() take the memory of a process
 * from under its MRs, in the middle of traffic from another one: also where
 * whoever takes it may not wait. The other one is told.
 */
#include "../verbs/slow_file.h"
#include "../verbs/sysfs.h"
#include "../verbs/traffic.h"
#include "buffer.h"
#include "killer.h"
#include "mirror.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

enum { LEN = KIB(256), SOME = KIB(32) };
enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND };

/* What a process that is to be killed has registered. */
enum victim_kind { V_DEVICE, V_HMM, V_HOST, V_MIXED, NR_VICTIMS };
static const char *const victims[] = { "device", "hmm", "host", "mixed" };

struct offer {
	uint64_t addr;
	uint32_t rkey;
};

struct victim {
	pid_t pid;
	int fd[2];	/* ours */
	struct traffic *traffic[NR_VICTIMS];
};

/* By the process that will be killed, with its parent's open device and PD. */
static struct offer victim_register(enum victim_kind kind)
{
	static struct buffer bufs[NR_VICTIMS];
	static struct mirror mirror;
	uint8_t *p = host_map(2 * LEN);
	struct ibv_mr *mr;

	switch (kind) {
	case V_DEVICE:
	case V_MIXED:
		bufs[kind] = buffer_open(LEN);
		if (kind == V_DEVICE)
			p = bufs[kind].addr;
		else
			buffer_map_at(&bufs[kind], p + SOME / 2, 0, LEN);
		break;
	case V_HMM:
		mirror = mirror_open();
		pattern_fill(p, LEN, 0, 0);
		mirror_to_device(&mirror, p, LEN);
		break;
	default:
		pattern_fill(p, LEN, 0, 0);
		break;
	}
	/* Where device memory is, plain ibv_reg_mr() does. */
	mr = reg(p, LEN, bufs[kind].addr ? ACCESS_ALL : ODP);
	return (struct offer) { (uintptr_t)p, mr->rkey };
}

/*
 * Stuck in the kernel: a server has the request for the page, and a signal does
 * not take it back. What the process has is there for so long.
 */
static struct slow_file stuck_on;

static void get_stuck(void)
{
	(void)*(volatile uint8_t *)stuck_on.addr;
}

static void victim_run(int in, int out, unsigned int kinds, bool stuck)
{
	enum victim_kind kind;
	struct offer offer;

	kill_me_first();
	for (kind = 0; kind < NR_VICTIMS; kind++) {
		if (!(kinds & 1 << kind))
			continue;
		offer = victim_register(kind);
		if (write(out, &offer, sizeof(offer)) != sizeof(offer))
			fail("write: %s", strerror(errno));
	}
	if (!await(in))
		fail("the other process is gone");
	if (stuck)
		get_stuck();
	else
		take_all();
	fail("it lives");
}

static struct victim victim_start(unsigned int kinds, bool stuck)
{
	struct victim v = {};
	enum victim_kind kind;
	struct offer offer;
	int down[2], up[2];

	make_pipe(down);
	make_pipe(up);
	v.pid = fork();
	if (!v.pid)
		victim_run(down[0], up[1], kinds, stuck);
	close(up[1]);
	v.fd[0] = up[0];
	v.fd[1] = down[1];
	for (kind = 0; kind < NR_VICTIMS; kind++) {
		if (!(kinds & 1 << kind))
			continue;
		if (read(v.fd[0], &offer, sizeof(offer)) != sizeof(offer))
			join_child(v.pid, "the victim");
		v.traffic[kind] = traffic_start_key(REMOTE_WRITTEN, offer.rkey,
						    offer.addr, SOME);
	}
	for (kind = 0; kind < NR_VICTIMS; kind++)
		if (v.traffic[kind])
			traffic_flows(v.traffic[kind]);
	return v;
}

/* Its memory is gone, and whoever still writes there is told. */
static void victim_is_gone(struct victim *v)
{
	enum victim_kind kind;

	for (kind = 0; kind < NR_VICTIMS; kind++)
		if (v->traffic[kind])
			traffic_fails(v->traffic[kind], IBV_WC_REM_ACCESS_ERR);
	sample_balanced();
	mirror_balanced();
}

/* It takes all memory itself. */
static void run_oom(const void *arg)
{
	int kmsg = kmsg_open();
	struct victim v;

	(void)arg;
	sample_need();
	v = victim_start((1 << NR_VICTIMS) - 1, false);
	pass(v.fd[1]);
	want_oom_killed(kmsg, v.pid);
	victim_is_gone(&v);
}

/* One that gets stuck when it is told to, until slow_file_serve(). */
static struct victim stuck_victim_start(unsigned int kinds)
{
	struct victim v;
	double until;

	stuck_on = slow_file_open(4096, 0);
	/* A read-ahead would be waited for as others' pages are: killably. */
	if (madvise(stuck_on.addr, stuck_on.len, MADV_RANDOM))
		fail("madvise: %s", strerror(errno));
	v = victim_start(kinds, true);
	until = now() + patience(0);
	pass(v.fd[1]);
	while (!*stuck_on.waiting) {
		if (now() > until)
			fail("the victim does not get stuck");
		usleep(1000);
	}
	return v;
}

/*
 * process_mrelease() is the OOM reaper on demand: it unmaps what it can without
 * waiting. Memory of the host that an RDMA device may be at it cannot.
 */
static void run_release(const void *arg)
{
	enum victim_kind kind = *(const enum victim_kind *)arg;
	int want = kind == V_DEVICE ? 0 : EAGAIN, err, pidfd;
	struct victim v;

	sample_need();
	v = stuck_victim_start(1 << kind);
	pidfd = syscall(SYS_pidfd_open, v.pid, 0);
	kill(v.pid, SIGKILL);
	err = syscall(SYS_process_mrelease, pidfd, 0) ? errno : 0;
	slow_file_serve(&stuck_on);
	if (err != want)
		fail("process_mrelease: %s, expected %s", strerrorname_np(err),
		     strerrorname_np(want));
	close(pidfd);
	join_killed(v.pid, SIGKILL, "the victim");
	victim_is_gone(&v);
}

/* The reaper itself: it comes when a victim is not gone after two seconds. */
static void run_reaper(const void *arg)
{
	int killer = kmsg_open(), reaper = kmsg_open();
	char pid[32];
	struct victim v;

	(void)arg;
	sample_need();
	v = stuck_victim_start(1 << V_MIXED | 1 << V_HMM);
	snprintf(pid, sizeof(pid), "pid:%d ", v.pid);
	put_in("/proc", "sysrq-trigger", "f");
	if (!kmsg_has(reaper, patience(0), "oom_reaper: unable to reap", pid))
		fail("no word from the OOM reaper");
	slow_file_serve(&stuck_on);
	want_oom_killed(killer, v.pid);
	victim_is_gone(&v);
}

int main(int argc, char **argv)
{
	enum victim_kind kind;

	test_init(argc, argv);
	killer_expected();
	sample_load();
	run_case(run_oom, NULL, "killed");
	run_case(run_reaper, NULL, "reaper");
	for (kind = 0; kind < NR_VICTIMS; kind++)
		run_case(run_release, &kind, "release/%s", victims[kind]);
	sample_unload();
	return test_done();
}
