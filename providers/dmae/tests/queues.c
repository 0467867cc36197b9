// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queues, on a device: full ones, a QP that is reset, CQs that QPs share, and
 * threads that share both. Cases and environment are those of tests/verbs.
 */
#include "common.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LEN = KIB(4), THREADS = 4, POLLERS = 2, ROUNDS = 300, PAIRS = 8 };
enum { SIGNALED_EACH = 16 };
enum { RECEIVE = 66, MESSAGE = 100, IMM = 0x12345678 };

static void connect_pair(struct ibv_qp *qp[2])
{
	struct peer peers[2];
	int i;

	for (i = 0; i < 2; i++)
		peers[i] = (struct peer){ qp[i]->qp_num, dev.gid };
	for (i = 0; i < 2; i++)
		qp_connect(qp[i], &peers[!i]);
}

static int post_one(struct ibv_qp *qp, struct ibv_sge *sges, uint64_t wr_id,
		    unsigned int flags)
{
	struct ibv_send_wr wr = {
		.wr_id = wr_id,
		.opcode = IBV_WR_SEND,
		.sg_list = sges,
		.num_sge = 1,
		.send_flags = flags,
	};
	struct ibv_send_wr *bad;

	return ibv_post_send(qp, &wr, &bad);
}

static int fill(struct pair *p, struct ibv_sge *sges)
{
	int n, err;

	for (n = 0;; n++) {
		err = post_one(p->qp[0], sges, n, n % SIGNALED_EACH ==
			       SIGNALED_EACH - 1 ? IBV_SEND_SIGNALED : 0);
		if (err == ENOMEM)
			return n;
		if (err)
			fail("posting number %d: %s", n, strerror(err));
		if (n == 16 * PAIR_DEPTH)
			fail("the queue never gets full");
	}
}

/*
 * The peer has no receive requests, so nothing goes on. Then it has, and each
 * completion that is polled makes room for those before it that had none.
 */
static void run_full(const void *arg)
{
	struct mem mem = mem_open(HOST, 0, LEN);
	struct ibv_sge from = sge(&mem, 0, 8), to = sge(&mem, LEN / 2, 8);
	struct ibv_wc wc;
	struct pair p;
	int round, i, n, freed = PAIR_DEPTH;

	(void)arg;
	pair_open(&p, IBV_QPT_RC, 0);
	for (round = 0; round < 3; round++) {
		n = fill(&p, &from);
		if (n < freed)
			fail("room for %d, not %d", n, freed);
		if (ibv_poll_cq(p.cq[0], 1, &wc))
			fail("completed without a receive request");
		for (i = 0; i < n; i++) {
			post_recv(&p, &to, 1);
			want_wc(p.cq[1], 0, IBV_WC_SUCCESS, "received");
		}
		freed = n / SIGNALED_EACH * SIGNALED_EACH;
		for (i = 0; i < n / SIGNALED_EACH; i++)
			want_wc(p.cq[0], 0, IBV_WC_SUCCESS, "sent");
	}
	pair_close(&p);
	mem_close(&mem);
}

static void run_reset(const void *arg)
{
	struct mem mem = mem_open(HOST, 0, LEN);
	struct ibv_sge from = sge(&mem, 0, 8), to = sge(&mem, LEN / 2, 8);
	struct ibv_qp_attr reset = { .qp_state = IBV_QPS_RESET };
	struct ibv_wc wc;
	struct pair p;
	int round, i;

	(void)arg;
	pair_open(&p, IBV_QPT_RC, 0);
	for (round = 0; round < 5; round++) {
		/* More receives than sends, and completions left behind. */
		for (i = 0; i < 20; i++)
			post_recv(&p, &to, 1);
		for (i = 0; i < 7 + round; i++)
			if (post_one(p.qp[0], &from, i, IBV_SEND_SIGNALED))
				fail("post_send");
		want_wc(p.cq[0], 0, IBV_WC_SUCCESS, "sent");
		want_wc(p.cq[1], 0, IBV_WC_SUCCESS, "received");
		for (i = 0; i < 2; i++)
			if (ibv_modify_qp(p.qp[i], &reset, IBV_QP_STATE))
				fail("to RESET: %s", strerror(errno));
		for (i = 0; i < 2; i++)
			if (ibv_poll_cq(p.cq[i], 1, &wc))
				fail("a completion from before the reset");
		connect_pair(p.qp);
	}
	for (i = 0; i < 3 * PAIR_DEPTH; i++) {
		post_recv(&p, &to, 1);
		if (post_one(p.qp[0], &from, i, IBV_SEND_SIGNALED))
			fail("post_send after the reset");
		wc = wait_wc(p.cq[0], 0, "sent");
		if (wc.wr_id != (uint64_t)i || wc.status != IBV_WC_SUCCESS)
			fail("completion %d is of %d", i, (int)wc.wr_id);
		want_wc(p.cq[1], 0, IBV_WC_SUCCESS, "received");
	}
	pair_close(&p);
	mem_close(&mem);
}

/* Half of the QPs of a CQ go: the completions of the others stay, in order. */
static void run_shared_cq(const void *arg)
{
	struct mem mem = mem_open(HOST, 0, LEN);
	struct ibv_sge from = sge(&mem, 0, 8);
	struct ibv_cq *cq = ibv_create_cq(dev.ctx, 8 * PAIRS, NULL, NULL, 0);
	struct ibv_qp *qp[PAIRS][2];
	uint64_t next[PAIRS] = {};
	struct ibv_wc wc;
	double end;
	int i, j, n;

	(void)arg;
	for (i = 0; i < PAIRS; i++) {
		for (j = 0; j < 2; j++)
			qp[i][j] = qp_create(cq, IBV_QPT_RC, NULL, 0);
		connect_pair(qp[i]);
	}
	for (j = 0; j < 5; j++)
		for (i = 0; i < PAIRS; i++) {
			struct ibv_send_wr *bad, wr = {
				.wr_id = i << 8 | j,
				.opcode = IBV_WR_RDMA_WRITE,
				.sg_list = &from,
				.num_sge = 1,
				.send_flags = IBV_SEND_SIGNALED,
				.wr.rdma = { (uintptr_t)mem.addr + LEN / 2,
					     mem.mr->rkey },
			};

			if (ibv_post_send(qp[i][0], &wr, &bad))
				fail("post_send");
		}
	for (i = 0; i < PAIRS; i += 2)
		if (ibv_destroy_qp(qp[i][0]) || ibv_destroy_qp(qp[i][1]))
			fail("destroy: %s", strerror(errno));

	end = now() + patience(0);
	for (n = 0; n < 5 * PAIRS / 2;) {
		if (now() > end)
			fail("only %d completions of the other QPs", n);
		if (!ibv_poll_cq(cq, 1, &wc))
			continue;
		i = wc.wr_id >> 8;
		if (wc.status || i % 2 == 0 || wc.qp_num != qp[i][0]->qp_num)
			fail("a completion of QP %d, number %d: %s", i,
			     (int)wc.wr_id & 255, ibv_wc_status_str(wc.status));
		if ((wc.wr_id & 255) != next[i]++)
			fail("out of order");
		n++;
	}
	if (ibv_poll_cq(cq, 1, &wc))
		fail("a completion too many");
}

/* ---- threads ---- */

static struct crowd {
	struct ibv_qp *qp[2];
	struct ibv_cq *cq[2];
	struct mem mem;
	bool ex;
	atomic_int polled;
} crowd;

/* Posts through a ring that is smaller than what all of them post together. */
static void *add_ones(void *arg)
{
	size_t at = 64 + 64 * (uintptr_t)arg;
	struct ibv_sge result = sge(&crowd.mem, at, 8);
	struct ibv_send_wr *bad, wr = {
		.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
		.sg_list = &result,
		.num_sge = 1,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.atomic = {
			.remote_addr = (uintptr_t)crowd.mem.addr,
			.compare_add = 1,
			.rkey = crowd.mem.mr->rkey,
		},
	};
	struct ibv_qp_ex *qp = crowd.ex ? ibv_qp_to_qp_ex(crowd.qp[0]) : NULL;
	double end = now() + 6 * patience(0);
	int i, err;

	for (i = 0; i < ROUNDS;) {
		if (qp) {
			ibv_wr_start(qp);
			qp->wr_id = i;
			qp->wr_flags = IBV_SEND_SIGNALED;
			ibv_wr_atomic_fetch_add(qp, crowd.mem.mr->rkey,
						(uintptr_t)crowd.mem.addr, 1);
			ibv_wr_set_sge_list(qp, 1, &result);
			err = ibv_wr_complete(qp);
		} else {
			err = ibv_post_send(crowd.qp[0], &wr, &bad);
		}
		if (!err)
			i++;
		else if (err != ENOMEM)
			fail("posting: %s", strerror(err));
		else if (now() > end)
			fail("a queue that stays full");
		else
			sched_yield();
	}
	return NULL;
}

static void *poll_all(void *arg)
{
	double end = now() + 6 * patience(0);
	struct ibv_wc wc[3];
	int i, n;

	(void)arg;
	while (crowd.polled < THREADS * ROUNDS) {
		n = ibv_poll_cq(crowd.cq[0], 3, wc);
		for (i = 0; i < n; i++)
			if (wc[i].status)
				fail("%s", ibv_wc_status_str(wc[i].status));
		crowd.polled += n;
		if (!n)
			sched_yield();
		if (now() > end)
			fail("%d completions of %d", crowd.polled,
			     THREADS * ROUNDS);
	}
	return NULL;
}

static struct ibv_qp *create_qp_ex(struct ibv_cq *cq)
{
	struct ibv_qp_init_attr_ex attr = {
		.send_cq = cq,
		.recv_cq = cq,
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = PAIR_DEPTH,
			.max_recv_wr = PAIR_DEPTH,
			.max_send_sge = PAIR_SGES,
			.max_recv_sge = PAIR_SGES,
		},
		.pd = dev.pd,
		.comp_mask = IBV_QP_INIT_ATTR_PD |
			     IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.send_ops_flags = IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD,
	};
	struct ibv_qp *qp = ibv_create_qp_ex(dev.ctx, &attr);

	if (!qp)
		fail("ibv_create_qp_ex: %s", strerror(errno));
	return qp;
}

static void run_threads(const void *ex)
{
	pthread_t threads[THREADS + POLLERS];
	uint64_t sum;
	uintptr_t i;

	crowd.ex = ex;
	crowd.mem = mem_open(HOST, 0, LEN);
	memset(crowd.mem.addr, 0, LEN);
	for (i = 0; i < 2; i++) {
		crowd.cq[i] = cq_create();
		crowd.qp[i] = ex ? create_qp_ex(crowd.cq[i]) :
			      qp_create(crowd.cq[i], IBV_QPT_RC, NULL, 0);
	}
	connect_pair(crowd.qp);
	for (i = 0; i < THREADS + POLLERS; i++)
		if (pthread_create(&threads[i], NULL,
				   i < THREADS ? add_ones : poll_all,
				   (void *)i))
			fail("pthread_create");
	for (i = 0; i < THREADS + POLLERS; i++)
		pthread_join(threads[i], NULL);
	memcpy(&sum, crowd.mem.addr, sizeof(sum));
	if (sum != THREADS * ROUNDS)
		fail("the sum is %d, not %d", (int)sum, THREADS * ROUNDS);
	for (i = 0; i < 2; i++)
		if (ibv_destroy_qp(crowd.qp[i]) || ibv_destroy_cq(crowd.cq[i]))
			fail("cannot destroy: %s", strerror(errno));
}

/* ---- the newer interface of CQs ---- */

static void look_at(struct ibv_cq_ex *cq, const struct pair *p)
{
	bool received = cq->wr_id == RECEIVE;

	if (cq->status)
		fail("%s", ibv_wc_status_str(cq->status));
	if (ibv_wc_read_qp_num(cq) != p->qp[received]->qp_num)
		fail("of another QP");
	if (ibv_wc_read_opcode(cq) != (received ? IBV_WC_RECV : IBV_WC_SEND))
		fail("opcode %d", ibv_wc_read_opcode(cq));
	if (received && (ibv_wc_read_byte_len(cq) != MESSAGE ||
			 ibv_wc_read_wc_flags(cq) != IBV_WC_WITH_IMM ||
			 ibv_wc_read_imm_data(cq) != IMM))
		fail("length, flags or immediate data");
}

static void run_cq_ex(const void *arg)
{
	const uint32_t *flags = arg;
	struct ibv_cq_init_attr_ex attr = {
		.cqe = 2 * PAIR_DEPTH,
		.wc_flags = IBV_WC_STANDARD_FLAGS,
		.comp_mask = IBV_CQ_INIT_ATTR_MASK_FLAGS,
		.flags = *flags,
	};
	struct mem mem = mem_open(HOST, 0, LEN);
	struct ibv_sge from = sge(&mem, 0, MESSAGE), to = sge(&mem, LEN / 2, LEN / 2);
	struct ibv_send_wr *bad, wr = {
		.opcode = IBV_WR_SEND_WITH_IMM,
		.sg_list = &from,
		.num_sge = 1,
		.imm_data = IMM,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_recv_wr *bad_recv, recv = {
		.wr_id = RECEIVE, .sg_list = &to, .num_sge = 1,
	};
	struct ibv_cq_ex *cq = ibv_create_cq_ex(dev.ctx, &attr);
	struct ibv_poll_cq_attr poll = {};
	struct pair p = {};
	int i, n = 0, err;
	double end;

	if (!cq)
		fail("ibv_create_cq_ex: %s", strerror(errno));
	for (i = 0; i < 2; i++)
		p.qp[i] = qp_create(ibv_cq_ex_to_cq(cq), IBV_QPT_RC, NULL, 0);
	connect_pair(p.qp);
	if (ibv_start_poll(cq, &poll) != ENOENT)
		fail("an empty CQ has something");
	for (i = 0; i < 10; i++)
		if (ibv_post_recv(p.qp[1], &recv, &bad_recv) ||
		    ibv_post_send(p.qp[0], &wr, &bad))
			fail("posting");

	for (end = now() + patience(0); n < 20;) {
		if (now() > end)
			fail("%d completions of 20", n);
		err = ibv_start_poll(cq, &poll);
		if (err == ENOENT)
			continue;
		for (; !err; err = ibv_next_poll(cq), n++)
			look_at(cq, &p);
		ibv_end_poll(cq);
		if (err != ENOENT)
			fail("polling: %s", strerror(err));
	}
	for (i = 0; i < 2; i++)
		if (ibv_destroy_qp(p.qp[i]))
			fail("ibv_destroy_qp: %s", strerror(errno));
	if (ibv_destroy_cq(ibv_cq_ex_to_cq(cq)))
		fail("ibv_destroy_cq: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	static const uint32_t locked, single = IBV_CREATE_CQ_ATTR_SINGLE_THREADED;

	test_init(argc, argv);
	run_case(run_full, NULL, "full");
	run_case(run_reset, NULL, "reset");
	run_case(run_shared_cq, NULL, "shared-cq");
	run_case(run_threads, NULL, "threads");
	run_case(run_threads, "ex", "threads-wr-api");
	run_case(run_cq_ex, &locked, "cq-ex");
	run_case(run_cq_ex, &single, "cq-ex-single-threaded");
	return test_done();
}
