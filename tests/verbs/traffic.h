/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A thread that keeps a queue pair busy until it fails or is told to stop. */
#ifndef TESTS_VERBS_TRAFFIC_H
#define TESTS_VERBS_TRAFFIC_H

#include "common.h"

#include <pthread.h>
#include <stdatomic.h>

enum { TRAFFIC_DEPTH = 8 };

/* Which side's memory is under test, and what the device does with it. */
enum traffic_kind {
	REMOTE_WRITTEN, REMOTE_READ, LOCAL_READ, LOCAL_WRITTEN, RECV_WRITTEN,
};

struct traffic {
	enum traffic_kind kind;
	struct pair pair;
	struct mem host;	/* TRAFFIC_DEPTH buffers, each of other bytes */
	uint64_t addr;		/* the memory under test */
	size_t len;
	uint32_t key;
	pthread_t thread;
	atomic_ulong done;
	atomic_bool stop;
	/* Of the first completion that is no success, or success. */
	_Atomic enum ibv_wc_status status, recv_status;
	atomic_int post_errno;	/* or what posting has failed with */
};

/* @mr: over @len bytes of memory under test at @addr. */
struct traffic *traffic_start(enum traffic_kind kind, struct ibv_mr *mr,
			      const void *addr, size_t len);
/* The same for an MR of another process. */
struct traffic *traffic_start_key(enum traffic_kind kind, uint32_t key,
				  uint64_t addr, size_t len);
/* Wait until some more operations have succeeded. */
void traffic_flows(struct traffic *t);
/* Has it ended by itself, one way or another, so many seconds from now? */
bool traffic_ends(struct traffic *t, double seconds);
/* It has to end by itself, with this status; the QPs are in error then. */
void traffic_fails(struct traffic *t, enum ibv_wc_status want);
/* It has to have gone well until now. */
void traffic_stop(struct traffic *t);

#endif
