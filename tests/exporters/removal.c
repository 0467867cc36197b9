// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The exporter goes away in the middle of traffic, or is asked to go: its memory
 * is out of reach when it is gone, traffic to it ends with an error, that to
 * other memory goes on. What is left of it, files, vmas and MRs, says so, and
 * does not stand in the way of its coming back.
 */
#include "../verbs/sysfs.h"
#include "../verbs/traffic.h"
#include "buffer.h"
#include "others.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the device does to the memory, and how that ends. A part for each. */
static const struct kind {
	enum traffic_kind kind;
	enum ibv_wc_status status, recv_status;
} kinds[] = {
	{ REMOTE_WRITTEN, IBV_WC_REM_ACCESS_ERR, 0 },
	{ REMOTE_READ, IBV_WC_REM_ACCESS_ERR, 0 },
	{ LOCAL_READ, IBV_WC_LOC_PROT_ERR, 0 },
	{ LOCAL_WRITTEN, IBV_WC_LOC_PROT_ERR, 0 },
	{ RECV_WRITTEN, IBV_WC_REM_OP_ERR, IBV_WC_LOC_PROT_ERR },
};

enum { KINDS = ARRAY_SIZE(kinds), PART = KIB(64), LEN = KINDS * PART };

/* ---- going and coming ---- */

static void go_unbind(void)
{
	if (sample_unbind(gpu_path(GPU0)))
		fail("unbind: %s", strerror(errno));
}

static void go_remove(void)
{
	if (write_in(gpu_path(GPU0), "remove", "1"))
		fail("remove: %s", strerror(errno));
}

static const struct way {
	const char *name;
	void (*go)(void);
} ways[] = {
	{ "unbind", go_unbind },
	{ "remove", go_remove },
};

static int come_back_to_bus(void)
{
	if (!access(gpu_path(GPU0), F_OK))
		return 0;
	return write_in("/sys/bus/pci", "rescan", "1");
}

/* Without a driver, and its memory is on. */
static int come_back_bare(void)
{
	if (come_back_to_bus())
		return -1;
	/* It counts. */
	if (!read_number(gpu_path(GPU0), "enable"))
		return write_in(gpu_path(GPU0), "enable", "1");
	return 0;
}

/* With its driver, which it has to be told of if it was off the bus. */
static void come_back(void)
{
	if (come_back_to_bus())
		fail("rescan: %s", strerror(errno));
	sample_load();
	sample_need();
}

/* ---- what is left ---- */

/* The signal that a read by the CPU ends in; none: 0. */
static int signal_of_touch(const uint8_t *p)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		(void)*(volatile const uint8_t *)p;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void want_errno(int got, int want, const char *what)
{
	if (got != want)
		fail("%s: %s, expected %s", what, strerrorname_np(got),
		     strerrorname_np(want));
}

/* A buffer without a device: still open, still mapped. */
static void want_gone(const struct buffer *b)
{
	struct p2p_sample_place place = { P2P_SAMPLE_BAR, 1, 0, 0 };
	uint64_t size = LEN;
	uint32_t cpu = 1;
	int err, sig = signal_of_touch(b->addr);

	if (sig != SIGBUS)
		fail("a read by the CPU ends with signal %d", sig);
	if (try_reg(b->addr, b->len, ACCESS_ALL, &err))
		fail("it was registered");
	want_errno(err, ENODEV, "ibv_reg_mr");
	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, b->fd, 0) != MAP_FAILED)
		fail("it was mapped");
	want_errno(errno, ENODEV, "mmap");
	want_errno(buffer_try(b, P2P_SAMPLE_SIZE, &size), ENODEV, "SIZE");
	want_errno(buffer_try(b, P2P_SAMPLE_MOVE, &place), ENODEV, "MOVE");
	want_errno(buffer_try(b, P2P_SAMPLE_WHERE, &place), ENODEV, "WHERE");
	want_errno(buffer_try(b, P2P_SAMPLE_CPU, &cpu), ENODEV, "CPU");
	want_errno(buffer_try(b, P2P_SAMPLE_REVOKE, NULL), ENODEV, "REVOKE");
	want_errno(buffer_try(b, P2P_SAMPLE_INVALIDATE, NULL), ENODEV,
		   "INVALIDATE");
}

static void want_failing(struct ibv_mr *mr, uint8_t *addr, bool local,
			 enum ibv_wr_opcode op)
{
	struct mem host = mem_open(HOST, 0, PART);
	struct ibv_sge tested = { (uintptr_t)addr, PART, mr->lkey };
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	if (local)
		want_rdma(&p, op, tested, (uintptr_t)host.addr, host.mr->rkey,
			  IBV_WC_LOC_PROT_ERR, "after it is gone");
	else
		want_rdma(&p, op, sge(&host, 0, PART), tested.addr, mr->rkey,
			  IBV_WC_REM_ACCESS_ERR, "after it is gone");
	pair_close(&p);
	mem_close(&host);
}

/* An MR over a buffer without a device, in all directions. */
static void want_unusable(struct ibv_mr *mr, uint8_t *addr)
{
	want_failing(mr, addr, false, IBV_WR_RDMA_WRITE);
	want_failing(mr, addr, false, IBV_WR_RDMA_READ);
	want_failing(mr, addr, true, IBV_WR_RDMA_WRITE);
	want_failing(mr, addr, true, IBV_WR_RDMA_READ);
}

/* ---- it goes ---- */

static const uint64_t mark = 0xddddddddddddddddull;

/*
 * Now that it is gone nobody writes to the buffer's place, and nobody reads the
 * marks there.
 */
static void leave_marks(uint8_t *bar)
{
	uint8_t *copy = malloc(LEN);
	size_t i;

	for (i = 0; i < KINDS; i++)
		if (kinds[i].kind == REMOTE_READ || kinds[i].kind == LOCAL_READ)
			memset(bar + i * PART, (uint8_t)mark, PART);
	memcpy(copy, bar, LEN);
	usleep(300000);
	same_check(bar, copy, LEN, "300 ms after it was gone");
	free(copy);
}

static void want_no_marks(const struct traffic *t)
{
	size_t i;

	for (i = 0; i + sizeof(mark) <= t->host.len; i += sizeof(mark))
		if (!memcmp(t->host.addr + i, &mark, sizeof(mark)))
			fail("it was read after it was gone");
}

static void traffic_to_buffer(struct traffic *t[KINDS], struct ibv_mr *mr,
			      uint8_t *addr)
{
	size_t i;

	for (i = 0; i < KINDS; i++)
		t[i] = traffic_start(kinds[i].kind, mr, addr + i * PART, PART);
	for (i = 0; i < KINDS; i++)
		traffic_flows(t[i]);
}

static void want_ended(struct traffic *t, const struct kind *kind)
{
	traffic_fails(t, kind->status);
	if (t->recv_status != kind->recv_status)
		fail("receive ended with \"%s\", expected \"%s\"",
		     ibv_wc_status_str(t->recv_status),
		     ibv_wc_status_str(kind->recv_status));
	mem_close(&t->host);
}

static void run_gone(const void *arg)
{
	const struct way *way = arg;
	struct buffer b = buffer_open(LEN), anew;
	uint64_t at = buffer_where(&b).offset;
	struct ibv_mr *mr = reg(b.addr, LEN, ACCESS_ALL);
	struct traffic *t[KINDS];
	struct others others;
	uint8_t *bar;
	size_t i;

	others_start(&others);
	traffic_to_buffer(t, mr, b.addr);
	way->go();
	if (come_back_bare())
		fail("it does not come back: %s", strerror(errno));
	bar = gpu_map(GPU0, at, LEN);
	leave_marks(bar);
	for (i = 0; i < KINDS; i++) {
		want_no_marks(t[i]);
		want_ended(t[i], &kinds[i]);
	}
	unmap(bar, LEN);
	sample_balanced();
	others_flow(&others);
	want_gone(&b);
	want_unusable(mr, b.addr);

	/* For the old buffer it does not come back. */
	come_back();
	anew = buffer_open(LEN);
	if (buffer_where(&anew).offset != at)
		fail("the old buffer has kept its place");
	want_gone(&b);
	want_unusable(mr, b.addr);
	dereg(mr);
	mr = reg(anew.addr, LEN, ACCESS_ALL);
	exercise(mr, (uintptr_t)anew.addr, LEN, anew.addr, "when it was back");
	dereg(mr);
	buffer_close(&anew);
	buffer_close(&b);
	others_flow(&others);
	others_end(&others);
	sample_balanced();
}

/* The buffer was in pages of the host when the device went. */
static void run_gone_from_host(const void *arg)
{
	const struct way *way = arg;
	struct buffer b = buffer_open(LEN);
	struct ibv_mr *mr = reg(b.addr, LEN, ACCESS_ALL);
	struct traffic *t[KINDS];
	size_t i;

	buffer_move(&b, P2P_SAMPLE_SYSTEM, 0);
	traffic_to_buffer(t, mr, b.addr);
	way->go();
	for (i = 0; i < KINDS; i++)
		want_ended(t[i], &kinds[i]);
	want_gone(&b);
	sample_balanced();
	come_back();
	want_unusable(mr, b.addr);
	dereg(mr);
	buffer_close(&b);
	sample_balanced();
}

/* ---- again and again ---- */

struct generation {
	struct buffer b;
	struct ibv_mr *mr;
	struct traffic *t[KINDS];
};

static void generation_open(struct generation *g)
{
	g->b = buffer_open(LEN);
	g->mr = reg(g->b.addr, LEN, ACCESS_ALL);
}

static void generation_close(struct generation *g)
{
	want_gone(&g->b);
	dereg(g->mr);
	buffer_close(&g->b);
}

/* It starts with zeroes, at the place that the one before it had. */
static void want_untouched(const struct generation *g)
{
	uint8_t *zeroes = host_map(LEN);

	same_check(g->b.addr, zeroes, LEN,
		   "the traffic of the buffer before it came here");
	unmap(zeroes, LEN);
}

/* It is back before anybody has seen that it was gone. */
static void run_again(const void *arg)
{
	enum { KEPT = 3 };
	struct generation gens[KEPT];
	int i, n = slow ? 4 : 12;
	struct others others;
	size_t k;

	(void)arg;
	others_start(&others);
	generation_open(&gens[0]);
	for (i = 0; i < n; i++) {
		struct generation *g = &gens[i % KEPT];
		struct generation *next = &gens[(i + 1) % KEPT];

		traffic_to_buffer(g->t, g->mr, g->b.addr);
		usleep(splitmix64(i) % 20000);
		ways[i % ARRAY_SIZE(ways)].go();
		come_back();
		if (i + 1 >= KEPT)
			generation_close(next);
		generation_open(next);
		for (k = 0; k < KINDS; k++)
			want_ended(g->t[k], &kinds[k]);
		want_untouched(next);
		others_flow(&others);
	}
	exercise(gens[i % KEPT].mr, (uintptr_t)gens[i % KEPT].b.addr, LEN,
		 gens[i % KEPT].b.addr, "the last one");
	dereg(gens[i % KEPT].mr);
	buffer_close(&gens[i % KEPT].b);
	while (--i > n - KEPT)
		generation_close(&gens[i % KEPT]);
	others_end(&others);
	sample_balanced();
}

/* ---- while others come ---- */

struct comer {
	const struct buffer *b;
	int err;		/* the errno of what failed at last */
	atomic_ulong done;
	pthread_t thread;
};

static void *keep_registering(void *arg)
{
	struct comer *c = arg;
	struct ibv_mr *mr;

	while ((mr = try_reg(c->b->addr, LEN, ACCESS_ALL, &c->err))) {
		dereg(mr);
		c->done++;
	}
	return NULL;
}

static void *keep_opening(void *arg)
{
	struct comer *c = arg;
	void *p;
	int fd;

	while ((fd = open("/dev/p2p_sample0", O_RDWR | O_CLOEXEC)) >= 0) {
		p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		c->err = p == MAP_FAILED ? errno : 0;
		if (!c->err)
			unmap(p, LEN);
		close(fd);
		if (c->err)
			return NULL;
		c->done++;
	}
	c->err = errno;
	return NULL;
}

enum { REGISTERING = 3, OPENING = REGISTERING, COMERS };

static void want_comer_failed(struct comer *c, bool opening)
{
	pthread_join(c->thread, NULL);
	/* The name goes with the device, and who has just looked it up is late. */
	if (opening && (c->err == ENOENT || c->err == ENXIO))
		return;
	want_errno(c->err, ENODEV, opening ? "open and mmap" : "ibv_reg_mr");
}

static void comers_round(const struct way *way, int round)
{
	struct buffer b[2] = { buffer_open(LEN), buffer_open(LEN) };
	struct comer comers[COMERS] = {};
	double until = now() + patience(0);
	int i;

	/* Then it is mostly in p2p_map(). */
	sample_lever("map_delay_ms", round % 3);
	for (i = 0; i < COMERS; i++) {
		comers[i].b = &b[i % 2];
		if (pthread_create(&comers[i].thread, NULL, i == OPENING ?
				   keep_opening : keep_registering, &comers[i]))
			fail("pthread_create failed");
	}
	for (i = 0; i < COMERS; i++)
		while (comers[i].done < 3) {
			if (now() > until)
				fail("thread %d: no progress", i);
			usleep(500);
		}
	usleep(splitmix64(round) % 10000);
	way->go();
	for (i = 0; i < COMERS; i++)
		want_comer_failed(&comers[i], i == OPENING);
	sample_balanced();
	sample_lever("map_delay_ms", 0);
	for (i = 0; i < 2; i++) {
		want_gone(&b[i]);
		buffer_close(&b[i]);
	}
	come_back();
}

static void run_while_registering(const void *arg)
{
	int i;

	for (i = 0; i < (slow ? 4 : 15); i++)
		comers_round(arg, i);
	generation_open(&(struct generation) {});
}

/* ---- the module ---- */

static void want_loaded(const char *why)
{
	int err = sample_rmmod();

	if (err != EWOULDBLOCK)
		fail("delete_module, %s: %s", why,
		     err ? strerrorname_np(err) : "it is gone");
}

static void want_unloaded(const char *why)
{
	want_errno(sample_rmmod(), 0, why);
	if (!access("/dev/p2p_sample0", F_OK))
		fail("the module is gone, and its device is not");
}

/* A file or a vma keeps it, an MR over what was a vma does not. */
static void run_unload(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	struct verifier v = {
		.mr = reg(b.addr, LEN, ACCESS_ALL), .addr = b.addr, .len = LEN,
		.view = b.addr,
	};
	int i;

	(void)arg;
	verify_start(&v, 0);
	for (i = 0; i < 10; i++) {
		verify_flows(&v);
		want_loaded("with a buffer in use");
	}
	close(b.fd);
	want_loaded("with a buffer mapped");
	verify_flows(&v);
	verify_end(&v);
	/* Nothing else shall come to be there. */
	host_map_at(b.addr, LEN, PROT_NONE);
	sample_balanced();
	want_unloaded("with an MR");
	want_unusable(v.mr, b.addr);
	come_back();
	want_unusable(v.mr, b.addr);
	dereg(v.mr);
	generation_open(&(struct generation) {});
}

/* The device goes, a file stays, and so does the module. */
static void run_unload_unbound(const void *arg)
{
	const struct way *way = arg;
	struct generation g;
	struct traffic *t;

	generation_open(&g);
	t = traffic_start(REMOTE_WRITTEN, g.mr, g.b.addr, PART);
	traffic_flows(t);
	way->go();
	want_loaded("with a buffer of a device that is gone");
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	want_gone(&g.b);
	want_loaded("with a buffer of a device that is gone");
	dereg(g.mr);
	buffer_close(&g.b);
	sample_balanced();
	want_unloaded("with no buffer");
	come_back();
	generation_open(&g);
	exercise(g.mr, (uintptr_t)g.b.addr, LEN, g.b.addr, "loaded anew");
}

/* ---- a BAR that a process has mapped ---- */

static void plug_in_again(void)
{
	go_remove();
	if (come_back_bare())
		fail("%s does not come back: %s", gpu_path(GPU0), strerror(errno));
}

/*
 * A device that comes back where one was that was mapped is another one, also
 * when all the numbers are the same: its address on the bus, that of its memory,
 * and that of what the kernel has of it, which a CPU uses again. What was there
 * since the machine was started has that elsewhere: so it comes back before.
 */
static void run_plugged_in_again(const void *arg)
{
	struct mem buf = mem_open(HOST, 0, PART);
	int i, n = slow ? 4 : 40;
	struct pair pair;
	struct ibv_mr *mr;
	cpu_set_t cpu;
	uint8_t *p;

	(void)arg;
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		fail("sched_setaffinity: %s", strerror(errno));
	for (i = 0; i < 3; i++) {
		plug_in_again();
		usleep(300000);
	}
	p = gpu_map_procfs(GPU0, 0, PART);
	mr = reg(p, PART, ACCESS_ALL);
	exercise(mr, (uintptr_t)p, PART, p, "before it is removed");
	for (i = 0; i < n; i++) {
		plug_in_again();
		if (signal_of_touch(p) != SIGBUS)
			fail("the CPU reaches the new device");
		pair_open(&pair, IBV_QPT_RC, 0);
		want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&buf, 0, PART), (uintptr_t)p,
			  mr->rkey, IBV_WC_REM_ACCESS_ERR, "the new device");
		pair_close(&pair);
	}
}

/* ---- and all of it ---- */

/* Whatever the case before has left. */
static void test(void (*run)(const void *arg), const void *arg,
		 const char *name, const char *how)
{
	if (getenv("P2P_SAMPLE") && access("/dev/p2p_sample0", F_OK) &&
	    !come_back_bare())
		sample_load();
	run_case(run, arg, "%s%s%s", name, how ? "/" : "", how ? how : "");
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		const char *how = ways[i].name;

		test(run_gone, &ways[i], "traffic", how);
		test(run_gone_from_host, &ways[i], "in-host-memory", how);
		test(run_while_registering, &ways[i], "registering", how);
		test(run_unload_unbound, &ways[i], "unload", how);
	}
	test(run_again, NULL, "again", NULL);
	test(run_unload, NULL, "unload/in-use", NULL);
	if (getenv("P2P_SAMPLE") && !come_back_bare())
		sample_unload();
	run_case(run_plugged_in_again, NULL, "plugged-in-again");
	return test_done();
}
