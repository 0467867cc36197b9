// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The kernel finds no memory, or no way between the devices: for each
 * allocation and each run on the way of a registration, a prefetch, a move or
 * an end in turn, and now and then for the faults of the RDMA device. That ends
 * in an errno or in an error completion, and all is as it was before.
 */
#include "../verbs/sysfs.h"
#include "../verbs/verify.h"
#include "buffer.h"
#include "inject.h"
#include "mirror.h"

#include <sys/mman.h>

enum { LEN = KIB(256), MANY = 16, PAGE = 4096, ROUNDS = 50 };
enum { MANY_MORE = 3000 };	/* steps than anything here takes */
enum { RW = PROT_READ | PROT_WRITE };
enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND };

/* ---- an MR, and what may fail about it ---- */

struct bed {
	struct buffer buf;
	struct mirror mirror;
	uint8_t *addr;		/* what is registered, or will be */
	size_t len;
	struct ibv_mr *mr;
	struct mem host;
	struct pair pair;
};

struct op {
	const char *name;
	/* In this order, and only in try() something fails. */
	void (*open)(struct bed *bed);
	void (*prepare)(struct bed *bed);
	int (*try)(struct bed *bed);		/* returns an errno */
	void (*undo)(struct bed *bed);		/* of what was tried */
	bool never_fails;
	bool has_host_pages;	/* to fault in, which only knows EFAULT */
	int mappings;		/* that it makes: each run, and all as one */
};

/* Does the MR do what it should? Its memory may have moved. */
static void bed_check(struct bed *bed)
{
	size_t len = bed->len < PAGE ? bed->len : PAGE;
	uint64_t at = (uintptr_t)bed->mr->addr + bed->mr->length - len;

	pattern_fill(bed->host.addr, len, seed_of(case_name()), 0);
	want_rdma(&bed->pair, IBV_WR_RDMA_WRITE, sge(&bed->host, 0, len), at,
		  bed->mr->rkey, IBV_WC_SUCCESS, "the MR");
	memset(bed->host.addr, 0, len);
	want_rdma(&bed->pair, IBV_WR_RDMA_READ, sge(&bed->host, 0, len), at,
		  bed->mr->rkey, IBV_WC_SUCCESS, "the MR");
	pattern_check(bed->host.addr, len, seed_of(case_name()), 0, "the MR");
}

/* A mapping that fails is a step of the thread, too. */
static bool is_right(const struct op *op, enum injection what, int err)
{
	if (err == EREMOTEIO)
		return op->mappings;
	return what == ALLOCATIONS &&
	       (err == ENOMEM || (err == EFAULT && op->has_host_pages));
}

/* Has each step of a kind fail once; returns how often that was an error. */
static int fail_in_turn(const struct op *op, struct bed *bed,
			enum injection what, const char *step)
{
	int n, err, failed = 0;
	bool injected;

	for (n = 1;; n++) {
		if (op->prepare)
			op->prepare(bed);
		inject_nth(what, n);
		err = op->try(bed);
		injected = inject_ended(what);

		if (err && !is_right(op, what, err))
			fail("when %s %d fails: %s", step, n,
			     strerrorname_np(err));
		if (err && op->never_fails)
			fail("it fails when %s %d does", step, n);
		if (bed->mr)
			bed_check(bed);
		if (!err && op->undo)
			op->undo(bed);
		if (!bed->mr)
			sample_balanced();
		if (!injected)
			break;
		if (n == MANY_MORE)
			fail("%d %ss, and no end of them", n, step);
		failed += !!err;
	}
	if (err)
		fail("it fails when no %s does: %s", step,
		     strerrorname_np(err));
	note("%d %ss, it fails without %d of them", n - 1, step, failed);
	return failed;
}

static void run_op(const void *arg)
{
	const struct op *op = arg;
	struct bed bed = { .len = LEN };
	int failed;

	inject_init();
	bed.buf = buffer_open(LEN);
	bed.addr = bed.buf.addr;
	bed.host = mem_open(HOST, 0, LEN);
	pair_open(&bed.pair, IBV_QPT_RC, 0);
	if (op->open)
		op->open(&bed);

	failed = fail_in_turn(op, &bed, ALLOCATIONS, "allocation");
	if (!failed && !op->never_fails)
		fail("nothing failed");
	if (op->mappings) {
		failed = fail_in_turn(op, &bed, MAPPINGS, "mapping");
		if (failed < op->mappings)
			fail("%d of its %d mappings failed", failed,
			     op->mappings);
	}

	if (bed.mr)
		dereg(bed.mr);
	pair_close(&bed.pair);
	buffer_close(&bed.buf);
	sample_balanced();
	if (bed.mirror.fd)
		mirror_balanced();
}

/* ---- registration ---- */

static void in_many_ranges(struct bed *bed)
{
	buffer_move(&bed->buf, P2P_SAMPLE_BAR, MANY);
}

static void in_host_pages(struct bed *bed)
{
	buffer_move(&bed->buf, P2P_SAMPLE_SYSTEM, 0);
}

/* p2p_map() moves it to host pages, and stays with that. */
static void over_quota(struct bed *bed)
{
	sample_param("quota_mib", "1024");
	buffer_move(&bed->buf, P2P_SAMPLE_BAR, 1);
	sample_param("quota_mib", "0");
}

/* The first half in host memory, the second in the buffer, a BAR at the end. */
static void next_to_others(struct bed *bed)
{
	bed->addr = host_map(2 * LEN);
	bed->len = 2 * LEN;
	buffer_map_at(&bed->buf, bed->addr + LEN / 2, 0, LEN);
	gpu_map_at(GPU1, bed->addr + LEN / 2 + LEN, SHARING_AT1, LEN / 2, RW);
}

static int try_register(struct bed *bed)
{
	int err;

	bed->mr = try_reg(bed->addr, bed->len, ACCESS_ALL, &err);
	return err;
}

static int try_register_odp(struct bed *bed)
{
	int err;

	bed->mr = try_reg(bed->addr, bed->len, ODP, &err);
	return err;
}

static void deregister(struct bed *bed)
{
	dereg(bed->mr);
	bed->mr = NULL;
}

/* ---- memory on an HMM device ---- */

static void on_hmm_device(struct bed *bed)
{
	bed->mirror = mirror_open();
	bed->addr = host_map(LEN);
	pattern_fill(bed->addr, LEN, seed_of(case_name()), 0);
	mirror_to_device(&bed->mirror, bed->addr, LEN);
}

static void register_hmm(struct bed *bed)
{
	on_hmm_device(bed);
	bed->mr = reg(bed->addr, LEN, ODP);
}

/* What changes the page table ends the mapping. */
static void invalidate_hmm(struct bed *bed)
{
	mirror_to_device(&bed->mirror, bed->addr, LEN);
	protect(bed->addr, LEN, PROT_READ);
	protect(bed->addr, LEN, RW);
}

/* ---- what is done to an MR ---- */

static void register_buffer(struct bed *bed)
{
	bed->mr = reg(bed->addr, bed->len, ACCESS_ALL);
}

static void register_many_ranges(struct bed *bed)
{
	in_many_ranges(bed);
	register_buffer(bed);
}

static void register_some_ranges(struct bed *bed)
{
	buffer_move(&bed->buf, P2P_SAMPLE_BAR, 4);
	register_buffer(bed);
}

static void register_mixed(struct bed *bed)
{
	next_to_others(bed);
	register_buffer(bed);
}

static void invalidate(struct bed *bed)
{
	buffer_invalidate(&bed->buf);
}

/* Also what is host memory: it is not there any more. */
static void invalidate_all(struct bed *bed)
{
	buffer_invalidate(&bed->buf);
	if (madvise(bed->addr, LEN / 2, MADV_DONTNEED))
		fail("madvise: %s", strerror(errno));
}

static int try_prefetch(struct bed *bed)
{
	struct ibv_sge all = { (uintptr_t)bed->addr, bed->len, bed->mr->lkey };

	return uverbs_advise_mr(dev.pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
				IBV_ADVISE_MR_FLAG_FLUSH, &all, 1);
}

/* The work is left to a worker; what fails here is to hand it over. */
static int try_prefetch_later(struct bed *bed)
{
	struct ibv_sge all = { (uintptr_t)bed->addr, bed->len, bed->mr->lkey };

	return uverbs_advise_mr(dev.pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, 0,
				&all, 1);
}

static void register_host(struct bed *bed)
{
	bed->mr = reg(bed->host.addr, LEN, ACCESS_ALL);
}

/* A failure leaves the MR what it was. */
static int try_rereg_to_device(struct bed *bed)
{
	return uverbs_rereg_mr(bed->mr, IBV_REREG_MR_CHANGE_TRANSLATION,
			       dev.pd, bed->buf.addr, LEN, ACCESS_ALL);
}

static int try_rereg_to_host(struct bed *bed)
{
	return uverbs_rereg_mr(bed->mr, IBV_REREG_MR_CHANGE_TRANSLATION,
			       dev.pd, bed->host.addr, LEN, ACCESS_ALL);
}

static void rereg_to_host(struct bed *bed)
{
	if (try_rereg_to_host(bed))
		fail("cannot change the MR to host memory");
}

static void rereg_to_device(struct bed *bed)
{
	if (try_rereg_to_device(bed))
		fail("cannot change the MR to device memory");
}

static int try_move(struct bed *bed)
{
	struct p2p_sample_place to = {
		.where = P2P_SAMPLE_BAR, .ranges = MANY,
	};
	int err = buffer_try(&bed->buf, P2P_SAMPLE_MOVE, &to);

	to.where = P2P_SAMPLE_SYSTEM;
	return err ? err : buffer_try(&bed->buf, P2P_SAMPLE_MOVE, &to);
}

/* It splits the vma, and where that fails the page stays. */
static int try_unmap(struct bed *bed)
{
	return munmap(bed->addr + LEN / 2, PAGE) ? errno : 0;
}

static void map_again(struct bed *bed)
{
	buffer_map_at(&bed->buf, bed->addr + LEN / 2, LEN / 2, PAGE);
}

static int try_protect(struct bed *bed)
{
	return mprotect(bed->addr, LEN / 2, PROT_READ) ? errno : 0;
}

static void unprotect(struct bed *bed)
{
	protect(bed->addr, LEN, RW);
}

/* ---- what ends it ---- */

static int try_invalidate(struct bed *bed)
{
	return buffer_try(&bed->buf, P2P_SAMPLE_INVALIDATE, NULL);
}

static int try_deregister(struct bed *bed)
{
	int err = ibv_dereg_mr(bed->mr);

	if (!err)
		bed->mr = NULL;
	return err;
}

static const struct op ops[] = {
	{ .name = "register/bar", .try = try_register, .undo = deregister,
	  .mappings = 2 },
	{ .name = "register/many-ranges", .open = in_many_ranges,
	  .try = try_register, .undo = deregister, .mappings = 1 + MANY },
	{ .name = "register/host-pages", .open = in_host_pages,
	  .try = try_register, .undo = deregister, .mappings = 2 },
	{ .name = "register/over-quota", .prepare = over_quota,
	  .try = try_register, .undo = deregister, .mappings = 2 },
	{ .name = "register/mixed", .open = next_to_others,
	  .try = try_register, .undo = deregister, .mappings = 3 },
	{ .name = "register/hmm", .open = on_hmm_device,
	  .try = try_register_odp, .undo = deregister },
	{ .name = "rereg/host-to-device", .open = register_host,
	  .try = try_rereg_to_device, .undo = rereg_to_host, .mappings = 2 },
	{ .name = "rereg/device-to-host", .open = register_buffer,
	  .try = try_rereg_to_host, .undo = rereg_to_device },
	{ .name = "prefetch/bar", .open = register_buffer,
	  .prepare = invalidate, .try = try_prefetch, .mappings = 2 },
	{ .name = "prefetch/many-ranges", .open = register_many_ranges,
	  .prepare = invalidate, .try = try_prefetch, .mappings = 1 + MANY },
	{ .name = "prefetch/mixed", .open = register_mixed,
	  .prepare = invalidate_all, .try = try_prefetch,
	  .has_host_pages = true, .mappings = 2 },
	{ .name = "prefetch/hmm", .open = register_hmm,
	  .prepare = invalidate_hmm, .try = try_prefetch, .mappings = 1 },
	{ .name = "prefetch/later", .open = register_buffer,
	  .prepare = invalidate, .try = try_prefetch_later },
	{ .name = "move", .open = register_buffer, .try = try_move },
	{ .name = "munmap", .open = register_buffer, .try = try_unmap,
	  .undo = map_again },
	{ .name = "mprotect", .open = register_buffer, .try = try_protect,
	  .undo = unprotect },
	{ .name = "invalidate", .open = register_many_ranges,
	  .try = try_invalidate, .never_fails = true },
	{ .name = "deregister", .prepare = register_buffer,
	  .try = try_deregister, .never_fails = true },
};

/* ---- faults of the device, which workers and threads of ours handle ---- */

/* Write and read back, each through a fault. Returns how it has ended. */
static enum ibv_wc_status fault_once(struct bed *bed, uint64_t random,
				     void (*lose)(struct bed *bed))
{
	size_t len = random % (2 * PAGE) + 1, at = (random >> 20) % (LEN - len);
	uint64_t remote = (uintptr_t)bed->addr + at;
	enum ibv_wc_status status;

	pattern_fill(bed->host.addr, len, random, 0);
	lose(bed);
	status = rdma(&bed->pair, IBV_WR_RDMA_WRITE, sge(&bed->host, 0, len),
		      remote, bed->mr->rkey);
	if (status != IBV_WC_SUCCESS)
		return status;
	pattern_check(bed->addr + at, len, random, 0, "written");
	memset(bed->host.addr, 0, len);
	lose(bed);
	status = rdma(&bed->pair, IBV_WR_RDMA_READ, sge(&bed->host, 0, len),
		      remote, bed->mr->rkey);
	if (status == IBV_WC_SUCCESS)
		pattern_check(bed->host.addr, len, random, 0, "read back");
	return status;
}

struct worker_case {
	const char *name;
	void (*open)(struct bed *bed);
	void (*lose)(struct bed *bed);
	/* One of so many fails, and with that some of the faults. */
	const char *interval;
};

static const struct worker_case worker_cases[] = {
	{ "bar", register_buffer, invalidate, "29" },
	{ "some-ranges", register_some_ranges, invalidate, "97" },
	{ "hmm", register_hmm, invalidate_hmm, "29" },
};

static void run_worker(const void *arg)
{
	const struct worker_case *c = arg;
	struct bed bed = { .len = LEN };
	uint64_t random = seed_of(case_name());
	int i, good = 0, bad[64] = {};
	enum ibv_wc_status status;

	inject_init();
	bed.buf = buffer_open(LEN);
	bed.addr = bed.buf.addr;
	bed.host = mem_open(HOST, 0, LEN);
	pair_open(&bed.pair, IBV_QPT_RC, 0);
	c->open(&bed);
	inject_workers(c->interval);
	for (i = 0; i < ROUNDS; i++) {
		status = fault_once(&bed, next_random(&random), c->lose);
		if (status == IBV_WC_SUCCESS) {
			good++;
			continue;
		}
		/* The pair is a new one. */
		if (status == IBV_WC_WR_FLUSH_ERR)
			fail("flushed, and nothing has failed before");
		bad[status]++;
		pair_close(&bed.pair);
		pair_open(&bed.pair, IBV_QPT_RC, 0);
	}
	inject_stop();
	note("%d times well", good);
	for (i = 0; i < (int)ARRAY_SIZE(bad); i++)
		if (bad[i])
			note("%d times \"%s\"", bad[i], ibv_wc_status_str(i));
	if (!good || good == ROUNDS)
		fail("%d of %d went well", good, ROUNDS);
	exercise(bed.mr, (uintptr_t)bed.addr, LEN, bed.addr, "afterwards");
	dereg(bed.mr);
	pair_close(&bed.pair);
	buffer_close(&bed.buf);
	sample_balanced();
}

/* A case that failed has left them as they were. */
static void restore(void)
{
	inject_stop();
	write_in("/sys/module/p2p_sample/parameters", "quota_mib", "1024");
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	if (!inject_possible()) {
		run_case(run_op, &ops[0], "all");
		return test_done();
	}
	sample_load();
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		run_case(run_op, &ops[i], "%s", ops[i].name);
		restore();
	}
	for (i = 0; i < ARRAY_SIZE(worker_cases); i++) {
		run_case(run_worker, &worker_cases[i], "fault/%s",
			 worker_cases[i].name);
		restore();
	}
	inject_exit();
	sample_unload();
	return test_done();
}
