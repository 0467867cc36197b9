// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mappings of device memory that are shared, halved, split and filled later: an
 * MR is about addresses of its process, whatever is there at the moment, and
 * about nothing else.
 */
#include "../verbs/verify.h"
#include "../verbs/traffic.h"
#include "buffer.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEN = KIB(512), HALF = LEN / 2, QUARTER = LEN / 4, SOME = KIB(32) };
enum { RW = PROT_READ | PROT_WRITE };
enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND };

/* Far below all else, so that nothing else gets into a hole there. */
static uint8_t *const area = (uint8_t *)0x100000000000;

/* A buffer mapped twice: what is registered, and a view that stays. */
struct bed {
	struct buffer buf;
	uint8_t *addr, *view;
	struct ibv_mr *mr;
};

static struct bed bed_open(void)
{
	struct bed bed = { .buf = buffer_open(LEN) };

	bed.view = bed.buf.addr;
	bed.addr = buffer_map_at(&bed.buf, area, 0, LEN);
	pattern_fill(bed.view, LEN, seed_of(case_name()), 0);
	bed.mr = reg(bed.addr, LEN, ACCESS_ALL);
	return bed;
}

static void bed_close(struct bed *bed)
{
	dereg(bed->mr);
	unmap(bed->addr, LEN);
	buffer_close(&bed->buf);
	sample_balanced();
}

static struct traffic *flow(enum traffic_kind kind, const struct bed *bed,
			    size_t at)
{
	return traffic_start(kind, bed->mr, bed->addr + at, SOME);
}

static void use(const struct bed *bed, size_t at, size_t len, const char *what)
{
	exercise(bed->mr, (uintptr_t)bed->addr + at, len, bed->view + at, what);
}

/* One operation by the device, with this end. */
static void try_rdma(struct ibv_mr *mr, const uint8_t *addr, size_t len,
		     enum ibv_wr_opcode op, enum ibv_wc_status want,
		     const char *what)
{
	struct mem host = mem_open(HOST, 0, len);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, op, sge(&host, 0, len), (uintptr_t)addr, mr->rkey, want,
		  what);
	pair_close(&p);
	mem_close(&host);
}

static void want_lost(struct ibv_mr *mr, const uint8_t *addr, size_t len,
		      const char *what)
{
	try_rdma(mr, addr, len, IBV_WR_RDMA_READ, IBV_WC_REM_ACCESS_ERR, what);
	try_rdma(mr, addr, len, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR, what);
}

/* Nobody writes there any more. */
static void want_still(const uint8_t *view, size_t len, const char *what)
{
	uint8_t *copy = malloc(len);

	memcpy(copy, view, len);
	usleep(100000);
	same_check(view, copy, len, what);
	free(copy);
}

/* ---- other processes ---- */

static void await_child(int fd, pid_t child)
{
	if (await(fd))
		return;
	join_child(child, "the child");
	fail("the child has left too early");
}

/* What the child does with its own mapping, and its own MR. */
static void child_halves(struct bed *bed, int fd)
{
	struct ibv_mr *mr;
	int err;

	dev_open(dev_name());
	unmap(bed->addr + HALF, HALF);
	if (try_reg(bed->addr, LEN, ACCESS_ALL, &err) || err != EFAULT)
		fail("registered over a hole, or %s", strerrorname_np(err));
	mr = reg(bed->addr, HALF, ACCESS_ALL);
	pass(fd);
	await(fd);
	/* The parent's half is gone, not ours. */
	exercise(mr, (uintptr_t)bed->addr + QUARTER, SOME, bed->view + QUARTER,
		 "the child's MR");
	dereg(mr);
	pass(fd);
	await(fd);
	/* Ends with all of it mapped. */
	reg(bed->addr, HALF, ACCESS_ALL);
	_exit(0);
}

static void run_forked(const void *arg)
{
	struct bed bed = bed_open();
	struct traffic *low = flow(REMOTE_WRITTEN, &bed, 0);
	struct traffic *high = flow(REMOTE_READ, &bed, HALF);
	int fd[2];
	pid_t pid;

	(void)arg;
	traffic_flows(low);
	traffic_flows(high);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		fail("socketpair: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		close(fd[0]);
		child_halves(&bed, fd[1]);
	}
	close(fd[1]);

	await_child(fd[0], pid);
	traffic_flows(low);
	traffic_flows(high);
	use(&bed, LEN - SOME, SOME, "what the child has unmapped");
	traffic_stop(low);
	unmap(bed.addr, HALF);
	want_lost(bed.mr, bed.addr + QUARTER, SOME, "what the parent unmapped");

	pass(fd[0]);
	await_child(fd[0], pid);
	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 64);
	traffic_flows(high);
	pass(fd[0]);
	join_child(pid, "the child");
	traffic_flows(high);
	traffic_stop(high);
	buffer_map_at(&bed.buf, bed.addr, 0, HALF);
	use(&bed, 0, LEN, "after the child");
	bed_close(&bed);
}

/* ---- a process whose first thread has ended ---- */

static void *without_leader(void *arg)
{
	struct bed *bed = arg;
	struct traffic *t = flow(REMOTE_WRITTEN, bed, 0);

	usleep(100000);
	buffer_invalidate(&bed->buf);
	traffic_flows(t);
	traffic_stop(t);
	use(bed, 0, LEN, "without the first thread");
	bed_close(bed);
	_exit(0);
}

static void run_leader_exits(const void *arg)
{
	pid_t pid = fork();

	(void)arg;
	if (!pid) {
		static struct bed bed;
		pthread_t thread;

		dev_open(dev_name());
		bed = bed_open();
		if (pthread_create(&thread, NULL, without_leader, &bed))
			fail("pthread_create failed");
		pthread_exit(NULL);
	}
	join_child(pid, "the process");
	sample_balanced();
}

/* ---- a part is unmapped ---- */

static const struct part {
	const char *name;
	size_t at, len;		/* what is lost */
	size_t kept;		/* SOME bytes that are not */
} parts[] = {
	{ "upper-half", HALF, HALF, HALF - SOME },
	{ "lower-half", 0, HALF, HALF },
	{ "middle", QUARTER, HALF, LEN - SOME },
	{ "page", QUARTER, 4096, QUARTER + 4096 },
};

static size_t within(const struct part *part)
{
	return part->len < SOME ? part->len : SOME;
}

static void run_part(const void *arg)
{
	const struct part *part = arg;
	struct bed bed = bed_open();
	uint8_t *lost = bed.addr + part->at;
	struct traffic *kept = flow(REMOTE_WRITTEN, &bed, part->kept);
	struct traffic *written, *read;

	written = traffic_start(REMOTE_WRITTEN, bed.mr, lost, within(part));
	read = traffic_start(LOCAL_READ, bed.mr, lost, within(part));
	traffic_flows(kept);
	traffic_flows(written);
	traffic_flows(read);

	unmap(lost, part->len);
	want_still(bed.view + part->at, part->len, "what was unmapped");
	traffic_fails(written, IBV_WC_REM_ACCESS_ERR);
	traffic_fails(read, IBV_WC_LOC_PROT_ERR);
	traffic_flows(kept);
	/* One byte of it is enough. */
	if (part->at)
		want_lost(bed.mr, lost - 99, 100, "into what was unmapped");
	if (part->at + part->len < LEN)
		want_lost(bed.mr, lost + part->len - 1, 100, "out of it");
	traffic_flows(kept);

	buffer_map_at(&bed.buf, lost, part->at, part->len);
	traffic_flows(kept);
	traffic_stop(kept);
	use(&bed, 0, LEN, "mapped again");
	bed_close(&bed);
}

/* Both halves of the MR are one and the same half of the buffer. */
static void run_mapped_twice(const void *arg)
{
	struct bed bed = bed_open();
	struct traffic *t = flow(REMOTE_READ, &bed, 0);

	(void)arg;
	traffic_flows(t);
	buffer_map_at(&bed.buf, bed.addr + HALF, 0, HALF);
	exercise(bed.mr, (uintptr_t)bed.addr + HALF + SOME, SOME,
		 bed.view + SOME, "its upper half");
	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 128);
	use(&bed, SOME, SOME, "its lower half");
	traffic_flows(t);
	traffic_stop(t);
	/* And the other way round. */
	buffer_map_at(&bed.buf, bed.addr, HALF, HALF);
	exercise(bed.mr, (uintptr_t)bed.addr, HALF, bed.view + HALF,
		 "the halves exchanged");
	exercise(bed.mr, (uintptr_t)bed.addr + HALF, HALF, bed.view,
		 "the halves exchanged");
	bed_close(&bed);
}

/* ---- a part gets other rights ---- */

static void run_split(const void *arg)
{
	struct bed bed = bed_open();
	uint8_t *middle = bed.addr + QUARTER;
	struct traffic *low = flow(REMOTE_WRITTEN, &bed, 0);
	struct traffic *high = flow(LOCAL_WRITTEN, &bed, LEN - SOME);
	struct traffic *read = flow(REMOTE_READ, &bed, QUARTER);
	struct traffic *written = flow(REMOTE_WRITTEN, &bed, HALF);

	(void)arg;
	traffic_flows(low);
	traffic_flows(high);
	traffic_flows(read);
	traffic_flows(written);
	protect(middle, HALF, PROT_READ);
	want_still(bed.view + QUARTER, HALF, "what is read-only");
	traffic_fails(written, IBV_WC_REM_ACCESS_ERR);

	/* The new pieces move with the buffer. */
	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 64);
	traffic_flows(low);
	traffic_flows(high);
	traffic_flows(read);
	try_rdma(bed.mr, bed.addr, LEN, IBV_WR_RDMA_READ, IBV_WC_SUCCESS,
		 "all of it");
	try_rdma(bed.mr, middle - 100, 200, IBV_WR_RDMA_WRITE,
		 IBV_WC_REM_ACCESS_ERR, "into what is read-only");
	try_rdma(bed.mr, middle + HALF - 1, 2, IBV_WR_RDMA_WRITE,
		 IBV_WC_REM_ACCESS_ERR, "out of what is read-only");

	protect(middle, HALF, RW);
	traffic_flows(low);
	traffic_flows(high);
	traffic_flows(read);
	traffic_stop(low);
	traffic_stop(high);
	traffic_stop(read);
	use(&bed, 0, LEN, "writable again");
	bed_close(&bed);
}

/* ---- several MRs ---- */

static void move_under(const struct buffer *b, int rounds)
{
	static const uint32_t ranges[] = { 1, 128, 2, 0 };
	int i;

	for (i = 0; i < rounds; i++) {
		uint32_t n = ranges[i % ARRAY_SIZE(ranges)];

		buffer_move(b, n ? P2P_SAMPLE_BAR : P2P_SAMPLE_SYSTEM, n);
	}
}

/* One of them ends in the middle of its traffic, the other one stays. */
static void run_overlapping(const void *arg)
{
	struct bed bed = bed_open();
	size_t three = 3 * QUARTER;
	struct verifier v = {
		.addr = bed.addr + HALF, .len = QUARTER,
		.view = bed.view + HALF,
	};
	int i, rounds = slow ? 3 : 15;

	(void)arg;
	v.mr = reg(bed.addr + QUARTER, three, ACCESS_ALL);
	verify_start(&v, 0);
	for (i = 0; i < rounds; i++) {
		struct ibv_mr *mr = reg(bed.addr, three, ACCESS_ALL);
		struct traffic *t = traffic_start(REMOTE_WRITTEN, mr,
						  bed.addr + QUARTER, SOME);

		traffic_flows(t);
		move_under(&bed.buf, 4);
		traffic_flows(t);
		verify_flows(&v);
		dereg(mr);
		want_still(bed.view + QUARTER, SOME, "the MR that is gone");
		traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
		verify_flows(&v);
	}
	verify_end(&v);
	exercise(v.mr, (uintptr_t)bed.addr + QUARTER, three,
		 bed.view + QUARTER, "the MR that stays");
	dereg(v.mr);
	bed_close(&bed);
}

/* Several vmas and several MRs, and all of them the same memory. */
static void run_aliases(const void *arg)
{
	struct bed bed = bed_open();
	struct ibv_mr *alias = reg(bed.view, LEN, ACCESS_ALL);
	struct verifier v[] = {
		{
			.mr = bed.mr, .addr = bed.addr, .view = bed.view,
		}, {
			.mr = alias, .addr = bed.view + HALF,
			.view = bed.addr + HALF,
		},
	};
	size_t i;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(v); i++) {
		v[i].len = HALF;
		verify_start(&v[i], i);
	}
	move_under(&bed.buf, slow ? 8 : 80);
	for (i = 0; i < ARRAY_SIZE(v); i++) {
		verify_flows(&v[i]);
		verify_end(&v[i]);
	}
	use(&bed, 0, LEN, "written through one");
	exercise(alias, (uintptr_t)bed.view, LEN, bed.addr, "and another");
	dereg(alias);
	bed_close(&bed);
}

/* ---- what is there changes altogether ---- */

enum { HOLE, HOST_MEMORY, SAMPLE, OTHER_EXPORTER, NR_KINDS };
static const char *const kinds[] = { "hole", "host", "sample", "bar" };

/* Addresses, what may be mapped there, and where else that is seen. */
struct place {
	struct buffer buf;
	uint8_t *addr;
	uint8_t *views[NR_KINDS];
};

static struct place place_open(void)
{
	struct place p = { .buf = buffer_open(LEN) };

	p.addr = host_map_at(area, LEN, RW);
	p.views[HOST_MEMORY] = p.addr;
	p.views[SAMPLE] = p.buf.addr;
	p.views[OTHER_EXPORTER] = gpu_map(GPU1, SHARING_AT1, LEN);
	return p;
}

static void place_put(const struct place *p, int kind)
{
	switch (kind) {
	case HOLE:
		unmap(p->addr, LEN);
		break;
	case HOST_MEMORY:
		host_map_at(p->addr, LEN, RW);
		break;
	case SAMPLE:
		buffer_map_at(&p->buf, p->addr, 0, LEN);
		break;
	case OTHER_EXPORTER:
		gpu_map_at(GPU1, p->addr, SHARING_AT1, LEN, RW);
		break;
	}
}

static void place_check(const struct place *p, struct ibv_mr *mr, int kind)
{
	if (kind == HOLE)
		want_lost(mr, p->addr, LEN, kinds[kind]);
	else
		exercise(mr, (uintptr_t)p->addr, LEN, p->views[kind],
			 kinds[kind]);
}

struct change {
	int from, to;
};

static void run_change(const void *arg)
{
	const struct change *c = arg;
	struct place p = place_open();
	uint64_t seed = seed_of(kinds[c->from]);
	struct ibv_mr *mr;

	place_put(&p, c->from);
	/* Where device memory is, plain ibv_reg_mr() does. */
	mr = reg(p.addr, LEN, c->from < SAMPLE ? ODP : ACCESS_ALL);
	place_check(&p, mr, c->from);
	place_put(&p, c->to);
	place_check(&p, mr, c->to);
	/* What was written before is what was there before. */
	if (c->from >= SAMPLE)
		pattern_check(p.views[c->from], LEN, seed, 0, "left behind");
	if (c->to != SAMPLE)
		sample_balanced();
	place_put(&p, c->from);
	place_check(&p, mr, c->from);
	dereg(mr);
	buffer_close(&p.buf);
	sample_balanced();
}

/* One half after the other, and in the end page by page. */
static void run_filled_later(const void *arg)
{
	struct place p = place_open();
	struct ibv_mr *mr;
	size_t at;

	(void)arg;
	unmap(p.addr, LEN);
	mr = reg(p.addr, LEN, ODP);
	want_lost(mr, p.addr, SOME, "nothing yet");
	buffer_map_at(&p.buf, p.addr, 0, HALF);
	exercise(mr, (uintptr_t)p.addr, HALF, p.buf.addr, "half of it");
	want_lost(mr, p.addr + HALF - 1, 2, "half of it");
	host_map_at(p.addr + HALF, HALF, RW);
	exercise(mr, (uintptr_t)p.addr + HALF, HALF, p.addr + HALF, "the rest");
	for (at = 4096; at < LEN; at += 2 * 4096)
		buffer_map_at(&p.buf, p.addr + at, at, 4096);
	for (at = 4096 * 2; at < HALF; at += 2 * 4096)
		host_map_at(p.addr + at, 4096, RW);
	exercise(mr, (uintptr_t)p.addr, LEN, p.addr, "every other page");
	buffer_move(&p.buf, P2P_SAMPLE_BAR, 16);
	exercise(mr, (uintptr_t)p.addr, LEN, p.addr, "every other page, moved");
	dereg(mr);
	unmap(p.addr, LEN);
	buffer_close(&p.buf);
	sample_balanced();
}

/* Never without a mapping: traffic goes on, whatever it is that it goes to. */
static void run_traffic_goes_on(const void *arg)
{
	struct place p = place_open();
	struct ibv_mr *mr = reg(p.addr, LEN, ODP);
	struct traffic *w = traffic_start(REMOTE_WRITTEN, mr, p.addr, SOME);
	struct traffic *r = traffic_start(LOCAL_READ, mr, p.addr + HALF, SOME);
	int i, rounds = slow ? 9 : 60;

	(void)arg;
	for (i = 0; i < rounds; i++) {
		place_put(&p, HOST_MEMORY + i % (NR_KINDS - HOST_MEMORY));
		if (i % 5 == 0) {
			traffic_flows(w);
			traffic_flows(r);
		}
	}
	place_put(&p, HOST_MEMORY);
	want_still(p.views[SAMPLE], LEN, "left behind");
	want_still(p.views[OTHER_EXPORTER], LEN, "left behind");
	sample_balanced();
	traffic_flows(w);
	traffic_flows(r);
	traffic_stop(w);
	traffic_stop(r);
	place_check(&p, mr, HOST_MEMORY);
	dereg(mr);
	buffer_close(&p.buf);
}

static void run_changes(void)
{
	struct change c;

	for (c.from = 0; c.from < NR_KINDS; c.from++)
		for (c.to = 0; c.to < NR_KINDS; c.to++)
			if (c.from != c.to)
				run_case(run_change, &c, "change/%s-to-%s",
					 kinds[c.from], kinds[c.to]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "forked", run_forked },
		{ "leader-exits", run_leader_exits },
		{ "mapped-twice", run_mapped_twice },
		{ "split", run_split },
		{ "mrs/overlapping", run_overlapping },
		{ "mrs/aliases", run_aliases },
		{ "filled-later", run_filled_later },
		{ "change/traffic-goes-on", run_traffic_goes_on },
	};
	size_t i;

	test_init(argc, argv);
	sample_load();
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		run_case(run_part, &parts[i], "unmapped/%s", parts[i].name);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	run_changes();
	sample_unload();
	return test_done();
}
