/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The kernel's fault injection: what fails, and for whom. */
#ifndef TESTS_EXPORTERS_INJECT_H
#define TESTS_EXPORTERS_INJECT_H

#include "../verbs/common.h"

enum injection {
	ALLOCATIONS,	/* with ENOMEM: failslab and fail_page_alloc */
	MAPPINGS,	/* of a run or a range, with EREMOTEIO: fail_function */
};

bool inject_possible(void);
/* Nothing fails yet. Skips the case if the kernel has no fault injection. */
void inject_init(void);
/* The nth one from now on fails, of allocations the nth of this thread. */
void inject_nth(enum injection what, int n);
/* No more; returns whether there were so many. */
bool inject_ended(enum injection what);
/* Of each kind of what the kernel's workers do one in interval fails. */
void inject_workers(const char *interval);
/* Nothing fails any more, also where a case has failed. */
void inject_stop(void);
/* As it was before inject_init(). */
void inject_exit(void);

#endif
