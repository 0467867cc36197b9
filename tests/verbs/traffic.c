// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "traffic.h"

#include <stdlib.h>
#include <unistd.h>

static bool is_local(enum traffic_kind kind)
{
	return kind == LOCAL_READ || kind == LOCAL_WRITTEN;
}

static int post_one(struct traffic *t, unsigned int slot)
{
	struct ibv_sge host = sge(&t->host, slot % TRAFFIC_DEPTH * t->len, t->len);
	struct ibv_sge tested = { t->addr, t->len, t->key };
	struct ibv_send_wr *bad, wr = {
		.send_flags = IBV_SEND_SIGNALED,
		.sg_list = is_local(t->kind) ? &tested : &host,
		.num_sge = 1,
		.wr.rdma = {
			.remote_addr = is_local(t->kind) ? host.addr : t->addr,
			.rkey = is_local(t->kind) ? t->host.mr->rkey : t->key,
		},
	};

	switch (t->kind) {
	case REMOTE_WRITTEN:
	case LOCAL_READ:
		wr.opcode = IBV_WR_RDMA_WRITE;
		break;
	case REMOTE_READ:
	case LOCAL_WRITTEN:
		wr.opcode = IBV_WR_RDMA_READ;
		break;
	case RECV_WRITTEN:
		wr.opcode = IBV_WR_SEND;
		post_recv(&t->pair, &tested, 1);
	}
	return abs(ibv_post_send(t->pair.qp[0], &wr, &bad));
}

static void *run(void *arg)
{
	struct traffic *t = arg;
	unsigned int posted = 0, done = 0;
	struct ibv_wc wc, rwc;

	while (done < posted || !t->stop) {
		for (; posted < done + TRAFFIC_DEPTH && !t->stop; posted++) {
			t->post_errno = post_one(t, posted);
			if (t->post_errno)
				return NULL;
		}
		if (done == posted)
			break;
		wc = wait_wc(t->pair.cq[0], 0, "traffic");
		if (t->kind == RECV_WRITTEN) {
			rwc = wait_wc(t->pair.cq[1], 0, "traffic, receive");
			t->recv_status = rwc.status;
		}
		if (wc.status != IBV_WC_SUCCESS) {
			t->status = wc.status;
			break;
		}
		t->done = ++done;
	}
	return NULL;
}

struct traffic *traffic_start_key(enum traffic_kind kind, uint32_t key,
				  uint64_t addr, size_t len)
{
	struct traffic *t = calloc(1, sizeof(*t));

	if (!t)
		fail("out of memory");
	t->kind = kind;
	t->key = key;
	t->addr = addr;
	t->len = len;
	t->status = t->recv_status = IBV_WC_SUCCESS;
	t->host = mem_open(HOST, 0, TRAFFIC_DEPTH * len);
	pattern_fill(t->host.addr, TRAFFIC_DEPTH * len, seed_of(case_name()), 0);
	pair_open(&t->pair, IBV_QPT_RC, 0);
	if (pthread_create(&t->thread, NULL, run, t))
		fail("pthread_create failed");
	return t;
}

struct traffic *traffic_start(enum traffic_kind kind, struct ibv_mr *mr,
			      const void *addr, size_t len)
{
	bool remote = kind == REMOTE_WRITTEN || kind == REMOTE_READ;

	return traffic_start_key(kind, remote ? mr->rkey : mr->lkey,
				 (uintptr_t)addr, len);
}

static bool has_ended(struct traffic *t)
{
	return t->status != IBV_WC_SUCCESS || t->post_errno;
}

/* It should not have ended by itself. */
static void want_success(struct traffic *t)
{
	if (t->status != IBV_WC_SUCCESS)
		fail("traffic ended with \"%s\" and should not have",
		     ibv_wc_status_str(t->status));
	if (t->post_errno)
		fail("traffic: ibv_post_send: %s", strerror(t->post_errno));
}

void traffic_flows(struct traffic *t)
{
	unsigned long goal = t->done + 2 * TRAFFIC_DEPTH;
	double end = now() + patience(2 * TRAFFIC_DEPTH * t->len);

	while (t->done < goal) {
		want_success(t);
		if (now() > end)
			fail("traffic stands still");
		usleep(500);
	}
}

bool traffic_ends(struct traffic *t, double seconds)
{
	double end = now() + seconds;

	while (!has_ended(t)) {
		if (now() > end)
			return false;
		usleep(500);
	}
	pthread_join(t->thread, NULL);
	return true;
}

void traffic_fails(struct traffic *t, enum ibv_wc_status want)
{
	if (!traffic_ends(t, patience(0)))
		fail("traffic goes on, expected it to end with \"%s\"",
		     ibv_wc_status_str(want));
	if (t->status != want)
		fail("traffic ended with \"%s\", expected \"%s\"",
		     ibv_wc_status_str(t->status), ibv_wc_status_str(want));
	if (qp_state(t->pair.qp[0]) != IBV_QPS_ERR)
		fail("the QP is in state %d after an error, expected %d",
		     qp_state(t->pair.qp[0]), IBV_QPS_ERR);
	pair_close(&t->pair);
}

void traffic_stop(struct traffic *t)
{
	t->stop = true;
	pthread_join(t->thread, NULL);
	want_success(t);
	pair_close(&t->pair);
}
