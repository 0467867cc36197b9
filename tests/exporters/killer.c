// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "../verbs/sysfs.h"
#include "killer.h"

#include "../verbs/common.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/*
 * The OOM killer may come again before what the first process had is free. Then
 * it takes one of these, and not who runs the tests.
 */
static void spares_start(void)
{
	int i;

	for (i = 0; i < 16; i++) {
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		put_in("/proc/self", "oom_score_adj", "500");
		for (;;)
			pause();
	}
}

void killer_expected(void)
{
	spares_start();
	if (write_in("/proc/self", "oom_score_adj", "-1000"))
		perror("oom_score_adj");
}

void kill_me_first(void)
{
	put_in("/proc/self", "oom_score_adj", "1000");
}

void take_all(void)
{
	for (;;) {
		size_t i, len = MIB(32);
		uint8_t *p = host_map(len);

		madvise(p, len, MADV_HUGEPAGE);
		for (i = 0; i < len; i += 4096)
			p[i] = 1;
	}
}

void want_oom_killing(int kmsg, pid_t pid)
{
	char who[32];

	snprintf(who, sizeof(who), "Killed process %d ", pid);
	if (!kmsg_has(kmsg, patience(0), "Out of memory", who))
		fail("it was not the OOM killer");
	close(kmsg);
}

void want_oom_killed(int kmsg, pid_t pid)
{
	join_killed(pid, SIGKILL, "who took all memory");
	want_oom_killing(kmsg, pid);
}

void run_out_of_memory(void)
{
	int kmsg = kmsg_open();
	pid_t pid = fork();

	if (!pid) {
		kill_me_first();
		take_all();
	}
	want_oom_killed(kmsg, pid);
}
