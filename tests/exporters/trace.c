// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The tracepoints of peer mappings: what happens to an MR is there, once each. */
#include "../verbs/common.h"
#include "../verbs/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = KIB(64), AT = MIB(2) };

static const char tracing[] = "/sys/kernel/debug/tracing";

struct traced {
	char text[1 << 16];
};

/* To open it for writing is what empties it. */
static void trace_start(void)
{
	FILE *f;

	if (access("/sys/kernel/debug/tracing/events/p2p", F_OK)) {
		if (slow)
			fail("the debug kernel has no such tracepoints");
		skip("a kernel without tracepoints");
	}
	f = fopen("/sys/kernel/debug/tracing/trace", "w");
	if (!f || fclose(f) || write_in(tracing, "events/p2p/enable", "1"))
		fail("cannot trace: %s", strerror(errno));
}

static void trace_end(struct traced *t)
{
	FILE *f = fopen("/sys/kernel/debug/tracing/trace", "r");
	size_t n = f ? fread(t->text, 1, sizeof(t->text) - 1, f) : 0;

	t->text[n] = '\0';
	if (!f)
		fail("cannot read the trace: %s", strerror(errno));
	fclose(f);
	write_in(tracing, "events/p2p/enable", "0");
}

/* As many lines have both of them. */
static void want_lines(const struct traced *t, int want, const char *event,
		       const char *with)
{
	char copy[sizeof(t->text)], *line, *rest = copy;
	int n = 0;

	memcpy(copy, t->text, sizeof(copy));
	while ((line = strsep(&rest, "\n")))
		n += line[0] != '#' && strstr(line, event) && strstr(line, with);
	if (n != want)
		fail("%d lines with '%s' and '%s', expected %d, of:\n%s", n, event, with,
		     want, t->text);
}

static void run_moves(const void *arg)
{
	static struct traced t;
	struct mem host = mem_open(HOST, 0, LEN);
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	char range[128], exporter[64], gpu[256];
	struct ibv_mr *mr;
	struct pair pair;

	(void)arg;
	snprintf(gpu, sizeof(gpu), "%s", gpu_path(GPU0));
	snprintf(exporter, sizeof(exporter), "exporter=%s", basename(gpu));
	snprintf(range, sizeof(range), "start=%#lx len=%u", (unsigned long)p, LEN);
	pair_open(&pair, IBV_QPT_RC, 0);

	trace_start();
	mr = reg(p, LEN, ACCESS_ALL);
	gpu_map_at(GPU0, p, AT + LEN, LEN, PROT_READ | PROT_WRITE);
	want_rdma(&pair, IBV_WR_RDMA_WRITE, sge(&host, 0, LEN), (uintptr_t)p, mr->rkey,
		  IBV_WC_SUCCESS, "to where it is now");
	dereg(mr);
	trace_end(&t);

	want_lines(&t, 2, "p2p_map:", exporter);
	want_lines(&t, 2, "p2p_map:", range);
	want_lines(&t, 2, "p2p_unmap:", range);
	/* That the MR ends is not one. */
	want_lines(&t, 1, "p2p_invalidate:", range);
	want_lines(&t, 1, "p2p_invalidate:", "test-trace");
	/* The first of them when it was registered. */
	want_lines(&t, 2, "p2p_fault:", "err=0");
	want_lines(&t, 0, "p2p_refuse:", "");
}

static void run_refused(const void *arg)
{
	static struct traced t;
	uint8_t *p = gpu_map(GPU0, AT, LEN);
	int err;

	(void)arg;
	protect(p, LEN, PROT_READ);
	trace_start();
	if (try_reg(p, LEN, ACCESS_ALL, &err))
		fail("a mapping that is read-only was registered for writing");
	trace_end(&t);
	want_lines(&t, 1, "p2p_refuse:", "err=-13 reason=\"the mapping is read-only\"");
	want_lines(&t, 1, "p2p_fault:", "err=-13");
	want_lines(&t, 0, "p2p_map:", "");
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_moves, NULL, "moves");
	run_case(run_refused, NULL, "refused");
	return test_done();
}
