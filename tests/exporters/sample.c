// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What an exporter is free to do with its memory: move it, put it into pages of
 * the host, scatter it, keep the CPU away from it, refuse it, take it back.
 */
#include "../verbs/traffic.h"
#include "buffer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = MIB(1), PAGES = LEN / 4096, SOME = KIB(64) };

/* A buffer with a pattern in it, written by RDMA, and an MR over it. */
struct bed {
	struct buffer buf;
	struct ibv_mr *mr;
};

static struct bed bed_open(void)
{
	struct bed bed = { .buf = buffer_open(LEN) };

	bed.mr = reg(bed.buf.addr, LEN, ACCESS_ALL);
	pattern_fill(bed.buf.addr, LEN, seed_of(case_name()), 0);
	return bed;
}

/* All of it, as the device sees it. */
static void bed_check(const struct bed *bed, const char *what)
{
	struct mem in = mem_open(HOST, 0, LEN);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&in, 0, LEN),
		  (uintptr_t)bed->buf.addr, bed->mr->rkey, IBV_WC_SUCCESS, what);
	pattern_check(in.addr, LEN, seed_of(case_name()), 0, what);
	pair_close(&p);
	mem_close(&in);
}

static void bed_close(struct bed *bed)
{
	dereg(bed->mr);
	buffer_close(&bed->buf);
}

/* ---- places ---- */

static const struct place {
	const char *name;
	uint32_t where, ranges;
} places[] = {
	{ "bar", P2P_SAMPLE_BAR, 1 },
	{ "bar-in-2-ranges", P2P_SAMPLE_BAR, 2 },
	{ "bar-in-64-ranges", P2P_SAMPLE_BAR, 64 },
	{ "bar-by-the-page", P2P_SAMPLE_BAR, PAGES },
	{ "host-pages", P2P_SAMPLE_SYSTEM, PAGES },
};

/* What was there before is there after, and what is written there stays. */
static void run_place(const void *arg)
{
	const struct place *place = arg;
	struct bed bed = bed_open();
	struct p2p_sample_place is;
	size_t i;

	bed_check(&bed, "before");
	buffer_move(&bed.buf, place->where, place->ranges);
	is = buffer_where(&bed.buf);
	if (is.where != place->where || is.ranges != place->ranges || is.size != LEN)
		fail("it is in %u ranges at %u", is.ranges, is.where);
	bed_check(&bed, "after the move");
	pattern_check(bed.buf.addr, LEN, seed_of(case_name()), 0,
		      "seen by the CPU");
	/* Pieces that begin and end anywhere in the ranges. */
	for (i = 0; i < 8; i++)
		exercise(bed.mr, (uintptr_t)bed.buf.addr + i * 12345, SOME + i,
			 bed.buf.addr + i * 12345, "in the new place");
	pattern_fill(bed.buf.addr, LEN, seed_of(case_name()), 0);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		buffer_move(&bed.buf, places[i].where, places[i].ranges);
		bed_check(&bed, places[i].name);
	}
	bed_close(&bed);
	sample_balanced();
}

/* A part of a buffer that is scattered, at an offset of its own. */
static void run_window(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	size_t at = 5 * 4096, len = 11 * 4096;
	uint8_t *part = buffer_map_at(&b, NULL, at, len);
	struct ibv_mr *mr;

	(void)arg;
	buffer_move(&b, P2P_SAMPLE_BAR, PAGES / 4);
	mr = reg(part, len, ACCESS_ALL);
	exercise(mr, (uintptr_t)part + 1, len - 2, b.addr + at + 1, "a window");
	dereg(mr);
	unmap(part, len);
	buffer_close(&b);
	sample_balanced();
}

/* The old place is used for something else at once. */
static void run_old_place(const void *arg)
{
	struct bed bed = bed_open();
	struct p2p_sample_place old = buffer_where(&bed.buf), is;
	struct traffic *t = traffic_start(REMOTE_WRITTEN, bed.mr, bed.buf.addr,
					  SOME);
	struct buffer other;
	int i;

	(void)arg;
	traffic_flows(t);
	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 1);
	other = buffer_open(LEN);
	is = buffer_where(&other);
	if (is.offset != old.offset)
		fail("the next buffer is at 0x%llx, and not at 0x%llx",
		     (unsigned long long)is.offset,
		     (unsigned long long)old.offset);
	for (i = 0; i < 10; i++) {
		traffic_flows(t);
		if (memchr(other.addr, 0, LEN) != other.addr ||
		    memcmp(other.addr, other.addr + 1, LEN - 1))
			fail("traffic writes to the place that the buffer had");
	}
	traffic_stop(t);
	buffer_close(&other);
	bed_close(&bed);
	sample_balanced();
}

/* ---- quota ---- */

static void run_quota(const void *arg)
{
	struct bed bed = bed_open();
	struct buffer late;

	(void)arg;
	bed_check(&bed, "before");
	sample_param("quota_mib", "0");
	if (buffer_where(&bed.buf).where != P2P_SAMPLE_BAR)
		fail("it moved before it was asked for");
	/* Mapped until now, and asked for again from here on. */
	buffer_invalidate(&bed.buf);
	bed_check(&bed, "above the quota");
	if (buffer_where(&bed.buf).where != P2P_SAMPLE_SYSTEM)
		fail("it is still in the BAR");
	late = buffer_open(LEN);
	if (buffer_where(&late).where != P2P_SAMPLE_SYSTEM)
		fail("a new buffer is in the BAR, above the quota");
	buffer_close(&late);
	sample_param("quota_mib", "1024");
	buffer_move(&bed.buf, P2P_SAMPLE_BAR, 1);
	bed_check(&bed, "back in the BAR");
	bed_close(&bed);
	sample_balanced();
}

/* ---- refusals ---- */

static void want_refused(const struct buffer *b, int want)
{
	int err;

	if (try_reg(b->addr, b->len, ACCESS_ALL, &err))
		fail("it was registered");
	if (err != want)
		fail("ibv_reg_mr: %s, expected %s", strerrorname_np(err),
		     strerrorname_np(want));
}

static void run_deny(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	long refusals = sample_counter("refusals");
	struct ibv_mr *mr;

	(void)arg;
	sample_param("deny", importer_name());
	want_refused(&b, EPERM);
	if (sample_counter("refusals") != refusals + 1)
		fail("the exporter counts no refusal");
	sample_param("deny", "nobody");
	mr = reg(b.addr, LEN, ACCESS_ALL);
	exercise(mr, (uintptr_t)b.addr, LEN, b.addr, "not denied any more");
	dereg(mr);
	buffer_close(&b);
	sample_balanced();
}

/* Refused when it is mapped again: an error completion, and nothing else. */
static void run_refuse_remap(const void *arg)
{
	struct bed bed = bed_open(), other = bed_open();
	struct traffic *t = traffic_start(REMOTE_WRITTEN, bed.mr, bed.buf.addr,
					  SOME);
	struct traffic *lives = traffic_start(REMOTE_READ, other.mr,
					      other.buf.addr, SOME);
	struct traffic *host = traffic_start(LOCAL_READ, bed.mr,
					     bed.buf.addr + 2 * SOME, SOME);

	(void)arg;
	traffic_flows(t);
	traffic_flows(lives);
	traffic_flows(host);
	traffic_stop(host);
	sample_param("deny", importer_name());
	buffer_invalidate(&bed.buf);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	traffic_flows(lives);
	sample_param("deny", "nobody");
	exercise(bed.mr, (uintptr_t)bed.buf.addr, LEN, bed.buf.addr,
		 "not refused any more");
	traffic_stop(lives);
	bed_close(&other);
	bed_close(&bed);
	sample_balanced();
}

static void run_revoke(const void *arg)
{
	struct bed bed = bed_open();
	struct traffic *t = traffic_start(REMOTE_WRITTEN, bed.mr, bed.buf.addr,
					  SOME);

	(void)arg;
	traffic_flows(t);
	buffer_revoke(&bed.buf);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	want_refused(&bed.buf, EPERM);
	bed_close(&bed);
	sample_balanced();
}

/* ---- the CPU ---- */

static sigjmp_buf touched;

static void on_sigbus(int sig) { siglongjmp(touched, sig); }

static bool cpu_reaches(const uint8_t *p)
{
	signal(SIGBUS, on_sigbus);
	if (sigsetjmp(touched, 1))
		return false;
	(void)*(volatile const uint8_t *)p;
	return true;
}

static void run_no_cpu(const void *arg)
{
	struct bed bed = bed_open();
	uint32_t cpu = 0;

	(void)arg;
	if (!cpu_reaches(bed.buf.addr))
		fail("the CPU does not reach it to begin with");
	if (buffer_try(&bed.buf, P2P_SAMPLE_CPU, &cpu))
		fail("P2P_SAMPLE_CPU failed");
	if (cpu_reaches(bed.buf.addr))
		fail("the CPU reaches it");
	bed_check(&bed, "without the CPU");
	dereg(bed.mr);
	bed.mr = reg(bed.buf.addr, LEN, ACCESS_ALL);
	bed_check(&bed, "registered without the CPU");
	cpu = 1;
	if (buffer_try(&bed.buf, P2P_SAMPLE_CPU, &cpu) ||
	    !cpu_reaches(bed.buf.addr))
		fail("the CPU does not reach it again");
	bed_close(&bed);
	sample_balanced();
}

/* ---- bad input ---- */

static void want_errno(const struct buffer *b, unsigned long request, void *arg,
		       int want, const char *what)
{
	int err = buffer_try(b, request, arg);

	if (err != want)
		fail("%s: %s, expected %s", what, strerrorname_np(err),
		     strerrorname_np(want));
}

static void run_bad_input(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	struct p2p_sample_place place = { .ranges = 3 };
	uint64_t size = LEN;

	(void)arg;
	want_errno(&b, P2P_SAMPLE_SIZE, &size, EEXIST, "a second size");
	want_errno(&b, P2P_SAMPLE_MOVE, &place, EINVAL, "256 pages in 3 ranges");
	place.ranges = 0;
	want_errno(&b, P2P_SAMPLE_MOVE, &place, EINVAL, "0 ranges");
	place = (struct p2p_sample_place) { .where = 2, .ranges = 1 };
	want_errno(&b, P2P_SAMPLE_MOVE, &place, EINVAL, "nowhere");
	want_errno(&b, P2P_SAMPLE_MOVE, NULL, EFAULT, "a NULL pointer");
	want_errno(&b, _IO('P', 99), NULL, ENOTTY, "no ioctl of ours");
	want_errno(&b, _IOW('P', 2, char[512]), NULL, ENOTTY, "a larger one");
	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, b.fd, LEN) != MAP_FAILED)
		fail("mmap after the end");
	if (mmap(NULL, 2 * LEN, PROT_READ, MAP_SHARED, b.fd, 0) != MAP_FAILED)
		fail("mmap of more than the buffer");
	if (mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, b.fd, 0) != MAP_FAILED)
		fail("private mmap");
	buffer_close(&b);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "window", run_window },
		{ "old-place", run_old_place },
		{ "quota", run_quota },
		{ "deny", run_deny },
		{ "refuse-remap", run_refuse_remap },
		{ "revoke", run_revoke },
		{ "no-cpu", run_no_cpu },
		{ "bad-input", run_bad_input },
	};
	size_t i;

	test_init(argc, argv);
	sample_load();
	for (i = 0; i < ARRAY_SIZE(places); i++)
		run_case(run_place, &places[i], "place/%s", places[i].name);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	sample_unload();
	return test_done();
}
