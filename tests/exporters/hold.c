// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * hold [moves | many]: for others to look at, a process with an MR of memory of GPU 0,
 * whose address it prints, and one of the host's. With moves, the former is mapped anew
 * and used some hundred times a second; with many, there are MANY more of its
 * pages. Until it is killed.
 */
#include "../verbs/traffic.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MANY = 1000, PAGE = 4096, LEN = KIB(64), AT = MIB(2) };
enum { PAUSE = 1000 };		/* microseconds */

static void move(const struct mem *host, const struct mem *device, struct pair *pair)
{
	gpu_map_at(GPU0, device->addr, AT, LEN, PROT_READ | PROT_WRITE);
	want_rdma(pair, IBV_WR_RDMA_READ, sge(host, 0, LEN), (uintptr_t)device->addr,
		  device->mr->rkey, IBV_WC_SUCCESS, "out of the BAR");
	usleep(PAUSE);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct mem device, host;
	struct pair pair;
	int i;

	test_init(0, NULL);
	dev_open(dev_name());
	device = mem_open(GPU0, AT, LEN);
	host = mem_open(HOST, 0, LEN);
	for (i = 0; i < MANY && !strcmp(what, "many"); i++)
		reg(device.addr + i * PAGE % LEN, PAGE, ACCESS_ALL);
	printf("%p\n", (void *)device.addr);
	fflush(stdout);
	if (strcmp(what, "moves"))
		for (;;)
			pause();
	pair_open(&pair, IBV_QPT_RC, 0);
	for (;;)
		move(&host, &device, &pair);
}
