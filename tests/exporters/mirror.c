// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "../verbs/sysfs.h"
#include "mirror.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* dmirror's ABI, which has no header outside of the kernel's source. */
struct dmirror_cmd {
	uint64_t addr, ptr, npages, cpages, faults;
};

#define DMIRROR_TO_DEV		_IOWR('H', 2, struct dmirror_cmd)
#define DMIRROR_TO_SYS		_IOWR('H', 3, struct dmirror_cmd)
#define DMIRROR_SNAPSHOT	_IOWR('H', 4, struct dmirror_cmd)
enum { DMIRROR_PAGE_IS_THERE = 0x20 };

#define DEBUGFS "/sys/kernel/debug/test_hmm"

struct mirror mirror_open(void)
{
	struct mirror m = { open("/dev/hmm_dmirror0", O_RDWR) };

	if (m.fd < 0 && errno == ENOENT)
		skip("the kernel has no TEST_HMM");
	if (m.fd < 0)
		fail("open /dev/hmm_dmirror0: %s", strerror(errno));
	return m;
}

void mirror_close(struct mirror *m)
{
	close(m->fd);
}

static int mirror_try(const struct mirror *m, unsigned long request, void *addr,
		      size_t len, void *result)
{
	struct dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)result,
		.npages = len / 4096,
	};

	return ioctl(m->fd, request, &cmd) ? errno : 0;
}

static void mirror_do(const struct mirror *m, unsigned long request, void *addr,
		      size_t len, size_t result_len, const char *what)
{
	void *result = malloc(result_len);
	int err, i;

	/* Busy: it lost a race with the traffic. */
	for (i = 0; i < 100; i++) {
		err = mirror_try(m, request, addr, len, result);
		if (err != EBUSY)
			break;
		usleep(1000);
	}
	/* No entry: it looks what it got, and some of that went back already. */
	if (err && err != ENOENT)
		fail("%s of %zu bytes: %s", what, len, strerror(err));
	free(result);
}

void mirror_to_device(const struct mirror *m, void *addr, size_t len)
{
	/* It hands back what is there. */
	mirror_do(m, DMIRROR_TO_DEV, addr, len, len, "migration to the device");
}

void mirror_to_host(const struct mirror *m, void *addr, size_t len)
{
	mirror_do(m, DMIRROR_TO_SYS, addr, len, len, "migration to the host");
}

size_t mirror_count(const struct mirror *m, void *addr, size_t len)
{
	uint8_t *pages = calloc(1, len / 4096);
	size_t i, n = 0;
	int err = mirror_try(m, DMIRROR_SNAPSHOT, addr, len, pages);

	if (err)
		fail("snapshot of %zu bytes: %s", len, strerror(err));
	for (i = 0; i < len / 4096; i++)
		n += (pages[i] & 0xf0) == DMIRROR_PAGE_IS_THERE;
	free(pages);
	return n;
}

long mirror_counter(const char *name)
{
	return read_number(DEBUGFS, name);
}

void mirror_refuse(bool refuse)
{
	if (write_in("/sys/module/test_hmm/parameters", "p2p_refuse",
		     refuse ? "1" : "0"))
		fail("test_hmm.p2p_refuse: %s", strerror(errno));
}

void mirror_balanced(void)
{
	long maps = mirror_counter("p2p_maps");
	long unmaps = mirror_counter("p2p_unmaps");

	if (maps != unmaps)
		fail("%ld mappings were made, and %ld were ended", maps, unmaps);
}
