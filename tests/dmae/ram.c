// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Memory of the host that is too high for the engine, and that no IOMMU maps
 * lower: it is refused, or comes out right. A bounce buffer of the DMA API would
 * swallow what is transferred.
 */
#include "engine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

enum { LEN = KIB(256), PAGE = 4096 };

static uint64_t physical(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)p / PAGE * 8) != 8)
		fail("/proc/self/pagemap: %s", strerror(errno));
	close(fd);
	return (entry & (((uint64_t)1 << 55) - 1)) * PAGE;
}

/* Memory with a page above 4 GiB; the kernel gives such memory away first. */
static uint8_t *high_memory(void)
{
	uint8_t *p;
	size_t at;
	int i;

	for (i = 0; i < 64; i++) {
		p = host_map(LEN);
		memset(p, 0xee, LEN);
		for (at = 0; at < LEN; at += PAGE)
			if (physical(p + at) >> 32)
				return p;
	}
	fail("all the memory is below 4 GiB: not the machine for this test");
}

static void run_ram(const void *arg)
{
	int access = *(const int *)arg, err, i;
	uint8_t *p = high_memory();
	struct ibv_mr *mr = try_reg(p, LEN, access, &err);
	struct ibv_sge in = { .addr = (uintptr_t)p, .length = LEN / 2 };
	enum ibv_wc_status status;
	struct pair pair;

	if (!mr) {
		note("refused: %s", strerrorname_np(err));
		return;
	}
	/* To itself, as there may be no other memory. */
	in.lkey = mr->lkey;
	for (i = 0; i < 2; i++) {
		pattern_fill(p, LEN / 2, seed_of(case_name()) + i, 0);
		pair_open(&pair, IBV_QPT_RC, 0);
		status = rdma(&pair, IBV_WR_RDMA_WRITE, in,
			      (uintptr_t)p + LEN / 2, mr->rkey);
		pair_close(&pair);
		if (status) {
			note("an access fails: %s", ibv_wc_status_str(status));
			return;
		}
		pattern_check(p + LEN / 2, LEN / 2, seed_of(case_name()) + i, 0,
			      "said to be written");
	}
}

int main(int argc, char **argv)
{
	const int plain = ACCESS_ALL, odp = ACCESS_ALL | IBV_ACCESS_ON_DEMAND;

	test_init(argc, argv);
	run_case(run_ram, &plain, "plain");
	run_case(run_ram, &odp, "on-demand");
	return test_done();
}
