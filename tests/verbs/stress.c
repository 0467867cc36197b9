// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Threads that write, read and send parts of one MR at random and verify every
 * byte, while another thread pulls the mapping from under them: each access
 * finds the device memory, or fails where the mapping of the moment says so.
 */
#include "verify.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORKERS = 4, REGION = KIB(256) };
enum { RW = PROT_READ | PROT_WRITE };
static const size_t total = WORKERS * REGION;

struct stress;

/* What another thread does to the mapping, once. */
typedef void (*meddle)(struct stress *s, uint64_t random);

struct stress {
	uint64_t at;		/* in the BAR */
	uint8_t *addr;		/* registered */
	uint8_t *view;
	struct verifier workers[WORKERS];
	pthread_t meddler;
	meddle meddle;
	atomic_bool stop;
	unsigned long meddled;
};

static void *meddle_all_along(void *arg)
{
	struct stress *s = arg;
	uint64_t random = seed_of("meddler");

	while (!s->stop) {
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

static void run_stress(const void *arg)
{
	const struct kind *kind = arg;
	struct stress *s = calloc(1, sizeof(*s));
	unsigned int refused = 0;
	struct ibv_mr *mr;
	int i;

	s->at = STRESS_AT + (kind - kinds) * total;
	s->addr = gpu_map(GPU0, s->at, total);
	s->view = gpu_map(GPU0, s->at, total);
	mr = reg(s->addr, total, ACCESS_ALL);
	s->meddle = kind->meddle;
	for (i = 0; i < WORKERS; i++) {
		s->workers[i] = (struct verifier) {
			.mr = mr, .addr = s->addr + i * REGION, .len = REGION,
			.view = s->view + i * REGION, .ops = slow ? 40 : 300,
			.may_refuse = kind->may_refuse,
		};
		verify_start(&s->workers[i], i);
	}
	if (pthread_create(&s->meddler, NULL, meddle_all_along, s))
		fail("pthread_create failed");
	for (i = 0; i < WORKERS; i++) {
		verify_end(&s->workers[i]);
		refused += s->workers[i].refused;
	}
	s->stop = true;
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
