// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * ibv_advise_mr(): all three advices, waiting for the result or not, on host
 * and on device memory; and what ibv_advise_mr(3) says of its errors.
 */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LEN = KIB(256), RW = PROT_READ | PROT_WRITE };
enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND };
enum { FLUSH = IBV_ADVISE_MR_FLAG_FLUSH };
enum { PREFETCH = IBV_ADVISE_MR_ADVICE_PREFETCH,
       PREFETCH_WRITE = IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
       NO_FAULT = IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT };

struct advice {
	const char *name;
	uint32_t advice;
	uint32_t flags;
	int where;
	int access;
};

static const struct advice advices[] = {
	{ "prefetch/host", PREFETCH, 0, HOST, ODP },
	{ "prefetch-flush/host", PREFETCH, FLUSH, HOST, ODP },
	{ "prefetch-write/host", PREFETCH_WRITE, 0, HOST, ODP },
	{ "prefetch-write-flush/host", PREFETCH_WRITE, FLUSH, HOST, ODP },
	{ "no-fault/host", NO_FAULT, 0, HOST, ODP },
	{ "no-fault-flush/host", NO_FAULT, FLUSH, HOST, ODP },
	{ "prefetch/device", PREFETCH, 0, GPU0, ODP },
	{ "prefetch-flush/device", PREFETCH, FLUSH, GPU0, ODP },
	{ "prefetch-write/device", PREFETCH_WRITE, 0, GPU0, ODP },
	{ "prefetch-write-flush/device", PREFETCH_WRITE, FLUSH, GPU0, ODP },
	{ "no-fault/device", NO_FAULT, 0, GPU0, ODP },
	{ "no-fault-flush/device", NO_FAULT, FLUSH, GPU0, ODP },
	/* Registered with no flag at all, and yet on demand. */
	{ "prefetch-write-flush/plain-device", PREFETCH_WRITE, FLUSH, GPU0, ACCESS_ALL },
};

static struct mem open_mem(int where, int access)
{
	struct mem mem = { .len = LEN };

	mem.addr = where == HOST ? host_map(LEN) :
				   gpu_map(where, ODP_AT + MIB(1), LEN);
	mem.mr = reg(mem.addr, LEN, access);
	return mem;
}

/* How many pages the process has in memory. */
static int present(const struct mem *mem)
{
	unsigned char vec[LEN / 4096];
	int n = 0;
	size_t i;

	if (mincore(mem->addr, mem->len, vec))
		fail("mincore: %s", strerror(errno));
	for (i = 0; i < sizeof(vec); i++)
		n += vec[i] & 1;
	return n;
}

static int advise_n(uint32_t advice, uint32_t flags, struct ibv_sge *sges, int n)
{
	return uverbs_advise_mr(dev.pd, advice, flags, sges, n);
}

static void run_advice(const void *arg)
{
	const struct advice *a = arg;
	struct mem mem = open_mem(a->where, a->access);
	/* Two ranges: the start, unaligned, and the last byte. */
	struct ibv_sge sges[] = { sge(&mem, 5, LEN / 2), sge(&mem, LEN - 1, 1) };
	int want = a->advice == NO_FAULT ? 0 : LEN / 2 / 4096 + 2;
	int err, n;

	if (a->where == HOST && present(&mem))
		fail("fresh memory has pages already");
	err = advise_n(a->advice, a->flags, sges, 2);
	if (err)
		fail("ibv_advise_mr: %s", strerrorname_np(err));
	n = a->where == HOST ? present(&mem) : want;
	/* Without FLUSH it need not have happened yet. */
	if (n > want || (n < want && a->flags & FLUSH))
		fail("%d pages are present after it, expected %d", n, want);
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "after the advice");
	err = advise_n(a->advice, a->flags, sges, 2);
	if (err)
		fail("ibv_advise_mr of what is there: %s", strerrorname_np(err));
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "after the second one");
}

static void want_errno(int got, int want, int or, const char *what)
{
	if (got != want && got != or)
		fail("%s: ibv_advise_mr gave %s, expected %s%s%s", what,
		     got ? strerrorname_np(got) : "success",
		     strerrorname_np(want), want == or ? "" : " or ",
		     want == or ? "" : strerrorname_np(or));
}

/* ibv_advise_mr(3) leaves some room here. */
static void run_bad_lkey(const void *arg)
{
	struct mem mem = open_mem(HOST, ODP);
	struct ibv_sge one = sge(&mem, 0, LEN);

	(void)arg;
	one.lkey ^= 0x00ffff00;
	want_errno(advise_n(PREFETCH, FLUSH, &one, 1), EFAULT, ENOENT,
		   "an lkey that nobody has");
	want_errno(advise_n(PREFETCH, 0, &one, 1), EFAULT, ENOENT,
		   "an lkey that nobody has, not waiting");
}

static void run_other_pd(const void *arg)
{
	struct mem mem = open_mem(HOST, ODP);
	struct ibv_sge one = sge(&mem, 0, LEN);
	struct ibv_pd *other = ibv_alloc_pd(dev.ctx);

	(void)arg;
	want_errno(uverbs_advise_mr(other, PREFETCH, FLUSH, &one, 1), EPERM,
		   EINVAL, "another PD");
}

static void run_not_odp(const void *arg)
{
	struct mem mem = open_mem(HOST, ACCESS_ALL);
	struct ibv_sge one = sge(&mem, 0, LEN);

	(void)arg;
	want_errno(advise_n(PREFETCH, FLUSH, &one, 1), EINVAL, ENOENT,
		   "pinned memory");
}

static void run_out_of_bounds(const void *arg)
{
	int where = *(const int *)arg;
	struct mem mem = open_mem(where, ODP);
	struct ibv_sge past = sge(&mem, LEN - 4096, 4097);
	struct ibv_sge before = sge(&mem, 0, 4096);

	before.addr--;
	want_errno(advise_n(PREFETCH, FLUSH, &past, 1), EFAULT, EINVAL,
		   "past the end of the MR");
	want_errno(advise_n(PREFETCH, FLUSH, &before, 1), EFAULT, EINVAL,
		   "before the MR");
}

static void run_unmapped(const void *arg)
{
	int where = *(const int *)arg;
	struct mem mem = open_mem(where, ODP);
	struct ibv_sge one = sge(&mem, 0, LEN);

	unmap(mem.addr, LEN);
	want_errno(advise_n(PREFETCH, FLUSH, &one, 1), EFAULT, EFAULT,
		   "memory that is unmapped");
	/* No complaint, and no harm, from one that nobody waits for. */
	advise_n(PREFETCH, 0, &one, 1);
	advise_n(NO_FAULT, FLUSH, &one, 1);
	dereg(mem.mr);
}

static void run_read_only(const void *arg)
{
	int where = *(const int *)arg;
	struct mem mem = open_mem(where, IBV_ACCESS_REMOTE_READ |
				  IBV_ACCESS_ON_DEMAND);
	struct ibv_sge one = sge(&mem, 0, LEN);

	want_errno(advise_n(PREFETCH_WRITE, FLUSH, &one, 1), EPERM, EPERM,
		   "an MR that is not writable");
	if (advise_n(PREFETCH, FLUSH, &one, 1))
		fail("prefetch for reading failed on it, too");
}

static void run_bad_flags(const void *arg)
{
	struct mem mem = open_mem(HOST, ODP);
	struct ibv_sge one = sge(&mem, 0, LEN);

	(void)arg;
	want_errno(advise_n(PREFETCH, 2, &one, 1), EINVAL, EOPNOTSUPP,
		   "an unknown flag");
	want_errno(advise_n(77, FLUSH, &one, 1), EOPNOTSUPP, EINVAL,
		   "an unknown advice");
	want_errno(advise_n(PREFETCH, FLUSH, &one, 0), EINVAL, ENOSPC, "no SGE");
}

/* Deregistered at once after advice that nobody waited for. */
static void run_dereg(const void *arg)
{
	int where = *(const int *)arg, i;

	for (i = 0; i < (slow ? 20 : 100); i++) {
		struct mem mem = open_mem(where, ODP);
		struct ibv_sge one = sge(&mem, 0, LEN);
		int err = advise_n(PREFETCH_WRITE, 0, &one, 1);

		if (err)
			fail("ibv_advise_mr: %s", strerrorname_np(err));
		mem_close(&mem);
	}
}

/* ---- advice against advice ---- */

enum { ROUNDS = 30, SLOW_ROUNDS = 8 };

/* A thread that looks at what is there, again and again. */
struct looker {
	struct ibv_sge range;
	atomic_bool stop;
	pthread_t thread;
};

static void *look(void *arg)
{
	struct looker *l = arg;

	while (!l->stop)
		advise_n(NO_FAULT, FLUSH, &l->range, 1);
	return NULL;
}

static void looker_start(struct looker *l, const struct mem *mem)
{
	*l = (struct looker){ .range = sge(mem, 0, mem->len) };
	if (pthread_create(&l->thread, NULL, look, l))
		fail("pthread_create failed");
}

static void looker_stop(struct looker *l)
{
	l->stop = true;
	pthread_join(l->thread, NULL);
}

/* Other rights, for a moment, end what is mapped for the device. */
static void end_mapping(uint8_t *p, size_t len)
{
	protect(p, len, PROT_READ);
	protect(p, len, RW);
}

/*
 * One thread maps device memory, and is busy with memory of the host next to it
 * for a while. What another finds meanwhile must not stay when that mapping ends,
 * in a part of it.
 */
static void run_look_while_mapping(const void *arg)
{
	const size_t host = MIB(16);
	struct mem mem = { host_map(LEN + host), LEN + host, NULL };
	struct ibv_sge all;
	struct looker l;
	int i, err;

	(void)arg;
	gpu_map_at(GPU0, mem.addr, ODP_AT + MIB(1), LEN, RW);
	mem.mr = reg(mem.addr, mem.len, ODP);
	all = sge(&mem, 0, mem.len);
	for (i = 0; i < (slow ? SLOW_ROUNDS : ROUNDS); i++) {
		end_mapping(mem.addr, LEN);
		if (madvise(mem.addr + LEN, host, MADV_DONTNEED))
			fail("madvise: %s", strerror(errno));
		looker_start(&l, &mem);
		err = advise_n(PREFETCH_WRITE, FLUSH, &all, 1);
		if (err)
			fail("ibv_advise_mr: %s", strerrorname_np(err));
		looker_stop(&l);
		end_mapping(mem.addr, 4096);
		exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr,
			 "the mapping has ended");
	}
	mem_close(&mem);
}

/* Memory of the host comes where nothing could be had, and is faulted in. */
static void run_look_while_filling(const void *arg)
{
	enum { HOLE = 4096 };
	int i, err;

	(void)arg;
	for (i = 0; i < 10 * (slow ? SLOW_ROUNDS : ROUNDS); i++) {
		struct mem mem = open_mem(GPU0, ACCESS_ALL);
		struct ibv_sge hole = sge(&mem, 0, HOLE);
		struct looker l;

		host_map_at(mem.addr, HOLE, PROT_NONE);
		looker_start(&l, &mem);
		protect(mem.addr, HOLE, RW);
		err = advise_n(PREFETCH_WRITE, FLUSH, &hole, 1);
		if (err)
			fail("ibv_advise_mr: %s", strerrorname_np(err));
		looker_stop(&l);
		if (i % 10 == 0)
			exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr,
				 "filled");
		mem_close(&mem);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} by_where[] = {
		{ "error/out-of-bounds", run_out_of_bounds },
		{ "error/unmapped", run_unmapped },
		{ "error/read-only", run_read_only },
		{ "dereg-at-once", run_dereg },
	};
	size_t i;
	int where;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(advices); i++)
		run_case(run_advice, &advices[i], "%s", advices[i].name);
	run_case(run_bad_lkey, NULL, "error/bad-lkey");
	run_case(run_other_pd, NULL, "error/other-pd");
	run_case(run_not_odp, NULL, "error/not-odp");
	run_case(run_bad_flags, NULL, "error/bad-flags");
	run_case(run_look_while_mapping, NULL, "look-while/mapping");
	run_case(run_look_while_filling, NULL, "look-while/filling");
	for (i = 0; i < ARRAY_SIZE(by_where); i++)
		for (where = HOST; where <= GPU0; where++)
			run_case(by_where[i].run, &where, "%s/%s",
				 by_where[i].name,
				 where == HOST ? "host" : "device");
	return test_done();
}
