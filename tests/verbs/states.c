// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A QP that was reset is in the reset state, whatever it was doing: also when it
 * was just about to fail.
 */
#include "common.h"

#include <stdlib.h>
#include <unistd.h>

static void want_reset(struct ibv_qp *qp, const char *which, int round)
{
	enum ibv_qp_state state = qp_state(qp);

	if (state != IBV_QPS_RESET)
		fail("round %d: the %s is in state %u after RESET", round, which,
		     state);
}

/* A write that its responder refuses, which takes both to an error. */
static void run_reset(const void *arg)
{
	static const char *const names[] = { "requester", "responder" };
	const int first = *(const int *)arg, rounds = slow ? 300 : 1500;
	struct mem mem = mem_open(HOST, 0, 4096);
	struct ibv_sge s = sge(&mem, 0, 64);
	struct peer peer[2];
	struct ibv_wc wc;
	struct pair p;
	int round, i;

	pair_open(&p, IBV_QPT_RC, 0);
	for (i = 0; i < 2; i++)
		peer[i] = (struct peer){ p.qp[i]->qp_num, dev.gid };
	for (round = 0; round < rounds; round++) {
		rdma_post(p.qp[0], IBV_WR_RDMA_WRITE, s, (uintptr_t)mem.addr,
			  mem.mr->rkey ^ 0xff);
		usleep(rand() % 100);
		to_state(p.qp[first], IBV_QPS_RESET);
		to_state(p.qp[!first], IBV_QPS_RESET);
		for (i = 0; i < 2; i++)
			want_reset(p.qp[i], names[i], round);
		/* INIT, RTR, RTS: nothing of the error is left. */
		for (i = 0; i < 2; i++)
			qp_connect(p.qp[i], &peer[!i]);
		while (ibv_poll_cq(p.cq[0], 1, &wc))
			;
	}
	want_rdma(&p, IBV_WR_RDMA_WRITE, s, (uintptr_t)mem.addr, mem.mr->rkey,
		  IBV_WC_SUCCESS, "after all that");
}

int main(int argc, char **argv)
{
	static const int requester = 0, responder = 1;

	test_init(argc, argv);
	run_case(run_reset, &requester, "reset/requester-first");
	run_case(run_reset, &responder, "reset/responder-first");
	return test_done();
}
