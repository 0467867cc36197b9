/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The kernel's OOM killer: who brings it about, and whom it takes. */
#ifndef TESTS_EXPORTERS_KILLER_H
#define TESTS_EXPORTERS_KILLER_H

#include <sys/types.h>

/* Before the first case: it will come, and is not to take who runs the tests. */
void killer_expected(void);
void kill_me_first(void);
/* Take all memory that there is, until it comes. */
void take_all(void);
/* It kills that process; @kmsg: open since before that, and closed now. */
void want_oom_killing(int kmsg, pid_t pid);
/* The same of a child, which is waited for. */
void want_oom_killed(int kmsg, pid_t pid);
/* A process takes all memory, and is killed. */
void run_out_of_memory(void);

#endif
