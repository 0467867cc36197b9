// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * An invalidation, a delay or a refusal at each step between a fault and the
 * use of what it maps, during traffic that is verified.
 */
#include "../verbs/verify.h"
#include "buffer.h"

#include <sys/mman.h>
#include <unistd.h>

enum { LEN = KIB(256) };

static struct verifier start(const struct buffer *b)
{
	return (struct verifier) {
		.mr = reg(b->addr, b->len, ACCESS_ALL),
		.addr = b->addr, .len = b->len, .view = b->addr,
	};
}

static void stop(struct verifier *v, struct buffer *b)
{
	verify_end(v);
	dereg(v->mr);
	buffer_close(b);
	sample_balanced();
}

static const char *const steps[] = {
	"invalidate_before_map", "invalidate_inside_map", "invalidate_after_map",
};

/* One at a time, so that each fault meets just one. */
static void run_step_once(const void *arg)
{
	const char *const *step = arg;
	struct buffer b = buffer_open(LEN);
	struct verifier v = start(&b);
	int i;

	verify_start(&v, 0);
	for (i = 0; i < 50; i++) {
		long maps = sample_counter("maps");

		sample_lever(*step, 1);
		buffer_invalidate(&b);
		verify_flows(&v);
		if (sample_counter(*step))
			fail("the lever was not pulled");
		/* One that was lost, and one that was used. */
		if (sample_counter("maps") < maps + 1)
			fail("it was not mapped again");
	}
	stop(&v, &b);
}

/* Many in a row: each is lost, and the next fault goes on. */
static void run_step_often(const void *arg)
{
	const char *const *step = arg;
	struct buffer b = buffer_open(LEN);
	struct verifier v = start(&b);
	int n = slow ? 100 : 1000;
	double until;

	verify_start(&v, 0);
	sample_lever(*step, n);
	buffer_invalidate(&b);
	until = now() + patience(0);
	while (sample_counter(*step)) {
		if (now() > until)
			fail("%ld of %d are left", sample_counter(*step), n);
		usleep(1000);
		buffer_invalidate(&b);
	}
	verify_flows(&v);
	stop(&v, &b);
}

/* p2p_map() takes its time: whoever invalidates meanwhile is not kept waiting. */
static void run_delay(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	struct verifier v = start(&b);
	int i;

	(void)arg;
	verify_start(&v, 0);
	sample_lever("map_delay_ms", 30);
	for (i = 0; i < 10; i++) {
		uint8_t *part;

		buffer_invalidate(&b);
		usleep(10000);
		/* No lock of the exporter's is in the way of this one. */
		part = buffer_map_at(&b, NULL, 0, 4096);
		unmap(part, 4096);
		buffer_move(&b, P2P_SAMPLE_BAR, 1 + i % 2);
	}
	sample_lever("map_delay_ms", 0);
	verify_flows(&v);
	stop(&v, &b);
}

static void run_refuse_reg(const void *arg)
{
	struct buffer b = buffer_open(LEN);
	struct ibv_mr *mr;
	int err, i;

	(void)arg;
	for (i = 1; i <= 5; i++) {
		sample_lever("refuse", 1);
		if (try_reg(b.addr, LEN, ACCESS_ALL, &err) || err != EPERM)
			fail("registered, or %s", strerrorname_np(err));
		sample_balanced();
	}
	mr = reg(b.addr, LEN, ACCESS_ALL);
	exercise(mr, (uintptr_t)b.addr, LEN, b.addr, "after refusals");
	dereg(mr);
	buffer_close(&b);
	sample_balanced();
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	sample_load();
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		run_case(run_step_once, &steps[i], "once/%s", steps[i]);
		run_case(run_step_often, &steps[i], "often/%s", steps[i]);
	}
	run_case(run_delay, NULL, "delay");
	run_case(run_refuse_reg, NULL, "refuse/register");
	sample_unload();
	return test_done();
}
