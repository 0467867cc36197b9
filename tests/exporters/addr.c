// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* ibv_p2p_query_addr() on device memory: whose it is, and where in it. */
#include "buffer.h"
#include "display.h"

#include <fcntl.h>
#include <infiniband/verbs_p2p.h>
#include <libgen.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = KIB(64), AT = MIB(3), IN = 4096 + 17 };
enum { BAR = IBV_P2P_ADDR_OFFSET | IBV_P2P_ADDR_PCI | IBV_P2P_ADDR_BAR };

static struct ibv_p2p_addr_attr query(const uint8_t *addr, uint32_t kind)
{
	struct ibv_p2p_addr_attr attr;
	int err = ibv_p2p_query_addr(addr, &attr, sizeof(attr));

	if (err)
		fail("ibv_p2p_query_addr: %s", strerrorname_np(err));
	if (attr.kind != kind)
		fail("it is of kind %u, expected %u", attr.kind, kind);
	if (attr.map_prot != (PROT_READ | PROT_WRITE))
		fail("protection %#x, expected read and write", attr.map_prot);
	return attr;
}

static void want_name(const char *what, const char *got, const char *want)
{
	if (strcmp(got, want))
		fail("%s is '%s', expected '%s'", what, got, want);
}

static void want_bar(const uint8_t *p, size_t len, int gpu)
{
	struct ibv_p2p_addr_attr attr = query(p + IN, IBV_P2P_KIND_PCI_BAR);
	char path[256];

	if ((attr.comp_mask & BAR) != BAR)
		fail("comp_mask %#x", attr.comp_mask);
	if (attr.map_addr != (uintptr_t)p || attr.map_length != len)
		fail("a mapping of %#llx bytes at %#llx",
		     (unsigned long long)attr.map_length,
		     (unsigned long long)attr.map_addr);
	if (attr.bar != 2 || attr.offset != AT + IN)
		fail("BAR %u, offset %#llx", attr.bar,
		     (unsigned long long)attr.offset);
	snprintf(path, sizeof(path), "%s", gpu_path(gpu));
	want_name("the PCI address", attr.pci_address, basename(path));
}

static void run_sysfs(const void *arg)
{
	int gpu = *(const int *)arg;
	uint8_t *p = gpu_map(gpu, AT, LEN);

	want_bar(p, LEN, gpu);
	/* Two mappings next to each other are two. */
	unmap(p + LEN / 2, LEN / 2);
	want_bar(p, LEN / 2, gpu);
	if (ibv_p2p_query_addr(p + LEN / 2, &(struct ibv_p2p_addr_attr){},
			       sizeof(struct ibv_p2p_addr_attr)) != EFAULT)
		fail("something is where nothing is mapped");
}

static void run_procfs(const void *arg)
{
	int gpu = *(const int *)arg;

	want_bar(gpu_map_procfs(gpu, AT, LEN), LEN, gpu);
}

static void run_drm(const void *arg)
{
	const struct gpu *gpu = arg;
	struct display d = display_open(gpu);
	struct vram v = vram_open(&d, LEN);
	struct ibv_p2p_addr_attr attr = query(v.addr + IN, IBV_P2P_KIND_DRM);

	want_name("the exporter", attr.exporter, gpu->driver);
	want_name("the PCI address", attr.pci_address, basename(d.pci));
	vram_close(&d, &v);
	display_close(&d);
}

static void run_sample(const void *arg)
{
	struct ibv_p2p_addr_attr attr;
	struct buffer b;

	(void)arg;
	sample_need();
	b = buffer_open(LEN);
	attr = query(b.addr + IN, IBV_P2P_KIND_DEVICE);
	if (!(attr.comp_mask & IBV_P2P_ADDR_EXPORTER))
		fail("no exporter");
	note("%s", attr.exporter);
	buffer_close(&b);
}

static void run_dmabuf(const void *arg)
{
	int memfd = memfd_create("x", MFD_ALLOW_SEALING);
	struct udmabuf_create create = { .memfd = memfd, .size = LEN };
	int dev_fd = open("/dev/udmabuf", O_RDWR), fd;
	struct ibv_p2p_addr_attr attr;
	uint8_t *p;

	(void)arg;
	if (dev_fd < 0)
		skip("/dev/udmabuf: %s", strerror(errno));
	if (ftruncate(memfd, LEN) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		fail("memfd: %s", strerror(errno));
	fd = ioctl(dev_fd, UDMABUF_CREATE, &create);
	if (fd < 0)
		fail("UDMABUF_CREATE: %s", strerror(errno));
	p = mmap(NULL, LEN / 2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, LEN / 2);
	if (p == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	attr = query(p + IN, IBV_P2P_KIND_DMABUF);
	if (!(attr.comp_mask & IBV_P2P_ADDR_OFFSET) || attr.offset != LEN / 2 + IN)
		fail("offset %#llx", (unsigned long long)attr.offset);
}

int main(int argc, char **argv)
{
	static const int gpus[] = { GPU0, GPU1 };
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(gpus); i++) {
		run_case(run_sysfs, &gpus[i], "sysfs/%zu", i);
		run_case(run_procfs, &gpus[i], "procfs/%zu", i);
	}
	run_case(run_drm, &bochs, "%s", bochs.driver);
	run_case(run_drm, &qxl, "%s", qxl.driver);
	run_case(run_dmabuf, NULL, "dmabuf");
	sample_load();
	run_case(run_sample, NULL, "p2p_sample");
	sample_unload();
	return test_done();
}
