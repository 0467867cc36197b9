/* SPDX-License-Identifier: GPL-2.0 */
/* What is counted, and levers for tests. No exporter needs any of this. */
#ifndef P2P_SAMPLE_TEST_H
#define P2P_SAMPLE_TEST_H

#include <linux/types.h>

struct device;

enum sample_counter {
	SAMPLE_MAPS,
	SAMPLE_UNMAPS,
	SAMPLE_REFUSALS,
	SAMPLE_MOVES,
	SAMPLE_INVALIDATIONS,
	SAMPLE_NR_COUNTERS,
};

/*
 * So many of the next p2p_map() fail, or are invalidated: before it looks where
 * the buffer is; when it has, and before it returns; or some time after, from a
 * work item, so before, while or after the importer starts to use the mapping.
 */
enum sample_lever {
	SAMPLE_REFUSE,
	SAMPLE_BEFORE_MAP,
	SAMPLE_INSIDE_MAP,
	SAMPLE_AFTER_MAP,
	SAMPLE_NR_LEVERS,
};

void sample_test_init(void);
void sample_test_exit(void);
void sample_count(enum sample_counter counter);
bool sample_lever_pulled(enum sample_lever lever);

/*
 * With map_delay_ms a buffer takes so long, again for each mapping, until it can
 * be mapped. Under the lock of whoever has the buffer.
 */
struct sample_ready {
	bool pending;
	unsigned long at;	/* jiffies */
};

bool sample_lever_is_ready(struct sample_ready *ready);
/* For p2p_map_later(), with ready->at. */
int sample_lever_wait(void *at);
bool sample_denies(const struct device *importer);

#endif
