// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * tidy: a bit of everything that a provider has a function for, and nothing left
 * over at the end. For valgrind, see valgrind.sh.
 */
#include "../verbs/common.h"

enum { LEN = KIB(8), ROUNDS = 100 };

static void transfer(struct pair *p, struct mem *mem, enum ibv_wr_opcode opcode)
{
	struct ibv_sge from = sge(mem, 0, 100), to = sge(mem, LEN / 2, 200);
	struct ibv_send_wr wr = {
		.opcode = opcode,
		.sg_list = &from,
		.num_sge = 1,
		.imm_data = 7,
		.send_flags = opcode == IBV_WR_SEND ? IBV_SEND_INLINE : 0,
		.wr.rdma = { to.addr, mem->mr->rkey },
	};
	bool received = opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM ||
			opcode == IBV_WR_RDMA_WRITE_WITH_IMM;

	if (p->type == IBV_QPT_UD) {
		wr.wr.ud.ah = p->ah;
		wr.wr.ud.remote_qpn = p->qp[1]->qp_num;
		wr.wr.ud.remote_qkey = UD_QKEY;
	}
	if (received)
		post_recv(p, &to, 1);
	post(p->qp[0], &wr);
	want_wc(p->cq[0], 0, IBV_WC_SUCCESS, "sent");
	if (received)
		want_wc(p->cq[1], 0, IBV_WC_SUCCESS, "received");
}

static void all_of(enum ibv_qp_type type, int flags, struct mem *mem)
{
	static const enum ibv_wr_opcode opcodes[] = {
		IBV_WR_SEND, IBV_WR_SEND_WITH_IMM, IBV_WR_RDMA_WRITE,
		IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_READ,
	};
	const size_t n = type == IBV_QPT_RC ? 5 : type == IBV_QPT_UC ? 4 : 2;
	struct pair p;
	size_t i;

	pair_open(&p, type, flags);
	for (i = 0; i < ROUNDS; i++)
		transfer(&p, mem, opcodes[i % n]);
	qp_state(p.qp[0]);
	pair_close(&p);
}

static void newer_interface(struct mem *mem)
{
	struct ibv_qp_ex *qp;
	struct pair p;
	int i, err;

	pair_open(&p, IBV_QPT_RC, PAIR_EX);
	qp = ibv_qp_to_qp_ex(p.qp[0]);
	for (i = 0; i < ROUNDS; i++) {
		ibv_wr_start(qp);
		qp->wr_flags = IBV_SEND_SIGNALED;
		ibv_wr_rdma_write(qp, mem->mr->rkey, (uintptr_t)mem->addr);
		ibv_wr_set_sge(qp, mem->mr->lkey, (uintptr_t)mem->addr + 1000, 8);
		err = ibv_wr_complete(qp);
		if (err)
			fail("ibv_wr_complete: %s", strerror(err));
		want_wc(p.cq[0], 0, IBV_WC_SUCCESS, "write");
	}
	pair_close(&p);
}

static void cq_events(void)
{
	struct ibv_comp_channel *channel = ibv_create_comp_channel(dev.ctx);
	struct ibv_cq *cq = ibv_create_cq(dev.ctx, 10, NULL, channel, 0);

	if (!cq || ibv_req_notify_cq(cq, 0))
		fail("a CQ with a channel: %s", strerror(errno));
	ibv_destroy_cq(cq);
	ibv_destroy_comp_channel(channel);
}

int main(int argc, char **argv)
{
	struct mem mem;

	test_init(argc, argv);
	dev_open(dev_name());
	mem = mem_open(HOST, 0, LEN);
	all_of(IBV_QPT_RC, 0, &mem);
	all_of(IBV_QPT_RC, PAIR_SRQ, &mem);
	all_of(IBV_QPT_UC, 0, &mem);
	all_of(IBV_QPT_UD, 0, &mem);
	newer_interface(&mem);
	cq_events();
	mem_close(&mem);
	if (ibv_dealloc_pd(dev.pd) || ibv_close_device(dev.ctx))
		fail("closing the device: %s", strerror(errno));
	return 0;
}
