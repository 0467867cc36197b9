// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * MRs over a dma-buf: one of host memory, from udmabuf, whose bytes are those of
 * a memfd.
 */
#include "../verbs/traffic.h"
#include "engine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 64, SIZE = PAGES * PAGE };
enum { AT = DMAE_AT + MIB(5), KEPT_AT = AT + KIB(512) };

/* The bytes of it that nothing was written to. */
enum { BACKGROUND = 0xa5 };

struct buf {
	int memfd, fd;		/* of the dma-buf */
	uint8_t *view;		/* the memfd, in the order of the dma-buf */
	uint8_t *want;		/* what should be there */
};

static int memfd_open(void)
{
	int fd = memfd_create("dmabuf", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		fail("memfd: %s", strerror(errno));
	return fd;
}

static int udmabuf(unsigned long request, const void *arg)
{
	int dev_fd = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;

	if (dev_fd < 0)
		fail("/dev/udmabuf: %s", strerror(errno));
	fd = ioctl(dev_fd, request, arg);
	if (fd < 0)
		fail("making a dma-buf: %s", strerror(errno));
	close(dev_fd);
	return fd;
}

/* As the memfd is, or with its pages in another order, every one on its own. */
static struct buf buf_open(bool scattered)
{
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item item[PAGES];
	} list = { .head = { UDMABUF_FLAGS_CLOEXEC, PAGES } };
	struct buf b = { .memfd = memfd_open() };
	size_t i, from;

	b.view = host_map(SIZE);
	b.want = host_map(SIZE);
	for (i = 0; i < PAGES; i++) {
		from = scattered ? i * 37 % PAGES * PAGE : i * PAGE;
		list.item[i] = (struct udmabuf_create_item){
			.memfd = b.memfd, .offset = from, .size = PAGE,
		};
		if (mmap(b.view + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, b.memfd, from) == MAP_FAILED)
			fail("mmap of a memfd: %s", strerror(errno));
	}
	memset(b.view, BACKGROUND, SIZE);
	memset(b.want, BACKGROUND, SIZE);
	b.fd = udmabuf(UDMABUF_CREATE_LIST, &list);
	return b;
}

static struct ibv_mr *try_reg_buf(int fd, uint64_t offset, size_t len,
				  uint64_t iova, int access, int *err)
{
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_dmabuf_mr(dev.pd, offset, len, iova, fd, access);
	*err = mr ? 0 : errno;
	return mr;
}

enum { ACCESS = ACCESS_ALL & ~IBV_ACCESS_MW_BIND };

static struct ibv_mr *reg_buf(const struct buf *b, uint64_t offset, size_t len,
			      uint64_t iova, int access)
{
	int err;
	struct ibv_mr *mr = try_reg_buf(b->fd, offset, len, iova, access, &err);

	if (!mr)
		fail("ibv_reg_dmabuf_mr of %zu bytes at %" PRIu64 ": %s", len,
		     offset, strerror(err));
	return mr;
}

/* ---- bytes ---- */

static const struct range {
	const char *name;
	uint64_t offset;
	size_t len;
	uint64_t base;		/* iova - offset: whole pages */
	bool scattered;
} ranges[] = {
	{ "whole", 0, SIZE, 0, false },
	{ "whole/scattered", 0, SIZE, 0, true },
	{ "byte", 5 * PAGE + 77, 1, 0x7000000000, false },
	{ "two-bytes-in-two-pages", 3 * PAGE - 1, 2, PAGE, true },
	{ "odd", PAGE + 3, SIZE - 3 * PAGE - 11, 0x123456789000, false },
	{ "odd/scattered", PAGE + 3, SIZE - 3 * PAGE - 11, 0x1000, true },
	{ "last-page", SIZE - PAGE, PAGE, 0, true },
	{ "last-byte", SIZE - 1, 1, 0xffff0000, false },
	{ "first-byte", 0, 1, 0, true },
};

/* @peer, of the host or of a GPU, writes to the dma-buf and reads it. */
static void as_target(const struct range *r, struct buf *b, struct ibv_mr *mr,
		      struct mem *peer, const char *what)
{
	uint64_t iova = r->offset + r->base, seed = seed_of(what);
	struct pair p;

	pattern_fill(b->want + r->offset, r->len, seed, 0);
	pattern_fill(peer->addr + 5, r->len, seed, 0);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(peer, 5, r->len), iova, mr->rkey,
		  IBV_WC_SUCCESS, what);
	same_check(b->view, b->want, SIZE, what);
	memset(peer->addr, 0, peer->len);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(peer, 5, r->len), iova, mr->rkey,
		  IBV_WC_SUCCESS, what);
	same_check(peer->addr + 5, b->want + r->offset, r->len, what);
	pair_close(&p);
}

/* The other way round: the dma-buf is what a work request has at hand. */
static void as_source(const struct range *r, struct buf *b, struct ibv_mr *mr,
		      struct mem *peer, const char *what)
{
	struct ibv_sge local = { r->offset + r->base, r->len, mr->lkey };
	uint64_t seed = seed_of(what) + 1, at = (uintptr_t)peer->addr + 9;
	struct pair p;

	pattern_fill(b->want + r->offset, r->len, seed, 0);
	memcpy(b->view + r->offset, b->want + r->offset, r->len);
	memset(peer->addr, 0, peer->len);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, local, at, peer->mr->rkey,
		  IBV_WC_SUCCESS, what);
	pattern_check(peer->addr + 9, r->len, seed, 0, what);

	pattern_fill(b->want + r->offset, r->len, seed + 1, 0);
	pattern_fill(peer->addr + 9, r->len, seed + 1, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, local, at, peer->mr->rkey,
		  IBV_WC_SUCCESS, what);
	same_check(b->view, b->want, SIZE, what);
	pair_close(&p);
}

static void run_range(const void *arg)
{
	static const char *const names[] = { "host memory", "a BAR" };
	const struct range *r = arg;
	struct buf b = buf_open(r->scattered);
	struct ibv_mr *mr = reg_buf(&b, r->offset, r->len, r->offset + r->base,
				    ACCESS);
	struct mem peers[] = {
		mem_open(HOST, 0, SIZE + PAGE), mem_open(GPU0, AT, SIZE + PAGE),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(peers); i++) {
		as_target(r, &b, mr, &peers[i], names[i]);
		as_source(r, &b, mr, &peers[i], names[i]);
	}
	dereg(mr);
	same_check(b.view, b.want, SIZE, "after ibv_dereg_mr");
}

/* What the host finds in the BAR. */
static void run_to_bar(const void *arg)
{
	struct buf b = buf_open(true);
	struct ibv_mr *mr = reg_buf(&b, 0, SIZE, 0, ACCESS);
	struct mem bar = mem_open(GPU0, KEPT_AT, SIZE);
	struct pair p;

	(void)arg;
	pattern_fill(b.view, SIZE, seed_of(case_name()), 0);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE,
		  (struct ibv_sge){ 0, SIZE, mr->lkey }, (uintptr_t)bar.addr,
		  bar.mr->rkey, IBV_WC_SUCCESS, "to a BAR");
	same_check(bar.addr, b.view, SIZE, "to a BAR");
	expect(GPU0, case_name(), KEPT_AT, b.view, SIZE);
}

static void run_receive(const void *arg)
{
	enum { FIRST = 3 * PAGE - 7, SECOND = 9 * PAGE + 9, CUT = 100 };
	struct buf b = buf_open(true);
	struct ibv_mr *mr = reg_buf(&b, 0, SIZE, PAGE, ACCESS);
	struct mem bar = mem_open(GPU0, AT, SIZE);
	struct ibv_sge to[] = {
		{ PAGE + FIRST, CUT, mr->lkey },
		{ PAGE + SECOND, 4 * PAGE, mr->lkey },
	};
	struct ibv_sge from = sge(&bar, 1, 3 * PAGE);
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_SEND, .sg_list = &from, .num_sge = 1,
	};
	struct pair p;

	(void)arg;
	pattern_fill(bar.addr, SIZE, seed_of(case_name()), 0);
	memcpy(b.want + FIRST, bar.addr + 1, CUT);
	memcpy(b.want + SECOND, bar.addr + 1 + CUT, 3 * PAGE - CUT);
	pair_open(&p, IBV_QPT_RC, 0);
	post_recv(&p, to, 2);
	post(p.qp[0], &wr);
	want_wc(p.cq[0], 3 * PAGE, IBV_WC_SUCCESS, "sent");
	want_wc(p.cq[1], 3 * PAGE, IBV_WC_SUCCESS, "received");
	same_check(b.view, b.want, SIZE, "received");
}

/* ---- errors ---- */

static void refused(int fd, uint64_t offset, size_t len, uint64_t iova,
		    int access, int want, const char *what)
{
	int err;

	if (try_reg_buf(fd, offset, len, iova, access, &err))
		fail("%s: it is registered", what);
	if (err != want)
		fail("%s: %s, expected %s", what, strerrorname_np(err),
		     strerrorname_np(want));
}

static void run_refused(const void *arg)
{
	const struct range *whole = &ranges[0];
	struct buf b = buf_open(false);
	struct mem host = mem_open(HOST, 0, SIZE + PAGE);
	struct ibv_mr *mr;

	(void)arg;
	refused(-1, 0, SIZE, 0, ACCESS, EBADF, "no file");
	refused(b.memfd, 0, SIZE, 0, ACCESS, EINVAL, "not a dma-buf");
	refused(b.fd, 0, SIZE + 1, 0, ACCESS, EINVAL, "longer than it is");
	refused(b.fd, PAGE, SIZE, 0, ACCESS, EINVAL, "beyond its end");
	refused(b.fd, SIZE, 1, 0, ACCESS, EINVAL, "behind its end");
	refused(b.fd, -PAGE, 2 * PAGE, 0, ACCESS, EINVAL, "around the end");
	refused(b.fd, 0, -1, 0, ACCESS, EINVAL, "as long as can be");
	refused(b.fd, 1, PAGE, 0, ACCESS, EINVAL, "another offset in the page");
	refused(b.fd, 0, PAGE, -PAGE + 1, ACCESS, EINVAL,
		"addresses around the end");
	refused(b.fd, 0, 0, 0, ACCESS, EINVAL, "nothing");
	refused(b.fd, 0, SIZE, 0, IBV_ACCESS_REMOTE_WRITE, EINVAL,
		"remote access without local");
	refused(b.fd, 0, SIZE, 0, ACCESS | IBV_ACCESS_ON_DEMAND, EINVAL,
		"on demand");

	mr = reg_buf(&b, 0, SIZE, 0, ACCESS);
	as_target(whole, &b, mr, &host, "after what was refused");
}

/* @access of the MR is not enough for what follows; nothing is transferred. */
static const struct lack {
	const char *name;
	int access;
	enum ibv_wr_opcode opcode;
	bool is_local;		/* it is the requester's memory */
	enum ibv_wc_status want;
} lacks[] = {
	{ "remote-write", ACCESS & ~IBV_ACCESS_REMOTE_WRITE, IBV_WR_RDMA_WRITE,
	  false, IBV_WC_REM_ACCESS_ERR },
	{ "remote-read", ACCESS & ~IBV_ACCESS_REMOTE_READ, IBV_WR_RDMA_READ,
	  false, IBV_WC_REM_ACCESS_ERR },
	{ "local-write", IBV_ACCESS_REMOTE_READ, IBV_WR_RDMA_READ, true,
	  IBV_WC_LOC_PROT_ERR },
};

static void run_lack(const void *arg)
{
	const struct lack *l = arg;
	struct buf b = buf_open(false);
	struct ibv_mr *mr = reg_buf(&b, 0, SIZE, 0, l->access);
	struct mem host = mem_open(HOST, 0, SIZE);
	struct ibv_sge dmabuf = { PAGE, 3 * PAGE, mr->lkey };
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	if (l->is_local)
		want_rdma(&p, l->opcode, dmabuf, (uintptr_t)host.addr,
			  host.mr->rkey, l->want, l->name);
	else
		want_rdma(&p, l->opcode, sge(&host, 0, 3 * PAGE), PAGE,
			  mr->rkey, l->want, l->name);
	same_check(b.view, b.want, SIZE, "after the error");
}

/* A byte too many, before the MR or behind it, though the dma-buf has it. */
static void run_outside(const void *arg)
{
	const uint64_t start = 5 * PAGE + 7, len = 2 * PAGE + 1;
	const uint64_t bad[][2] = {
		{ start - 1, 2 }, { start + len - 1, 2 }, { start + len, 1 },
		{ start - 1, len + 2 }, { -1, 2 },
	};
	struct buf b = buf_open(false);
	struct ibv_mr *mr = reg_buf(&b, start, len, start, ACCESS);
	struct mem host = mem_open(HOST, 0, SIZE);
	struct pair p;
	size_t i;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		pair_open(&p, IBV_QPT_RC, 0);
		want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&host, 0, bad[i][1]),
			  bad[i][0], mr->rkey, IBV_WC_REM_ACCESS_ERR,
			  "outside");
		pair_close(&p);
		pair_open(&p, IBV_QPT_RC, 0);
		want_rdma(&p, IBV_WR_RDMA_READ,
			  (struct ibv_sge){ bad[i][0], bad[i][1], mr->lkey },
			  (uintptr_t)host.addr, host.mr->rkey,
			  IBV_WC_LOC_PROT_ERR, "outside");
		pair_close(&p);
	}
	same_check(b.view, b.want, SIZE, "after the errors");
}

/* ---- coming and going ---- */

/* How many dma-bufs the machine has. */
static int count_bufs(void)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");
	char line[256];
	int n = -1;

	if (!f)
		fail("/sys/kernel/debug/dma_buf/bufinfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (strstr(line, " objects"))
			sscanf(line, "Total %d", &n);
	fclose(f);
	if (n < 0)
		fail("bufinfo does not say how many dma-bufs there are");
	return n;
}

static void want_bufs(int want, const char *when)
{
	double end = now() + patience(0);

	while (count_bufs() != want) {
		if (now() > end)
			fail("%s there are %d dma-bufs, not %d", when,
			     count_bufs(), want);
		usleep(10000);
	}
}

/* The MR keeps what it is over. */
static void run_close_first(const void *arg)
{
	const struct range *r = &ranges[5];
	struct mem host = mem_open(HOST, 0, SIZE + PAGE);
	int before = count_bufs();
	struct buf b = buf_open(true);
	struct ibv_mr *mr = reg_buf(&b, r->offset, r->len, r->offset + r->base,
				    ACCESS);

	(void)arg;
	close(b.fd);
	close(b.memfd);
	as_target(r, &b, mr, &host, "closed");
	as_source(r, &b, mr, &host, "closed");
	want_bufs(before + 1, "while it is registered");
	dereg(mr);
	want_bufs(before, "after ibv_dereg_mr");
}

static void run_dereg_first(const void *arg)
{
	const struct range *r = &ranges[5];
	struct mem host = mem_open(HOST, 0, SIZE + PAGE);
	int before = count_bufs(), i;
	struct buf b = buf_open(true);
	struct ibv_mr *mr;

	(void)arg;
	for (i = 0; i < 3; i++) {
		mr = reg_buf(&b, r->offset, r->len, r->offset + r->base, ACCESS);
		as_target(r, &b, mr, &host, "registered again");
		dereg(mr);
	}
	want_bufs(before + 1, "while it is open");
	close(b.fd);
	want_bufs(before, "after close()");
}

static void register_and_exit(void)
{
	struct buf b = buf_open(false);

	dev_open(dev_name());
	reg_buf(&b, 0, SIZE, 0, ACCESS);
	_exit(0);
}

static void run_exit(const void *arg)
{
	int before = count_bufs();
	pid_t pid = fork();

	(void)arg;
	if (!pid)
		register_and_exit();
	join_child(pid, "the process that registers");
	want_bufs(before, "after exit");
}

/* One MR goes, again and again, while another one of the same dma-buf is used. */
static void run_two(const void *arg)
{
	struct buf b = buf_open(true);
	struct ibv_mr *mr = reg_buf(&b, 0, SIZE, 0, ACCESS), *other;
	struct traffic *t = traffic_start(REMOTE_WRITTEN, mr, NULL, PAGE * 3);
	int i;

	(void)arg;
	for (i = 0; i < 20; i++) {
		other = reg_buf(&b, 4 * PAGE, 9 * PAGE, 0, ACCESS);
		if (other->rkey == mr->rkey)
			fail("two MRs with one key");
		traffic_flows(t);
		dereg(other);
	}
	traffic_stop(t);
}

/* Deregistered under traffic: that fails, and nothing is written any more. */
static void run_dereg_busy(const void *arg)
{
	struct buf b = buf_open(true);
	struct ibv_mr *mr = reg_buf(&b, 0, SIZE, 0, ACCESS);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, mr, NULL, PAGE * 3);

	(void)arg;
	traffic_flows(t);
	dereg(mr);
	memset(b.view, BACKGROUND, SIZE);
	usleep(300000);
	same_check(b.view, b.want, SIZE, "300 ms after ibv_dereg_mr");
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		run_case(run_range, &ranges[i], "%s", ranges[i].name);
	run_case(run_to_bar, NULL, "to-bar");
	run_case(run_receive, NULL, "receive");
	run_case(run_refused, NULL, "refused");
	for (i = 0; i < ARRAY_SIZE(lacks); i++)
		run_case(run_lack, &lacks[i], "lacks/%s", lacks[i].name);
	run_case(run_outside, NULL, "outside");
	run_case(run_close_first, NULL, "close-first");
	run_case(run_dereg_first, NULL, "dereg-first");
	run_case(run_exit, NULL, "exit");
	run_case(run_two, NULL, "two-at-a-time");
	run_case(run_dereg_busy, NULL, "dereg-under-traffic");
	return test_done();
}
