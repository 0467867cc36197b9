// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * On-demand paging as such: what the device says it can do it does, with host
 * memory and device memory, and host memory may change under it at any time.
 */
#include "traffic.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21		/* since Linux 5.4 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25	/* since Linux 6.1 */
#endif

enum { LEN = KIB(64), AT = 4096 - 77, N = 9000 };
enum { ODP = ACCESS_ALL | IBV_ACCESS_ON_DEMAND, RW = PROT_READ | PROT_WRITE };

static struct mem odp_mem(int where, size_t len)
{
	struct mem mem = { .len = len };

	mem.addr = where == HOST ? host_map(len) : gpu_map(where, ODP_AT, len);
	mem.mr = reg(mem.addr, len, ODP);
	return mem;
}

/* ---- Capabilities ---- */

struct cap {
	const char *name;
	enum ibv_qp_type type;
	uint32_t bit;
	enum ibv_wr_opcode op;
};

static const struct cap caps[] = {
	{ "rc-send", IBV_QPT_RC, IBV_ODP_SUPPORT_SEND, IBV_WR_SEND },
	{ "rc-recv", IBV_QPT_RC, IBV_ODP_SUPPORT_RECV, IBV_WR_SEND },
	{ "rc-srq-recv", IBV_QPT_RC, IBV_ODP_SUPPORT_SRQ_RECV, IBV_WR_SEND },
	{ "rc-write", IBV_QPT_RC, IBV_ODP_SUPPORT_WRITE, IBV_WR_RDMA_WRITE },
	{ "rc-read", IBV_QPT_RC, IBV_ODP_SUPPORT_READ, IBV_WR_RDMA_READ },
	{ "rc-atomic", IBV_QPT_RC, IBV_ODP_SUPPORT_ATOMIC,
	  IBV_WR_ATOMIC_FETCH_AND_ADD },
	{ "uc-send", IBV_QPT_UC, IBV_ODP_SUPPORT_SEND, IBV_WR_SEND },
	{ "uc-recv", IBV_QPT_UC, IBV_ODP_SUPPORT_RECV, IBV_WR_SEND },
	{ "uc-srq-recv", IBV_QPT_UC, IBV_ODP_SUPPORT_SRQ_RECV, IBV_WR_SEND },
	{ "uc-write", IBV_QPT_UC, IBV_ODP_SUPPORT_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM },
	{ "ud-send", IBV_QPT_UD, IBV_ODP_SUPPORT_SEND, IBV_WR_SEND },
	{ "ud-recv", IBV_QPT_UD, IBV_ODP_SUPPORT_RECV, IBV_WR_SEND },
	{ "ud-srq-recv", IBV_QPT_UD, IBV_ODP_SUPPORT_SRQ_RECV, IBV_WR_SEND },
};

static struct ibv_odp_caps odp_caps(void)
{
	struct ibv_device_attr_ex attr;
	int err = ibv_query_device_ex(dev.ctx, NULL, &attr);

	if (err)
		fail("ibv_query_device_ex: %s", strerror(err));
	return attr.odp_caps;
}

static uint32_t transport_caps(enum ibv_qp_type type)
{
	struct ibv_odp_caps odp = odp_caps();

	if (type == IBV_QPT_RC)
		return odp.per_transport_caps.rc_odp_caps;
	if (type == IBV_QPT_UC)
		return odp.per_transport_caps.uc_odp_caps;
	return odp.per_transport_caps.ud_odp_caps;
}

static void run_general(const void *arg)
{
	struct ibv_odp_caps odp = odp_caps();

	(void)arg;
	note("general 0x%llx, RC 0x%x, UC 0x%x, UD 0x%x",
	     (unsigned long long)odp.general_caps,
	     odp.per_transport_caps.rc_odp_caps,
	     odp.per_transport_caps.uc_odp_caps,
	     odp.per_transport_caps.ud_odp_caps);
	if (!(odp.general_caps & IBV_ODP_SUPPORT))
		fail("the device does not say that it supports ODP");
	reg(host_map(LEN), LEN, ODP);
	if (odp.general_caps & IBV_ODP_SUPPORT_IMPLICIT)
		reg(NULL, SIZE_MAX, ODP);
}

struct cap_arg {
	const struct cap *cap;
	int where;
};

/* Both sides of the operation, from pages that were never touched. */
static void cap_transfer(const struct cap *cap, struct pair *p,
			 struct mem *from, struct mem *to)
{
	size_t n = cap->type == IBV_QPT_UD ? 900 : N;
	size_t grh = cap->type == IBV_QPT_UD ? GRH_LEN : 0;
	struct mem *local = cap->op == IBV_WR_RDMA_READ ? to : from;
	struct mem *remote = cap->op == IBV_WR_RDMA_READ ? from : to;
	bool received = cap->op == IBV_WR_SEND ||
			cap->op == IBV_WR_RDMA_WRITE_WITH_IMM;
	struct ibv_sge in = sge(to, AT, n + grh), out = sge(local, AT, n);
	struct ibv_send_wr wr = {
		.opcode = cap->op, .sg_list = &out, .num_sge = 1,
	};

	if (cap->type == IBV_QPT_UD) {
		wr.wr.ud.ah = p->ah;
		wr.wr.ud.remote_qpn = p->qp[1]->qp_num;
		wr.wr.ud.remote_qkey = UD_QKEY;
	} else {
		wr.wr.rdma.remote_addr = (uintptr_t)remote->addr + AT;
		wr.wr.rdma.rkey = remote->mr->rkey;
	}
	if (received)
		post_recv(p, &in, cap->op == IBV_WR_SEND ? 1 : 0);
	post(p->qp[0], &wr);
	want_wc(p->cq[0], n, IBV_WC_SUCCESS, cap->name);
	if (received)
		want_wc(p->cq[1], n, IBV_WC_SUCCESS, "receive");
	same_check(to->addr + AT + grh, from->addr + AT, n, cap->name);
}

static void cap_atomic(struct pair *p, struct mem *result, struct mem *target)
{
	struct ibv_sge to = sge(result, 8, 8);
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
		.sg_list = &to,
		.num_sge = 1,
		.wr.atomic = {
			.remote_addr = (uintptr_t)target->addr + 4096,
			.compare_add = 5,
			.rkey = target->mr->rkey,
		},
	};
	uint64_t before, after;

	memcpy(&before, target->addr + 4096, 8);
	post(p->qp[0], &wr);
	want_wc(p->cq[0], 8, IBV_WC_SUCCESS, "fetch and add");
	memcpy(&after, target->addr + 4096, 8);
	if (memcmp(result->addr + 8, &before, 8) || after != before + 5)
		fail("fetch and add of 5 to %llu made it %llu",
		     (unsigned long long)before, (unsigned long long)after);
}

static void run_cap(const void *arg)
{
	const struct cap_arg *c = arg;
	bool srq = c->cap->bit == IBV_ODP_SUPPORT_SRQ_RECV;
	struct mem from, to;
	struct pair p;

	if (!(transport_caps(c->cap->type) & c->cap->bit))
		skip("not advertised");
	from = odp_mem(HOST, LEN);
	to = odp_mem(c->where, LEN);
	pair_open(&p, c->cap->type, srq ? PAIR_SRQ : 0);
	if (c->cap->op == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		cap_atomic(&p, &from, &to);
		cap_atomic(&p, &to, &from);
	} else {
		cap_transfer(c->cap, &p, &from, &to);
		pattern_fill(to.addr, LEN, seed_of(case_name()), 0);
		cap_transfer(c->cap, &p, &to, &from);
	}
}

/* ---- Host memory that changes ---- */

static void run_dontneed(const void *arg)
{
	struct mem mem = odp_mem(HOST, MIB(1)), buf = mem_open(HOST, 0, MIB(1));
	uint8_t *zero = host_map(MIB(1));
	struct pair p;
	int i;

	(void)arg;
	pair_open(&p, IBV_QPT_RC, 0);
	for (i = 0; i < 3; i++) {
		exercise(mem.mr, (uintptr_t)mem.addr, mem.len, mem.addr, "written");
		if (madvise(mem.addr, mem.len, MADV_DONTNEED))
			fail("madvise(MADV_DONTNEED): %s", strerror(errno));
		want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, buf.len),
			  (uintptr_t)mem.addr, mem.mr->rkey, IBV_WC_SUCCESS,
			  "after MADV_DONTNEED");
		same_check(buf.addr, zero, buf.len, "read after MADV_DONTNEED");
	}
}

static void host_prot(const struct mem *mem, int prot, enum ibv_wc_status read,
		      enum ibv_wc_status write, const char *what)
{
	struct mem buf = mem_open(HOST, 0, LEN);
	struct pair p;

	protect(mem->addr, mem->len, prot);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)mem->addr,
		  mem->mr->rkey, read, what);
	pair_close(&p);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, LEN), (uintptr_t)mem->addr,
		  mem->mr->rkey, write, what);
	pair_close(&p);
	mem_close(&buf);
}

static void run_mprotect(const void *arg)
{
	struct mem mem = odp_mem(HOST, LEN);

	(void)arg;
	host_prot(&mem, RW, IBV_WC_SUCCESS, IBV_WC_SUCCESS, "read-write");
	host_prot(&mem, PROT_READ, IBV_WC_SUCCESS, IBV_WC_REM_ACCESS_ERR,
		  "read-only");
	host_prot(&mem, PROT_NONE, IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_ACCESS_ERR,
		  "no access");
	host_prot(&mem, RW, IBV_WC_SUCCESS, IBV_WC_SUCCESS, "read-write again");
}

static void run_munmap(const void *arg)
{
	struct mem mem = odp_mem(HOST, LEN);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, mem.mr, mem.addr, LEN);

	(void)arg;
	traffic_flows(t);
	unmap(mem.addr, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	host_map_at(mem.addr, LEN, RW);
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "mapped anew");
}

/*
 * Reclaim drops what is clean, so a page that was written has to be dirty when
 * it is unmapped, whatever was read from it in between. The read starts on a
 * page that is not mapped, to go through a fault.
 */
static void run_reclaim(const void *arg)
{
	struct mem mem = odp_mem(HOST, 8192), buf = mem_open(HOST, 0, 8192);
	uint8_t *second = (uint8_t *)mem.addr + 4096;
	struct pair p;

	(void)arg;
	if (madvise(mem.addr, mem.len, MADV_NOHUGEPAGE))
		fail("madvise(MADV_NOHUGEPAGE): %s", strerror(errno));
	memset(mem.addr, 0x11, mem.len);
	memset(buf.addr, 0x77, buf.len);
	pair_open(&p, IBV_QPT_RC, 0);

	let_drop(second, 4096);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, 4096), (uintptr_t)second,
		  mem.mr->rkey, IBV_WC_SUCCESS, "write");
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 4096, 4096),
		  (uintptr_t)second - 2048, mem.mr->rkey, IBV_WC_SUCCESS, "read");
	if (madvise(second, 4096, MADV_PAGEOUT))
		fail("madvise(MADV_PAGEOUT): %s", strerror(errno));
	same_check(second, buf.addr, 4096, "after MADV_PAGEOUT");
}

/* A write through the parent's MR is not the child's business. */
static void run_fork_cow(const void *arg)
{
	struct mem mem = odp_mem(HOST, LEN);
	uint64_t seed = seed_of("before fork");
	int pipes[2];
	pid_t pid;
	char c;

	(void)arg;
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "before fork");
	make_pipe(pipes);
	pid = fork();
	if (!pid) {
		if (read(pipes[0], &c, 1) != 1)
			fail("read: %s", strerror(errno));
		pattern_check(mem.addr, LEN, seed, 0, "the child's memory");
		_exit(0);
	}
	close(pipes[0]);
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "after fork");
	if (write(pipes[1], "x", 1) != 1)
		fail("write: %s", strerror(errno));
	join_child(pid, "the child");
}

/* Pages that move to other places while they are written and read. */
static void run_compaction(const void *arg)
{
	struct mem mem = odp_mem(HOST, MIB(1));
	struct traffic *w = traffic_start(REMOTE_WRITTEN, mem.mr, mem.addr, LEN);
	struct traffic *r = traffic_start(REMOTE_READ, mem.mr, mem.addr + LEN, LEN);
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY), i;

	(void)arg;
	if (fd < 0)
		skip("no memory compaction: %s", strerror(errno));
	for (i = 0; i < 10; i++) {
		if (write(fd, "1", 1) != 1)
			fail("compact_memory: %s", strerror(errno));
		traffic_flows(w);
		traffic_flows(r);
	}
	traffic_stop(w);
	traffic_stop(r);
	exercise(mem.mr, (uintptr_t)mem.addr, mem.len, mem.addr, "after it");
}

/* Huge pages, that are broken up and collapsed under the MR. */
static void run_huge(const void *arg)
{
	uint8_t *p = host_map(MIB(6)), *huge;
	struct ibv_mr *mr;

	(void)arg;
	huge = (uint8_t *)(((uintptr_t)p + MIB(2) - 1) & ~(MIB(2) - 1));
	if (madvise(huge, MIB(4), MADV_HUGEPAGE))
		skip("madvise(MADV_HUGEPAGE): %s", strerror(errno));
	mr = reg(huge, MIB(4), ODP);
	exercise(mr, (uintptr_t)huge + MIB(2) - 99999, 199999,
		 huge + MIB(2) - 99999, "huge");
	if (madvise(huge + MIB(1), 4096, MADV_DONTNEED))
		fail("madvise(MADV_DONTNEED): %s", strerror(errno));
	exercise(mr, (uintptr_t)huge + MIB(1) - 99999, 199999,
		 huge + MIB(1) - 99999, "with a hole");
	madvise(huge, MIB(4), MADV_COLLAPSE);
	exercise(mr, (uintptr_t)huge + MIB(1) - 99999, 199999,
		 huge + MIB(1) - 99999, "collapsed");
}

/* Memory of a file, which gets a hole and then an end. */
static void run_file(const void *arg)
{
	int fd = memfd_create("odp", MFD_CLOEXEC);
	struct mem mem = { .len = 2 * LEN }, buf = mem_open(HOST, 0, LEN);
	uint8_t *zero = host_map(LEN);
	struct pair p;

	(void)arg;
	if (fd < 0 || ftruncate(fd, mem.len))
		fail("memfd_create: %s", strerror(errno));
	mem.addr = mmap(NULL, mem.len, RW, MAP_SHARED, fd, 0);
	if (mem.addr == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	mem.mr = reg(mem.addr, mem.len, ODP);
	exercise(mem.mr, (uintptr_t)mem.addr, mem.len, mem.addr, "shared memory");

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LEN, LEN))
		fail("fallocate: %s", strerror(errno));
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, LEN),
		  (uintptr_t)mem.addr + LEN, mem.mr->rkey, IBV_WC_SUCCESS, "hole");
	same_check(buf.addr, zero, LEN, "read from a hole");
	if (ftruncate(fd, LEN))
		fail("ftruncate: %s", strerror(errno));
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, LEN),
		  (uintptr_t)mem.addr + LEN, mem.mr->rkey, IBV_WC_REM_ACCESS_ERR,
		  "past the end of the file");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "host/dontneed", run_dontneed },
		{ "host/mprotect", run_mprotect },
		{ "host/munmap", run_munmap },
		{ "host/reclaim", run_reclaim },
		{ "host/fork-cow", run_fork_cow },
		{ "host/compaction", run_compaction },
		{ "host/huge-pages", run_huge },
		{ "host/file", run_file },
	};
	size_t i;
	int where;

	test_init(argc, argv);
	run_case(run_general, NULL, "caps/general");
	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		for (where = HOST; where <= GPU0; where++) {
			struct cap_arg arg = { &caps[i], where };

			run_case(run_cap, &arg, "caps/%s/%s", caps[i].name,
				 where == HOST ? "host" : "device");
		}
	}
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	return test_done();
}
