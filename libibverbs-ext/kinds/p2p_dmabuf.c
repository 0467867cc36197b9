// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Device memory that the process has mapped, whosever it is: the module p2p_dmabuf makes
 * a dma-buf of it, or gets that of its driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/p2p_dmabuf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kind.h"

#define NODE "/dev/p2p_dmabuf"

/* Whose the memory is cannot be found out then, unless by others. */
static int not_opened(int err, struct memory_why *why)
{
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		why_say(why, "there is no " NODE ": modprobe p2p_dmabuf");
		return ENOENT;
	case EACCES:
		why_say(why, "cannot open " NODE ": %s: the mode of the device node does "
			"not let this user: chmod, or a udev rule", strerror(err));
		return EIO;
	default:
		why_say(why, "cannot open " NODE ": %s", strerror(err));
		return EIO;
	}
}

static int refused(int err, struct memory_why *why)
{
	switch (err) {
	case EFAULT:
		why_say(why, "nothing that it exports is mapped there (dmesg may say more)");
		return ENOENT;
	case EACCES:
		why_say(why, "the mapping cannot be read, or not be written, which the "
			"access flags of the MR want");
		return err;
	case EPERM:
		why_say(why, "the exporter does not allow it (dmesg says why)");
		return err;
	case ENODEV:
		why_say(why, "the exporting device is gone");
		return err;
	case EOPNOTSUPP:
		why_say(why, "a part of it is another exporter's, or the host's: register "
			"each by itself");
		return err;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		why_say(why, "no dma-buf: %s", strerror(err));
		return err;
	default:
		why_say(why, "P2P_DMABUF_EXPORT on " NODE ": %s (dmesg may say more)",
			strerror(err));
		return EIO;
	}
}

static int p2p_dmabuf_export(void *library, uint64_t addr, size_t length,
			     struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	const uint64_t in_page = sysconf(_SC_PAGESIZE) - 1, from = addr & ~in_page;
	struct p2p_dmabuf_export export = {
		.size = sizeof(export),
		.flags = dmabuf->write ? P2P_DMABUF_WRITE : 0,
		.addr = from,
		.length = (addr + length - from + in_page) & ~in_page,
	};
	int fd, err;

	(void)library;
	/* Nobody's: no bytes, or such that wrap around, which on-demand paging has. */
	if (!length || export.length < length || from + export.length < from)
		return ENOENT;
	fd = open(NODE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return not_opened(errno, why);
	err = ioctl(fd, P2P_DMABUF_EXPORT, &export) ? errno : 0;
	close(fd);
	if (err)
		return refused(err, why);
	dmabuf->fd = export.fd;
	dmabuf->offset = export.offset + (addr - from);
	return 0;
}

const struct memory_kind memory_p2p_dmabuf = {
	.name = "p2p_dmabuf",
	.export = p2p_dmabuf_export,
};
