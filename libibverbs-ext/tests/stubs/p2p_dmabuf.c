// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The module p2p_dmabuf, as its uapi header has it. A dma-buf is of all of the
 * allocations that the range is in.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/p2p_dmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "p2p_dmabuf.h"
#include "stub.h"

#define NODE "/dev/p2p_dmabuf"

static int node = -1;
static uint32_t flags;

int __real_open(const char *path, int how, ...);
int __wrap_open(const char *path, int how, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

uint64_t stub_p2p_dmabuf_allocate(size_t size, int exporter, bool readonly)
{
	struct stub_allocation *a;

	pthread_mutex_lock(&stub_lock);
	a = stub_allocate(size, STUB_PAGE, 0);
	a->device = exporter;
	a->flag = readonly;
	pthread_mutex_unlock(&stub_lock);
	return a->start;
}

void stub_p2p_dmabuf_release(uint64_t addr)
{
	pthread_mutex_lock(&stub_lock);
	stub_free(stub_find(stub_allocations, addr));
	pthread_mutex_unlock(&stub_lock);
}

uint32_t stub_p2p_dmabuf_flags(void)
{
	return flags;
}

int __wrap_open(const char *path, int how, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, how);
	if (how & O_CREAT)
		mode = va_arg(args, mode_t);
	va_end(args);
	if (strcmp(path, NODE))
		return __real_open(path, how, mode);
	if (!(how & O_CLOEXEC))
		stub_misuse("children would have the device");
	pthread_mutex_lock(&stub_lock);
	errno = stub_called("open");
	node = errno ? -1 : __real_open("/dev/null", how);
	pthread_mutex_unlock(&stub_lock);
	return node;
}

static int check(const struct p2p_dmabuf_export *e)
{
	if (e->size == sizeof(*e) && !(e->flags & ~P2P_DMABUF_WRITE) && e->length &&
	    e->addr % STUB_PAGE == 0 && e->length % STUB_PAGE == 0)
		return 0;
	stub_misuse("an export of no bytes, parts of pages, or with unknown flags");
	return EINVAL;
}

static int export(struct p2p_dmabuf_export *e)
{
	const uint64_t end = e->addr + e->length;
	struct stub_allocation *first, *a;
	uint64_t at;

	first = stub_find(stub_allocations, e->addr);
	for (at = e->addr; at < end; at = a->start + a->size) {
		a = stub_find(stub_allocations, at);
		if (!a)
			return EFAULT;
		if (a->flag && e->flags & P2P_DMABUF_WRITE)
			return EACCES;
		if (a->device != first->device)
			return EOPNOTSUPP;
	}
	e->fd = stub_dmabuf(first->start, at - first->start);
	if (e->fd < 0)
		return errno;
	fcntl(e->fd, F_SETFD, FD_CLOEXEC);
	e->kind = P2P_DMABUF_KIND_BAR;
	e->offset = e->addr - first->start;
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != P2P_DMABUF_EXPORT)
		return __real_ioctl(fd, request, arg);
	pthread_mutex_lock(&stub_lock);
	if (fd != node)
		stub_misuse("an export by something else than " NODE);
	flags = ((struct p2p_dmabuf_export *)arg)->flags;
	errno = check(arg);
	if (!errno)
		errno = stub_called("ioctl");
	if (!errno)
		errno = export(arg);
	pthread_mutex_unlock(&stub_lock);
	return errno ? -1 : 0;
}
