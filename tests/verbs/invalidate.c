// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The mapping under an MR changes in the middle of traffic. When the system
 * call has returned the device no longer reaches what was there: a second
 * mapping, and the host at the end, see that not a byte changes any more.
 */
#include "sysfs.h"
#include "traffic.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = KIB(64), SLOT = KIB(256), RW = PROT_READ | PROT_WRITE };

/* Each case has a slot of the window for itself. */
enum slot {
	S_MUNMAP, S_MUNMAP_LAST = S_MUNMAP + 4, S_MPROTECT, S_NONE, S_MREMAP,
	S_FIXED_HOST, S_FIXED_BAR, S_PARTIAL, S_EXIT, S_KILL, S_FORK, S_DONTFORK,
	S_DEREG, S_AGAIN, S_COUNT,
};

_Static_assert(S_COUNT * SLOT <= ODP_AT - INVALIDATE_AT, "window too small");

static struct area area_open(int slot, int access)
{
	struct area a = area_map(INVALIDATE_AT + slot * SLOT, SLOT);

	a.mr = reg(a.addr, SLOT, access);
	return a;
}

/* The same part of the BAR can be mapped and registered anew. */
static void works_again(void)
{
	struct area a = area_open(S_AGAIN, ACCESS_ALL);

	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "mapped anew");
	dereg(a.mr);
	unmap(a.addr, SLOT);
	unmap(a.view, SLOT);
}

/*
 * And what is only read: it gets a mark after the call returned, which must not
 * turn up where the reader puts what it reads.
 */
static void mark(const struct area *a, size_t len)
{
	memset(a->view, 0xdd, len);
}

static void mark_not_seen(const struct traffic *t)
{
	const uint64_t marked = 0xddddddddddddddddull;
	size_t i;

	for (i = 0; i + 8 <= t->host.len; i += 8)
		if (!memcmp(t->host.addr + i, &marked, 8))
			fail("what was written after the call returned was read");
}

struct munmap_case {
	const char *name;
	enum traffic_kind kind;
	enum ibv_wc_status status, recv_status;
};

static const struct munmap_case munmaps[] = {
	{ "remote-written", REMOTE_WRITTEN, IBV_WC_REM_ACCESS_ERR, 0 },
	{ "remote-read", REMOTE_READ, IBV_WC_REM_ACCESS_ERR, 0 },
	{ "local-read", LOCAL_READ, IBV_WC_LOC_PROT_ERR, 0 },
	{ "local-written", LOCAL_WRITTEN, IBV_WC_LOC_PROT_ERR, 0 },
	{ "receive-buffer", RECV_WRITTEN, IBV_WC_REM_OP_ERR, IBV_WC_LOC_PROT_ERR },
};

static void run_munmap(const void *arg)
{
	const struct munmap_case *c = arg;
	struct area a = area_open(S_MUNMAP + (c - munmaps), ACCESS_ALL);
	struct traffic *t = traffic_start(c->kind, a.mr, a.addr, LEN);

	traffic_flows(t);
	unmap(a.addr, SLOT);
	if (c->kind == REMOTE_READ || c->kind == LOCAL_READ)
		mark(&a, LEN);
	stays(&a, 0, LEN);
	traffic_fails(t, c->status);
	mark_not_seen(t);
	if (t->recv_status != c->recv_status)
		fail("receive ended with \"%s\", expected \"%s\"",
		     ibv_wc_status_str(t->recv_status),
		     ibv_wc_status_str(c->recv_status));
	dereg(a.mr);
	works_again();
}

/* Read-only: writes end, reads go on; and back, with the same MR. */
static void run_mprotect(const void *arg)
{
	struct area a = area_open(S_MPROTECT, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);

	(void)arg;
	traffic_flows(t);
	protect(a.addr, SLOT, PROT_READ);
	stays(&a, 0, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);

	t = traffic_start(REMOTE_READ, a.mr, a.addr, LEN);
	traffic_flows(t);
	protect(a.addr, SLOT, RW);
	traffic_flows(t);
	exercise(a.mr, (uintptr_t)a.addr + 2 * LEN, LEN, a.view + 2 * LEN,
		 "writable again");
	protect(a.addr, SLOT, PROT_READ);
	traffic_flows(t);
	traffic_stop(t);
	works_again();
}

static void run_mprotect_none(const void *arg)
{
	struct area a = area_open(S_NONE, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_READ, a.mr, a.addr, LEN);

	(void)arg;
	traffic_flows(t);
	protect(a.addr, SLOT, PROT_NONE);
	mark(&a, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	mark_not_seen(t);
	protect(a.addr, SLOT, RW);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "accessible again");
}

/* An MR is about addresses: what moves away from them is out of it. */
static void run_mremap(const void *arg)
{
	struct area a = area_open(S_MREMAP, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);
	uint8_t *to = host_map_at(NULL, SLOT, PROT_NONE);
	struct ibv_mr *mr;

	(void)arg;
	traffic_flows(t);
	if (mremap(a.addr, SLOT, SLOT, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		fail("mremap: %s", strerror(errno));
	stays(&a, 0, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	mr = reg(to, SLOT, ACCESS_ALL);
	exercise(mr, (uintptr_t)to + LEN, LEN, a.view + LEN, "at its new address");
}

/* Never without a mapping: the traffic goes on, into what is there now. */
static void run_fixed_host(const void *arg)
{
	struct area a = area_open(S_FIXED_HOST, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);

	(void)arg;
	traffic_flows(t);
	host_map_at(a.addr, SLOT, RW);
	stays(&a, 0, LEN);
	traffic_flows(t);
	traffic_stop(t);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.addr, "host memory instead");
	stays(&a, 0, LEN);
	works_again();
}

static void run_fixed_bar(const void *arg)
{
	struct area a = area_open(S_FIXED_BAR, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);

	(void)arg;
	traffic_flows(t);
	gpu_map_at(GPU0, a.addr, a.at + SLOT / 2, SLOT / 2, RW);
	stays(&a, 0, LEN);
	traffic_flows(t);
	traffic_stop(t);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view + SLOT / 2,
		 "another part of the BAR instead");
}

/* A hole in the middle: what is left of the MR stays in use. */
static void run_partial(const void *arg)
{
	struct area a = area_open(S_PARTIAL, ACCESS_ALL);
	struct traffic *before = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, 4096);
	struct traffic *in = traffic_start(REMOTE_WRITTEN, a.mr, a.addr + LEN, LEN);
	struct traffic *after = traffic_start(REMOTE_READ, a.mr,
					      a.addr + 2 * LEN, 4096);

	(void)arg;
	traffic_flows(before);
	traffic_flows(in);
	traffic_flows(after);
	unmap(a.addr + LEN, LEN);
	stays(&a, LEN, LEN);
	traffic_fails(in, IBV_WC_REM_ACCESS_ERR);
	traffic_flows(before);
	traffic_flows(after);
	traffic_stop(before);
	traffic_stop(after);
	exercise(a.mr, (uintptr_t)a.addr + LEN - 5000, 5000, a.view + LEN - 5000,
		 "up to the hole");
	exercise(a.mr, (uintptr_t)a.addr + 2 * LEN, 5000, a.view + 2 * LEN,
		 "from the hole on");
}

struct offer {			/* from a process to its peer */
	struct peer peer;
	uint64_t addr;
	uint32_t rkey;
};

static void tell(int fd, const void *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		fail("write to the other process: %s", strerror(errno));
}

static void hear(int fd, void *data, size_t len)
{
	if (read(fd, data, len) != (ssize_t)len)
		fail("read from the other process failed");
}

/*
 * The MR outlives the process that registered its memory: a child registers
 * with the file that it inherited, and exits.
 */
static void run_exit(const void *arg)
{
	struct area a = { .at = INVALIDATE_AT + S_EXIT * SLOT };
	int up[2], down[2];
	struct traffic *t;
	struct offer offer;
	pid_t pid;

	(void)arg;
	a.view = gpu_map(GPU0, a.at, SLOT);
	make_pipe(up);
	make_pipe(down);
	pid = fork();
	if (!pid) {
		a.addr = gpu_map(GPU0, a.at, SLOT);
		a.mr = reg(a.addr, SLOT, ACCESS_ALL);
		offer.addr = (uintptr_t)a.addr;
		offer.rkey = a.mr->rkey;
		tell(up[1], &offer, sizeof(offer));
		hear(down[0], &offer, 1);
		_exit(0);
	}
	close(up[1]);
	hear(up[0], &offer, sizeof(offer));
	t = traffic_start_key(REMOTE_WRITTEN, offer.rkey, offer.addr, LEN);
	traffic_flows(t);
	tell(down[1], "x", 1);
	join_child(pid, "the owner of the memory");
	stays(&a, 0, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	works_again();
}

/* The other end, with all it had, is killed. */
static void run_kill(const void *arg)
{
	struct area a = { .at = INVALIDATE_AT + S_KILL * SLOT };
	struct mem buf = mem_open(HOST, 0, LEN);
	struct ibv_cq *cq = cq_create();
	struct ibv_qp *qp = qp_create(cq, IBV_QPT_RC, NULL, 0);
	struct peer us = { qp->qp_num, dev.gid };
	struct ibv_sge from = sge(&buf, 0, LEN);
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_RDMA_WRITE, .sg_list = &from, .num_sge = 1,
	};
	struct offer offer;
	struct ibv_wc wc;
	int up[2], i, done;
	pid_t pid;

	(void)arg;
	a.view = gpu_map(GPU0, a.at, SLOT);
	make_pipe(up);
	pid = fork();
	if (!pid) {
		struct ibv_qp *theirs;

		dev_open(dev_name());
		a.addr = gpu_map(GPU0, a.at, SLOT);
		a.mr = reg(a.addr, SLOT, ACCESS_ALL);
		theirs = qp_create(cq_create(), IBV_QPT_RC, NULL, 0);
		qp_connect(theirs, &us);
		offer.peer = (struct peer){ theirs->qp_num, dev.gid };
		offer.addr = (uintptr_t)a.addr;
		offer.rkey = a.mr->rkey;
		tell(up[1], &offer, sizeof(offer));
		pause();
	}
	close(up[1]);
	hear(up[0], &offer, sizeof(offer));
	qp_connect(qp, &offer.peer);
	wr.wr.rdma.remote_addr = offer.addr;
	wr.wr.rdma.rkey = offer.rkey;
	for (done = 0; done < 2 * TRAFFIC_DEPTH; done++) {
		post(qp, &wr);
		want_wc(cq, LEN, IBV_WC_SUCCESS, "to the other process");
	}
	for (i = 0; i < TRAFFIC_DEPTH; i++)
		post(qp, &wr);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	stays(&a, 0, LEN);

	/* It may all have arrived before the process died: one more. */
	post(qp, &wr);
	do
		wc = wait_wc(cq, LEN, "to the killed process");
	while (wc.status == IBV_WC_SUCCESS);
	if (wc.status != IBV_WC_REM_ACCESS_ERR &&
	    wc.status != IBV_WC_RETRY_EXC_ERR)
		fail("completion with \"%s\", expected a remote access or a retry error",
		     ibv_wc_status_str(wc.status));
	works_again();
}

/* The child has the memory too; its end is not that of our MR. */
static void run_fork(const void *arg)
{
	struct area a = area_open(S_FORK, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);
	pid_t pid;
	int i;

	(void)arg;
	for (i = 0; i < 3; i++) {
		traffic_flows(t);
		pid = fork();
		if (!pid) {
			a.addr[SLOT - 1 - i] = 0x11 * (i + 1);
			munmap(a.addr, SLOT);
			_exit(0);
		}
		join_child(pid, "the child");
		if (a.view[SLOT - 1 - i] != 0x11 * (i + 1))
			fail("the child's write is not in the device memory");
	}
	traffic_flows(t);
	traffic_stop(t);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "after fork");
}

static void run_dontfork(const void *arg)
{
	struct area a = area_open(S_DONTFORK, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);
	pid_t pid;

	(void)arg;
	traffic_flows(t);
	if (madvise(a.addr, SLOT, MADV_DONTFORK))
		fail("madvise(MADV_DONTFORK): %s", strerror(errno));
	pid = fork();
	if (!pid) {
		if (!msync(a.addr, 4096, MS_ASYNC) || errno != ENOMEM)
			fail("the child has a mapping that it should not have");
		_exit(0);
	}
	join_child(pid, "the child");
	traffic_flows(t);
	traffic_stop(t);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "after fork");
}

static void run_dereg(const void *arg)
{
	struct area a = area_open(S_DEREG, ACCESS_ALL);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);

	(void)arg;
	traffic_flows(t);
	dereg(a.mr);
	stays(&a, 0, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	works_again();
}

/* The device is unplugged under the MR; it comes back at the end. */
static void run_unplug(const void *arg)
{
	char remove[256], enable[256];
	uint8_t *p, *copy = malloc(LEN);
	struct traffic *t;
	struct ibv_mr *mr;
	int i;

	(void)arg;
	snprintf(remove, sizeof(remove), "%s/remove", gpu_path(GPU1));
	snprintf(enable, sizeof(enable), "%s/enable", gpu_path(GPU1));
	p = gpu_map(GPU1, INVALIDATE_AT1, SLOT);
	mr = reg(p, SLOT, ACCESS_ALL);
	t = traffic_start(REMOTE_WRITTEN, mr, p, LEN);
	traffic_flows(t);
	write_file(remove, "1");
	write_file("/sys/bus/pci/rescan", "1");
	for (i = 0; i < 100 && access(enable, W_OK); i++)
		usleep(50000);
	write_file(enable, "1");

	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	dereg(mr);
	p = gpu_map(GPU1, INVALIDATE_AT1, SLOT);
	memcpy(copy, p, LEN);
	usleep(300000);
	same_check(p, copy, LEN, "300 ms after the device was removed");
	mr = reg(p, SLOT, ACCESS_ALL);
	exercise(mr, (uintptr_t)p, LEN, p, "after it came back");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "mprotect/read-only", run_mprotect },
		{ "mprotect/none", run_mprotect_none },
		{ "mremap", run_mremap },
		{ "map-fixed/host-memory", run_fixed_host },
		{ "map-fixed/device-memory", run_fixed_bar },
		{ "munmap/partial", run_partial },
		{ "exit/of-owner", run_exit },
		{ "exit/killed-peer", run_kill },
		{ "fork", run_fork },
		{ "fork/dontfork", run_dontfork },
		{ "dereg", run_dereg },
		{ "unplug", run_unplug },
	};
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(munmaps); i++)
		run_case(run_munmap, &munmaps[i], "munmap/%s", munmaps[i].name);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(cases[i].run, NULL, "%s", cases[i].name);
	return test_done();
}
