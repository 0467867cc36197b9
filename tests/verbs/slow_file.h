/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Memory whose pages come when somebody wants them to, or never: a file that a
 * process of ours serves through FUSE.
 */
#ifndef TESTS_VERBS_SLOW_FILE_H
#define TESTS_VERBS_SLOW_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct slow_file {
	uint8_t *addr;		/* mapped shared, for reading and writing */
	size_t len;
	pid_t server;		/* dies with whoever has opened it */
	int gate;
	volatile unsigned int *waiting;	/* requests for pages, by now */
};

/* Byte o of it is pattern_fill()'s for this seed. Skips without /dev/fuse. */
struct slow_file slow_file_open(size_t len, uint64_t seed);
/* The pages that are waited for come, and all others when asked for. */
void slow_file_serve(struct slow_file *f);

#endif
