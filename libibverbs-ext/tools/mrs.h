/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Memory regions of a machine, as RDMA netlink tells of them. */
#ifndef MRS_H
#define MRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What the kernel told, which depends on kernel, driver and privileges. */
enum mr_has {
	MR_PID = 1 << 0,
	MR_KEYS = 1 << 1,	/* both; only with CAP_NET_ADMIN */
	MR_RANGES = 1 << 2,
	MR_BYTES = 1 << 3,
	MR_REVOKED = 1 << 4,
	MR_MAPS = 1 << 5,
	MR_FAULTS = 1 << 6,
	MR_INVALIDATIONS = 1 << 7,
	MR_RATES = 1 << 8,	/* these are our own */
};

struct mr {
	char device[64];
	uint32_t mrn;
	uint32_t has;		/* enum mr_has: what is valid below */
	uint32_t pid, lkey, rkey;
	uint32_t ranges;	/* of device memory, mapped now */
	uint64_t length, bytes;
	bool revoked;
	/* "": not told. With more than one range exporter and path are the first's. */
	char command[32], odp[16], memory[24], exporter[32], path[16];
	uint64_t maps, faults, invalidations;		/* since it was registered */
	double fault_rate, invalidation_rate;		/* a second */
};

struct mrs {
	struct mr *mr;
	size_t nr;
	struct timespec taken;
};

/* One more, of which nothing is known. It stays where it is until the next one. */
struct mr *mrs_add(struct mrs *mrs);
void mrs_free(struct mrs *mrs);

/* By device and number, and each one once. */
void mrs_sort(struct mrs *mrs);
/* Of the same MRs, by device and number. Both are sorted after that. */
void mrs_join(struct mrs *mrs, struct mrs *counters);
/* Of what has changed since, if both are sorted. */
void mrs_rate(struct mrs *mrs, const struct mrs *before);

bool mr_is_device(const struct mr *mr);
/* Its memory is taken away all the time. */
enum { THRASHES = 10 };		/* invalidations a second */
bool mr_thrashes(const struct mr *mr);

/* For people and for programs; see mr_show.c. */
struct mr_view {
	bool rates;
	bool tells;		/* the kernel knows which have device memory */
};

void mrs_print(const struct mrs *mrs, const struct mr_view *view);
struct json_object *mrs_json(const struct mrs *mrs);

#endif
