/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Which way ibv_reg_mr() would go with device memory on this machine, and why. */
#ifndef WAY_H
#define WAY_H

#include "inventory.h"

/* What the running kernel has been extended with. */
struct kernel {
	bool series;		/* it maps what processes have mapped */
	bool bars_off;		/* ... but no BARs: pci.p2p_user_bars=0 */
	bool module;		/* ib_p2p: by a dma-buf, if the driver takes them */
	bool dmabuf;		/* p2p_dmabuf: a dma-buf of what is mapped, if asked for */
	bool nvidia_peer;	/* peer memory, pinned, of NVIDIA's driver ... */
	bool amd_peer;		/* ... and of AMD's */
};

/* The one place that looks. */
struct kernel kernel_way(void);
/* In a sentence. free() it. */
char *kernel_text(const struct kernel *kernel);

enum way_kind {
	WAY_NONE,
	WAY_KERNEL,
	WAY_MODULE,
	WAY_PEER,
	WAY_DMABUF,	/* not ibv_reg_mr(): ibv_reg_dmabuf_mr() */
};

struct way {
	enum way_kind kind;
	char *reason;		/* free() it */
};

struct way way_find(const struct kernel *kernel, const struct nic *nic,
		    const struct memory *memory, const struct path *path);
const char *way_name(enum way_kind kind);

#endif
