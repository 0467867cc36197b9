// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * libibverbs-ext on a kernel that knows nothing of device memory: what it can tell it
 * tells, and it says no to the rest.
 */
#include "../verbs/common.h"

#include <errno.h>
#include <infiniband/verbs_p2p.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

enum { LEN = KIB(64), AT = MIB(2) };

static void want_errno(int got, int want, const char *what)
{
	if (got != want)
		fail("%s: %s, expected %s", what, got ? strerrorname_np(got) : "success",
		     strerrorname_np(want));
}

static void run_mr(const void *arg)
{
	uint8_t *p = host_map(LEN);
	struct ibv_p2p_mr_attr attr;
	struct ibv_p2p_mr_range range;
	struct ibv_mr *mr = reg(p, LEN, IBV_ACCESS_LOCAL_WRITE);
	uint32_t nr;

	(void)arg;
	want_errno(ibv_p2p_query_mr(mr, &attr, sizeof(attr)), EOPNOTSUPP, "an MR");
	want_errno(ibv_p2p_query_mr_ranges(mr, 0, &range, 1, &nr), EOPNOTSUPP, "its ranges");
	dereg(mr);
}

static void run_device(const void *arg)
{
	struct ibv_p2p_device_attr attr;
	enum ibv_p2p_via via;
	char gpu[256];

	(void)arg;
	if (ibv_p2p_query_device(dev.ctx, &attr, sizeof(attr)))
		fail("ibv_p2p_query_device failed");
	if (attr.ways || !strstr(attr.about[0], "series"))
		fail("ways %#x: %s", attr.ways, attr.about[0]);
	snprintf(gpu, sizeof(gpu), "%s", gpu_path(GPU0));
	want_errno(ibv_p2p_query_path(dev.ctx, basename(gpu), &via), EOPNOTSUPP, "a path");
}

static void run_bar(const void *arg)
{
	struct ibv_p2p_reg_attr want = { .flags = IBV_P2P_REG_PREFAULT };
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	struct ibv_p2p_addr_attr at;

	(void)arg;
	if (ibv_p2p_query_addr(p, &at, sizeof(at)) || at.kind != IBV_P2P_KIND_PCI_BAR ||
	    at.offset != AT)
		fail("a BAR is of kind %u", at.kind);
	if (ibv_p2p_reg_mr(dev.pd, p, LEN, (uintptr_t)p, ACCESS_ALL, &want, sizeof(want)))
		fail("a BAR was registered");
	want_errno(errno, EFAULT, "a BAR");
	want.ways = IBV_P2P_WAY_KERNEL;
	if (ibv_p2p_reg_mr(dev.pd, p, LEN, (uintptr_t)p, ACCESS_ALL, &want, sizeof(want)))
		fail("a BAR was registered by the kernel");
	want_errno(errno, EOPNOTSUPP, "a BAR, by the kernel");
}

static void run_host(const void *arg)
{
	uint8_t *p = host_map(LEN);
	struct ibv_p2p_path_attr path;
	struct ibv_mr *mr;

	(void)arg;
	mr = ibv_p2p_reg_mr(dev.pd, p, LEN, (uintptr_t)p, ACCESS_ALL, NULL, 0);
	if (!mr)
		fail("ibv_p2p_reg_mr: %s", strerrorname_np(errno));
	if (ibv_p2p_test_path(mr, p, LEN, 0, &path, sizeof(path)) ||
	    path.status != IBV_P2P_PATH_WORKS)
		fail("memory of the host: status %u, way %u", path.status, path.way);
	dereg(mr);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_mr, NULL, "mr");
	run_case(run_device, NULL, "device");
	run_case(run_bar, NULL, "bar");
	run_case(run_host, NULL, "host");
	return test_done();
}
