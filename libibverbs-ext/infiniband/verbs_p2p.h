/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Device memory in verbs: what is behind an address, and whether bytes get there.
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

/* What became of the bytes. */
enum ibv_p2p_path_status {
	IBV_P2P_PATH_WORKS = 1,
	IBV_P2P_PATH_FAILED,	/* a transfer ended with an error: wc_status */
	IBV_P2P_PATH_SILENT,	/* one did not end within its time */
	IBV_P2P_PATH_WRONG,	/* all succeeded, and a byte was another one */
};

/* A way that the bytes took; all four are tried. */
enum ibv_p2p_path_way {
	IBV_P2P_PATH_REMOTE_WRITE = 1,	/* by an RDMA write to the memory */
	IBV_P2P_PATH_REMOTE_READ,	/* by an RDMA read from it */
	IBV_P2P_PATH_LOCAL_READ,	/* out of it, as the source of a write */
	IBV_P2P_PATH_LOCAL_WRITE,	/* into it, as the target of a read */
	IBV_P2P_PATH_CPU,		/* the process sees something else */
};

enum ibv_p2p_path_mask {
	IBV_P2P_PATH_WAY = 1 << 0,	/* way; not if it works */
	IBV_P2P_PATH_WC_STATUS = 1 << 1,
	IBV_P2P_PATH_WRONG_AT = 1 << 2,
	IBV_P2P_PATH_RATES = 1 << 3,	/* read_rate, write_rate */
};

enum ibv_p2p_path_flags {
	IBV_P2P_PATH_SCRATCH = 1 << 0,	/* what is in the memory may be lost */
};

struct ibv_p2p_path_attr {
	uint32_t comp_mask;	/* enum ibv_p2p_path_mask: what is valid below */
	uint32_t status;	/* enum ibv_p2p_path_status */
	uint32_t way;		/* enum ibv_p2p_path_way that did not work */
	uint32_t wc_status;	/* enum ibv_wc_status */
	uint64_t wrong_at;	/* first byte that differs, from addr on */
	uint64_t read_rate;	/* bytes a second from the memory ... */
	uint64_t write_rate;	/* ... and to it */
	uint32_t lost;		/* not 0: what was there could not be restored */
	uint32_t reserved;
};

struct ibv_mr;

/*
 * Do bytes move between the RDMA device of mr and the length bytes at addr in it?
 * Over a loopback connection, there and back, as local and as remote memory. mr
 * needs IBV_ACCESS_LOCAL_WRITE, _REMOTE_WRITE and _REMOTE_READ, and nobody else
 * may use these bytes meanwhile; they are restored. Takes up to some seconds.
 * inlen is sizeof(*attr). Returns 0, and attr says how it went; or an errno, if
 * there was nothing to try it with: EINVAL, ENODEV (no active port), ENOMEM, or
 * what making a QP gave.
 */
int ibv_p2p_test_path(struct ibv_mr *mr, void *addr, size_t length,
		      uint32_t flags, struct ibv_p2p_path_attr *attr,
		      size_t inlen);

#ifdef __cplusplus
}
#endif

#endif /* INFINIBAND_VERBS_P2P_H */
