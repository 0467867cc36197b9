// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "../verbs/sysfs.h"
#include "inject.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLAB		"/sys/kernel/debug/failslab"
#define PAGES		"/sys/kernel/debug/fail_page_alloc"
#define FUNCTION	"/sys/kernel/debug/fail_function"

static const char *const injectors[] = { SLAB, PAGES, FUNCTION };

/* One run of a BAR, one of host pages, and what looks all of it up. */
static const char *const functions[] = {
	"map_bar_run", "map_page_run", "ib_umem_odp_map_dma_and_lock",
};

/* Kept open, as to open it is a step too. */
static int nth;

static void set_all(const char *name, const char *value)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(injectors); i++)
		put_in(injectors[i], name, value);
}

static void function_init(const char *function)
{
	char folder[128], value[32];

	if (write_in(FUNCTION, "inject", function) && errno != EBUSY)
		fail("%s/inject: %s: %s", FUNCTION, function, strerror(errno));
	snprintf(folder, sizeof(folder), "%s/%s", FUNCTION, function);
	snprintf(value, sizeof(value), "%#llx", -(long long)EREMOTEIO);
	put_in(folder, "retval", value);
}

bool inject_possible(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(injectors); i++)
		if (access(injectors[i], F_OK))
			return false;
	return true;
}

void inject_init(void)
{
	size_t i;

	if (!inject_possible())
		skip("the kernel has no fault injection");
	set_all("probability", "0");
	set_all("interval", "1");
	set_all("times", "-1");
	set_all("space", "0");
	set_all("verbose", "0");
	/* Any allocation that may fail, of any size. */
	put_in(SLAB, "ignore-gfp-wait", "N");
	put_in(PAGES, "ignore-gfp-wait", "N");
	put_in(PAGES, "ignore-gfp-highmem", "N");
	put_in(PAGES, "min-order", "0");
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		function_init(functions[i]);
	nth = open("/proc/thread-self/fail-nth", O_RDWR);
	if (nth < 0)
		fail("/proc/thread-self/fail-nth: %s", strerror(errno));
}

static void put_number(const char *folder, const char *name, int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", value);
	put_in(folder, name, text);
}

static void nth_set(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	if (pwrite(nth, text, len, 0) != len)
		fail("fail-nth: %s", strerror(errno));
}

static bool nth_was_reached(void)
{
	char text[16] = "";

	if (pread(nth, text, sizeof(text) - 1, 0) <= 0)
		fail("fail-nth: %s", strerror(errno));
	return !atoi(text);
}

/* Mappings are counted alone: how many allocations come before one varies. */
void inject_nth(enum injection what, int n)
{
	if (what == ALLOCATIONS) {
		nth_set(n);
		return;
	}
	put_number(FUNCTION, "times", 1);
	put_number(FUNCTION, "space", n);
	put_number(FUNCTION, "probability", 100);
}

bool inject_ended(enum injection what)
{
	bool reached;

	if (what == ALLOCATIONS) {
		reached = nth_was_reached();
		nth_set(0);
		return reached;
	}
	put_number(FUNCTION, "probability", 0);
	return !read_number(FUNCTION, "times");
}

/* Those in a folder of /proc whose names begin so, and who they will start. */
static void tasks_may_fail(const char *folder, const char *begin, bool may)
{
	DIR *proc = opendir(folder);
	struct dirent *d;
	char path[300], name[32];

	while (proc && (d = readdir(proc))) {
		if (!atoi(d->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
		if (!read_line(path, "comm", name, sizeof(name)) &&
		    !strncmp(name, begin, strlen(begin)))
			write_in(path, "make-it-fail", may ? "1" : "0");
	}
	if (proc)
		closedir(proc);
}

/* Those that run QPs, and those that take page faults for us. */
static void workers_may_fail(bool may)
{
	tasks_may_fail("/proc", "kthreadd", may);
	tasks_may_fail("/proc", "kworker/u", may);
	tasks_may_fail("/proc/self/task", "rdma-odp-fault", may);
}

void inject_workers(const char *interval)
{
	set_all("task-filter", "Y");
	workers_may_fail(true);
	/* Not at random: vmalloc() warns if two in a row fail. */
	set_all("interval", interval);
	set_all("probability", "100");
}

void inject_stop(void)
{
	set_all("probability", "0");
	workers_may_fail(false);
	set_all("task-filter", "N");
}

void inject_exit(void)
{
	put_in(FUNCTION, "inject", "\n");	/* none */
}
