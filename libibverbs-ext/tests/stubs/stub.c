// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <dirent.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stub.h"

#define COPY "stub-dmabuf"

enum { FUNCTIONS = 64, ARENA = 1 << 30 };

pthread_mutex_t stub_lock = PTHREAD_MUTEX_INITIALIZER;
struct stub_allocation *stub_allocations;

static struct function {
	const char *name;
	unsigned long calls;
	int result;
} functions[FUNCTIONS];

static const char *misuse;
static pid_t process;
static int memfd, device;
static uint8_t *bytes, *arena;

static struct function *function_get(const char *name)
{
	struct function *f;

	for (f = functions; f < functions + FUNCTIONS; f++) {
		if (!f->name)
			f->name = strdup(name);
		if (!strcmp(f->name, name))
			return f;
	}
	abort();
}

int stub_called(const char *name)
{
	struct function *f = function_get(name);

	f->calls++;
	return f->result;
}

void stub_misuse(const char *what)
{
	if (!misuse)
		misuse = what;
}

bool stub_forked(void)
{
	return getpid() != process;
}

__attribute__((constructor)) static void start(void)
{
	process = getpid();
	memfd = memfd_create("stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, ARENA) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		abort();
	device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	arena = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	bytes = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		     memfd, 0);
	if (arena == MAP_FAILED || bytes == MAP_FAILED)
		abort();
}

__attribute__((destructor)) static void stop(void)
{
	struct function *f;

	while (stub_allocations)
		stub_free(stub_allocations);
	munmap(arena, ARENA);
	munmap(bytes, ARENA);
	close(memfd);
	if (device >= 0)
		close(device);
	for (f = functions; f < functions + FUNCTIONS; f++)
		free((char *)f->name);
}

void stub_insert(struct stub_allocation **list, struct stub_allocation *a)
{
	while (*list && (*list)->start < a->start)
		list = &(*list)->next;
	a->next = *list;
	*list = a;
}

void stub_remove(struct stub_allocation **list, struct stub_allocation *a)
{
	while (*list != a)
		list = &(*list)->next;
	*list = a->next;
}

struct stub_allocation *stub_find(struct stub_allocation *list, uint64_t addr)
{
	while (list && addr - list->start >= list->size)
		list = list->next;
	return list;
}

struct stub_allocation *stub_allocate(size_t size, size_t align, size_t lead)
{
	const uint64_t end = (uintptr_t)arena + ARENA;
	struct stub_allocation *a, *next;
	uint64_t at = (uintptr_t)arena;

	for (next = stub_allocations;; next = next->next) {
		at = ((at + align - 1) & -align) + lead;
		if (size > end - at)
			return NULL;
		if (!next || at + size <= next->start)
			break;
		at = next->start + next->size;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		abort();
	a->start = at;
	a->size = size;
	a->fd = -1;
	stub_insert(&stub_allocations, a);
	return a;
}

void stub_free(struct stub_allocation *a)
{
	struct stub_allocation *part;

	if (a->fd >= 0)
		close(a->fd);
	while ((part = a->parts)) {
		a->parts = part->next;
		free(part);
	}
	stub_remove(&stub_allocations, a);
	free(a);
}

static int copy(uint64_t offset, size_t size)
{
	int fd = memfd_create(COPY, 0);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, size) || pwrite(fd, bytes + offset, size, 0) != (ssize_t)size) {
		close(fd);
		return -1;
	}
	return fd;
}

int stub_dmabuf(uint64_t from, size_t size)
{
	struct udmabuf_create create = {
		.memfd = memfd,
		.offset = from - (uintptr_t)arena,
		.size = size,
	};

	if (from % STUB_PAGE || size % STUB_PAGE)
		stub_misuse("a dma-buf of parts of pages");
	return device < 0 ? copy(create.offset, size) :
			    ioctl(device, UDMABUF_CREATE, &create);
}

STUB_EXPORT(unsigned long, STUB_NAME(calls), const char *name)
{
	unsigned long calls;

	pthread_mutex_lock(&stub_lock);
	calls = function_get(name)->calls;
	pthread_mutex_unlock(&stub_lock);
	return calls;
}

STUB_EXPORT(void, STUB_NAME(fail), const char *name, int result)
{
	pthread_mutex_lock(&stub_lock);
	function_get(name)->result = result;
	pthread_mutex_unlock(&stub_lock);
}

STUB_EXPORT(uint8_t *, STUB_NAME(bytes), uint64_t addr)
{
	return bytes + (addr - (uintptr_t)arena);
}

STUB_EXPORT(const char *, STUB_NAME(misuse), void)
{
	return misuse;
}

STUB_EXPORT(unsigned int, STUB_NAME(open_dmabufs), void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;
	char target[64];
	struct dirent *d;
	ssize_t len;

	while (dir && (d = readdir(dir))) {
		len = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		target[len < 0 ? 0 : len] = '\0';
		count += strstr(target, "/dmabuf:") || strstr(target, COPY);
	}
	closedir(dir);
	return count;
}
