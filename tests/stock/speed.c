// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * speed again N: nanoseconds from posting a write of 8 bytes to its completion, after the
 * mapping of its MR of 1 MiB of a BAR has become another part of it; the median of N.
 * With kernel-modules/ and with the series alike.
 */
#include "../verbs/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 1000 };

static double again(unsigned int n)
{
	uint8_t *p = gpu_map(GPU0, DMAE_AT, MIB(1));
	struct mem host = mem_open(HOST, 0, 4096);
	struct ibv_mr *mr = reg(p, MIB(1), ACCESS_ALL);
	double took[MOST], began;
	struct pair pair;
	unsigned int i;

	pair_open(&pair, IBV_QPT_RC, 0);
	for (i = 0; i < n; i++) {
		gpu_map_at(GPU0, p, DMAE_AT + i % 2 * MIB(1), MIB(1), PROT_READ | PROT_WRITE);
		began = now();
		want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&host, 0, 8), (uintptr_t)p, mr->rkey,
			  IBV_WC_SUCCESS, "after it was invalidated");
		took[i] = now() - began;
	}
	return median(took, n) * 1e9;
}

int main(int argc, char **argv)
{
	unsigned int n = argc == 3 ? strtoul(argv[2], NULL, 0) : 0;

	if (argc != 3 || strcmp(argv[1], "again") || !n || n > MOST) {
		fprintf(stderr, "usage: speed again N, at most %d\n", MOST);
		return 2;
	}
	test_init(0, NULL);
	dev_open(dev_name());
	printf("%.0f\n", again(n));
	return 0;
}
