// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Buffers of GPUs with DRM drivers, which are evicted from VRAM, moved back to
 * it, swapped out, and lose their device, while RDMA goes on. The CPU's mapping
 * is moved by other code than the one for peers: what the two see is compared.
 */
#include "../verbs/sysfs.h"
#include "../verbs/traffic.h"
#include "../verbs/verify.h"
#include "display.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

/* Three of them are more than bochs has VRAM, twelve more than qxl. */
enum { LEN = MIB(6), SOME = KIB(64), BUFFERS = 3, QXL_MANY = 12 };

static struct ibv_mr *reg_all(const struct vram *v)
{
	return reg(v->addr, v->len, ACCESS_ALL);
}

/* Something else needs the VRAM that a buffer is in. */
static void evict_all(const struct display *d)
{
	struct vram other[QXL_MANY];
	int i, n = d->gpu->scans_out ? BUFFERS : QXL_MANY;

	for (i = 0; i < n; i++) {
		other[i] = vram_open(d, LEN);
		if (d->gpu->scans_out)
			vram_show(d, &other[i]);
	}
	while (i--)
		vram_close(d, &other[i]);
}

static void read_all(struct ibv_mr *mr, const struct vram *v, const char *what)
{
	struct mem in = mem_open(HOST, 0, v->len);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&in, 0, v->len),
		  (uintptr_t)v->addr, mr->rkey, IBV_WC_SUCCESS, what);
	pattern_check(in.addr, v->len, seed_of(case_name()), 0, what);
	pair_close(&p);
	mem_close(&in);
}

static void write_all(struct ibv_mr *mr, const struct vram *v)
{
	struct mem out = mem_open(HOST, 0, v->len);
	struct pair p;

	pattern_fill(out.addr, v->len, seed_of(case_name()), 0);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&out, 0, v->len),
		  (uintptr_t)v->addr, mr->rkey, IBV_WC_SUCCESS, "write");
	pair_close(&p);
	mem_close(&out);
}

/* Written in one place, and read in the next, before the CPU looks at all. */
static void run_places(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, LEN);
	struct ibv_mr *mr = reg_all(&v);
	size_t used;

	write_all(mr, &v);
	read_all(mr, &v, "where it was made");
	if (d.gpu->scans_out) {
		used = display_vram_used(&d);
		vram_show(&d, &v);
		if (display_vram_used(&d) < used + LEN)
			fail("it is not in VRAM");
		read_all(mr, &v, "in VRAM");
		exercise(mr, (uintptr_t)v.addr + SOME, SOME, v.addr + SOME,
			 "in VRAM");
		write_all(mr, &v);
	}
	evict_all(&d);
	read_all(mr, &v, "evicted");
	pattern_check(v.addr, LEN, seed_of(case_name()), 0, "seen by the CPU");
	exercise(mr, (uintptr_t)v.addr + SOME, SOME, v.addr + SOME, "evicted");
	dereg(mr);

	/* Registered where it is now. */
	mr = reg_all(&v);
	exercise(mr, (uintptr_t)v.addr + 1, SOME, v.addr + 1, "registered there");
	dereg(mr);
	vram_close(&d, &v);
	display_close(&d);
}

/* ---- under load ---- */

struct bed {
	struct display display;
	struct vram vram[BUFFERS];
	struct ibv_mr *mr[BUFFERS];
	struct verifier verifiers[BUFFERS];
};

static void bed_open(struct bed *bed, const struct gpu *gpu)
{
	int i;

	bed->display = display_open(gpu);
	for (i = 0; i < BUFFERS; i++) {
		bed->vram[i] = vram_open(&bed->display, LEN);
		bed->mr[i] = reg_all(&bed->vram[i]);
		bed->verifiers[i] = (struct verifier) {
			.mr = bed->mr[i], .addr = bed->vram[i].addr,
			.len = LEN,
			/* Of one of them the CPU sees nothing. */
			.view = i ? bed->vram[i].addr : NULL,
		};
		verify_start(&bed->verifiers[i], i);
	}
}

static void bed_close(struct bed *bed)
{
	int i;

	for (i = 0; i < BUFFERS; i++) {
		verify_flows(&bed->verifiers[i]);
		verify_end(&bed->verifiers[i]);
		note("buffer %d: %lu rounds", i, bed->verifiers[i].done);
		dereg(bed->mr[i]);
		vram_close(&bed->display, &bed->vram[i]);
	}
	display_close(&bed->display);
}

/* Each has to make room for the next one. */
static void run_evict(const void *arg)
{
	int i, n = slow ? 30 : 150;
	struct bed bed = {};

	bed_open(&bed, arg);
	for (i = 0; i < n; i++) {
		if (bed.display.gpu->scans_out)
			vram_show(&bed.display, &bed.vram[i % BUFFERS]);
		else if (i % QXL_MANY == 0)
			evict_all(&bed.display);
	}
	bed_close(&bed);
}

static void swap_out_one(void)
{
	char text[32];
	int fd = open("/sys/kernel/debug/ttm/tt_shrink", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text)) < 0)
		fail("ttm/tt_shrink: %s", strerror(errno));
	close(fd);
}

/* To shmem, page by page, and back on the next access. */
static void run_swap(const void *arg)
{
	int i, n = slow ? 30 : 150;
	struct bed bed = {};

	bed_open(&bed, arg);
	evict_all(&bed.display);
	for (i = 0; i < n; i++)
		swap_out_one();
	bed_close(&bed);
}

/* ---- other ways to a buffer ---- */

/* Mapped through a dma-buf, and the GPU's own handle is given back. */
static void run_dmabuf(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, LEN), shared = v;
	struct ibv_mr *mr;
	int fd;

	if (drmPrimeHandleToFD(d.fd, v.handle, DRM_CLOEXEC | DRM_RDWR, &fd))
		skip("%s exports no dma-buf: %s", d.gpu->driver, strerror(errno));
	shared.addr = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared.addr == MAP_FAILED)
		skip("its dma-buf cannot be mapped: %s", strerror(errno));
	vram_close(&d, &v);

	mr = reg_all(&shared);
	write_all(mr, &shared);
	evict_all(&d);
	read_all(mr, &shared, "evicted");
	pattern_check(shared.addr, LEN, seed_of(case_name()), 0,
		      "seen by the CPU");
	dereg(mr);
	unmap(shared.addr, LEN);
	close(fd);
	display_close(&d);
}

/* ---- what ends it ---- */

/* The GPU loses its driver: errors, and the memory is out of reach for good. */
static void run_unbind(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, LEN);
	struct ibv_mr *mr = reg_all(&v);
	struct mem host = mem_open(HOST, 0, SOME);
	struct traffic *written, *lives;
	int err;

	if (d.gpu->scans_out)
		vram_show(&d, &v);
	written = traffic_start(REMOTE_WRITTEN, mr, v.addr, SOME);
	lives = traffic_start(REMOTE_WRITTEN, host.mr, host.addr, SOME);
	traffic_flows(written);
	traffic_flows(lives);

	display_bind(&d, false);
	traffic_fails(written, IBV_WC_REM_ACCESS_ERR);
	traffic_flows(lives);
	if (try_reg(v.addr, LEN, ACCESS_ALL, &err) || err != ENODEV)
		fail("registered, or %s", strerrorname_np(err));

	traffic_stop(lives);
	dereg(mr);
	unmap(v.addr, LEN);
	display_close(&d);
	display_bind(&d, true);

	/* And works again with a driver. */
	d = display_open(arg);
	v = vram_open(&d, LEN);
	mr = reg_all(&v);
	exercise(mr, (uintptr_t)v.addr, SOME, v.addr, "bound again");
	dereg(mr);
	vram_close(&d, &v);
	display_close(&d);
}

/* The vma is all that keeps a buffer: with the last one it goes. */
static void run_munmap(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, LEN);
	struct ibv_mr *mr = reg_all(&v);
	struct traffic *written = traffic_start(REMOTE_WRITTEN, mr, v.addr, SOME);
	struct traffic *read = traffic_start(LOCAL_READ, mr, v.addr + SOME, SOME);

	traffic_flows(written);
	traffic_flows(read);
	vram_free(&d, &v);
	traffic_flows(written);
	unmap(v.addr, LEN);
	traffic_fails(written, IBV_WC_REM_ACCESS_ERR);
	traffic_fails(read, IBV_WC_LOC_PROT_ERR);
	dereg(mr);
	display_close(&d);
}

static void run_bad_input(const void *arg)
{
	struct display d = display_open(arg);
	struct vram v = vram_open(&d, LEN);
	uint8_t *read_only;
	int err;

	read_only = mmap(NULL, LEN, PROT_READ, MAP_SHARED, d.fd, v.map_offset);
	if (read_only == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	if (try_reg(read_only, LEN, ACCESS_ALL, &err) || err != EACCES)
		fail("a read-only mapping was registered, or %s",
		     strerrorname_np(err));
	dereg(reg(read_only, LEN, IBV_ACCESS_REMOTE_READ));
	/* Half of it, and a hole behind that. */
	unmap(v.addr + LEN / 2, LEN / 2);
	if (try_reg(v.addr, LEN, ACCESS_ALL, &err) || err != EFAULT)
		fail("a hole was registered, or %s", strerrorname_np(err));
	dereg(reg(v.addr, LEN / 2, ACCESS_ALL));
	unmap(v.addr, LEN / 2);
	unmap(read_only, LEN);
	vram_free(&d, &v);
	display_close(&d);
}

int main(int argc, char **argv)
{
	static const struct gpu *const gpus[] = { &bochs, &qxl };
	static const struct {
		const char *name;
		void (*run)(const void *arg);
	} cases[] = {
		{ "places", run_places },
		{ "evict", run_evict },
		{ "swap", run_swap },
		{ "dmabuf", run_dmabuf },
		{ "munmap", run_munmap },
		{ "bad-input", run_bad_input },
		{ "unbind", run_unbind },
	};
	size_t i, j;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(gpus); i++)
		for (j = 0; j < ARRAY_SIZE(cases); j++)
			run_case(cases[j].run, gpus[i], "%s/%s",
				 gpus[i]->driver, cases[j].name);
	return test_done();
}
