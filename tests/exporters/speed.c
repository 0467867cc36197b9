// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What it costs that device memory moves. Each command prints lines "NAME
 * VALUE", times in nanoseconds: medians of rounds in which all that is compared
 * takes turns. The CPU does not touch the buffers, as where only RDMA uses them,
 * so no page tables of the process have to be cleared.
 */
#include "../verbs/common.h"
#include "buffer.h"
#include "mirror.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_BUFFERS = 64, MAX_ROUNDS = 101, DEPTH = 8 };

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void put(double value, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void put(double value, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" %.6g\n", value);
}

/* ---- who reads and writes ---- */

/*
 * Waits asleep: who polls on the only CPU has those wait who do the work, and
 * counts his own instructions.
 */
struct link {
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_qp *qp[2];
	bool armed;
};

static void link_open(struct link *l)
{
	struct peer peer[2];
	int i;

	*l = (struct link){ .channel = ibv_create_comp_channel(dev.ctx) };
	if (!l->channel)
		fail("ibv_create_comp_channel: %s", strerror(errno));
	l->cq = ibv_create_cq(dev.ctx, PAIR_DEPTH, NULL, l->channel, 0);
	if (!l->cq)
		fail("ibv_create_cq: %s", strerror(errno));
	for (i = 0; i < 2; i++) {
		l->qp[i] = qp_create(l->cq, IBV_QPT_RC, NULL, 0);
		peer[i] = (struct peer){ l->qp[i]->qp_num, dev.gid };
	}
	for (i = 0; i < 2; i++)
		qp_connect(l->qp[i], &peer[!i]);
}

static void link_close(struct link *l)
{
	if (ibv_destroy_qp(l->qp[0]) || ibv_destroy_qp(l->qp[1]) ||
	    ibv_destroy_cq(l->cq) || ibv_destroy_comp_channel(l->channel))
		fail("cannot destroy a connection: %s", strerror(errno));
}

static void link_sleep(struct link *l)
{
	struct ibv_cq *cq;
	void *context;

	if (ibv_get_cq_event(l->channel, &cq, &context))
		fail("ibv_get_cq_event: %s", strerror(errno));
	ibv_ack_cq_events(cq, 1);
	l->armed = false;
}

static void link_wait(struct link *l)
{
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(l->cq, 1, &wc))) {
		if (l->armed)
			link_sleep(l);
		else if (ibv_req_notify_cq(l->cq, 0))
			fail("ibv_req_notify_cq: %s", strerror(errno));
		else
			l->armed = true;
	}
	if (n < 0)
		fail("ibv_poll_cq failed");
	if (wc.status != IBV_WC_SUCCESS)
		fail("completion with \"%s\"", ibv_wc_status_str(wc.status));
}

static void link_post(struct link *l, enum ibv_wr_opcode op,
		      struct ibv_sge local, const uint8_t *remote,
		      const struct ibv_mr *mr)
{
	struct ibv_send_wr wr = {
		.opcode = op,
		.sg_list = &local,
		.num_sge = 1,
		.wr.rdma = { (uintptr_t)remote, mr->rkey },
	};

	post(l->qp[0], &wr);
}

/* ---- an MR over one buffer, or several that the process has in a row ---- */

struct bed {
	struct buffer b[MAX_BUFFERS];
	unsigned int n;
	uint8_t *addr;
	size_t len;
	struct ibv_mr *mr;
	struct mem from;
	struct link link;
};

static void bed_open(struct bed *bed, size_t size, unsigned int n, size_t op)
{
	unsigned int i;

	*bed = (struct bed){
		.n = n, .len = n * size, .addr = host_map(n * size),
	};
	for (i = 0; i < n; i++) {
		bed->b[i] = buffer_open(size);
		unmap(bed->b[i].addr, size);
		bed->b[i].addr = buffer_map_at(&bed->b[i], bed->addr + i * size,
					       0, size);
	}
	bed->mr = reg(bed->addr, bed->len, ACCESS_ALL);
	bed->from = mem_open(HOST, 0, op);
	pattern_fill(bed->from.addr, op, seed_of("speed"), 0);
	link_open(&bed->link);
}

static void bed_close(struct bed *bed)
{
	unsigned int i;

	link_close(&bed->link);
	mem_close(&bed->from);
	dereg(bed->mr);
	for (i = 0; i < bed->n; i++)
		buffer_close(&bed->b[i]);
	sample_balanced();
}

/* Fault, and map all of the MR, as the first access to it does. */
static void bed_fault(struct bed *bed)
{
	struct ibv_sge all = { (uintptr_t)bed->addr, bed->len, bed->mr->lkey };
	int err = uverbs_advise_mr(dev.pd,
				   IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
				   IBV_ADVISE_MR_FLAG_FLUSH, &all, 1);

	if (err)
		fail("prefetch: %s", strerror(err));
}

/* ---- again: get at it again, after an invalidation or with a new MR ---- */

static void nothing(struct bed *bed)
{
	(void)bed;
}

static void invalidate(struct bed *bed)
{
	buffer_invalidate(&bed->b[0]);
}

static void register_anew(struct bed *bed)
{
	dereg(bed->mr);
	bed->mr = reg(bed->addr, bed->len, ACCESS_ALL);
}

static const struct {
	const char *name;
	void (*run)(struct bed *bed);
} steps[] = {
	{ "write", nothing },
	{ "invalidate", invalidate },
	{ "anew", register_anew },
};

enum { STEPS = ARRAY_SIZE(steps) };

static void write_once(struct bed *bed)
{
	link_post(&bed->link, IBV_WR_RDMA_WRITE,
		  sge(&bed->from, 0, bed->from.len), bed->addr, bed->mr);
	link_wait(&bed->link);
}

static void measure_again(size_t size, size_t op, unsigned int n)
{
	static double all[STEPS][MAX_ROUNDS], alone[STEPS][MAX_ROUNDS];
	static struct bed bed;
	int i, step;

	bed_open(&bed, size, n, op);
	for (i = 0; i < MAX_ROUNDS; i++) {
		for (step = 0; step < STEPS; step++) {
			double start = now();

			steps[step].run(&bed);
			alone[step][i] = now() - start;
			write_once(&bed);
			all[step][i] = now() - start;
		}
	}
	same_check(bed.addr, bed.from.addr, op, "what was written");
	for (step = 0; step < STEPS; step++) {
		put(1e9 * median(all[step], MAX_ROUNDS), "again-%zu-%zu-%u-%s",
		    size, op, n, steps[step].name);
		put(1e9 * median(alone[step], MAX_ROUNDS),
		    "again-%zu-%zu-%u-%s-alone", size, op, n, steps[step].name);
	}
	bed_close(&bed);
}

/* ---- moves: bandwidth while the buffer moves, 100 times a second ---- */

enum { MOVE_ROUNDS = 5, MOVE_WRITES = 512, MOVE_OP = KIB(64), MOVE_HZ = 100 };

/* Where it goes in turns. */
static const struct route {
	const char *name;
	uint32_t where[2];
} routes[] = {
	{ "still", { 0 } },
	{ "moved", { P2P_SAMPLE_BAR, P2P_SAMPLE_BAR } },
	{ "evicted", { P2P_SAMPLE_SYSTEM, P2P_SAMPLE_BAR } },
};

enum { STILL, ROUTES = ARRAY_SIZE(routes) };

struct mover {
	const struct buffer *b;
	const struct route *route;
	pthread_t thread;
	atomic_bool stop;
	unsigned int moves;
	double cpu;		/* seconds of it in the moves */
};

static void *move_along(void *arg)
{
	struct mover *m = arg;
	struct timespec next;
	double start;

	clock_gettime(CLOCK_MONOTONIC, &next);
	while (!m->stop) {
		next.tv_nsec += 1000000000 / MOVE_HZ;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);

		start = seconds(CLOCK_THREAD_CPUTIME_ID);
		buffer_move(m->b, m->route->where[m->moves++ % 2], 1);
		m->cpu += seconds(CLOCK_THREAD_CPUTIME_ID) - start;
	}
	return NULL;
}

static void stream(struct bed *bed)
{
	unsigned int posted = 0, done;

	for (done = 0; done < MOVE_WRITES; done++) {
		for (; posted < MOVE_WRITES && posted < done + DEPTH; posted++)
			link_post(&bed->link, IBV_WR_RDMA_WRITE,
				  sge(&bed->from, 0, MOVE_OP),
				  bed->addr + posted * MOVE_OP % bed->len,
				  bed->mr);
		link_wait(&bed->link);
	}
}

/* What a fault costs where the buffer is, on an average of its places. */
static double fault_on(struct bed *bed, const struct route *route)
{
	double sum = 0, start;
	int i;

	for (i = 0; i < 2; i++) {
		buffer_move(&bed->b[0], route->where[i], 1);
		start = now();
		bed_fault(bed);
		sum += now() - start;
	}
	return sum / 2;
}

struct shares {
	double time[MOVE_ROUNDS], hz[MOVE_ROUNDS];
	double copy[MOVE_ROUNDS], faults[MOVE_ROUNDS];
};

static void move_round(struct bed *bed, const struct route *route,
		       struct shares *s, int i)
{
	struct mover m = { .b = &bed->b[0], .route = route };
	long maps = sample_counter("maps");
	bool moves = route != &routes[STILL];
	double start = now();

	if (moves && pthread_create(&m.thread, NULL, move_along, &m))
		fail("pthread_create failed");
	stream(bed);
	s->time[i] = now() - start;
	maps = sample_counter("maps") - maps;
	m.stop = true;
	if (!moves)
		return;
	pthread_join(m.thread, NULL);
	s->hz[i] = m.moves / (now() - start);
	s->copy[i] = m.cpu;
	s->faults[i] = maps * fault_on(bed, route);
}

static void put_shares(struct shares *s, const struct route *route,
		       double still)
{
	double time = median(s->time, MOVE_ROUNDS);
	double copy = median(s->copy, MOVE_ROUNDS) / time;
	double faults = median(s->faults, MOVE_ROUNDS) / time;

	put((double)MOVE_WRITES * MOVE_OP / MIB(1) / time, "moves-%s-mb-per-s",
	    route->name);
	if (route == &routes[STILL])
		return;
	put(median(s->hz, MOVE_ROUNDS), "moves-%s-per-s", route->name);
	put(copy, "moves-%s-share-in-moves", route->name);
	put(faults, "moves-%s-share-in-faults", route->name);
	put(1 - still / time - copy - faults, "moves-%s-share-in-rest",
	    route->name);
}

static void measure_moves(size_t size)
{
	static struct shares shares[ROUTES];
	static struct bed bed;
	int i, r;

	bed_open(&bed, size, 1, MOVE_OP);
	for (i = 0; i < MOVE_ROUNDS; i++)
		for (r = 0; r < ROUTES; r++)
			move_round(&bed, &routes[r], &shares[r], i);
	for (i = 0; i < (int)(size / MOVE_OP); i++)
		same_check(bed.addr + i * MOVE_OP, bed.from.addr, MOVE_OP,
			   "what was written");
	for (r = 0; r < ROUTES; r++)
		put_shares(&shares[r], &routes[r],
			   median(shares[STILL].time, MOVE_ROUNDS));
	bed_close(&bed);
}

/* ---- hmm: memory of the process that is on the device ---- */

enum { HMM_ROUNDS = 11 };

enum hmm_times { IN_PLACE, FIRST, BACK, ON_HOST, TOUCHED, GIVE, HMM_TIMES };

static const char *const hmm_names[] = {
	/* A write and a read by RDMA, ... */
	[IN_PLACE] = "in-place",	/* where it was mapped already */
	[FIRST] = "in-place-first",	/* where it has to be mapped first */
	[BACK] = "back",		/* for which faults migrate it back */
	[ON_HOST] = "on-host",		/* once it is there */
	/* No RDMA. */
	[TOUCHED] = "touched",		/* the CPU has it migrate back */
	[GIVE] = "given",		/* the device takes it */
};

struct hmm {
	struct mirror mirror;
	struct link link;
	struct ibv_mr *mr;
	struct mem mem, local;
};

static double write_and_read(struct hmm *h)
{
	double start = now();

	link_post(&h->link, IBV_WR_RDMA_WRITE, sge(&h->local, 0, h->local.len),
		  h->mem.addr, h->mr);
	link_wait(&h->link);
	link_post(&h->link, IBV_WR_RDMA_READ, sge(&h->local, 0, h->local.len),
		  h->mem.addr, h->mr);
	link_wait(&h->link);
	return now() - start;
}

static void want_there(const struct hmm *h, size_t len, const char *when)
{
	size_t pages = mirror_count(&h->mirror, h->mem.addr, h->mem.len);

	if (pages != len / 4096)
		fail("%s %zu pages are on the device, expected %zu", when,
		     pages, len / 4096);
}

static double give(struct hmm *h)
{
	double start = now();

	mirror_to_device(&h->mirror, h->mem.addr, h->mem.len);
	return now() - start;
}

static double touch(struct hmm *h)
{
	double start = now();
	size_t i;

	for (i = 0; i < h->mem.len; i += 4096)
		*(volatile uint8_t *)(h->mem.addr + i);
	return now() - start;
}

/* Begins and ends on the host. */
static void hmm_round(struct hmm *h, double times[HMM_TIMES][HMM_ROUNDS], int i)
{
	times[GIVE][i] = give(h);
	want_there(h, h->mem.len, "given:");
	mirror_refuse(true);
	times[BACK][i] = write_and_read(h);
	mirror_refuse(false);
	want_there(h, 0, "refused:");
	times[ON_HOST][i] = write_and_read(h);

	give(h);
	times[FIRST][i] = write_and_read(h);
	times[IN_PLACE][i] = write_and_read(h);
	want_there(h, h->mem.len, "in place:");

	times[TOUCHED][i] = touch(h);
	want_there(h, 0, "touched:");
}

static void measure_hmm(size_t size)
{
	static double times[HMM_TIMES][HMM_ROUNDS];
	struct hmm h = {
		.mirror = mirror_open(),
		.mem = { host_map(size), size, NULL },
		.local = mem_open(HOST, 0, size),
	};
	int i;

	pattern_fill(h.mem.addr, size, seed_of("memory"), 0);
	pattern_fill(h.local.addr, size, seed_of("speed"), 0);
	h.mr = reg(h.mem.addr, size, ACCESS_ALL | IBV_ACCESS_ON_DEMAND);
	link_open(&h.link);
	for (i = 0; i < HMM_ROUNDS; i++)
		hmm_round(&h, times, i);
	pattern_check(h.mem.addr, size, seed_of("speed"), 0, "written");
	for (i = 0; i < HMM_TIMES; i++)
		put(1e9 * median(times[i], HMM_ROUNDS), "hmm-%zu-%s", size,
		    hmm_names[i]);
	link_close(&h.link);
	dereg(h.mr);
	mirror_balanced();
}

/* ---- runs: fault and map, by size and by runs ---- */

enum { RUNS_ROUNDS = 3, MAX_SCATTERS = 4 };

/* Over so many ranges. All of the BAR moves by way of the host's memory. */
static void scatter(const struct buffer *b, uint32_t ranges)
{
	buffer_move(b, P2P_SAMPLE_SYSTEM, 0);
	buffer_move(b, P2P_SAMPLE_BAR, ranges);
	if (buffer_where(b).ranges != ranges)
		fail("not scattered over %u ranges", ranges);
}

static void measure_runs(size_t size, const uint32_t *scatters, int n)
{
	double map[MAX_SCATTERS][RUNS_ROUNDS], end[MAX_SCATTERS][RUNS_ROUNDS];
	static struct bed bed;
	double start;
	int i, s;

	bed_open(&bed, size, 1, 4096);
	for (i = 0; i < RUNS_ROUNDS; i++) {
		for (s = 0; s < n; s++) {
			scatter(&bed.b[0], scatters[s]);
			start = now();
			bed_fault(&bed);
			map[s][i] = now() - start;
			start = now();
			buffer_invalidate(&bed.b[0]);
			end[s][i] = now() - start;
		}
	}
	for (s = 0; s < n; s++) {
		put(1e9 * median(map[s], RUNS_ROUNDS), "runs-%zu-%u-map", size,
		    scatters[s]);
		put(1e9 * median(end[s], RUNS_ROUNDS), "runs-%zu-%u-invalidate",
		    size, scatters[s]);
	}
	bed_close(&bed);
}

static void measure_all_runs(void)
{
	static const uint32_t small[] = { 1, 512 };
	static const uint32_t large[] = { 1, 512, 4096, 65536 };

	measure_runs(MIB(2), small, ARRAY_SIZE(small));
	measure_runs(MIB(256), large, ARRAY_SIZE(large));
}

static void usage(void)
{
	fprintf(stderr,
		"usage: speed again SIZE OP N  one of the N buffers of an MR is invalidated, or\n"
		"                              the MR made anew: until a write to it is done\n"
		"       speed moves SIZE       bandwidth to a buffer that moves\n"
		"       speed hmm SIZE         a write and a read of memory on a device\n"
		"       speed runs             fault and map, of 2 and 256 MiB\n");
	exit(2);
}

int main(int argc, char **argv)
{
	size_t size = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	size_t op = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	unsigned int n = argc > 4 ? strtoul(argv[4], NULL, 0) : 0;

	test_init(0, NULL);
	dev_open(dev_name());
	if (argc == 3 && !strcmp(argv[1], "hmm") && size) {
		measure_hmm(size);
		return 0;
	}
	sample_load();
	if (argc == 5 && !strcmp(argv[1], "again") && op && op <= size && n &&
	    n <= MAX_BUFFERS)
		measure_again(size, op, n);
	else if (argc == 3 && !strcmp(argv[1], "moves") && size >= MOVE_OP)
		measure_moves(size);
	else if (argc == 2 && !strcmp(argv[1], "runs"))
		measure_all_runs();
	else
		usage();
	sample_unload();
	return 0;
}
