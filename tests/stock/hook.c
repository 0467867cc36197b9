// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * ib_p2p: what becomes of plain ibv_reg_mr() when it is loaded, switched off, and
 * unloaded in any state.
 */
#include "../verbs/slow_file.h"
#include "importer.h"

#include <errno.h>
#include <fcntl.h>
#include <drm.h>
#include <drm_mode.h>
#include <linux/udmabuf.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = KIB(64), AT = DMAE_AT, PAGE = 4096 };

static int module(const char *verb, const char *name)
{
	char command[400];

	if (!strcmp(verb, "insmod"))
		snprintf(command, sizeof(command), "insmod %s/%s.ko",
			 getenv("STOCK_MODULES"), name);
	else
		snprintf(command, sizeof(command), "rmmod %s 2>/dev/null", name);
	return system(command);
}

static void unload(void)
{
	const double began = now();

	if (module("rmmod", "ib_p2p"))
		fail("ib_p2p cannot be unloaded");
	if (now() - began > at_once() + 1)
		fail("to unload it took %.1f s", now() - began);
}

static void load(void)
{
	if (module("insmod", "ib_p2p"))
		fail("ib_p2p cannot be loaded");
}

static void want_reg(void *addr, size_t len, int access, int want, const char *what)
{
	struct ibv_mr *mr;
	int err = 0;

	mr = try_reg(addr, len, access, &err);
	if (mr)
		dereg(mr);
	if ((mr ? 0 : err) != want)
		fail("%s: ibv_reg_mr: %s, expected %s", what,
		     mr ? "success" : strerrorname_np(err),
		     want ? strerrorname_np(want) : "success");
}

static void switch_to(const char *value)
{
	char folder[200];

	snprintf(folder, sizeof(folder), "/sys/class/infiniband/%s", dev_name());
	put_in(folder, "p2p", value);
}

static void run_switch(const void *arg)
{
	uint8_t *p = gpu_map(GPU0, AT, LEN);

	(void)arg;
	switch_to("0");
	want_reg(p, LEN, ACCESS_ALL, EFAULT, "switched off");
	switch_to("1");
	want_reg(p, LEN, ACCESS_ALL, 0, "switched on");
}

/* The device, who refuses, and why. */
static void want_log(int kmsg, const char *word)
{
	if (!kmsg_has(kmsg, patience(0), dev_name(), word))
		fail("the log has no '%s' of %s", word, dev_name());
}

static void run_refusals(const void *arg)
{
	static const char off[] = "/sys/module/p2p_dmabuf/parameters/user_bars";
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	int fd = gpu_open(GPU0, "resource2", O_RDWR), kmsg = kmsg_open();

	(void)arg;
	write_file(off, "0");
	want_reg(p, LEN, ACCESS_ALL, EPERM, "BARs switched off");
	want_log(kmsg, "user_bars");
	write_file(off, "1");
	want_reg(p, LEN, ACCESS_ALL, 0, "BARs switched on");
	want_reg(p, LEN, ACCESS_ALL | IBV_ACCESS_HUGETLB, EINVAL, "huge pages");

	host_map_at(p + LEN / 2, LEN / 2, PROT_READ | PROT_WRITE);
	want_reg(p, LEN, ACCESS_ALL, EOPNOTSUPP, "device and host memory");
	want_log(kmsg, "host memory is next to device memory");
	unmap(p + LEN / 2, LEN / 2);
	want_reg(p, LEN, ACCESS_ALL, EFAULT, "device memory and a hole");
	want_log(kmsg, "nothing is mapped in a part of it");

	p = gpu_map_at(GPU0, NULL, AT, LEN, PROT_READ);
	want_reg(p, LEN, ACCESS_ALL, EACCES, "a read-only mapping");
	want_log(kmsg, "the mapping is read-only");
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, AT);
	if (p != MAP_FAILED) {
		want_reg(p, LEN, ACCESS_ALL, EFAULT, "a private mapping");
		want_log(kmsg, "private mapping");
	}
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
		 open("/dev/mem", O_RDWR), gpu_address(GPU0));
	if (p != MAP_FAILED) {
		want_reg(p, LEN, ACCESS_ALL, EFAULT, "/dev/mem");
		want_log(kmsg, "file is not one that exports");
	}
}

/* An MR that may not write, of a mapping that may not be written. */
static void run_read_only(const void *arg)
{
	uint8_t *p = gpu_map_at(GPU0, NULL, AT, LEN, PROT_READ);
	struct mem host = mem_open(HOST, 0, LEN);
	struct ibv_mr *mr;
	struct pair pair;
	int err;

	(void)arg;
	mr = try_reg(p, LEN, IBV_ACCESS_REMOTE_READ, &err);
	if (!mr && err == EOPNOTSUPP)
		skip("this kernel's drivers would let such an MR write later");
	if (!mr)
		fail("ibv_reg_mr: %s", strerrorname_np(err));
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&host, 0, LEN), (uintptr_t)p, mr->rkey,
		  IBV_WC_SUCCESS, "reading");
	same_check(host.addr, p, LEN, "read");
	if (!uverbs_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, dev.pd, NULL, 0, ACCESS_ALL))
		fail("it may write now, which its mapping may not");
}

static atomic_int stolen = -1;

/* A copy of the dma-buf's fd, which is there for as long as a registration takes. */
static void *steal(void *arg)
{
	char path[64], to[64];
	int fd, copy;
	ssize_t n;

	(void)arg;
	for (fd = 3; stolen < 0; fd = fd < 40 ? fd + 1 : 3) {
		copy = dup(fd);
		if (copy < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
		n = readlink(path, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		if (strstr(to, "dmabuf") && !strstr(to, "/dev/"))
			stolen = copy;
		else
			close(copy);
	}
	return NULL;
}

/* What a thread gets hold of in the middle of it gives no more rights than the MR has. */
static void run_stolen(const void *arg)
{
	uint8_t *p = gpu_map_at(GPU0, NULL, AT, LEN, PROT_READ);
	const double until = now() + 20;
	struct ibv_mr *mr = NULL;
	pthread_t thread;
	int err = 0;

	(void)arg;
	if (pthread_create(&thread, NULL, steal, NULL))
		fail("pthread_create");
	while (stolen < 0 && now() < until) {
		mr = try_reg(p, LEN, IBV_ACCESS_REMOTE_READ, &err);
		if (!mr && err == EOPNOTSUPP)
			skip("this kernel's drivers would let such an MR write later");
		if (mr)
			dereg(mr);
	}
	if (stolen < 0)
		skip("no thread was ever fast enough");
	mr = ibv_reg_dmabuf_mr(dev.pd, 0, LEN, (uintptr_t)p, stolen,
			       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (mr)
		fail("an MR that writes to a read-only mapping");
}

static void rereg_to(struct ibv_mr *mr, uint8_t *p, const char *what)
{
	int err = uverbs_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION |
				  IBV_REREG_MR_CHANGE_ACCESS, dev.pd, p, LEN, ACCESS_ALL);

	if (err)
		fail("ibv_rereg_mr to %s: %s", what, strerrorname_np(err));
	exercise(mr, (uintptr_t)p, LEN, p, what);
}

static void run_rereg(const void *arg)
{
	uint8_t *device = gpu_map(GPU0, AT, LEN), *host = host_map(LEN);
	struct ibv_mr *mr = reg(host, LEN, ACCESS_ALL);
	int err;

	(void)arg;
	err = uverbs_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, dev.pd, device, LEN, 0);
	if (err != EOPNOTSUPP)
		fail("without access: %s", err ? strerrorname_np(err) : "success");
	exercise(mr, (uintptr_t)host, LEN, host, "as it was");
	rereg_to(mr, device, "device memory");
	rereg_to(mr, host, "host memory");
}

/* The device node of vgem, or -1. */
static int vgem_open(void)
{
	char path[300];
	int i, fd;

	if (system("/run/modprobe vgem 2>/dev/null"))
		return -1;
	for (i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/sys/devices/platform/vgem/drm/card%d", i);
		if (access(path, F_OK))
			continue;
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* Two of the system's own pages as a dma-buf, mapped by what maps dma-bufs. */
static void run_dmabuf(const void *arg)
{
	struct udmabuf_create create = { .size = LEN };
	int fd = open("/dev/udmabuf", O_RDWR), memfd, buf;
	uint8_t *p;
	struct ibv_mr *mr;

	(void)arg;
	if (fd < 0)
		skip("no /dev/udmabuf on this kernel");
	memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, LEN) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		fail("memfd: %s", strerror(errno));
	create.memfd = memfd;
	buf = ioctl(fd, UDMABUF_CREATE, &create);
	if (buf < 0)
		fail("UDMABUF_CREATE: %s", strerror(errno));
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (p == MAP_FAILED)
		fail("mmap of the dma-buf: %s", strerror(errno));
	mr = reg(p + PAGE, LEN - 2 * PAGE, ACCESS_ALL);
	exercise(mr, (uintptr_t)p + PAGE, LEN - 2 * PAGE, p + PAGE, "a dma-buf's mapping");
}

/* A buffer of a DRM driver that exports: vgem, whose buffers are pages of the system. */
static void run_gem(const void *arg)
{
	struct drm_mode_create_dumb create = { .width = 256, .height = 64, .bpp = 32 };
	struct drm_mode_map_dumb map = {};
	struct ibv_mr *mr;
	uint8_t *p;
	int fd;

	(void)arg;
	fd = vgem_open();
	if (fd < 0)
		skip("no vgem on this kernel");
	if (ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create))
		fail("CREATE_DUMB: %s", strerror(errno));
	map.handle = create.handle;
	if (ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map))
		fail("MAP_DUMB: %s", strerror(errno));
	p = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map.offset);
	if (p == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	mr = reg(p + PAGE, LEN - PAGE, ACCESS_ALL);
	exercise(mr, (uintptr_t)p + PAGE, LEN - PAGE, p + PAGE, "a buffer of vgem");
}

/* ---- unloading ---- */

static void run_unload_with_mr(const void *arg)
{
	struct area a = area_map(AT, LEN);
	struct pair pair;
	struct mem host = mem_open(HOST, 0, LEN);

	(void)arg;
	a.mr = reg(a.addr, LEN, ACCESS_ALL);
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "before");
	unload();
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "after ib_p2p is gone");
	want_reg(a.view, LEN, ACCESS_ALL, EFAULT, "without ib_p2p");
	if (!module("rmmod", "p2p_dmabuf"))
		fail("p2p_dmabuf was unloaded under a dma-buf");
	/* And it still follows. */
	unmap(a.addr, LEN);
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&host, 0, LEN), (uintptr_t)a.addr,
		  a.mr->rkey, IBV_WC_REM_ACCESS_ERR, "after munmap");
	load();
	want_reg(a.view, LEN, ACCESS_ALL, 0, "loaded again");
}

/* Not for writing: the kernel pins no pages of a file for that. */
static void register_slow(const struct slow_file *f)
{
	struct ibv_mr *mr;
	struct mem host;
	struct pair pair;

	dev_open(dev_name());
	mr = reg(f->addr, f->len, IBV_ACCESS_REMOTE_READ);
	host = mem_open(HOST, 0, LEN);
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&host, 0, LEN), (uintptr_t)f->addr, mr->rkey,
		  IBV_WC_SUCCESS, "what was registered meanwhile");
	pattern_check(host.addr, LEN, 1, 0, "it");
}

/*
 * The pages of a registration do not come; the module goes, and comes back. In another
 * process, as Linux 6.1 holds mmap_lock meanwhile, which starting a program takes.
 */
static void run_unload_asleep(const void *arg)
{
	struct slow_file f;
	pid_t pid;

	(void)arg;
	if (!system("dmesg | grep -q 'ib_p2p: built without tail calls'"))
		skip("ib_p2p was built without tail calls, and waits for them");
	f = slow_file_open(LEN, 1);
	pid = fork();
	if (!pid) {
		register_slow(&f);
		_exit(0);
	}
	while (!*f.waiting)
		usleep(10000);
	unload();
	load();
	slow_file_serve(&f);
	join_child(pid, "who registers");
}

struct load {
	atomic_bool stop;
	atomic_ulong device, refused, host;
	_Atomic int odd;
};

static void *register_all_the_time(void *arg)
{
	uint8_t *device = gpu_map(GPU0, AT, LEN), *host = host_map(LEN);
	struct load *l = arg;
	struct ibv_mr *mr;
	int err;

	while (!l->stop) {
		mr = try_reg(device, LEN, ACCESS_ALL, &err);
		if (mr)
			l->device++;
		else if (err == EFAULT)
			l->refused++;
		else
			l->odd = err;
		if (mr)
			dereg(mr);
		mr = try_reg(host, LEN, ACCESS_ALL, &err);
		if (!mr)
			l->odd = err;
		else
			dereg(mr);
		l->host++;
	}
	return NULL;
}

static void run_unload_busy(const void *arg)
{
	static struct load l;
	pthread_t thread[3];
	int i;

	(void)arg;
	for (i = 0; i < 3; i++)
		if (pthread_create(&thread[i], NULL, register_all_the_time, &l))
			fail("pthread_create");
	for (i = 0; i < (slow ? 5 : 15); i++) {
		if (module("rmmod", "ib_p2p"))
			fail("ib_p2p cannot be unloaded");
		usleep(20000);
		load();
		usleep(50000);
	}
	l.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	note("%lu MRs of device memory, %lu refused, %lu of host memory",
	     (unsigned long)l.device, (unsigned long)l.refused, (unsigned long)l.host);
	if (l.odd)
		fail("ibv_reg_mr: %s", strerrorname_np(l.odd));
	if (!l.device || !l.refused || !l.host)
		fail("it was not loaded and unloaded meanwhile");
}

/* ---- many invalidations ---- */

struct writer {
	struct pair pair;
	struct mem host;
	struct area a;
	atomic_bool stop;
	atomic_ulong written, failed;
};

/* Writes, to wherever it goes, all the time; what fails is tried with new QPs. */
static void *write_all_the_time(void *arg)
{
	struct writer *w = arg;

	while (!w->stop) {
		if (rdma(&w->pair, IBV_WR_RDMA_WRITE, sge(&w->host, 0, LEN),
			 (uintptr_t)w->a.addr, w->a.mr->rkey) == IBV_WC_SUCCESS) {
			w->written++;
			continue;
		}
		w->failed++;
		pair_close(&w->pair);
		pair_open(&w->pair, IBV_QPT_RC, 0);
	}
	return NULL;
}

/*
 * The MR's mapping is another part of the BAR each time. Where it was before keeps what
 * is written there now, whatever is under way.
 */
static void run_invalidations(const void *arg)
{
	const unsigned long rounds = slow ? 1000 : *(const int *)arg;
	static struct writer w;
	uint8_t *view = gpu_map(GPU0, AT, 4 * LEN), mark[PAGE];
	unsigned long i, left, now_at;
	pthread_t thread;

	w.host = mem_open(HOST, 0, LEN);
	memset(w.host.addr, 0xaa, LEN);
	w.a.addr = gpu_map(GPU0, AT, LEN);
	w.a.mr = reg(w.a.addr, LEN, ACCESS_ALL);
	pair_open(&w.pair, IBV_QPT_RC, 0);
	if (pthread_create(&thread, NULL, write_all_the_time, &w))
		fail("pthread_create");
	for (i = 1; i <= rounds; i++) {
		left = (i - 1) % 4;
		now_at = i % 4;
		gpu_map_at(GPU0, w.a.addr, AT + now_at * LEN, LEN, PROT_READ | PROT_WRITE);
		if (i % 8)
			continue;
		memset(mark, i, PAGE);
		memcpy(view + left * LEN + 3 * PAGE, mark, PAGE);
		if (i % 64 == 0)
			usleep(1000);
		same_check(view + left * LEN + 3 * PAGE, mark, PAGE, "what it was taken from");
	}
	w.stop = true;
	pthread_join(thread, NULL);
	note("%lu invalidations, %lu writes of %u bytes, %lu failed", rounds,
	     (unsigned long)w.written, LEN, (unsigned long)w.failed);
	if (!w.written)
		fail("nothing was written meanwhile");
	if (w.failed)
		fail("%lu writes failed", (unsigned long)w.failed);
	exercise(w.a.mr, (uintptr_t)w.a.addr, LEN, view + rounds % 4 * LEN, "at the end");
}

int main(int argc, char **argv)
{
	const int some = getenv("TEST_LONG") ? 100000 : 2000;

	test_init(argc, argv);
	run_case(run_switch, NULL, "switch");
	run_case(run_refusals, NULL, "refusals");
	run_case(run_read_only, NULL, "read-only");
	run_case(run_stolen, NULL, "read-only/stolen");
	run_case(run_rereg, NULL, "rereg");
	run_case(run_dmabuf, NULL, "dmabuf");
	run_case(run_gem, NULL, "gem");
	run_case(run_unload_with_mr, NULL, "unload/with-mr");
	run_case(run_unload_asleep, NULL, "unload/asleep");
	run_case(run_unload_busy, NULL, "unload/busy");
	run_case(run_invalidations, &some, "invalidations");
	return test_done();
}
