// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Messages in pieces: lists of SGEs that mix host memory and the memory of two
 * devices, each with an MR of its own.
 */
#include "common.h"

enum { LOCAL_AT = SGES_AT, REMOTE_AT = SGES_AT + MIB(1) };
enum { MEM_LEN = KIB(64) };
enum { SGES = 3, SGE_LEN = 3001 };

static const struct mix {
	const char *name;
	enum ibv_wr_opcode opcode;
	int from[SGES], to[SGES];
} mixes[] = {
	{ "send", IBV_WR_SEND, { HOST, GPU0, GPU1 }, { GPU1, HOST, GPU0 } },
	{ "send", IBV_WR_SEND, { GPU0, HOST, GPU1 }, { HOST, GPU0, HOST } },
	{ "write", IBV_WR_RDMA_WRITE, { HOST, GPU0, GPU1 }, { GPU0 } },
	{ "write", IBV_WR_RDMA_WRITE, { GPU1, GPU0, HOST }, { HOST } },
	{ "read", IBV_WR_RDMA_READ, { GPU0, HOST, GPU1 }, { GPU1 } },
	{ "read", IBV_WR_RDMA_READ, { HOST, GPU1, GPU0 }, { HOST } },
};

static void open_sges(const int *where, int n, uint64_t at, struct mem *mem,
		      struct ibv_sge *sges)
{
	int i;

	for (i = 0; i < n; i++) {
		mem[i] = mem_open(where[i], at + i * MEM_LEN, MEM_LEN);
		memset(mem[i].addr, 0xee, MEM_LEN);
		sges[i] = sge(&mem[i], 4000 + i, SGE_LEN);
	}
}

static void each_sge(const struct ibv_sge *sges, bool fill_it, const char *what)
{
	uint64_t seed = seed_of(case_name());
	size_t at = 0;
	int i;

	for (i = 0; i < SGES; i++) {
		void *p = (void *)(uintptr_t)sges[i].addr;

		if (fill_it)
			pattern_fill(p, SGE_LEN, seed, at);
		else
			pattern_check(p, SGE_LEN, seed, at, what);
		at += SGE_LEN;
	}
}

static void run_mix_send(const struct mix *mix)
{
	struct mem from[SGES], to[SGES];
	struct ibv_sge fs[SGES], ts[SGES];
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_SEND, .sg_list = fs, .num_sge = SGES,
	};
	struct pair p;

	open_sges(mix->from, SGES, LOCAL_AT, from, fs);
	open_sges(mix->to, SGES, REMOTE_AT, to, ts);
	pair_open(&p, IBV_QPT_RC, 0);
	each_sge(fs, true, NULL);
	post_recv(&p, ts, SGES);
	post(p.qp[0], &wr);
	want_wc(p.cq[0], 0, IBV_WC_SUCCESS, "send");
	want_wc(p.cq[1], 0, IBV_WC_SUCCESS, "receive");
	each_sge(ts, false, "received");
}

static void run_mix_rdma(const struct mix *mix)
{
	uint64_t seed = seed_of(case_name());
	struct mem local[SGES], remote;
	struct ibv_sge sges[SGES], rs;
	struct ibv_send_wr wr = {
		.opcode = mix->opcode, .sg_list = sges, .num_sge = SGES,
	};
	struct pair p;

	open_sges(mix->from, SGES, LOCAL_AT, local, sges);
	open_sges(mix->to, 1, REMOTE_AT, &remote, &rs);
	wr.wr.rdma.remote_addr = rs.addr;
	wr.wr.rdma.rkey = remote.mr->rkey;
	pair_open(&p, IBV_QPT_RC, 0);
	if (mix->opcode == IBV_WR_RDMA_READ)
		pattern_fill((void *)(uintptr_t)rs.addr, SGES * SGE_LEN, seed, 0);
	else
		each_sge(sges, true, NULL);
	post(p.qp[0], &wr);
	want_wc(p.cq[0], 0, IBV_WC_SUCCESS, mix->name);
	if (mix->opcode == IBV_WR_RDMA_READ)
		each_sge(sges, false, "read");
	else
		pattern_check((void *)(uintptr_t)rs.addr, SGES * SGE_LEN, seed,
			      0, "written");
}

static void run_mix(const void *arg)
{
	const struct mix *mix = arg;

	if (mix->opcode == IBV_WR_SEND)
		run_mix_send(mix);
	else
		run_mix_rdma(mix);
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(mixes); i++)
		run_case(run_mix, &mixes[i], "%s/%zu", mixes[i].name, i);
	return test_done();
}
