/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For modules: what /dev/p2p_dmabuf does, of memory of the current process.
 */
#ifndef _LINUX_P2P_DMABUF_H
#define _LINUX_P2P_DMABUF_H

#include <linux/types.h>

struct dma_buf;

/**
 * struct p2p_refusal - who refuses, and why, for an error message
 * @exporter: the device, driver or file that was asked
 * @err: the negative errno
 * @reason: why it does; NULL before anybody has refused
 */
struct p2p_refusal {
	char exporter[32];
	int err;
	const char *reason;
};

/* p2p_dmabuf_contents(): what a range of the process holds. */
#define P2P_CONTENTS_DEVICE	(1u << 0)	/* what may be exported */
#define P2P_CONTENTS_HOST	(1u << 1)	/* memory that RDMA drivers take */
#define P2P_CONTENTS_OTHER	(1u << 2)	/* device memory that may not */
#define P2P_CONTENTS_HOLE	(1u << 3)

int p2p_dmabuf_contents(unsigned long start, unsigned long end,
			struct p2p_refusal *why);
/*
 * p2p_dmabuf_fd(), beside P2P_DMABUF_WRITE: an importer that the calling task attaches
 * before it calls p2p_dmabuf_seal(), and that does not write.
 */
#define P2P_DMABUF_READER	(1u << 31)

int p2p_dmabuf_fd(unsigned long start, unsigned long end, unsigned int flags,
		  u64 *offset, u32 *kind, struct dma_buf **reader,
		  struct p2p_refusal *why);
void p2p_dmabuf_seal(struct dma_buf *reader);

#endif /* _LINUX_P2P_DMABUF_H */
