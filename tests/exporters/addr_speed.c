// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What ibv_p2p_query_addr() costs in a process with many mappings: nanoseconds a call. */
#include "../verbs/common.h"

#include <infiniband/verbs_p2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, CALLS = 1000 };

int main(int argc, char **argv)
{
	size_t mappings = argc == 2 ? strtoul(argv[1], NULL, 0) : 0, i;
	struct ibv_p2p_addr_attr attr;
	uint8_t *p, *bar;
	double began;

	if (!mappings) {
		fprintf(stderr, "usage: addr-speed MAPPINGS\n");
		return 2;
	}
	test_init(0, NULL);
	/* Two next to each other with the same rights would be one. */
	p = host_map(mappings * PAGE);
	for (i = 0; i < mappings; i += 2)
		protect(p + i * PAGE, PAGE, PROT_READ);
	/* Below the others or above them. */
	bar = gpu_map(GPU0, 0, PAGE);
	began = now();
	for (i = 0; i < CALLS; i++)
		if (ibv_p2p_query_addr(i % 2 ? bar : p + (mappings - 1) * PAGE, &attr,
				       sizeof(attr)))
			fail("ibv_p2p_query_addr failed");
	printf("%.0f\n", (now() - began) * 1e9 / CALLS);
	return 0;
}
