// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the place of the engine and the GPUs, and the IOMMU, make of an MR over
 * device memory: whether it can be registered, the address that the engine has
 * for it, and the bytes. WANT_* say what the machine is to be, see
 * tests/vm/lib/dmae.sh.
 */
#include "engine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LEN = KIB(192), AT = DMAE_AT };

static const char *wanted(const char *name)
{
	const char *value = getenv(name);

	if (!value || !*value)
		fail("%s is not set", name);
	return value;
}

static void want_same(const char *what, const char *got, const char *want)
{
	if (strcmp(got, want))
		fail("%s is %s, expected %s", what, got, want);
}

/*
 * "switch" when they have a port in common, or "root-ports" of one host
 * bridge, or "host-bridges". A path is /sys/devices/pci0000:00/0000:00:04.0/...
 */
static const char *common_part(const char *engine, const char *gpu)
{
	const char *names[] = { "host-bridges", "root-ports", "switch" };
	char a[PATH_MAX], b[PATH_MAX];
	int slashes = -3;
	size_t i;

	if (!realpath(engine, a) || !realpath(gpu, b))
		fail("realpath: %s", strerror(errno));
	for (i = 0; a[i] && a[i] == b[i]; i++)
		slashes += a[i] == '/';
	if (slashes < 0 || slashes > 3)
		fail("what have %s and %s in common?", a, b);
	return names[slashes > 2 ? 2 : slashes];
}

/* The machine is the one that it is said to be. */
static void run_machine(const void *arg)
{
	(void)arg;
	want_same("what engine and GPU have in common",
		  common_part(engine_path(), gpu_path(GPU0)),
		  wanted("WANT_COMMON"));
	want_same("the engine's IOMMU domain", engine_domain(),
		  wanted("WANT_DOMAIN"));
	want_same("the GPU's BAR is in", bar_address(GPU0) >> 32 ? "high" : "low",
		  wanted("WANT_BAR"));
}

static bool refused(void)
{
	return !strcmp(wanted("WANT_ADDRESS"), "EREMOTEIO");
}

static void want_address(const struct ibv_mr *mr, const uint8_t *p, int gpu,
			 uint64_t at)
{
	const bool physical = !strcmp(wanted("WANT_ADDRESS"), "physical");
	uint64_t got = mr_address(mr, (uintptr_t)p);

	if (physical != (got == bar_address(gpu) + at))
		fail("the engine has 0x%" PRIx64 " for 0x%" PRIx64
		     ", which should%s be the same", got, bar_address(gpu) + at,
		     physical ? "" : " not");
	if (got >> 32)
		fail("the engine, which knows 32 bits, has 0x%" PRIx64, got);
	note("GPU%d's 0x%" PRIx64 " is 0x%" PRIx64 " for the engine", gpu,
	     bar_address(gpu) + at, got);
}

static void run_register(const void *arg)
{
	const int gpu = *(const int *)arg;
	const uint64_t at = gpu == GPU0 ? AT : DMAE_AT1;
	uint8_t *p = gpu_map(gpu, at, LEN);
	struct ibv_mr *mr;
	int err;

	if (refused()) {
		mr = try_reg(p, LEN, ACCESS_ALL, &err);
		if (mr || err != EREMOTEIO)
			fail("ibv_reg_mr: %s, expected EREMOTEIO",
			     mr ? "success" : strerrorname_np(err));
		/* Which dmae has with the series only. */
		mr = try_reg(p, LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND, &err);
		if (mr || err != (getenv("STOCK_MODULES") ? EOPNOTSUPP : EREMOTEIO))
			fail("ibv_reg_mr on demand: %s, expected EREMOTEIO",
			     mr ? "success" : strerrorname_np(err));
		return;
	}
	mr = reg(p, LEN, ACCESS_ALL);
	exercise(mr, (uintptr_t)p + 77, LEN - 77, p + 77, "device memory");
	want_address(mr, p, gpu, at);
	expect(gpu, case_name(), at, p, LEN);
}

/* Also where there is no way to the GPU. */
static void run_host(const void *arg)
{
	struct mem mem = mem_open(HOST, 0, LEN);

	(void)arg;
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "host memory");
}

static void run_between(const void *arg)
{
	struct mem from, to;
	struct pair p;

	(void)arg;
	if (refused())
		skip("no path to the GPUs on this machine");
	from = mem_open(GPU0, AT + LEN, LEN);
	to = mem_open(GPU1, DMAE_AT1 + LEN, LEN);
	pattern_fill(from.addr, LEN, seed_of(case_name()), 0);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&from, 3, LEN - 5),
		  (uintptr_t)to.addr + 1, to.mr->rkey, IBV_WC_SUCCESS,
		  "from GPU 0 to GPU 1");
	same_check(to.addr + 1, from.addr + 3, LEN - 5, "written");
	memset(from.addr, 0, LEN);
	want_rdma(&p, IBV_WR_RDMA_READ, sge(&from, 3, LEN - 5),
		  (uintptr_t)to.addr + 1, to.mr->rkey, IBV_WC_SUCCESS,
		  "from GPU 1 to GPU 0");
	same_check(from.addr + 3, to.addr + 1, LEN - 5, "read");
	expect(GPU1, case_name(), DMAE_AT1 + LEN, to.addr, LEN);
}

/* ---- ACS of the engine's port, which PCI looks at in each registration ---- */

static int port_open(void)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/../config", engine_path());
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	return fd;
}

/* Where the control register is, or 0. */
static int acs_control(int fd)
{
	uint32_t header;
	int at = PCI_CFG_SPACE_SIZE;

	while (at >= PCI_CFG_SPACE_SIZE && pread(fd, &header, 4, at) == 4) {
		if (PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_ACS)
			return at + PCI_ACS_CTRL;
		at = PCI_EXT_CAP_NEXT(header);
	}
	return 0;
}

static void acs_redirect(bool on)
{
	const uint16_t redirect = PCI_ACS_RR | PCI_ACS_CR;
	int fd = port_open(), at = acs_control(fd);
	uint16_t control;

	if (!at)
		skip("the engine's port has no ACS");
	if (pread(fd, &control, 2, at) != 2)
		fail("cannot read ACS control: %s", strerror(errno));
	control = on ? control | redirect : control & ~redirect;
	if (pwrite(fd, &control, 2, at) != 2)
		fail("cannot write ACS control: %s", strerror(errno));
	close(fd);
}

/*
 * With redirection the path is through the host bridge, which only some CPUs
 * are known to forward for. For machines with a switch.
 */
static void run_acs(const void *arg)
{
	const bool listed = !strcmp(wanted("WANT_LISTED"), "yes");
	uint8_t *p = gpu_map(GPU0, AT + 2 * LEN, LEN);
	struct ibv_mr *mr;
	int i, err;

	(void)arg;
	for (i = 0; i < 5; i++) {
		acs_redirect(i % 2);
		mr = try_reg(p, LEN, ACCESS_ALL, &err);
		if (i % 2 && !listed) {
			if (mr || err != EREMOTEIO)
				fail("redirected: %s, expected EREMOTEIO",
				     mr ? "success" : strerrorname_np(err));
			continue;
		}
		if (!mr)
			fail("ACS redirect %d: %s", i % 2, strerrorname_np(err));
		exercise(mr, (uintptr_t)p, LEN, p, i % 2 ? "redirected" : "direct");
		dereg(mr);
	}
}

/* rxe has the same interface, and so the same MAC address to make one of. */
static void run_guid(const void *arg)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	const __be64 ours = ibv_get_device_guid(dev.ctx->device);
	int i, others = 0;

	(void)arg;
	if (!ours)
		fail("it is 0");
	for (i = 0; list && list[i]; i++) {
		if (!strcmp(ibv_get_device_name(list[i]), dev_name()))
			continue;
		others++;
		if (ibv_get_device_guid(list[i]) == ours)
			fail("%s has the same", ibv_get_device_name(list[i]));
	}
	ibv_free_device_list(list);
	if (!others)
		skip("there is no other RDMA device");
}

int main(int argc, char **argv)
{
	const int gpus[] = { GPU0, GPU1 };

	test_init(argc, argv);
	run_case(run_machine, NULL, "machine");
	run_case(run_guid, NULL, "guid");
	run_case(run_host, NULL, "host-memory");
	run_case(run_register, &gpus[0], "gpu0");
	run_case(run_register, &gpus[1], "gpu1");
	run_case(run_between, NULL, "gpu-to-gpu");
	if (!strcmp(wanted("WANT_COMMON"), "switch") &&
	    !strcmp(wanted("WANT_DOMAIN"), "none"))
		run_case(run_acs, NULL, "acs");
	return test_done();
}
