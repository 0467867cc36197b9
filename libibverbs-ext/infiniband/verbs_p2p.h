/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Device memory in verbs: what is behind an address.
 *
 * Structures grow at their end: a caller passes the size that it was built with,
 * and comp_mask says which fields the library has filled in.
 */
#ifndef INFINIBAND_VERBS_P2P_H
#define INFINIBAND_VERBS_P2P_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whose memory it is. */
enum ibv_p2p_kind {
	IBV_P2P_KIND_HOST = 1,		/* the host's, or of a file on a disk */
	IBV_P2P_KIND_PCI_BAR,		/* a BAR: sysfs, /proc/bus/pci, vfio-pci */
	IBV_P2P_KIND_DRM,		/* a buffer of a GPU, by its DRM driver */
	IBV_P2P_KIND_DMABUF,		/* a mapped dma-buf, whoever exports it */
	IBV_P2P_KIND_DEVICE,		/* what another device's file shows */
};

enum ibv_p2p_addr_mask {
	IBV_P2P_ADDR_OFFSET = 1 << 0,
	IBV_P2P_ADDR_EXPORTER = 1 << 1,
	IBV_P2P_ADDR_PCI = 1 << 2,
	IBV_P2P_ADDR_BAR = 1 << 3,
};

struct ibv_p2p_addr_attr {
	uint32_t comp_mask;	/* enum ibv_p2p_addr_mask: what is valid below */
	uint32_t kind;		/* enum ibv_p2p_kind */
	uint64_t map_addr;	/* the mapping that has the address ... */
	uint64_t map_length;	/* ... and its bytes */
	uint32_t map_prot;	/* PROT_READ, PROT_WRITE: what it may be used for */
	uint32_t bar;		/* number of the BAR, 0 to 5 */
	uint64_t offset;	/* of the address, in the BAR, dma-buf or file */
	char exporter[64];	/* driver of the device, or the name of its file */
	char pci_address[16];	/* of the device, like 0000:3b:00.0 */
};

/*
 * What is at addr in the calling process. Nothing is registered, faulted in or
 * accessed. inlen is sizeof(*attr). Returns 0 or an errno: EFAULT if nothing is
 * mapped there. Thread-safe; needs no privileges.
 */
int ibv_p2p_query_addr(const void *addr, struct ibv_p2p_addr_attr *attr,
		       size_t inlen);

#ifdef __cplusplus
}
#endif

#endif /* INFINIBAND_VERBS_P2P_H */
