// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Writes and reads from the memory of one GPU to that of the other, and nothing
 * else, for who looks on from outside at what the engine copies: $OUT/proof
 * gets lines "gpu0|gpu1 START END" with the addresses of the two BARs, and
 * "gpu0-to-gpu1 BYTES" for how much has to have gone there.
 */
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEN = MIB(1) - 7, ROUNDS = 16 };

static void run_proof(const void *arg)
{
	struct mem from = mem_open(GPU0, DMAE_AT, MIB(1));
	struct mem to = mem_open(GPU1, DMAE_AT1, MIB(1));
	const char *out = getenv("OUT");
	uint64_t seed = seed_of(case_name());
	struct ibv_sge back = sge(&from, 5, LEN);
	char path[256];
	struct pair p;
	FILE *f;
	int i;

	(void)arg;
	pair_open(&p, IBV_QPT_RC, 0);
	pattern_fill(from.addr, from.len, seed, 0);
	for (i = 0; i < ROUNDS; i++)
		want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&from, 1, LEN),
			  (uintptr_t)to.addr + 3, to.mr->rkey, IBV_WC_SUCCESS,
			  "from GPU 0 to GPU 1");
	same_check(to.addr + 3, from.addr + 1, LEN, "written");
	for (i = 0; i < ROUNDS; i++)
		want_rdma(&p, IBV_WR_RDMA_READ, back, (uintptr_t)to.addr + 3,
			  to.mr->rkey, IBV_WC_SUCCESS, "from GPU 1 to GPU 0");
	same_check(from.addr + 5, to.addr + 3, LEN, "read");
	expect(GPU1, case_name(), DMAE_AT1 + 3, to.addr + 3, LEN);

	snprintf(path, sizeof(path), "%s/proof", out ? out : "/tmp");
	f = fopen(path, "w");
	if (!f)
		fail("open %s: %s", path, strerror(errno));
	for (i = 0; i < 2; i++)
		fprintf(f, "gpu%d %" PRIu64 " %" PRIu64 "\n", i, bar_address(i),
			bar_address(i) + gpu_size(i));
	fprintf(f, "gpu0-to-gpu1 %zu\ngpu1-to-gpu0 %zu\n",
		(size_t)ROUNDS * LEN, (size_t)ROUNDS * LEN);
	fclose(f);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_proof, NULL, "gpu-to-gpu");
	return test_done();
}
