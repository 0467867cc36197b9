/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/p2p_importer, for tests: an importer of dma-bufs whose every step is asked for. */
#ifndef P2P_IMPORTER_H
#define P2P_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define P2P_IMPORTER_RUNS	8

struct p2p_importer_attach {
	__s32 fd;
	__u32 pin;		/* as an importer does that cannot follow */
};

struct p2p_importer_map {
	__u32 flags;		/* in: P2P_IMPORTER_* */
	__u32 hold_ms;		/* in: so long the resv lock is held afterwards */
	__u32 nr_runs;		/* out: all of them */
	__u32 padding;
	struct {
		__u64 dma, len;
	} run[P2P_IMPORTER_RUNS];	/* out: the first ones */
};
#define P2P_IMPORTER_READS	1	/* DMA_TO_DEVICE, not both directions */
#define P2P_IMPORTER_AGAIN	2	/* unmap, and map again, without letting go */

struct p2p_importer_stat {
	__u64 moves;		/* move_notify() calls */
	__u32 mapped;
	__u32 padding;
};

#define P2P_IMPORTER_ATTACH	_IOW('Q', 1, struct p2p_importer_attach)
#define P2P_IMPORTER_MAP	_IOWR('Q', 2, struct p2p_importer_map)
#define P2P_IMPORTER_UNMAP	_IO('Q', 3)
#define P2P_IMPORTER_DETACH	_IO('Q', 4)
#define P2P_IMPORTER_STAT	_IOR('Q', 5, struct p2p_importer_stat)

#endif /* P2P_IMPORTER_H */
