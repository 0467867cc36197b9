// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* ibv_p2p_test_path(): what it says of memory that works, and of what does not. */
#include "buffer.h"
#include "display.h"

#include <infiniband/verbs_p2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = KIB(64), AT = MIB(2), PAGE = 4096, VRAM_LEN = MIB(6) };

static struct ibv_p2p_path_attr test(struct ibv_mr *mr, void *addr, size_t len,
				     uint32_t flags)
{
	struct ibv_p2p_path_attr attr;
	int err = ibv_p2p_test_path(mr, addr, len, flags, &attr, sizeof(attr));

	if (err)
		fail("ibv_p2p_test_path: %s", strerrorname_np(err));
	return attr;
}

/* All of the memory is as it was. */
static void want_works(uint8_t *p, size_t len)
{
	struct ibv_mr *mr = reg(p, len, ACCESS_ALL);
	uint8_t *before = malloc(len);
	struct ibv_p2p_path_attr attr;
	static const size_t parts[][2] = { { 0, LEN }, { 4095, 4098 }, { 9, 1 } };
	size_t i;

	pattern_fill(p, len, 5, 0);
	memcpy(before, p, len);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		attr = test(mr, p + parts[i][0], parts[i][1], 0);
		if (attr.status != IBV_P2P_PATH_WORKS || attr.lost)
			fail("%zu bytes: status %u, way %u, lost %u", parts[i][1],
			     attr.status, attr.way, attr.lost);
		if (!(attr.comp_mask & IBV_P2P_PATH_RATES) || !attr.read_rate ||
		    !attr.write_rate)
			fail("no rates");
		same_check(p, before, len, "after the test");
	}
	attr = test(mr, p, LEN, IBV_P2P_PATH_SCRATCH);
	if (attr.status != IBV_P2P_PATH_WORKS)
		fail("as scratch memory: status %u", attr.status);
	if (!memcmp(p, before, LEN))
		fail("nothing was written to scratch memory");
	dereg(mr);
}

static void run_host(const void *arg)
{
	(void)arg;
	want_works(host_map(LEN), LEN);
}

static void run_bar(const void *arg)
{
	(void)arg;
	want_works(gpu_map(GPU0, AT, LEN), LEN);
}

static void run_sample(const void *arg)
{
	struct buffer b;

	(void)arg;
	sample_need();
	b = buffer_open(LEN);
	want_works(b.addr, LEN);
	buffer_close(&b);
}

static void run_drm(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, VRAM_LEN);

	vram_show(&d, &v);
	want_works(v.addr, VRAM_LEN);
	vram_close(&d, &v);
	display_close(&d);
}

/* A part of the memory has gone: nothing is written, and nothing lost. */
static void run_gone(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN), *view = gpu_map(GPU0, AT, LEN);
	struct ibv_mr *mr = reg(p, LEN, ACCESS_ALL);
	struct ibv_p2p_path_attr attr;
	uint8_t *before = malloc(LEN);

	(void)arg;
	memcpy(before, view, LEN);
	unmap(p + LEN / 2, LEN / 2);
	attr = test(mr, p, LEN, 0);
	if (attr.status != IBV_P2P_PATH_FAILED ||
	    attr.way != IBV_P2P_PATH_REMOTE_READ ||
	    attr.wc_status != IBV_WC_REM_ACCESS_ERR)
		fail("status %u, way %u, %s", attr.status, attr.way,
		     ibv_wc_status_str(attr.wc_status));
	if (attr.lost)
		fail("lost");
	same_check(view, before, LEN, "after the test");
}

/* Reads return what was written elsewhere: the same page is there twice. */
static void run_wrong(const void *arg)
{
	int fd = memfd_create("page", 0);
	uint8_t *p = host_map(2 * PAGE), before[2 * PAGE];
	struct ibv_p2p_path_attr attr;
	int i;

	(void)arg;
	if (fd < 0 || ftruncate(fd, PAGE))
		fail("memfd: %s", strerror(errno));
	for (i = 0; i < 2; i++)
		if (mmap(p + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			fail("mmap: %s", strerror(errno));
	pattern_fill(p, PAGE, 6, 0);
	memcpy(before, p, sizeof(before));
	attr = test(reg(p, 2 * PAGE, ACCESS_ALL), p, 2 * PAGE, 0);
	if (attr.status != IBV_P2P_PATH_WRONG || attr.way != IBV_P2P_PATH_REMOTE_READ)
		fail("status %u, way %u", attr.status, attr.way);
	/* A random byte is the same by chance. */
	if (!(attr.comp_mask & IBV_P2P_PATH_WRONG_AT) || attr.wrong_at > 16)
		fail("wrong at %llu", (unsigned long long)attr.wrong_at);
	if (attr.lost)
		fail("lost, although the CPU could restore it");
	same_check(p, before, sizeof(before), "after the test");
}

static void run_bad(const void *arg)
{
	struct mem m = mem_open(HOST, 0, LEN);
	struct ibv_p2p_path_attr attr;

	(void)arg;
	if (ibv_p2p_test_path(m.mr, m.addr, 0, 0, &attr, sizeof(attr)) != EINVAL ||
	    ibv_p2p_test_path(m.mr, m.addr, LEN, 1u << 31, &attr, sizeof(attr)) != EINVAL ||
	    ibv_p2p_test_path(m.mr, m.addr, LEN, 0, &attr, 8) != EINVAL ||
	    ibv_p2p_test_path(m.mr, m.addr, LEN, 0, NULL, sizeof(attr)) != EINVAL ||
	    ibv_p2p_test_path(NULL, m.addr, LEN, 0, &attr, sizeof(attr)) != EINVAL)
		fail("no EINVAL for a bad argument");
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_host, NULL, "host");
	run_case(run_bar, NULL, "bar");
	run_case(run_drm, &bochs, "%s", bochs.driver);
	sample_load();
	run_case(run_sample, NULL, "p2p_sample");
	sample_unload();
	run_case(run_gone, NULL, "gone");
	run_case(run_wrong, NULL, "wrong");
	run_case(run_bad, NULL, "bad-argument");
	return test_done();
}
