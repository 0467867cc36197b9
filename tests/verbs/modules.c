// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * On a kernel without the series, where kernel-modules/ make dma-bufs of device memory:
 * cases that the series passes and they cannot, and why. The documentation has the same
 * list. What is not in it has to pass.
 */
#include "modules.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

#define ODP "dmae has no on-demand paging of host memory here"
#define MIXED "host and device memory take an MR each here"
#define WHOLE "the MR fails as a whole when a part of it cannot be mapped"
#define RIGHTS "an MR that may write is of no use while its memory may not be written"

static const struct {
	const char *pattern, *why;	/* PROGRAM/CASE */
} lacking[] = {
	{ "*/on-demand", ODP },
	{ "refuse/*", "its cases ask for on-demand paging too" },
	{ "ranges/mixed/*", MIXED },
	{ "ranges/many-pieces", MIXED },
	{ "invalidate/map-fixed/host-memory", MIXED },
	{ "invalidate/munmap/partial", WHOLE },
	{ "invalidate/mprotect/read-only", RIGHTS },
	{ "stress/protect", RIGHTS },
	{ "races/dereg/odp", ODP },
	{ "removal/*/parked", ODP },
	{ "removal/plugged-in-again", "this kernel leaves a BAR of procfs to the process" },
	{ "crowd/munmap", ODP },
	{ "fork/fork-init", "ibv_fork_init() takes device memory from children here" },
	{ "vfio/untouched", "the modules read page tables, and fault in what is not there" },
	{ "rereg/refused/*", "to change the memory of an MR takes its access here" },
};

const char *modules_lack(const char *program, const char *name)
{
	char at[256];
	size_t i;

	if (!getenv("STOCK_MODULES") || getenv("STOCK_PLAIN"))
		return NULL;
	snprintf(at, sizeof(at), "%s/%s", program, name);
	for (i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++)
		if (!fnmatch(lacking[i].pattern, at, 0))
			return lacking[i].why;
	return NULL;
}
