/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A thread that writes, reads, sends to and adds to parts of an MR at random,
 * and verifies every byte. Any completion that is no success ends the case, but
 * for those that @may_refuse allows.
 */
#ifndef TESTS_VERBS_VERIFY_H
#define TESTS_VERBS_VERIFY_H

#include "common.h"

#include <pthread.h>
#include <stdatomic.h>

enum { VERIFY_MAX_LEN = KIB(64) };	/* of an operation */

struct verifier {
	struct ibv_mr *mr;
	uint8_t *addr;		/* what it has to itself, in the MR */
	size_t len;
	const uint8_t *view;	/* where the CPU sees that, or NULL */
	unsigned long ops;	/* how many rounds; 0: until stopped */
	bool may_refuse;	/* a write may end in a remote access error */

	struct pair pair;
	struct mem out, in;
	uint64_t random;
	uint64_t sum;		/* of what was added to the first word */
	pthread_t thread;
	atomic_ulong done;
	atomic_bool stop;
	unsigned int refused;
};

/* @v: the first six are set. @number: another one for each of them. */
void verify_start(struct verifier *v, int number);
/* Wait until it has done some more. */
void verify_flows(struct verifier *v);
/* Wait for the end; one without @ops is told to. */
void verify_end(struct verifier *v);

uint64_t next_random(uint64_t *state);

#endif
