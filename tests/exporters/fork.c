// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The process that has registered device memory forks, in the middle of traffic:
 * its MR is unaffected, whatever the child does and however it ends, and the
 * memory lives as long as either.
 */
#include "../verbs/traffic.h"
#include "../verbs/verify.h"
#include "buffer.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VERIFIERS = 2, REGION = KIB(64), FROM_PARENT = VERIFIERS * REGION,
       FROM_CHILD = FROM_PARENT + REGION, LEN = FROM_CHILD + REGION };

/* A buffer with an MR, and traffic to the first regions. */
struct bed {
	struct buffer buf;
	struct ibv_mr *mr;
	struct verifier v[VERIFIERS];
	long maps;		/* that the exporter had counted then */
};

static void bed_open(struct bed *bed)
{
	int i;

	bed->buf = buffer_open(LEN);
	bed->mr = reg(bed->buf.addr, LEN, ACCESS_ALL);
	for (i = 0; i < VERIFIERS; i++) {
		bed->v[i] = (struct verifier) {
			.mr = bed->mr, .addr = bed->buf.addr + i * REGION,
			.len = REGION,
			.view = i ? NULL : bed->buf.addr + i * REGION,
		};
		verify_start(&bed->v[i], i);
	}
	bed->maps = sample_counter("maps");
}

static void bed_flows(struct bed *bed)
{
	int i;

	for (i = 0; i < VERIFIERS; i++)
		verify_flows(&bed->v[i]);
}

static void bed_stop(struct bed *bed)
{
	int i;

	for (i = 0; i < VERIFIERS; i++)
		verify_end(&bed->v[i]);
}

/* It was mapped once, whatever the children did. */
static void bed_close(struct bed *bed)
{
	if (sample_counter("maps") != bed->maps)
		fail("it had to be mapped %ld times again",
		     sample_counter("maps") - bed->maps);
	bed_stop(bed);
	dereg(bed->mr);
	buffer_close(&bed->buf);
	sample_balanced();
}

/* By RDMA, what the child is to find, and what it has left. */
static void rdma_region(const struct bed *bed, enum ibv_wr_opcode op, size_t at,
			uint64_t seed, const char *what)
{
	struct mem host = mem_open(HOST, 0, REGION);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	if (op == IBV_WR_RDMA_WRITE)
		pattern_fill(host.addr, REGION, seed, 0);
	want_rdma(&p, op, sge(&host, 0, REGION),
		  (uintptr_t)bed->buf.addr + at, bed->mr->rkey, IBV_WC_SUCCESS,
		  what);
	if (op == IBV_WR_RDMA_READ)
		pattern_check(host.addr, REGION, seed, 0, what);
	pair_close(&p);
	mem_close(&host);
}

static void child_ends(int round)
{
	if (round % 2)
		raise(SIGKILL);
	_exit(0);
}

static void want_child_ended(pid_t pid, int round)
{
	if (round % 2)
		join_killed(pid, SIGKILL, "the child");
	else
		join_child(pid, "the child");
}

/* Child and parent have the same memory, and only the parent has an MR. */
static void run_touches(const void *arg)
{
	int i, n = slow ? 6 : 20;
	struct bed bed;

	(void)arg;
	bed_open(&bed);
	for (i = 0; i < n; i++) {
		uint8_t *addr = bed.buf.addr;
		pid_t pid;

		rdma_region(&bed, IBV_WR_RDMA_WRITE, FROM_PARENT, i, "to child");
		pid = fork();
		if (!pid) {
			pattern_check(addr + FROM_PARENT, REGION, i, 0,
				      "seen by the child");
			pattern_fill(addr + FROM_CHILD, REGION, ~i, 0);
			child_ends(i);
		}
		bed_flows(&bed);
		want_child_ended(pid, i);
		rdma_region(&bed, IBV_WR_RDMA_READ, FROM_CHILD, ~i, "from child");
		bed_flows(&bed);
	}
	bed_close(&bed);
}

static void run_dontfork(const void *arg)
{
	int i, n = slow ? 6 : 20;
	struct bed bed;

	(void)arg;
	bed_open(&bed);
	if (madvise(bed.buf.addr, LEN, MADV_DONTFORK))
		fail("madvise(MADV_DONTFORK): %s", strerror(errno));
	for (i = 0; i < n; i++) {
		pid_t pid = fork();

		if (!pid) {
			bed.buf.addr[FROM_CHILD] = 1;
			_exit(0);
		}
		bed_flows(&bed);
		join_killed(pid, SIGSEGV, "the child");
		bed_flows(&bed);
	}
	bed_close(&bed);
}

/* The child goes on with the memory when the parent has unmapped it. */
static void run_outlives(const void *arg)
{
	struct traffic *t;
	struct bed bed;
	int fd[2];
	pid_t pid;
	char c;

	(void)arg;
	make_pipe(fd);
	bed_open(&bed);
	bed_flows(&bed);
	bed_stop(&bed);
	rdma_region(&bed, IBV_WR_RDMA_WRITE, FROM_PARENT, 1, "to child");
	t = traffic_start(REMOTE_WRITTEN, bed.mr, bed.buf.addr, REGION);
	traffic_flows(t);
	pid = fork();
	if (!pid) {
		close(fd[1]);
		if (read(fd[0], &c, 1))
			fail("not expected: a byte");
		pattern_check(bed.buf.addr + FROM_PARENT, REGION, 1, 0,
			      "seen by the child");
		dev_open(dev_name());
		bed.mr = reg(bed.buf.addr, LEN, ACCESS_ALL);
		exercise(bed.mr, (uintptr_t)bed.buf.addr, LEN,
			 bed.buf.addr, "the child's");
		_exit(0);
	}
	close(fd[0]);
	traffic_flows(t);
	buffer_close(&bed.buf);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	sample_balanced();
	close(fd[1]);
	join_child(pid, "the child");
	sample_balanced();
	dereg(bed.mr);
	buffer_works_anew(LEN, 0);
}

/*
 * ibv_fork_init() of older libibverbs takes what is registered from children. When it is
 * deregistered they get it again, all at once.
 */
static void run_fork_init(const void *arg)
{
	const size_t len = gpu_size(GPU0);
	uint8_t *p = gpu_map(GPU0, 0, len), want;
	struct ibv_mr *mr;
	double began;
	pid_t pid;

	(void)arg;
	if (ibv_fork_init())
		fail("ibv_fork_init failed");
	want = p[OPCODES_AT - 1];
	mr = reg(p, len, ACCESS_ALL);
	began = now();
	dereg(mr);
	note("dereg %.1f ms", (now() - began) * 1e3);
	pid = fork();
	if (!pid)
		_exit(*(volatile uint8_t *)(p + OPCODES_AT - 1) != want);
	join_child(pid, "the child that looks at what was registered");
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_fork_init, NULL, "fork-init");
	sample_load();
	run_case(run_touches, NULL, "child-touches");
	run_case(run_dontfork, NULL, "dontfork");
	run_case(run_outlives, NULL, "child-outlives");
	sample_unload();
	return test_done();
}
