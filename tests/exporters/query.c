// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the kernel tells of an MR with device memory: to its owner, by libibverbs-ext, and
 * to administrators, by rdma(8). And what an RDMA device could import.
 */
#include "buffer.h"
#include "display.h"

#include <infiniband/verbs_p2p.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, LEN = KIB(64), AT = MIB(2), MANY = 1500 };

static struct ibv_p2p_mr_attr query(struct ibv_mr *mr)
{
	struct ibv_p2p_mr_attr attr;
	int err = ibv_p2p_query_mr(mr, &attr, sizeof(attr));

	if (err)
		fail("ibv_p2p_query_mr: %s", strerrorname_np(err));
	return attr;
}

static uint32_t ranges(struct ibv_mr *mr, const void *from, struct ibv_p2p_mr_range *to,
		       uint32_t max)
{
	uint32_t nr = ~0u;
	int err = ibv_p2p_query_mr_ranges(mr, (uintptr_t)from, to, max, &nr);

	if (err)
		fail("ibv_p2p_query_mr_ranges: %s", strerrorname_np(err));
	return nr;
}

static bool copies(void)
{
	return !strncmp(dev_name(), "rxe", 3);
}

static char *gpu_name(int gpu)
{
	static char path[2][256];

	snprintf(path[gpu], sizeof(path[gpu]), "%s", gpu_path(gpu));
	return basename(path[gpu]);
}

/* What the kernel says of the path to a GPU, which is that of each range. */
static enum ibv_p2p_via path(int gpu)
{
	enum ibv_p2p_via via;
	int err = ibv_p2p_query_path(dev.ctx, gpu_name(gpu), &via);

	if (err)
		fail("ibv_p2p_query_path: %s", strerrorname_np(err));
	if ((via == IBV_P2P_VIA_CPU) != copies() || via == IBV_P2P_VIA_UNKNOWN ||
	    via == IBV_P2P_VIA_NONE)
		fail("the path to GPU %d is %d", gpu, via);
	return via;
}

static void want_range(const struct ibv_p2p_mr_range *r, const void *start, size_t len,
		       const char *exporter, uint32_t via)
{
	if (r->start != (uintptr_t)start || r->length != len)
		fail("a range of %#llx bytes at %#llx, expected %#zx at %p",
		     (unsigned long long)r->length, (unsigned long long)r->start, len,
		     start);
	if (strcmp(r->exporter, exporter))
		fail("the exporter is '%s', expected '%s'", r->exporter, exporter);
	if (r->via != via)
		fail("the path is %u, expected %u", r->via, via);
	if (r->flags != IBV_P2P_MR_RANGE_WRITE)
		fail("flags %#x", r->flags);
}

static void want_mr(struct ibv_mr *mr, uint32_t flags, uint64_t bytes, uint64_t maps)
{
	struct ibv_p2p_mr_attr attr = query(mr);

	if (attr.flags != flags)
		fail("flags %#x, expected %#x", attr.flags, flags);
	if (attr.bytes != bytes)
		fail("%llu bytes, expected %llu", (unsigned long long)attr.bytes,
		     (unsigned long long)bytes);
	if (attr.maps != maps)
		fail("%llu maps, expected %llu", (unsigned long long)attr.maps,
		     (unsigned long long)maps);
}

enum { DEVICE = IBV_P2P_MR_ODP | IBV_P2P_MR_P2P | IBV_P2P_MR_DEVICE };

/* Both sides of a hole: two GPUs with memory of the host between them. */
static void run_mr(const void *arg)
{
	uint8_t *p = host_map(3 * LEN);
	struct ibv_p2p_mr_range r[3];
	struct ibv_mr *mr;

	(void)arg;
	gpu_map_at(GPU0, p, AT, LEN, PROT_READ | PROT_WRITE);
	gpu_map_at(GPU1, p + 2 * LEN, AT, LEN, PROT_READ | PROT_WRITE);
	mr = reg(p, 3 * LEN, ACCESS_ALL);
	want_mr(mr, DEVICE, 2 * LEN, 2);
	if (ranges(mr, 0, r, ARRAY_SIZE(r)) != 2)
		fail("not two ranges");
	want_range(&r[0], p, LEN, gpu_name(GPU0), path(GPU0));
	want_range(&r[1], p + 2 * LEN, LEN, gpu_name(GPU1), path(GPU1));

	/* From the end of the first on, and from its last byte on. */
	if (ranges(mr, p + LEN, r, 3) != 1)
		fail("not one range from there on");
	want_range(&r[0], p + 2 * LEN, LEN, gpu_name(GPU1), path(GPU1));
	if (ranges(mr, p + LEN - 1, r, 3) != 2 || ranges(mr, p + 3 * LEN, r, 1) != 0)
		fail("other ranges from there on");
	dereg(mr);
}

static void run_host(const void *arg)
{
	uint8_t *p = host_map(LEN);
	struct ibv_p2p_mr_range r;
	struct ibv_mr *mr;

	(void)arg;
	mr = reg(p, LEN, ACCESS_ALL);
	want_mr(mr, 0, 0, 0);
	if (ranges(mr, 0, &r, 1))
		fail("memory of the host has ranges");
	dereg(mr);
	mr = reg(p, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	want_mr(mr, IBV_P2P_MR_ODP, 0, 0);
	dereg(mr);
}

/* It is taken, and comes back when it is used. */
static void run_moves(const void *arg)
{
	struct mem host = mem_open(HOST, 0, LEN);
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct ibv_p2p_mr_attr attr;
	struct ibv_mr *mr;
	struct pair pair;

	(void)arg;
	mr = reg(p, LEN, ACCESS_ALL);
	attr = query(mr);
	if (attr.faults || attr.invalidations)
		fail("%llu faults, %llu invalidations at first",
		     (unsigned long long)attr.faults,
		     (unsigned long long)attr.invalidations);
	gpu_map_at(GPU0, p, AT + LEN, LEN, PROT_READ | PROT_WRITE);
	want_mr(mr, IBV_P2P_MR_ODP | IBV_P2P_MR_P2P, 0, 1);
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&host, 0, LEN), (uintptr_t)p, mr->rkey,
		  IBV_WC_SUCCESS, "to where it is now");
	pair_close(&pair);
	want_mr(mr, DEVICE, LEN, 2);
	attr = query(mr);
	if (attr.faults != 1 || attr.invalidations != 1)
		fail("%llu faults, %llu invalidations", (unsigned long long)attr.faults,
		     (unsigned long long)attr.invalidations);
	dereg(mr);
}

/* More mappings than one call tells of. */
static void run_many(const void *arg)
{
	uint8_t *p = host_map((size_t)2 * MANY * PAGE);
	struct ibv_p2p_mr_range *r = calloc(MANY, sizeof(*r));
	uint32_t nr, got = 0, i;
	struct ibv_mr *mr;

	(void)arg;
	for (i = 0; i < MANY; i++)
		gpu_map_at(GPU0, p + (size_t)2 * i * PAGE, AT, PAGE,
			   PROT_READ | PROT_WRITE);
	mr = reg(p, (size_t)2 * MANY * PAGE, ACCESS_ALL);
	if (query(mr).ranges != MANY)
		fail("%u ranges, expected %u", query(mr).ranges, MANY);
	for (; got < MANY; got += nr) {
		nr = ranges(mr, p + (size_t)2 * got * PAGE, r + got, MANY - got);
		if (!nr || nr > MANY - got)
			fail("%u ranges after %u, of %u", nr, got, MANY);
	}
	for (i = 0; i < MANY; i++)
		want_range(&r[i], p + (size_t)2 * i * PAGE, PAGE, gpu_name(GPU0),
			   path(GPU0));
	dereg(mr);
}

static void run_drm(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, MIB(6));
	struct ibv_p2p_mr_range r;
	struct ibv_mr *mr;

	vram_show(&d, &v);
	mr = reg(v.addr, MIB(6), ACCESS_ALL);
	if (ranges(mr, 0, &r, 1) != 1 || r.length != MIB(6) ||
	    strncmp(r.exporter, "0000:", 5))
		fail("a range of %llu bytes from '%s'", (unsigned long long)r.length,
		     r.exporter);
	dereg(mr);
	vram_close(&d, &v);
	display_close(&d);
}

/* ---- what administrators see ---- */

static char *rdma_tool(const char *object)
{
	static char text[1 << 16];
	char command[128];
	FILE *tool;
	size_t n;

	snprintf(command, sizeof(command), "rdma -dd %s", object);
	tool = popen(command, "r");
	n = tool ? fread(text, 1, sizeof(text) - 1, tool) : 0;
	text[n] = '\0';
	if (!tool || pclose(tool))
		fail("'%s' failed", command);
	return text;
}

static void want_words(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strstr(text, *words))
			fail("no '%s' in: %s", *words, text);
}

static void run_rdma_tool(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct ibv_mr *mr = reg(p, LEN, ACCESS_ALL);
	char exporter[64];

	(void)arg;
	snprintf(exporter, sizeof(exporter), "drv_exporter %s", gpu_name(GPU0));
	want_words(rdma_tool("resource show mr"),
		   (const char *const[]){ "drv_odp explicit", "drv_memory device", exporter,
			   copies() ? "drv_path cpu" : "drv_path", "drv_device_bytes 65536",
			   "drv_revoked 0", NULL });
	want_words(rdma_tool("statistic show mr"),
		   (const char *const[]){ "faults 0", "invalidations 0",
			   "device_maps 1", "device_bytes 65536", NULL });
	dereg(mr);
}

/* ---- what could be had ---- */

static void run_device(const void *arg)
{
	struct ibv_p2p_device_attr attr;
	enum ibv_p2p_via via;
	int err = ibv_p2p_query_device(dev.ctx, &attr, sizeof(attr));
	int i;

	(void)arg;
	if (err)
		fail("ibv_p2p_query_device: %s", strerrorname_np(err));
	for (i = 0; i < 4; i++)
		if (!*attr.about[i])
			fail("nothing is said about way %d", i);
	if (attr.ways != (copies() ? IBV_P2P_WAY_KERNEL :
				     IBV_P2P_WAY_KERNEL | IBV_P2P_WAY_DMABUF))
		fail("ways %#x: %s; %s; %s; %s", attr.ways, attr.about[0], attr.about[1],
		     attr.about[2], attr.about[3]);
	if (ibv_p2p_query_path(dev.ctx, "0000:7f:1f.7", &via) != ENODEV ||
	    ibv_p2p_query_path(dev.ctx, "x", &via) != ENODEV ||
	    ibv_p2p_query_path(dev.ctx, "a name that is longer than any device's is",
			       &via) != EINVAL)
		fail("a path to a device that there is not");
}

/* ---- a say in what it may be ---- */

static struct ibv_mr *ask(uint8_t *p, size_t len, struct ibv_p2p_reg_attr attr)
{
	return ibv_p2p_reg_mr(dev.pd, p, len, (uintptr_t)p, ACCESS_ALL, &attr, sizeof(attr));
}

static void want_errno(struct ibv_mr *mr, int want)
{
	if (mr)
		fail("it was registered");
	if (errno != want)
		fail("%s, expected %s", strerrorname_np(errno), strerrorname_np(want));
}

static void run_reg(const void *arg)
{
	uint8_t *p = host_map(2 * LEN);
	struct ibv_mr *mr;

	(void)arg;
	gpu_map_at(GPU0, p, AT, LEN, PROT_READ | PROT_WRITE);
	mr = ibv_p2p_reg_mr(dev.pd, p, 2 * LEN, (uintptr_t)p, ACCESS_ALL, NULL, 0);
	if (!mr)
		fail("anything: %s", strerrorname_np(errno));
	dereg(mr);
	want_errno(ask(p, 2 * LEN, (struct ibv_p2p_reg_attr) {
		.flags = IBV_P2P_REG_DEVICE_ONLY }), EINVAL);
	mr = ask(p, LEN, (struct ibv_p2p_reg_attr) {
		.flags = IBV_P2P_REG_DEVICE_ONLY | IBV_P2P_REG_PREFAULT,
		.ways = IBV_P2P_WAY_KERNEL });
	if (!mr)
		fail("device memory alone: %s", strerrorname_np(errno));
	want_mr(mr, DEVICE, LEN, 1);
	dereg(mr);
	want_errno(ask(p, LEN, (struct ibv_p2p_reg_attr) {
		.ways = IBV_P2P_WAY_MODULE }), EOPNOTSUPP);
	want_errno(ask(p, LEN, (struct ibv_p2p_reg_attr) {
		.ways = IBV_P2P_WAY_DMABUF }), EOPNOTSUPP);
	want_errno(ask(p, LEN, (struct ibv_p2p_reg_attr) { .ways = 1u << 31 }), EINVAL);
	want_errno(ask(p, LEN, (struct ibv_p2p_reg_attr) { .flags = 1u << 31 }), EINVAL);
	want_errno(ask(p, LEN, (struct ibv_p2p_reg_attr) { .comp_mask = 1u << 31 }), EINVAL);
	want_errno(ask(p, 0, (struct ibv_p2p_reg_attr) {}), EINVAL);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_mr, NULL, "mr");
	run_case(run_host, NULL, "host");
	run_case(run_moves, NULL, "moves");
	run_case(run_many, NULL, "many");
	run_case(run_drm, &bochs, "%s", bochs.driver);
	run_case(run_rdma_tool, NULL, "rdma-tool");
	run_case(run_device, NULL, "device");
	run_case(run_reg, NULL, "reg");
	return test_done();
}
