// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Do bytes move? That memory could be registered does not say so: there are
 * machines on which reads of a peer's memory silently return something else.
 *
 * The CPU looks at the memory with system calls, which fail where the process would
 * be killed.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "loop.h"

enum { MAX_LENGTH = 1 << 28, RATE_MS = 50 };
enum { ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
		IBV_ACCESS_REMOTE_READ };

/* Memory of the host, as long as what is tested; each is a part of one MR. */
enum part { SAVED, FIRST, SECOND, BACK, NR_PARTS };

struct path {
	struct ibv_mr *mr;		/* the caller's */
	uint8_t *addr;
	size_t length;
	struct loop loop;
	int file;			/* how the CPU gets at it */
	uint8_t *host;
	struct ibv_mr *host_mr;
	bool cpu;			/* SAVED is what the CPU has seen */
	struct ibv_p2p_path_attr result;
};

static uint8_t *part(const struct path *p, enum part which)
{
	return p->host + which * p->length;
}

/* ---- steps: false ends the test, and the result says why ---- */

static bool moved(struct path *p, enum ibv_p2p_path_way way, int status)
{
	if (status == IBV_WC_SUCCESS)
		return true;
	p->result.way = way;
	p->result.comp_mask |= IBV_P2P_PATH_WAY;
	if (status == LOOP_SILENT) {
		p->result.status = IBV_P2P_PATH_SILENT;
		return false;
	}
	p->result.status = IBV_P2P_PATH_FAILED;
	p->result.wc_status = status;
	p->result.comp_mask |= IBV_P2P_PATH_WC_STATUS;
	return false;
}

static bool same(struct path *p, enum ibv_p2p_path_way way, enum part want)
{
	const uint8_t *got = part(p, BACK), *is = part(p, want);
	size_t i;

	for (i = 0; i < p->length && got[i] == is[i]; i++)
		;
	if (i == p->length)
		return true;
	p->result.status = IBV_P2P_PATH_WRONG;
	p->result.way = way;
	p->result.wrong_at = i;
	p->result.comp_mask |= IBV_P2P_PATH_WAY | IBV_P2P_PATH_WRONG_AT;
	return false;
}

/* The memory is the remote side. */
static bool remote_write(struct path *p, enum part from)
{
	return moved(p, IBV_P2P_PATH_REMOTE_WRITE,
		     loop_rdma(&p->loop, IBV_WR_RDMA_WRITE, part(p, from),
			       p->host_mr, p->addr, p->mr, p->length));
}

static bool remote_read(struct path *p, enum part to)
{
	return moved(p, IBV_P2P_PATH_REMOTE_READ,
		     loop_rdma(&p->loop, IBV_WR_RDMA_READ, part(p, to),
			       p->host_mr, p->addr, p->mr, p->length));
}

/* The memory is the local side. */
static bool local_read(struct path *p, enum part to)
{
	return moved(p, IBV_P2P_PATH_LOCAL_READ,
		     loop_rdma(&p->loop, IBV_WR_RDMA_WRITE, p->addr, p->mr,
			       part(p, to), p->host_mr, p->length));
}

static bool local_write(struct path *p, enum part from)
{
	return moved(p, IBV_P2P_PATH_LOCAL_WRITE,
		     loop_rdma(&p->loop, IBV_WR_RDMA_READ, p->addr, p->mr,
			       part(p, from), p->host_mr, p->length));
}

/* False if the CPU cannot: nothing is wrong with that. */
static bool cpu_read(struct path *p, enum part to)
{
	return pwrite(p->file, p->addr, p->length, 0) == (ssize_t)p->length &&
	       pread(p->file, part(p, to), p->length, 0) == (ssize_t)p->length;
}

static bool cpu_write(struct path *p, enum part from)
{
	return pwrite(p->file, part(p, from), p->length, 0) == (ssize_t)p->length &&
	       pread(p->file, p->addr, p->length, 0) == (ssize_t)p->length;
}

/* ---- the test ---- */

static void clear_back(struct path *p)
{
	memset(part(p, BACK), 0, p->length);
}

/* The RDMA device's word for what is there is taken if there is no other. */
static bool save(struct path *p)
{
	p->cpu = cpu_read(p, SAVED);
	return p->cpu || remote_read(p, SAVED);
}

static bool try_remote(struct path *p)
{
	clear_back(p);
	return remote_write(p, FIRST) && remote_read(p, BACK) &&
	       same(p, IBV_P2P_PATH_REMOTE_READ, FIRST);
}

/* What is there now, FIRST, came with a write that was read back. */
static bool try_local(struct path *p)
{
	clear_back(p);
	if (!local_read(p, BACK) || !same(p, IBV_P2P_PATH_LOCAL_READ, FIRST))
		return false;
	clear_back(p);
	return local_write(p, SECOND) && remote_read(p, BACK) &&
	       same(p, IBV_P2P_PATH_LOCAL_WRITE, SECOND);
}

/* The RDMA device may agree with itself alone. */
static bool try_cpu(struct path *p)
{
	clear_back(p);
	return !p->cpu || !cpu_read(p, BACK) ||
	       same(p, IBV_P2P_PATH_CPU, SECOND);
}

static uint64_t rate(struct path *p, bool (*move)(struct path *p, enum part part),
		     enum part which)
{
	struct timespec from, to;
	uint64_t bytes = 0;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		if (!move(p, which))
			return 0;
		bytes += p->length;
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (to.tv_sec - from.tv_sec) * 1000000000LL +
		     to.tv_nsec - from.tv_nsec;
	} while (ns < RATE_MS * 1000000LL);
	return bytes * 1e9 / ns;
}

static bool measure(struct path *p)
{
	p->result.read_rate = rate(p, remote_read, BACK);
	p->result.write_rate = rate(p, remote_write, SECOND);
	if (!p->result.read_rate || !p->result.write_rate)
		return false;
	p->result.comp_mask |= IBV_P2P_PATH_RATES;
	return true;
}

/* By the CPU if it can, as the RDMA device may be what does not work. */
static void restore(struct path *p)
{
	struct ibv_p2p_path_attr result = p->result;

	if (!(p->cpu && cpu_write(p, SAVED)) &&
	    (result.status != IBV_P2P_PATH_WORKS || !remote_write(p, SAVED)))
		result.lost = 1;
	p->result = result;
}

static void run(struct path *p, bool keep)
{
	if (!save(p))
		return;
	if (try_remote(p) && try_local(p) && try_cpu(p) && measure(p))
		p->result.status = IBV_P2P_PATH_WORKS;
	if (keep)
		restore(p);
}

/* ---- what it takes ---- */

static int fill_random(uint8_t *to, size_t length)
{
	ssize_t n;

	for (; length; to += n, length -= n) {
		n = getrandom(to, length, 0);
		if (n < 0 && errno != EINTR)
			return errno;
		n = n < 0 ? 0 : n;
	}
	return 0;
}

static int open_host(struct path *p)
{
	const size_t length = NR_PARTS * p->length;
	int ret;

	p->host = mmap(NULL, length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->host == MAP_FAILED)
		return errno;
	ret = fill_random(part(p, FIRST), 2 * p->length);
	if (!ret) {
		p->host_mr = ibv_reg_mr(p->mr->pd, p->host, length, ACCESS);
		ret = p->host_mr ? 0 : errno;
	}
	if (ret)
		munmap(p->host, length);
	return ret;
}

static void close_host(struct path *p)
{
	ibv_dereg_mr(p->host_mr);
	munmap(p->host, NR_PARTS * p->length);
}

static int open_and_run(struct path *p, bool keep)
{
	int ret;

	p->file = memfd_create("ibv_p2p_test_path", MFD_CLOEXEC);
	if (p->file < 0)
		return errno;
	ret = open_host(p);
	if (ret)
		goto close_file;
	ret = loop_open(&p->loop, p->mr->pd);
	if (ret)
		goto close_host;
	run(p, keep);
	loop_close(&p->loop);
close_host:
	close_host(p);
close_file:
	close(p->file);
	return ret;
}

int ibv_p2p_test_path(struct ibv_mr *mr, void *addr, size_t length,
		      uint32_t flags, struct ibv_p2p_path_attr *attr,
		      size_t inlen)
{
	struct path p = { .mr = mr, .addr = addr, .length = length };
	int ret;

	if (!mr || !attr || inlen < PATH_ATTR_V1 || !length ||
	    length > MAX_LENGTH || flags & ~IBV_P2P_PATH_SCRATCH)
		return EINVAL;
	ret = open_and_run(&p, !(flags & IBV_P2P_PATH_SCRATCH));
	if (ret)
		return ret;
	attr_give(attr, inlen, &p.result, sizeof(p.result));
	return 0;
}
