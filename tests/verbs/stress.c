// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Threads that write, read and send parts of one MR at random and verify every
 * byte, while another thread pulls the mapping from under them: each access
 * finds the device memory, or fails where the mapping of the moment says so.
 */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORKERS = 4, REGION = KIB(256), MAX_LEN = KIB(64) };
enum { RW = PROT_READ | PROT_WRITE };
static const size_t total = WORKERS * REGION;

struct stress;

/* What another thread does to the mapping, once. */
typedef void (*meddle)(struct stress *s, uint64_t random);

struct worker {
	struct stress *s;
	pthread_t thread;
	int id;
	struct pair pair;
	struct mem out, in;
	uint64_t random;
	unsigned int refused;
};

struct stress {
	uint64_t at;		/* in the BAR */
	uint8_t *addr;		/* registered */
	uint8_t *view;
	struct ibv_mr *mr;
	bool may_refuse;	/* writes may end in a remote access error */
	struct worker workers[WORKERS];
	pthread_t meddler;
	meddle meddle;
	atomic_int running;
	unsigned long meddled;
};

static uint64_t next_random(uint64_t *state)
{
	return splitmix64((*state)++);
}

/* After an error the pair is of no use; the MR is. */
static void reconnect(struct worker *w)
{
	pair_close(&w->pair);
	pair_open(&w->pair, IBV_QPT_RC, 0);
}

static bool send_into(struct worker *w, size_t at, size_t len)
{
	struct ibv_sge from = sge(&w->out, 0, len);
	struct ibv_sge to = { (uintptr_t)w->s->addr + at, len, w->s->mr->lkey };
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_SEND, .sg_list = &from, .num_sge = 1,
	};
	struct ibv_wc wc;

	post_recv(&w->pair, &to, 1);
	post(w->pair.qp[0], &wr);
	wc = wait_wc(w->pair.cq[0], len, "send");
	if (wc.status == IBV_WC_SUCCESS) {
		want_wc(w->pair.cq[1], len, IBV_WC_SUCCESS, "receive");
		return true;
	}
	if (!w->s->may_refuse || wc.status != IBV_WC_REM_OP_ERR)
		fail("worker %d, send of %zu bytes: \"%s\"", w->id, len,
		     ibv_wc_status_str(wc.status));
	want_wc(w->pair.cq[1], len, IBV_WC_LOC_PROT_ERR, "receive");
	return false;
}

static bool write_into(struct worker *w, size_t at, size_t len)
{
	enum ibv_wc_status status;

	status = rdma(&w->pair, IBV_WR_RDMA_WRITE, sge(&w->out, 0, len),
		      (uintptr_t)w->s->addr + at, w->s->mr->rkey);
	if (status == IBV_WC_SUCCESS)
		return true;
	if (!w->s->may_refuse || status != IBV_WC_REM_ACCESS_ERR)
		fail("worker %d, write of %zu bytes: \"%s\"", w->id, len,
		     ibv_wc_status_str(status));
	return false;
}

/* Device memory to the host: as the target of a read or the source of a write. */
static void read_back(struct worker *w, size_t at, size_t len, bool as_source)
{
	struct ibv_sge from = { (uintptr_t)w->s->addr + at, len, w->s->mr->lkey };

	memset(w->in.addr, 0, len);
	if (as_source)
		want_rdma(&w->pair, IBV_WR_RDMA_WRITE, from,
			  (uintptr_t)w->in.addr, w->in.mr->rkey,
			  IBV_WC_SUCCESS, "source of a write");
	else
		want_rdma(&w->pair, IBV_WR_RDMA_READ, sge(&w->in, 0, len),
			  from.addr, w->s->mr->rkey, IBV_WC_SUCCESS, "read");
}

static void work_once(struct worker *w)
{
	uint64_t seed = next_random(&w->random);
	uint64_t random = next_random(&w->random);
	size_t len = random % MAX_LEN + 1;
	size_t at = w->id * REGION + (random >> 20) % (REGION - len);
	bool ok;

	pattern_fill(w->out.addr, len, seed, 0);
	ok = random >> 60 & 1 ? send_into(w, at, len) : write_into(w, at, len);
	if (!ok) {
		w->refused++;
		reconnect(w);
		return;
	}
	pattern_check(w->s->view + at, len, seed, 0, "in device memory");
	read_back(w, at, len, random >> 61 & 1);
	pattern_check(w->in.addr, len, seed, 0, "read back");
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int i, n = slow ? 40 : 300;

	for (i = 0; i < n; i++)
		work_once(w);
	w->s->running--;
	return NULL;
}

static void *meddle_all_along(void *arg)
{
	struct stress *s = arg;
	uint64_t random = seed_of("meddler");

	while (s->running) {
		s->meddle(s, next_random(&random));
		s->meddled++;
		/* Or nobody would ever come to use what it maps. */
		usleep(slow ? 5000 : 1000);
	}
	return NULL;
}

/* Some pages of the region, at random. */
static size_t pick(uint64_t random, size_t *len)
{
	size_t at = random % (total / 4096) * 4096;

	*len = (random >> 32) % 64 * 4096 + 4096;
	if (*len > total - at)
		*len = total - at;
	return at;
}

static void meddle_not(struct stress *s, uint64_t random)
{
	(void)s;
	(void)random;
}

/* The same memory again: never a moment without a mapping. */
static void meddle_remap(struct stress *s, uint64_t random)
{
	size_t len, at = pick(random, &len);

	gpu_map_at(GPU0, s->addr + at, s->at + at, len, RW);
}

static void meddle_protect(struct stress *s, uint64_t random)
{
	size_t len, at = pick(random, &len);

	protect(s->addr + at, len, PROT_READ);
	usleep(random % 2000);
	protect(s->addr, total, RW);
}

/* Other MRs over the same memory come and go. */
static void meddle_register(struct stress *s, uint64_t random)
{
	size_t len, at = pick(random, &len);

	dereg(reg(s->addr + at, len, ACCESS_ALL));
}

struct kind {
	const char *name;
	meddle meddle;
	bool may_refuse;
};

static const struct kind kinds[] = {
	{ "quiet", meddle_not, false },
	{ "remap", meddle_remap, false },
	{ "protect", meddle_protect, true },
	{ "register", meddle_register, false },
};

static void start_worker(struct stress *s, int id)
{
	struct worker *w = &s->workers[id];

	w->s = s;
	w->id = id;
	w->random = seed_of(case_name()) + 1000 * id;
	w->out = mem_open(HOST, 0, MAX_LEN);
	w->in = mem_open(HOST, 0, MAX_LEN);
	pair_open(&w->pair, IBV_QPT_RC, 0);
	s->running++;
	if (pthread_create(&w->thread, NULL, work, w))
		fail("pthread_create failed");
}

static void run_stress(const void *arg)
{
	const struct kind *kind = arg;
	struct stress *s = calloc(1, sizeof(*s));
	unsigned int refused = 0;
	int i;

	s->at = STRESS_AT + (kind - kinds) * total;
	s->addr = gpu_map(GPU0, s->at, total);
	s->view = gpu_map(GPU0, s->at, total);
	s->mr = reg(s->addr, total, ACCESS_ALL);
	s->meddle = kind->meddle;
	s->may_refuse = kind->may_refuse;
	for (i = 0; i < WORKERS; i++)
		start_worker(s, i);
	if (pthread_create(&s->meddler, NULL, meddle_all_along, s))
		fail("pthread_create failed");
	for (i = 0; i < WORKERS; i++) {
		pthread_join(s->workers[i].thread, NULL);
		refused += s->workers[i].refused;
	}
	pthread_join(s->meddler, NULL);
	note("mapping changed %lu times, %u operations refused", s->meddled,
	     refused);
	if (!s->meddled)
		fail("the mapping never changed");
	expect(GPU0, case_name(), s->at, s->view, total);
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		run_case(run_stress, &kinds[i], "%s", kinds[i].name);
	return test_done();
}
