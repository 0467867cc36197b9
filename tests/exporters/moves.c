// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * An exporter that moves and invalidates buffers as fast as it can, while
 * several queue pairs read, write, send to and add to them through several MRs:
 * no byte is wrong, nothing ends in error, and everybody gets on.
 */
#include "../verbs/verify.h"
#include "buffer.h"

#include <unistd.h>

enum { BUFFERS = 2, WORKERS = 4, REGION = KIB(256) };
static const size_t total = WORKERS * REGION;

static const struct {
	uint32_t where, ranges;
} places[] = {
	{ P2P_SAMPLE_BAR, 1 }, { P2P_SAMPLE_BAR, 4 }, { P2P_SAMPLE_SYSTEM, 0 },
	{ P2P_SAMPLE_BAR, 256 },
};

static void move_once(const struct buffer *b, uint64_t random)
{
	size_t i = random % (4 * ARRAY_SIZE(places));

	/* To copy is most of a move: invalidate more often than that. */
	if (i < ARRAY_SIZE(places))
		buffer_move(b, places[i].where, places[i].ranges);
	else
		buffer_invalidate(b);
}

/* Until the exporter has counted so many. */
static void move_all_along(const struct buffer *b, long invalidations)
{
	long before = sample_counter("invalidations");
	uint64_t random = seed_of("mover");
	int i;

	do {
		for (i = 0; i < 100; i++) {
			uint64_t which = next_random(&random);

			move_once(&b[which % BUFFERS], which >> 8);
		}
	} while (sample_counter("invalidations") < before + invalidations);
}

static void run_moves(const void *arg)
{
	long moves = sample_counter("moves"), maps = sample_counter("maps");
	long n = slow ? 5000 : 100000;
	struct verifier workers[WORKERS];
	struct buffer b[BUFFERS];
	unsigned long done = 0;
	double start;
	int i;

	(void)arg;
	for (i = 0; i < BUFFERS; i++)
		b[i] = buffer_open(total);
	for (i = 0; i < WORKERS; i++) {
		struct buffer *at = &b[i % BUFFERS];

		/* Two have an MR over all of the buffer, two over their part. */
		workers[i] = (struct verifier) {
			.addr = at->addr + i * REGION, .len = REGION,
		};
		workers[i].mr = i < 2 ? reg(at->addr, total, ACCESS_ALL) :
				reg(workers[i].addr, REGION, ACCESS_ALL);
		if (i % 2)
			workers[i].view = workers[i].addr;
		verify_start(&workers[i], i);
	}
	start = now();
	move_all_along(b, n);
	note("%.0f invalidations a second, %ld moves in all", n / (now() - start),
	     sample_counter("moves") - moves);
	for (i = 0; i < WORKERS; i++) {
		verify_flows(&workers[i]);
		verify_end(&workers[i]);
		note("worker %d: %lu rounds", i, workers[i].done);
		done += workers[i].done;
		dereg(workers[i].mr);
	}
	note("%lu rounds, %ld times mapped", done, sample_counter("maps") - maps);
	for (i = 0; i < BUFFERS; i++)
		buffer_close(&b[i]);
	sample_balanced();
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sample_load();
	run_case(run_moves, NULL, "as-fast-as-they-come");
	sample_unload();
	return test_done();
}
