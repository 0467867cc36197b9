// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <stdlib.h>
#include <string.h>

#include "mrs.h"
#include "output.h"

/* Not one at a time: there may be a million. */
struct mr *mrs_add(struct mrs *mrs)
{
	const bool full = !(mrs->nr & (mrs->nr - 1));	/* 0, or a power of two */

	if (full)
		mrs->mr = grow(mrs->mr, mrs->nr ? 2 * mrs->nr : 1, sizeof(*mrs->mr));
	mrs->mr[mrs->nr] = (struct mr){};
	return &mrs->mr[mrs->nr++];
}

void mrs_free(struct mrs *mrs)
{
	free(mrs->mr);
	*mrs = (struct mrs){};
}

static int compare(const void *a, const void *b)
{
	const struct mr *mr_a = a, *mr_b = b;
	const int order = strverscmp(mr_a->device, mr_b->device);

	if (order)
		return order;
	return (mr_a->mrn > mr_b->mrn) - (mr_a->mrn < mr_b->mrn);
}

/* A dump goes on by position: others that come or go meanwhile repeat or hide one. */
void mrs_sort(struct mrs *mrs)
{
	size_t i, nr = 0;

	if (!mrs->nr)
		return;
	qsort(mrs->mr, mrs->nr, sizeof(*mrs->mr), compare);
	for (i = 1; i < mrs->nr; i++)
		if (compare(&mrs->mr[nr], &mrs->mr[i]))
			mrs->mr[++nr] = mrs->mr[i];
	mrs->nr = nr + 1;
}

static void take_counters(struct mr *mr, const struct mr *counters)
{
	const uint32_t has = counters->has & (MR_MAPS | MR_FAULTS | MR_INVALIDATIONS);

	mr->has |= has;
	mr->maps = counters->maps;
	mr->faults = counters->faults;
	mr->invalidations = counters->invalidations;
	if (!(mr->has & MR_BYTES) && counters->has & MR_BYTES) {
		mr->bytes = counters->bytes;
		mr->has |= MR_BYTES;
	}
}

/* The one of sorted MRs from *at on that is the same as mr, or NULL; *at follows. */
static const struct mr *find(const struct mrs *mrs, size_t *at, const struct mr *mr)
{
	while (*at < mrs->nr && compare(&mrs->mr[*at], mr) < 0)
		++*at;
	return *at < mrs->nr && !compare(&mrs->mr[*at], mr) ? &mrs->mr[*at] : NULL;
}

void mrs_join(struct mrs *mrs, struct mrs *counters)
{
	const struct mr *found;
	size_t i, at = 0;

	mrs_sort(mrs);
	mrs_sort(counters);
	for (i = 0; i < mrs->nr; i++) {
		found = find(counters, &at, &mrs->mr[i]);
		if (found)
			take_counters(&mrs->mr[i], found);
	}
}

/* Numbers are used again, after all others: what counts less is another MR. */
static void rate(struct mr *mr, const struct mr *before, double seconds)
{
	const uint32_t counts = MR_FAULTS | MR_INVALIDATIONS;

	if ((mr->has & before->has & counts) != counts || mr->pid != before->pid ||
	    mr->faults < before->faults || mr->invalidations < before->invalidations)
		return;
	mr->fault_rate = (mr->faults - before->faults) / seconds;
	mr->invalidation_rate = (mr->invalidations - before->invalidations) / seconds;
	mr->has |= MR_RATES;
}

void mrs_rate(struct mrs *mrs, const struct mrs *before)
{
	const double seconds = mrs->taken.tv_sec - before->taken.tv_sec +
			       (mrs->taken.tv_nsec - before->taken.tv_nsec) / 1e9;
	const struct mr *found;
	size_t i, at = 0;

	if (seconds <= 0)
		return;
	for (i = 0; i < mrs->nr; i++) {
		found = find(before, &at, &mrs->mr[i]);
		if (found)
			rate(&mrs->mr[i], found, seconds);
	}
}

bool mr_is_device(const struct mr *mr)
{
	return *mr->memory && strcmp(mr->memory, "host");
}

bool mr_thrashes(const struct mr *mr)
{
	return mr->has & MR_RATES && mr->invalidation_rate >= THRASHES;
}
