// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the speed of dmae is compared with, and the size of its tables.
 */
#include "engine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void usage(void)
{
	fprintf(stderr,
		"usage: speed engine SIZE N   rate of N moves from GPU 0 to GPU 1 by the engine\n"
		"                             alone, in MB/s as perftest has them, of 2^20 bytes\n"
		"       speed entries SIZE    table entries of an MR over the start of GPU 0\n");
	exit(2);
}

/* The driver waits for the end of each by polling: less is not to be had. */
static double engine_rate(size_t size, unsigned int n)
{
	uint8_t *from = gpu_map(GPU0, DMAE_AT, size);
	uint8_t *to = gpu_map(GPU1, DMAE_AT1, size);
	int fd = engine_debug_open("raw_move", O_WRONLY);
	char line[64];
	unsigned int i;
	double start;
	int len;

	pattern_fill(from, size, seed_of("speed"), 0);
	memset(to, 0, size);
	len = snprintf(line, sizeof(line), "%" PRIx64 " %" PRIx64 " %zx\n",
		       bar_address(GPU0) + DMAE_AT,
		       bar_address(GPU1) + DMAE_AT1, size);
	start = now();
	for (i = 0; i < n; i++)
		if (write(fd, line, len) != len)
			fail("raw_move: %s", strerror(errno));
	start = now() - start;
	same_check(to, from, size, "moved");
	close(fd);
	return (double)size * n / MIB(1) / start;
}

static unsigned int table_entries(size_t size)
{
	struct ibv_mr *mr;
	unsigned int n;

	dev_open(dev_name());
	mr = reg(gpu_map(GPU0, 0, size), size, ACCESS_ALL);
	n = mr_entries(mr);
	dereg(mr);
	if (!n)
		fail("nothing of the MR is in the table");
	return n;
}

int main(int argc, char **argv)
{
	size_t size = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	unsigned int n = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;

	test_init(0, NULL);
	if (argc == 4 && !strcmp(argv[1], "engine") && size && n)
		printf("%.2f\n", engine_rate(size, n));
	else if (argc == 3 && !strcmp(argv[1], "entries") && size)
		printf("%u\n", table_entries(size));
	else
		usage();
	return 0;
}
