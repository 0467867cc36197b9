// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Queue pairs and MRs that end in the middle of traffic, and requests that must
 * see what others have done. No completion is lost, and they stay in order.
 */
#include "work.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SMALL = 64, BIG = KIB(64), POSTS = 60 };

static int rounds(void)
{
	return slow ? 20 : 60;
}

/* Another time in each round, the same in each run. */
static void pause_round(int round, unsigned int max_us)
{
	usleep(splitmix64(round) % max_us);
}

/* How many requests this round has posted. */
static atomic_int posted;

static void wait_posted(int round)
{
	const int n = splitmix64(round) % POSTS;

	while (posted < n)
		sched_yield();
}

/* Sends and writes, of both sizes. */
static void post_mix(const struct bed *bed, int i, int end)
{
	for (; i < end; i++) {
		struct ibv_sge from = sge(&bed->mem, 0, i % 5 ? SMALL : BIG);
		struct ibv_send_wr wr = request(bed, i, i % 3 ? IBV_WR_SEND :
						IBV_WR_RDMA_WRITE, &from);

		post(bed->pair.qp[REQUESTER], &wr);
		posted++;
	}
}

static void receive_mix(struct bed *bed)
{
	int i;

	for (i = 0; i < POSTS; i++)
		receive(bed, RESPONDER, RECV_ID + i,
			sge(&bed->mem, ZEROES_AT + BIG, BIG));
}

/*
 * All POSTS of one queue, in order: first those that went well, then perhaps
 * one with an error of its own, then flushed ones. How many went well.
 */
static int want_in_order(struct ibv_cq *cq, uint64_t first)
{
	enum { WELL, FLUSHED } phase = WELL;
	int i, well = 0;

	for (i = 0; i < POSTS; i++) {
		struct ibv_wc wc = wait_wc(cq, BIG, "the rest of the queue");

		if (wc.wr_id != first + i)
			fail("completion of request %lu, expected %lu",
			     wc.wr_id, first + i);
		if (wc.status == IBV_WC_SUCCESS && phase == WELL) {
			well++;
			continue;
		}
		if (phase == FLUSHED && wc.status != IBV_WC_WR_FLUSH_ERR)
			fail("request %lu: \"%s\" behind an error", wc.wr_id,
			     ibv_wc_status_str(wc.status));
		phase = FLUSHED;
	}
	want_none(cq, "after the last completion");
	return well;
}

struct killer {
	struct ibv_qp *qp;
	int round;
	pthread_t thread;
};

static void *kill_qp(void *arg)
{
	struct killer *k = arg;

	wait_posted(k->round);
	to_state(k->qp, IBV_QPS_ERR);
	return NULL;
}

static void error_round(int side, int round, int *broken)
{
	struct killer k = { .round = round };
	struct bed bed;
	int sent;

	bed_open(&bed, IBV_QPT_RC, 0);
	set_attr(bed.pair.qp[REQUESTER], (struct ibv_qp_attr){
			.timeout = 10, .retry_cnt = 1 },
		 IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT);
	receive_mix(&bed);
	k.qp = bed.pair.qp[side];
	posted = 0;
	if (pthread_create(&k.thread, NULL, kill_qp, &k))
		fail("pthread_create failed");
	post_mix(&bed, 0, POSTS - 1);
	pthread_join(k.thread, NULL);
	post_mix(&bed, POSTS - 1, POSTS);

	/* The last one comes too late, and others may not. */
	to_state(bed.pair.qp[REQUESTER], IBV_QPS_ERR);
	sent = want_in_order(bed.pair.cq[REQUESTER], 0);
	to_state(bed.pair.qp[RESPONDER], IBV_QPS_ERR);
	want_in_order(bed.pair.cq[RESPONDER], RECV_ID);
	if (sent == POSTS)
		fail("a request that came after the error went well");
	*broken += sent < POSTS - 1;
	pair_close(&bed.pair);
	mem_close(&bed.mem);
}

/* One side's QP goes to error. */
static void run_error(const void *arg)
{
	int i, broken = 0;

	for (i = 0; i < rounds(); i++)
		error_round(*(const int *)arg, i, &broken);
	note("%d of %d were broken off", broken, i);
}

/* In either order, at any time. */
static void run_destroy(const void *arg)
{
	struct mem mem;
	struct bed bed;
	int i, side;

	(void)arg;
	for (i = 0; i < rounds(); i++) {
		bed_open(&bed, IBV_QPT_RC, 0);
		receive_mix(&bed);
		post_mix(&bed, 0, POSTS);
		pause_round(i, 4000);
		side = i % 2;
		if (ibv_destroy_qp(bed.pair.qp[side]))
			fail("ibv_destroy_qp: %s", strerror(errno));
		pause_round(i + 1000, 1000);
		if (ibv_destroy_qp(bed.pair.qp[!side]))
			fail("ibv_destroy_qp: %s", strerror(errno));
		/* Nothing writes there any more. */
		memset(bed.mem.addr + ZEROES_AT, 0, BED_LEN - ZEROES_AT);
		usleep(2000);
		bed_untouched(&bed, "after both QPs are gone");
		if (ibv_destroy_cq(bed.pair.cq[0]) || ibv_destroy_cq(bed.pair.cq[1]))
			fail("ibv_destroy_cq: %s", strerror(errno));
		mem_close(&bed.mem);
	}
	mem = mem_open(HOST, 0, BIG);
	exercise(mem.mr, (uintptr_t)mem.addr, BIG, mem.addr, "after it");
}

/* Writes through an MR that may go in the middle. */
static void *post_writes(void *arg)
{
	const struct bed *bed = arg;
	int i;

	for (i = 0; i < POSTS; i++) {
		struct ibv_sge from = sge(&bed->mem, 0, BIG);
		struct ibv_send_wr wr = request(bed, i, IBV_WR_RDMA_WRITE, &from);

		post(bed->pair.qp[REQUESTER], &wr);
		posted++;
	}
	return NULL;
}

static void dereg_round(int access, int round, int *failed)
{
	struct ibv_mr *own, *mr, keys;
	pthread_t thread;
	struct bed bed;

	bed_open(&bed, IBV_QPT_RC, 0);
	own = bed.mem.mr;
	mr = reg(bed.mem.addr, bed.mem.len, access);
	/* They outlive it. */
	keys = *mr;
	bed.mem.mr = &keys;
	posted = 0;
	if (pthread_create(&thread, NULL, post_writes, &bed))
		fail("pthread_create failed");
	wait_posted(round);
	dereg(mr);
	memset(bed.mem.addr + ZEROES_AT, 0, BED_LEN - ZEROES_AT);
	pthread_join(thread, NULL);
	*failed += want_in_order(bed.pair.cq[REQUESTER], 0) < POSTS;
	bed_untouched(&bed, "after ibv_dereg_mr()");
	pair_close(&bed.pair);
	bed.mem.mr = own;
	mem_close(&bed.mem);
}

static void run_dereg(const void *arg)
{
	int i, failed = 0;

	for (i = 0; i < rounds(); i++)
		dereg_round(ACCESS_ALL | *(const int *)arg, i, &failed);
	note("%d of %d were broken off", failed, i);
	if (!failed)
		fail("none was broken off");
}

/* ---- order ---- */

enum { ADDERS = 4, WORD_AT = ZEROES_AT };

static int additions(void)
{
	return slow ? 100 : 500;
}

struct adder {
	struct bed *bed;
	struct pair pair;
	int n;
	uint64_t *seen;		/* what each addition found */
	pthread_t thread;
};

static void *add(void *arg)
{
	struct adder *a = arg;
	struct ibv_sge result = sge(&a->bed->mem, 8 * a->n, 8);
	struct ibv_send_wr wr = request(a->bed, 0, IBV_WR_ATOMIC_FETCH_AND_ADD,
					&result);
	int i;

	wr.wr.atomic.remote_addr = (uintptr_t)a->bed->mem.addr + WORD_AT;
	for (i = 0; i < additions(); i++) {
		post(a->pair.qp[REQUESTER], &wr);
		want_wc(a->pair.cq[REQUESTER], 8, IBV_WC_SUCCESS, "fetch and add");
		memcpy(&a->seen[i], a->bed->mem.addr + 8 * a->n, 8);
	}
	return NULL;
}

/* Each value is seen by one of them, once. */
static void run_atomics(const void *arg)
{
	struct adder adders[ADDERS];
	const int total = ADDERS * additions();
	uint64_t *seen = calloc(total, sizeof(*seen)), word;
	bool *found = calloc(total, sizeof(*found));
	struct bed bed;
	int i;

	(void)arg;
	bed_open(&bed, IBV_QPT_RC, 0);
	for (i = 0; i < ADDERS; i++) {
		adders[i] = (struct adder){
			.bed = &bed, .n = i, .seen = seen + i * additions(),
		};
		pair_open(&adders[i].pair, IBV_QPT_RC, 0);
	}
	for (i = 0; i < ADDERS; i++)
		if (pthread_create(&adders[i].thread, NULL, add, &adders[i]))
			fail("pthread_create failed");
	for (i = 0; i < ADDERS; i++)
		pthread_join(adders[i].thread, NULL);

	memcpy(&word, bed.mem.addr + WORD_AT, 8);
	if (word != (uint64_t)total)
		fail("%d additions of 1 made %lu", total, word);
	for (i = 0; i < total; i++) {
		if (seen[i] >= (uint64_t)total || found[seen[i]])
			fail("%lu was seen twice, or never was there", seen[i]);
		found[seen[i]] = true;
	}
}

/*
 * A fenced request sees what the reads and atomics before it have brought: here
 * each sends on what was read into its source just before.
 */
static void run_fence(const void *arg)
{
	struct bed bed;
	int i;

	(void)arg;
	bed_open(&bed, IBV_QPT_RC, 0);
	for (i = 0; i < rounds(); i++) {
		struct ibv_sge at = sge(&bed.mem, ZEROES_AT, BIG);
		struct ibv_send_wr write = request(&bed, 2, IBV_WR_RDMA_WRITE, &at);
		struct ibv_send_wr read = request(&bed, 1, IBV_WR_RDMA_READ, &at);

		read.wr.rdma.remote_addr = (uintptr_t)bed.mem.addr + i;
		read.next = &write;
		write.wr.rdma.remote_addr = (uintptr_t)bed.mem.addr + ZEROES_AT + BIG;
		write.send_flags = IBV_SEND_FENCE | IBV_SEND_SIGNALED;
		post_one(bed.pair.qp[REQUESTER], &read);
		want_one(bed.pair.cq[REQUESTER], 2, IBV_WC_SUCCESS);
		same_check(bed.mem.addr + ZEROES_AT + BIG, bed.mem.addr + i, BIG,
			   "fenced write");
	}
}

int main(int argc, char **argv)
{
	static const int sides[] = { REQUESTER, RESPONDER };
	static const int access[] = { 0, IBV_ACCESS_ON_DEMAND };

	test_init(argc, argv);
	run_case(run_error, &sides[0], "error/requester");
	run_case(run_error, &sides[1], "error/responder");
	run_case(run_destroy, NULL, "destroy");
	run_case(run_dereg, &access[0], "dereg/pinned");
	run_case(run_dereg, &access[1], "dereg/odp");
	run_case(run_atomics, NULL, "atomics");
	run_case(run_fence, NULL, "fence");
	return test_done();
}
