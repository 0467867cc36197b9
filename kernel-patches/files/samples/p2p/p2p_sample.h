/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/p2p_sampleN: buffers in the memory of a PCI device that moves them about.
 *
 * Each open file is a buffer of its own. mmap() it, shared; unless
 * P2P_SAMPLE_SIZE said otherwise the first mmap() is its size. Sizes are bytes,
 * whole pages, and not more than what fits into the BAR.
 */
#ifndef P2P_SAMPLE_H
#define P2P_SAMPLE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Where a buffer is. */
enum {
	P2P_SAMPLE_BAR,		/* in the device's BAR */
	P2P_SAMPLE_SYSTEM,	/* in pages of the host, for want of room there */
};

/**
 * struct p2p_sample_place - where a buffer is, or shall go
 * @where: P2P_SAMPLE_BAR or P2P_SAMPLE_SYSTEM
 * @ranges: in the BAR: over how many ranges of equal size it is scattered, none
 *	of which is next to the one before it. In the system: the pages.
 * @offset: of its first byte in the BAR. Only told, not asked for.
 * @size: of the buffer. Only told.
 */
struct p2p_sample_place {
	__u32 where;
	__u32 ranges;
	__u64 offset;
	__u64 size;
};

/* Allocate it: EEXIST if it is there, ENOSPC if the BAR has no room. */
#define P2P_SAMPLE_SIZE		_IOW('P', 1, __u64)

/*
 * Move it to another place, with its contents. The old place is not touched any
 * more, by any device, when this returns. ENOSPC if the BAR has no room, EINVAL
 * if the size is no multiple of so many pages, ENXIO before it was allocated.
 */
#define P2P_SAMPLE_MOVE		_IOW('P', 2, struct p2p_sample_place)

#define P2P_SAMPLE_WHERE	_IOR('P', 3, struct p2p_sample_place)

/* With 0, the CPU does not get at it any more (SIGBUS); devices do. */
#define P2P_SAMPLE_CPU		_IOW('P', 4, __u32)

/* Take it back, for good: nobody gets at it from here on. */
#define P2P_SAMPLE_REVOKE	_IO('P', 5)

/* End all mappings of it, as a move does, but leave it where it is. */
#define P2P_SAMPLE_INVALIDATE	_IO('P', 6)

#endif
