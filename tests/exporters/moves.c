// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * An exporter that moves and invalidates buffers as fast as it can, while
 * several queue pairs read, write, send to and add to them through several MRs:
 * no byte is wrong, nothing ends in error, and everybody gets on.
 */
#include "../verbs/verify.h"
#include "buffer.h"

#include <unistd.h>

enum { BUFFERS = 2, WORKERS = 4, REGION = KIB(128) };
static const size_t total = WORKERS * REGION;

static const struct {
	uint32_t where, ranges;
} places[] = {
	{ P2P_SAMPLE_BAR, 1 }, { P2P_SAMPLE_BAR, 4 }, { P2P_SAMPLE_SYSTEM, 0 },
	{ P2P_SAMPLE_BAR, 128 },
};

/* Of all 100,000 that there are, one in ten moves: most of that is to copy. */
static const struct kind {
	const char *name;
	bool moves;
	long n, slow_n;
} kinds[] = {
	{ "invalidated", false, 90000, 4500 },
	{ "moved", true, 10000, 500 },
};

static void move_once(const struct buffer *b, uint64_t random)
{
	size_t i = random % ARRAY_SIZE(places);

	buffer_move(b, places[i].where, places[i].ranges);
}

/* Until the exporter has counted so many. */
static void move_all_along(const struct buffer *b, const struct kind *kind,
			   long invalidations)
{
	long before = sample_counter("invalidations");
	uint64_t random = seed_of("mover");
	int i;

	do {
		for (i = 0; i < 100; i++) {
			uint64_t which = next_random(&random);

			if (kind->moves)
				move_once(&b[which % BUFFERS], which >> 8);
			else
				buffer_invalidate(&b[which % BUFFERS]);
		}
	} while (sample_counter("invalidations") < before + invalidations);
}

static void run_moves(const void *arg)
{
	const struct kind *kind = arg;
	long moves = sample_counter("moves"), maps = sample_counter("maps");
	long n = slow ? kind->slow_n : kind->n;
	struct verifier workers[WORKERS];
	struct buffer b[BUFFERS];
	unsigned long done = 0;
	double start;
	int i;

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
	move_all_along(b, kind, n);
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
	size_t i;

	test_init(argc, argv);
	sample_load();
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		run_case(run_moves, &kinds[i], "as-fast-as-they-come/%s",
			 kinds[i].name);
	sample_unload();
	return test_done();
}
