// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs_p2p.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace.h"

/* IBV_P2P_TRACE: 1, for stderr, or a file to append to. NULL: nothing is to be told. */
static const char *trace_to;

__attribute__((constructor)) static void read_environment(void)
{
	const char *to = secure_getenv("IBV_P2P_TRACE");

	if (to && *to && strcmp(to, "0"))
		trace_to = strdup(to);
}

/* A paragraph, in one write(): programs have threads, and ranks one file. */
struct paragraph {
	char text[4096];
	size_t used;
};

static void __attribute__((format(printf, 2, 3)))
add(struct paragraph *p, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(p->text + p->used, sizeof(p->text) - p->used, format, args);
	va_end(args);
	if (n > 0)
		p->used += n;
	if (p->used >= sizeof(p->text))
		p->used = sizeof(p->text) - 1;
}

/* Opened for each: a program may close all descriptors, and open its own. */
static void end(const struct paragraph *p)
{
	const bool to_stderr = !strcmp(trace_to, "1");
	int fd = to_stderr ? STDERR_FILENO :
		 open(trace_to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, p->text, p->used) < 0)
		fprintf(stderr, "libibverbs-ext-preload: no trace: cannot write to %s: %s; "
			"set IBV_P2P_TRACE to 1 or to a file that can be written\n",
			trace_to, strerror(errno));
	if (fd >= 0 && !to_stderr)
		close(fd);
}

/* Each line of text, indented. */
static void add_lines(struct paragraph *p, const char *text)
{
	size_t n;

	for (; *text; text += n + !!text[n]) {
		n = strcspn(text, "\n");
		add(p, "    %.*s\n", (int)n, text);
	}
}

static void add_memory(struct paragraph *p, const void *addr)
{
	struct ibv_p2p_addr_attr at;
	int err = ibv_p2p_query_addr(addr, &at, sizeof(at));

	if (err)
		add(p, "  at %p: %s\n", addr,
		    err == EFAULT ? "nothing that the process has mapped" : strerror(err));
	else
		add(p, "  at %p: %s%s%s%s%s\n", addr,
		    at.kind == IBV_P2P_KIND_HOST ? "memory of the host" :
						   "memory of a device",
		    *at.exporter ? ", " : "", at.exporter, *at.pci_address ? ", " : "",
		    at.pci_address);
}

/* What would make it work. */
static void add_advice(struct paragraph *p, const struct ibv_pd *pd)
{
	static const char *const names[] = {
		"the kernel", "modules", "peer memory", "dma-buf",
	};
	struct ibv_p2p_device_attr device;
	unsigned int i;

	if (ibv_p2p_query_device(pd->context, &device, sizeof(device)))
		return;
	add(p, "  ways for device memory to %s:\n",
	    ibv_get_device_name(pd->context->device));
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		add(p, "    %s: %s: %s\n", names[i],
		    device.ways & (1u << i) ? "yes" : "no", device.about[i]);
	add(p, "  see ibv_p2pinfo(1) for what is between the two devices\n");
}

void trace_reg(const char *function, const void *addr, size_t length,
	       const struct ibv_pd *pd, const struct ibv_mr *mr, int first_err, int err,
	       const char *tried)
{
	struct paragraph p = {};

	if (!trace_to)
		return;
	add(&p, "libibverbs-ext: %s(%s, %p, %zu): %s\n", function,
	    ibv_get_device_name(pd->context->device), addr, length,
	    mr ? "as a dma-buf" :
		 strerror(err == ENOENT ? first_err : err));
	if (first_err)
		add(&p, "  libibverbs: %s (dmesg may say more)\n", strerror(first_err));
	add_lines(&p, tried);
	if (!mr) {
		add_memory(&p, addr);
		add_advice(&p, pd);
	}
	end(&p);
}

void trace_rereg(const void *addr, size_t length, int result, int err)
{
	struct paragraph p = {};

	if (!trace_to)
		return;
	add(&p, "libibverbs-ext: ibv_rereg_mr(%p, %zu): error %d: %s\n"
		"  if that is memory of CUDA, ROCm or Level Zero: an MR cannot be made one "
		"of it;\n  ibv_dereg_mr(), then ibv_reg_mr() can\n",
	    addr, length, result, strerror(err));
	end(&p);
}
