// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "verify.h"

#include <stdlib.h>
#include <unistd.h>

/* The first word is for atomics. */
enum { DATA_AT = 8 };

uint64_t next_random(uint64_t *state)
{
	return splitmix64((*state)++);
}

/* After an error the pair is of no use; the MR is. */
static void reconnect(struct verifier *v)
{
	pair_close(&v->pair);
	pair_open(&v->pair, IBV_QPT_RC, PAIR_PATIENT);
}

static bool send_into(struct verifier *v, size_t at, size_t len)
{
	struct ibv_sge from = sge(&v->out, 0, len);
	struct ibv_sge to = { (uintptr_t)v->addr + at, len, v->mr->lkey };
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_SEND, .sg_list = &from, .num_sge = 1,
	};
	struct ibv_wc wc;

	post_recv(&v->pair, &to, 1);
	post(v->pair.qp[0], &wr);
	wc = wait_wc(v->pair.cq[0], len, "send");
	if (wc.status == IBV_WC_SUCCESS) {
		want_wc(v->pair.cq[1], len, IBV_WC_SUCCESS, "receive");
		return true;
	}
	if (!v->may_refuse || wc.status != IBV_WC_REM_OP_ERR)
		fail("send of %zu bytes: \"%s\"", len,
		     ibv_wc_status_str(wc.status));
	want_wc(v->pair.cq[1], len, IBV_WC_LOC_PROT_ERR, "receive");
	return false;
}

static bool write_into(struct verifier *v, size_t at, size_t len)
{
	enum ibv_wc_status status;

	status = rdma(&v->pair, IBV_WR_RDMA_WRITE, sge(&v->out, 0, len),
		      (uintptr_t)v->addr + at, v->mr->rkey);
	if (status == IBV_WC_SUCCESS)
		return true;
	if (!v->may_refuse || status != IBV_WC_REM_ACCESS_ERR)
		fail("write of %zu bytes: \"%s\"", len,
		     ibv_wc_status_str(status));
	return false;
}

/* To the host: as the target of a read or the source of a write. */
static void read_back(struct verifier *v, size_t at, size_t len, bool as_source)
{
	struct ibv_sge from = { (uintptr_t)v->addr + at, len, v->mr->lkey };

	memset(v->in.addr, 0, len);
	if (as_source)
		want_rdma(&v->pair, IBV_WR_RDMA_WRITE, from,
			  (uintptr_t)v->in.addr, v->in.mr->rkey,
			  IBV_WC_SUCCESS, "source of a write");
	else
		want_rdma(&v->pair, IBV_WR_RDMA_READ, sge(&v->in, 0, len),
			  from.addr, v->mr->rkey, IBV_WC_SUCCESS, "read");
}

/* The answer is what was there before, which nobody else has changed. */
static void add(struct verifier *v, uint64_t much)
{
	struct ibv_sge answer = sge(&v->in, 0, sizeof(uint64_t));
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
		.sg_list = &answer, .num_sge = 1,
		.wr.atomic = {
			.remote_addr = (uintptr_t)v->addr,
			.rkey = v->mr->rkey,
			.compare_add = much,
		},
	};
	uint64_t was;

	post(v->pair.qp[0], &wr);
	want_wc(v->pair.cq[0], sizeof(was), IBV_WC_SUCCESS, "fetch and add");
	memcpy(&was, v->in.addr, sizeof(was));
	if (was != v->sum)
		fail("fetch and add found 0x%llx where 0x%llx was left",
		     (unsigned long long)was, (unsigned long long)v->sum);
	v->sum += much;
}

static void verify_once(struct verifier *v)
{
	uint64_t seed = next_random(&v->random);
	uint64_t random = next_random(&v->random);
	size_t room = v->len - DATA_AT;
	size_t max = room < VERIFY_MAX_LEN ? room : VERIFY_MAX_LEN;
	size_t len = random % max + 1;
	size_t at = DATA_AT + (random >> 20) % (room - len + 1);
	bool ok;

	pattern_fill(v->out.addr, len, seed, 0);
	ok = random >> 60 & 1 ? send_into(v, at, len) : write_into(v, at, len);
	if (!ok) {
		v->refused++;
		reconnect(v);
		return;
	}
	if (v->view)
		pattern_check(v->view + at, len, seed, 0, "in device memory");
	read_back(v, at, len, random >> 61 & 1);
	pattern_check(v->in.addr, len, seed, 0, "read back");
	if (!v->may_refuse)
		add(v, random);
}

static void *verify(void *arg)
{
	struct verifier *v = arg;

	while (v->ops ? v->done < v->ops : !v->stop) {
		verify_once(v);
		v->done++;
	}
	return NULL;
}

void verify_start(struct verifier *v, int number)
{
	v->random = seed_of(case_name()) + 1000 * number;
	v->out = mem_open(HOST, 0, VERIFY_MAX_LEN);
	v->in = mem_open(HOST, 0, VERIFY_MAX_LEN);
	pair_open(&v->pair, IBV_QPT_RC, PAIR_PATIENT);
	if (!v->may_refuse) {
		memset(v->out.addr, 0, DATA_AT);
		want_rdma(&v->pair, IBV_WR_RDMA_WRITE, sge(&v->out, 0, DATA_AT),
			  (uintptr_t)v->addr, v->mr->rkey, IBV_WC_SUCCESS,
			  "the word for atomics");
	}
	if (pthread_create(&v->thread, NULL, verify, v))
		fail("pthread_create failed");
}

void verify_flows(struct verifier *v)
{
	unsigned long before = v->done;
	double until = now() + patience(4 * VERIFY_MAX_LEN);

	while (v->done < before + 2) {
		if (now() > until)
			fail("no progress: it stays at %lu", before);
		usleep(1000);
	}
}

void verify_end(struct verifier *v)
{
	v->stop = true;
	pthread_join(v->thread, NULL);
	pair_close(&v->pair);
	mem_close(&v->out);
	mem_close(&v->in);
}
