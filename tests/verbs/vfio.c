// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Device memory through vfio-pci: GPU 1 gets that driver for the time of the
 * program. The user may disable the memory, reset the device and let go of it;
 * an MR follows, and comes back when the memory does.
 */
#include "traffic.h"

#include <fcntl.h>
#include <infiniband/verbs_p2p.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LEN = KIB(64), SLOT = KIB(256), RW = PROT_READ | PROT_WRITE };

/* How much of GPU 1, and which part of that each case has. */
enum { VFIO_SIZE1 = MIB(8) };
enum slot {
	S_BYTES, S_LOCAL, S_READ_ONLY, S_UNTOUCHED, S_DISABLE,
	S_TOGGLE = S_DISABLE + 3, S_RESET, S_POWER = S_RESET + 3, S_CLOSE,
	S_UNBIND, S_REBIND, S_AFTER, S_AGAIN, S_COUNT,
};

_Static_assert(S_COUNT * SLOT <= VFIO_SIZE1, "window too small");

/* ---- the driver, before the first case and after the last ---- */

static const char drivers[] = "/sys/bus/pci/drivers";
static const char noiommu_param[] =
	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/* Why there is no vfio-pci on GPU 1. */
static char no_vfio[PATH_MAX + 128];
static bool no_vfio_is_failure;
static bool noiommu_set;

static void without_vfio(bool failure, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void without_vfio(bool failure, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(no_vfio, sizeof(no_vfio), fmt, ap);
	va_end(ap);
	no_vfio_is_failure = failure;
}

/* 0, or an errno. */
static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

static const char *gpu_name(void)
{
	return strrchr(getenv("GPU1"), '/') + 1;
}

static const char *gpu_file(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", getenv("GPU1"), name);
	return path;
}

static bool is_bound(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/vfio-pci/%s", drivers, gpu_name());
	return !access(path, F_OK);
}

static int probe(void)
{
	return put("/sys/bus/pci/drivers_probe", gpu_name());
}

static void bind_vfio(void)
{
	char path[PATH_MAX];
	int err;

	if (!getenv("GPU1") || !strchr(getenv("GPU1"), '/')) {
		without_vfio(false, "no device memory: GPU1 is not set");
		return;
	}
	snprintf(path, sizeof(path), "%s/vfio-pci", drivers);
	if (access(path, F_OK)) {
		without_vfio(false, "the kernel has no vfio-pci");
		return;
	}
	if (access(gpu_file("iommu_group"), F_OK)) {
		err = put(noiommu_param, "Y");
		if (err) {
			without_vfio(false, "no IOMMU, and writing %s: %s",
				     noiommu_param, strerror(err));
			return;
		}
		noiommu_set = true;
	}
	err = put(gpu_file("driver_override"), "vfio-pci");
	if (!err)
		err = probe();
	if (err || !is_bound())
		without_vfio(true, "vfio-pci does not take %s: %s", gpu_name(),
			     err ? strerror(err) : "see dmesg");
}

/* kernel-modules/ see a mapping without pages, the series sees why. */
static int disabled_errno(void) { return getenv("STOCK_MODULES") ? EFAULT : EPERM; }

static bool memory_is_on(void)
{
	int fd = open(gpu_file("config"), O_RDONLY | O_CLOEXEC);
	uint16_t command = 0;

	if (fd < 0 || pread(fd, &command, 2, PCI_COMMAND) != 2)
		command = 0;
	close(fd);
	return command & PCI_COMMAND_MEMORY;
}

/* Later programs find the device as we did: with its memory on, and no driver. */
static void release_vfio(void)
{
	char path[PATH_MAX];

	if (!getenv("GPU1"))
		return;
	snprintf(path, sizeof(path), "%s/vfio-pci/unbind", drivers);
	if (is_bound())
		put(path, gpu_name());
	put(gpu_file("driver_override"), "\n");
	if (noiommu_set)
		put(noiommu_param, "N");
	if (!memory_is_on())
		put(gpu_file("enable"), "1");
}

/* ---- the device, in each case anew ---- */

struct vfio {
	int container, group, device;
	uint64_t config, bar, bar_size;	/* offsets in the device's file */
};

static uint64_t region(const struct vfio *v, unsigned int index, uint64_t *size)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = index,
	};

	if (ioctl(v->device, VFIO_DEVICE_GET_REGION_INFO, &info))
		fail("VFIO_DEVICE_GET_REGION_INFO of region %u: %s", index,
		     strerror(errno));
	if (size)
		*size = info.size;
	return info.offset;
}

static void set_memory(const struct vfio *v, bool on)
{
	off_t at = v->config + PCI_COMMAND;
	uint16_t command;

	if (pread(v->device, &command, 2, at) != 2)
		fail("reading PCI_COMMAND through vfio: %s", strerror(errno));
	command = on ? command | PCI_COMMAND_MEMORY :
		       command & ~PCI_COMMAND_MEMORY;
	if (pwrite(v->device, &command, 2, at) != 2)
		fail("writing PCI_COMMAND through vfio: %s", strerror(errno));
}

static int open_group(bool *noiommu)
{
	char link[PATH_MAX], path[PATH_MAX];
	ssize_t n = readlink(gpu_file("iommu_group"), link, sizeof(link) - 1);
	int fd;

	if (n < 0)
		fail("%s is bound to vfio-pci and in no IOMMU group", gpu_name());
	link[n] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s", strrchr(link, '/') + 1);
	*noiommu = !access(path, F_OK);
	if (!*noiommu)
		snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	return fd;
}

static struct vfio vfio_open(void)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	struct vfio v;
	bool noiommu;

	if (*no_vfio) {
		if (no_vfio_is_failure)
			fail("%s", no_vfio);
		skip("%s", no_vfio);
	}
	v.container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (v.container < 0)
		fail("open /dev/vfio/vfio: %s", strerror(errno));
	v.group = open_group(&noiommu);
	if (ioctl(v.group, VFIO_GROUP_GET_STATUS, &status) ||
	    !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		skip("the IOMMU group of %s has devices with other drivers",
		     gpu_name());
	if (ioctl(v.group, VFIO_GROUP_SET_CONTAINER, &v.container))
		fail("VFIO_GROUP_SET_CONTAINER: %s", strerror(errno));
	if (ioctl(v.container, VFIO_SET_IOMMU,
		  noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU)) {
		if (errno == EPERM && !noiommu)
			skip("this IOMMU does not remap interrupts, vfio insists on it");
		fail("VFIO_SET_IOMMU: %s", strerror(errno));
	}
	v.device = ioctl(v.group, VFIO_GROUP_GET_DEVICE_FD, gpu_name());
	if (v.device < 0)
		fail("VFIO_GROUP_GET_DEVICE_FD of %s: %s", gpu_name(),
		     strerror(errno));
	v.config = region(&v, VFIO_PCI_CONFIG_REGION_INDEX, NULL);
	v.bar = region(&v, VFIO_PCI_BAR2_REGION_INDEX, &v.bar_size);
	set_memory(&v, true);
	return v;
}

static void vfio_close(struct vfio *v)
{
	close(v->device);
	close(v->group);
	close(v->container);
}

static void *vfio_map(const struct vfio *v, uint64_t at, size_t len, int prot)
{
	void *p = mmap(NULL, len, prot, MAP_SHARED, v->device, v->bar + at);

	if (p == MAP_FAILED)
		fail("mmap of %zu bytes at 0x%" PRIx64 " of BAR 2 through vfio: %s",
		     len, at, strerror(errno));
	return p;
}

struct vfio_area {
	struct vfio vfio;
	uint64_t at;		/* in the BAR */
	uint8_t *addr;		/* the mapping that is registered */
	uint8_t *view;		/* another one, to look at the memory */
	struct ibv_mr *mr;
};

static struct vfio_area area_open(int slot)
{
	struct vfio_area a = { .vfio = vfio_open(), .at = VFIO_AT1 + slot * SLOT };

	a.addr = vfio_map(&a.vfio, a.at, SLOT, RW);
	a.view = vfio_map(&a.vfio, a.at, SLOT, RW);
	a.mr = reg(a.addr, SLOT, ACCESS_ALL);
	return a;
}

/* The MR, made before, reads and writes what is there now. */
static void area_works(const struct vfio_area *a, const char *what)
{
	exercise(a->mr, (uintptr_t)a->addr, LEN, a->view, what);
}

/* Let traffic end that may have failed, if it only does end. */
static enum ibv_wc_status traffic_settle(struct traffic *t)
{
	t->stop = true;
	pthread_join(t->thread, NULL);
	pair_close(&t->pair);
	mem_close(&t->host);
	return t->status;
}

static void nap(unsigned int ms)
{
	usleep(ms * 1000);
}

/* Nothing reaches the memory by the way that it had before. */
static void vfio_stays(const struct vfio_area *a)
{
	static uint8_t copy[LEN];

	memcpy(copy, a->view, LEN);
	nap(300);
	same_check(a->view, copy, LEN, "300 ms later");
}

/* ---- cases ---- */

static void run_bytes(const void *arg)
{
	struct vfio_area a = area_open(S_BYTES);

	(void)arg;
	exercise(a.mr, (uintptr_t)a.addr + 4095, LEN, a.view + 4095, "unaligned");
	area_works(&a, "aligned");
	expect(GPU1, "vfio", a.at, a.view, LEN + 4095);
	/* All of the BAR as one MR. */
	a.addr = vfio_map(&a.vfio, 0, a.vfio.bar_size, RW);
	a.mr = reg(a.addr, a.vfio.bar_size, ACCESS_ALL);
	exercise(a.mr, (uintptr_t)a.addr + a.at + 2 * LEN, LEN,
		 a.view + 2 * LEN, "MR of the whole BAR");
}

/* The mapping does not name the device. */
static void run_whose(const void *arg)
{
	struct vfio v = vfio_open();
	uint8_t *p = vfio_map(&v, VFIO_AT1 + LEN, LEN, RW);
	struct ibv_p2p_addr_attr attr;
	int err = ibv_p2p_query_addr(p + 5, &attr, sizeof(attr));

	(void)arg;
	if (err)
		fail("ibv_p2p_query_addr: %s", strerrorname_np(err));
	if (attr.kind != IBV_P2P_KIND_PCI_BAR || attr.bar != 2 ||
	    attr.offset != VFIO_AT1 + LEN + 5)
		fail("kind %u, BAR %u, offset %#" PRIx64, attr.kind, attr.bar,
		     attr.offset);
	if (attr.comp_mask & IBV_P2P_ADDR_PCI)
		fail("it is of '%s'", attr.pci_address);
	if (strcmp(attr.exporter, "vfio-pci"))
		fail("the exporter is '%s'", attr.exporter);
}

static void run_local(const void *arg)
{
	struct vfio_area a = area_open(S_LOCAL);
	struct mem buf = mem_open(HOST, 0, LEN);
	struct mem bar = { a.addr, SLOT, a.mr };
	uint64_t seed = seed_of(case_name());
	struct pair p;

	(void)arg;
	pair_open(&p, IBV_QPT_RC, 0);
	pattern_fill(buf.addr, LEN, seed, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&bar, 3, LEN), (uintptr_t)buf.addr,
		  buf.mr->rkey, IBV_WC_SUCCESS, "read into the BAR");
	pattern_check(a.view + 3, LEN, seed, 0, "read into the BAR");
	memset(buf.addr, 0, LEN);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&bar, 3, LEN), (uintptr_t)buf.addr,
		  buf.mr->rkey, IBV_WC_SUCCESS, "write from the BAR");
	pattern_check(buf.addr, LEN, seed, 0, "write from the BAR");
}

static void run_read_only(const void *arg)
{
	struct vfio v = vfio_open();
	uint64_t at = VFIO_AT1 + S_READ_ONLY * SLOT;
	uint8_t *p = vfio_map(&v, at, SLOT, PROT_READ);
	struct mem buf = mem_open(HOST, 0, LEN);
	struct pair pair;
	struct ibv_mr *mr;
	int err;

	(void)arg;
	if (try_reg(p, SLOT, ACCESS_ALL, &err) || err != EACCES)
		fail("a read-only mapping for writing: %s, expected EACCES",
		     strerror(err));
	mr = reg(p, SLOT, IBV_ACCESS_REMOTE_READ);
	pair_open(&pair, IBV_QPT_RC, 0);
	want_rdma(&pair, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)p,
		  mr->rkey, IBV_WC_SUCCESS, "read-only");
	pattern_check(buf.addr, LEN, gpu_seed(), at, "read");
}

/* How many page faults does it take to read a byte of each page? */
static long faults_to_read(const volatile uint8_t *addr, size_t len)
{
	struct rusage before, after;
	size_t i;

	getrusage(RUSAGE_THREAD, &before);
	for (i = 0; i < len; i += 4096)
		(void)addr[i];
	getrusage(RUSAGE_THREAD, &after);
	return after.ru_minflt - before.ru_minflt;
}

/* Nobody but the RDMA device ever touches the memory of the mapping. */
static void run_untouched(const void *arg)
{
	struct vfio_area a = area_open(S_UNTOUCHED);
	struct mem buf = mem_open(HOST, 0, LEN);
	uint64_t seed = seed_of(case_name());
	struct pair p;
	long faults;

	(void)arg;
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&buf, 0, LEN), (uintptr_t)a.addr,
		  a.mr->rkey, IBV_WC_SUCCESS, "untouched");
	pattern_check(buf.addr, LEN, gpu_seed(), a.at, "read");
	pattern_fill(buf.addr, LEN, seed, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, LEN),
		  (uintptr_t)a.addr + LEN, a.mr->rkey, IBV_WC_SUCCESS,
		  "untouched");
	faults = faults_to_read(a.addr, SLOT);
	if (faults < SLOT / 4096)
		fail("the CPU had pages of the mapping: %ld faults", faults);
	faults = faults_to_read(a.addr, SLOT);
	if (faults >= SLOT / 4096)
		fail("%ld faults, the second time too", faults);
	pattern_check(a.view + LEN, LEN, seed, 0, "written");
	expect(GPU1, case_name(), a.at + LEN, a.view + LEN, LEN);
}

struct kind_case {
	const char *name;
	enum traffic_kind kind;
	enum ibv_wc_status status;	/* while the memory is out of reach */
};

static const struct kind_case kinds[] = {
	{ "remote-written", REMOTE_WRITTEN, IBV_WC_REM_ACCESS_ERR },
	{ "remote-read", REMOTE_READ, IBV_WC_REM_ACCESS_ERR },
	{ "local-read", LOCAL_READ, IBV_WC_LOC_PROT_ERR },
};

static void run_disable(const void *arg)
{
	const struct kind_case *c = arg;
	struct vfio_area a = area_open(S_DISABLE + (c - kinds));
	struct traffic *t = traffic_start(c->kind, a.mr, a.addr, LEN);
	int err;

	traffic_flows(t);
	set_memory(&a.vfio, false);
	traffic_fails(t, c->status);
	if (try_reg(a.addr, SLOT, ACCESS_ALL, &err) || err != disabled_errno())
		fail("registration while the memory is disabled: %s",
		     strerror(err));
	/* That there is a new QP does not change it. */
	traffic_fails(traffic_start(c->kind, a.mr, a.addr, LEN), c->status);

	set_memory(&a.vfio, true);
	vfio_stays(&a);
	t = traffic_start(c->kind, a.mr, a.addr, LEN);
	traffic_flows(t);
	traffic_stop(t);
	area_works(&a, "after it was enabled again");
	expect(GPU1, case_name(), a.at, a.view, LEN);
}

/* Off and on in the middle of traffic: it fails or goes on, and ends. */
static void run_toggle(const void *arg)
{
	struct vfio_area a = area_open(S_TOGGLE);
	int i, toggles = 0, failed = 0, rounds = slow ? 4 : 16;
	struct traffic *t;

	(void)arg;
	for (i = 0; i < rounds; i++) {
		t = traffic_start(kinds[i % ARRAY_SIZE(kinds)].kind, a.mr,
				  a.addr, LEN);
		traffic_flows(t);
		do {
			set_memory(&a.vfio, false);
			if (i % 2)
				nap(i / 2);
			set_memory(&a.vfio, true);
			usleep(200);
		} while (++toggles % 8 && t->status == IBV_WC_SUCCESS);
		failed += traffic_settle(t) != IBV_WC_SUCCESS;
	}
	note("%d times off and on, traffic failed %d times", toggles, failed);
	vfio_stays(&a);
	area_works(&a, "after the last time");
}

static void run_reset(const void *arg)
{
	const struct kind_case *c = arg;
	struct vfio_area a = area_open(S_RESET + (c - kinds));
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct traffic *t;
	enum ibv_wc_status status;
	int i;

	if (ioctl(a.vfio.device, VFIO_DEVICE_GET_INFO, &info))
		fail("VFIO_DEVICE_GET_INFO: %s", strerror(errno));
	if (!(info.flags & VFIO_DEVICE_FLAGS_RESET))
		skip("vfio cannot reset %s", gpu_name());

	for (i = 0; i < 3; i++) {
		t = traffic_start(c->kind, a.mr, a.addr, LEN);
		traffic_flows(t);
		if (ioctl(a.vfio.device, VFIO_DEVICE_RESET))
			fail("VFIO_DEVICE_RESET: %s", strerror(errno));
		nap(i * 10);
		status = traffic_settle(t);
		note("reset %d: traffic ended with \"%s\"", i,
		     ibv_wc_status_str(status));
		/* A reset device may come back with its memory disabled. */
		set_memory(&a.vfio, true);
		area_works(&a, "after the reset");
	}
	vfio_stays(&a);
	t = traffic_start(c->kind, a.mr, a.addr, LEN);
	traffic_flows(t);
	traffic_stop(t);
	expect(GPU1, case_name(), a.at, a.view, LEN);
}

static int power_feature(const struct vfio *v, uint32_t feature)
{
	struct vfio_device_feature arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_FEATURE_SET | feature,
	};

	return ioctl(v->device, VFIO_DEVICE_FEATURE, &arg) ? errno : 0;
}

/* A device that its user has sent to sleep. */
static void run_power(const void *arg)
{
	struct vfio_area a = area_open(S_POWER);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);
	int err;

	(void)arg;
	traffic_flows(t);
	err = power_feature(&a.vfio, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
	if (err)
		skip("VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: %s", strerror(err));
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	if (try_reg(a.addr, SLOT, ACCESS_ALL, &err) || err != disabled_errno())
		fail("registration while the device sleeps: %s",
		     strerror(err));
	err = power_feature(&a.vfio, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
	if (err)
		fail("VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: %s", strerror(err));
	set_memory(&a.vfio, true);
	area_works(&a, "awake again");
}

/* The mapping keeps the device, and nothing else does: the MR does not. */
static void run_close(const void *arg)
{
	struct vfio_area a = area_open(S_CLOSE), b;
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);

	(void)arg;
	traffic_flows(t);
	vfio_close(&a.vfio);
	traffic_flows(t);
	unmap(a.addr, SLOT);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	vfio_stays(&a);
	unmap(a.view, SLOT);

	b = area_open(S_AGAIN);
	area_works(&b, "opened again");
	dereg(a.mr);
	area_works(&b, "after the old MR is gone");
}

struct unbind {
	pthread_t thread;
	atomic_bool done;
	int err;
};

static void *unbind_thread(void *arg)
{
	struct unbind *u = arg;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/vfio-pci/unbind", drivers);
	u->err = put(path, gpu_name());
	u->done = true;
	return NULL;
}

/* vfio waits for its user; an MR that still exists is none. */
static void run_unbind(const void *arg)
{
	struct vfio_area a = area_open(S_UNBIND);
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);
	struct unbind u = {};

	(void)arg;
	traffic_flows(t);
	if (pthread_create(&u.thread, NULL, unbind_thread, &u))
		fail("pthread_create failed");
	nap(300);
	if (u.done)
		fail("the driver is gone while the device is in use");
	traffic_flows(t);

	vfio_close(&a.vfio);
	unmap(a.view, SLOT);
	traffic_flows(t);
	unmap(a.addr, SLOT);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	pthread_join(u.thread, NULL);
	if (u.err || is_bound())
		fail("unbinding: %s", u.err ? strerror(u.err) : "still bound");

	/* Not that something else gets its address. */
	host_map_at(a.addr, SLOT, PROT_NONE);
	traffic_fails(traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN),
		      IBV_WC_REM_ACCESS_ERR);
	dereg(a.mr);
}

/* The device as it is with no driver, through the file of its BAR. */
static void run_after(const void *arg)
{
	uint64_t at = VFIO_AT1 + S_AFTER * SLOT;
	struct ibv_mr *mr;
	uint8_t *p;

	(void)arg;
	if (*no_vfio && !no_vfio_is_failure)
		skip("%s", no_vfio);
	if (is_bound())
		fail("%s is still bound to vfio-pci", gpu_name());
	if (!memory_is_on())
		fail("the memory of %s is disabled", gpu_name());
	p = gpu_map(GPU1, at, SLOT);
	mr = reg(p, SLOT, ACCESS_ALL);
	exercise(mr, (uintptr_t)p, LEN, p, "without vfio");
	expect(GPU1, case_name(), at, p, LEN);
}

static void run_rebind(const void *arg)
{
	struct vfio_area a;
	int err;

	(void)arg;
	if (!*no_vfio && !is_bound()) {
		err = probe();
		if (err || !is_bound())
			fail("vfio-pci does not take %s again: %s", gpu_name(),
			     err ? strerror(err) : "see dmesg");
	}
	a = area_open(S_REBIND);
	area_works(&a, "bound again");
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	bind_vfio();
	run_case(run_bytes, NULL, "bytes");
	run_case(run_whose, NULL, "whose");
	run_case(run_local, NULL, "local-side");
	run_case(run_read_only, NULL, "read-only");
	run_case(run_untouched, NULL, "untouched");
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		run_case(run_disable, &kinds[i], "memory-disabled/%s",
			 kinds[i].name);
	run_case(run_toggle, NULL, "memory-disabled/in-traffic");
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		run_case(run_reset, &kinds[i], "reset/%s", kinds[i].name);
	run_case(run_power, NULL, "low-power");
	run_case(run_close, NULL, "close");
	run_case(run_unbind, NULL, "unbind");
	run_case(run_rebind, NULL, "bind-again");
	release_vfio();
	run_case(run_after, NULL, "driver-is-gone");
	return test_done();
}
