// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "../verbs/sysfs.h"
#include "buffer.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char driver[] = "/sys/bus/pci/drivers/p2p_sample";
static const char debugfs[] = "/sys/kernel/debug/p2p_sample";

/* The name of a PCI device on its bus, as drivers know it. */
static const char *name_on_bus(const char *folder)
{
	const char *slash = strrchr(folder, '/');

	return slash ? slash + 1 : folder;
}

void sample_load(void)
{
	const char *module = getenv("P2P_SAMPLE");
	int fd = module ? open(module, O_RDONLY) : -1;

	if (fd < 0)
		return;
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		perror(module);
	close(fd);
	if (sample_bind(gpu_path(GPU0)))
		perror("driver_override of GPU 0");
}

int sample_bind(const char *folder)
{
	return write_in(folder, "driver_override", "p2p_sample") ||
	       write_in("/sys/bus/pci", "drivers_probe", name_on_bus(folder)) ?
	       -1 : 0;
}

int sample_unbind(const char *folder)
{
	return write_in(driver, "unbind", name_on_bus(folder));
}

int sample_rmmod(void)
{
	return syscall(SYS_delete_module, "p2p_sample", O_NONBLOCK) ? errno : 0;
}

void sample_unload(void)
{
	sample_unbind(gpu_path(GPU0));
	write_in(gpu_path(GPU0), "driver_override", "\n");
	/* Without a driver nobody else does it. */
	write_in(gpu_path(GPU0), "enable", "1");
	sample_rmmod();
}

void sample_need(void)
{
	if (!getenv("P2P_SAMPLE"))
		skip("no module p2p_sample next to the kernel");
	if (access("/dev/p2p_sample0", F_OK))
		fail("there is no /dev/p2p_sample0");
}

struct buffer buffer_open(size_t len)
{
	sample_need();
	return buffer_open_on("/dev/p2p_sample0", len);
}

struct buffer buffer_open_on(const char *path, size_t len)
{
	struct buffer b = { .fd = open(path, O_RDWR), .len = len };

	if (b.fd < 0)
		fail("open %s: %s", path, strerror(errno));
	b.addr = buffer_map_at(&b, NULL, 0, len);
	return b;
}

void *buffer_map_at(const struct buffer *b, void *at, size_t offset, size_t len)
{
	void *p = mmap(at, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | (at ? MAP_FIXED : 0), b->fd, offset);

	if (p == MAP_FAILED)
		fail("mmap of %zu bytes of a buffer: %s", len, strerror(errno));
	return p;
}

void buffer_close(struct buffer *b)
{
	unmap(b->addr, b->len);
	close(b->fd);
}

int buffer_try(const struct buffer *b, unsigned long request, void *arg)
{
	return ioctl(b->fd, request, arg) ? errno : 0;
}

static void buffer_do(const struct buffer *b, unsigned long request, void *arg,
		      const char *what)
{
	int err = buffer_try(b, request, arg);

	if (err)
		fail("%s a buffer: %s", what, strerror(err));
}

void buffer_move(const struct buffer *b, uint32_t where, uint32_t ranges)
{
	struct p2p_sample_place to = { .where = where, .ranges = ranges };

	buffer_do(b, P2P_SAMPLE_MOVE, &to, "move");
}

struct p2p_sample_place buffer_where(const struct buffer *b)
{
	struct p2p_sample_place place;

	buffer_do(b, P2P_SAMPLE_WHERE, &place, "ask for the place of");
	return place;
}

void buffer_revoke(const struct buffer *b)
{
	buffer_do(b, P2P_SAMPLE_REVOKE, NULL, "revoke");
}

void buffer_invalidate(const struct buffer *b)
{
	buffer_do(b, P2P_SAMPLE_INVALIDATE, NULL, "invalidate");
}

long sample_counter(const char *name)
{
	return read_number(debugfs, name);
}

void sample_lever(const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	if (write_in(debugfs, name, text))
		fail("write %s to %s/%s: %s", text, debugfs, name, strerror(errno));
}

void sample_param(const char *name, const char *value)
{
	if (write_in("/sys/module/p2p_sample/parameters", name, value))
		fail("p2p_sample's parameter %s: %s", name, strerror(errno));
}

/* The device that does DMA; rxe is none, and is itself. */
const char *importer_name(void)
{
	static char target[256];
	char path[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/device",
		 dev_name());
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return dev_name();
	target[n] = 0;
	return name_on_bus(target);
}

void sample_balanced(void)
{
	long maps = sample_counter("maps"), unmaps = sample_counter("unmaps");

	if (maps != unmaps)
		fail("%ld mappings were made, and %ld were ended", maps, unmaps);
}

void buffer_works_anew(size_t len, uint64_t place)
{
	pid_t pid = fork();
	struct ibv_mr *mr;
	struct buffer b;

	if (pid) {
		join_child(pid, "a new process");
		return;
	}
	dev_open(dev_name());
	b = buffer_open(len);
	if (buffer_where(&b).offset != place)
		fail("the old buffer is still there");
	mr = reg(b.addr, len, ACCESS_ALL);
	exercise(mr, (uintptr_t)b.addr, len, b.addr, "a new process");
	dereg(mr);
	buffer_close(&b);
	_exit(0);
}
