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
	IBV_P2P_KIND_CUDA,		/* memory of a GPU, by its library ... */
	IBV_P2P_KIND_ROCM,
	IBV_P2P_KIND_ZE,		/* ... Level Zero */
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
	uint32_t dmabuf;	/* not 0: ibv_p2p_reg_mr() can have one of it */
	uint32_t reserved;
};

/*
 * What is at addr in the calling process. Nothing is registered, faulted in or
 * accessed. inlen is sizeof(*attr). Returns 0 or an errno: EFAULT if nothing is
 * mapped there. Thread-safe; needs no privileges.
 */
int ibv_p2p_query_addr(const void *addr, struct ibv_p2p_addr_attr *attr,
		       size_t inlen);

struct ibv_context;
struct ibv_mr;
struct ibv_pd;

/* A way for device memory to get into an MR. */
enum ibv_p2p_way {
	IBV_P2P_WAY_KERNEL = 1 << 0,	/* ibv_reg_mr() of what is mapped: the kernel's */
	IBV_P2P_WAY_MODULE = 1 << 1,	/* the same, by ib_p2p, for kernels without that */
	IBV_P2P_WAY_PEER_MEMORY = 1 << 2, /* the same, by a vendor's module */
	IBV_P2P_WAY_DMABUF = 1 << 3,	/* ibv_reg_dmabuf_mr() */
};

enum { IBV_P2P_MAX_WAYS = 8 };

struct ibv_p2p_device_attr {
	uint32_t comp_mask;	/* 0: all of this version */
	uint32_t ways;		/* enum ibv_p2p_way: those that work */
	/* For people: of the way 1 << i, what it is by, or why it does not work. */
	char about[IBV_P2P_MAX_WAYS][128];
};

/*
 * How can this RDMA device come to device memory? inlen is sizeof(*attr). Returns 0 or
 * an errno. Needs no privileges.
 */
int ibv_p2p_query_device(struct ibv_context *context,
			 struct ibv_p2p_device_attr *attr, size_t inlen);

/* How the bytes get from the memory to the RDMA device. */
enum ibv_p2p_via {
	IBV_P2P_VIA_UNKNOWN,
	IBV_P2P_VIA_NONE,	/* not at all */
	IBV_P2P_VIA_CPU,	/* the RDMA device's driver copies them */
	IBV_P2P_VIA_BUS,	/* below one PCI switch */
	IBV_P2P_VIA_HOST,	/* through the host bridge */
	IBV_P2P_VIA_IOMMU,	/* and the IOMMU */
};

/*
 * How would this RDMA device reach the PCI function with this name, 0000:3b:00.0 say?
 * Returns 0 or an errno: ENODEV if there is none, EOPNOTSUPP if the kernel cannot say.
 */
int ibv_p2p_query_path(struct ibv_context *context, const char *pci_address,
		       enum ibv_p2p_via *via);

enum ibv_p2p_reg_flags {
	IBV_P2P_REG_DEVICE_ONLY = 1 << 0, /* fail if some of it is the host's */
	IBV_P2P_REG_PREFAULT = 1 << 1,	/* have all of it mapped on return */
};

enum ibv_p2p_reg_mask {
	IBV_P2P_REG_DMABUF = 1 << 0,	/* dmabuf_fd, dmabuf_offset */
};

struct ibv_p2p_reg_attr {
	uint32_t comp_mask;	/* enum ibv_p2p_reg_mask: what is valid below */
	uint32_t flags;		/* enum ibv_p2p_reg_flags */
	uint32_t ways;		/* enum ibv_p2p_way: by these alone; 0: by any */
	int32_t dmabuf_fd;	/* the memory, as the caller has it; stays his */
	uint64_t dmabuf_offset;	/* of addr in it */
};

/*
 * ibv_reg_mr_iova2(3) for memory of any kind, CUDA, ROCm and Level Zero included, and
 * with a say in what it may be. attr may be NULL; inlen is sizeof(*attr). Returns an MR
 * for ibv_dereg_mr(), or NULL with errno set.
 */
struct ibv_mr *ibv_p2p_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
			      uint64_t iova, unsigned int access,
			      const struct ibv_p2p_reg_attr *attr, size_t inlen);

enum ibv_p2p_mr_flags {
	IBV_P2P_MR_ODP = 1 << 0,
	IBV_P2P_MR_IMPLICIT = 1 << 1,	/* ODP of the whole address space */
	IBV_P2P_MR_P2P = 1 << 2,	/* there is or was device memory in it */
	IBV_P2P_MR_DEVICE = 1 << 3,	/* a device's, which the process has mapped */
	IBV_P2P_MR_PRIVATE = 1 << 4,	/* the process's, on a device for now */
	IBV_P2P_MR_DMABUF = 1 << 5,
	IBV_P2P_MR_REVOKED = 1 << 6,	/* cannot be used any more */
};

struct ibv_p2p_mr_attr {
	uint32_t comp_mask;	/* 0: all of this version */
	uint32_t flags;		/* enum ibv_p2p_mr_flags */
	/* Device memory that is mapped at this moment: */
	uint32_t ranges;
	uint32_t reserved;
	uint64_t bytes;
	/* Since it was registered, of one with IBV_P2P_MR_ODP, how often */
	uint64_t maps;		/* device memory was mapped, */
	uint64_t faults;	/* something was faulted in, */
	uint64_t invalidations;	/* and taken away */
};

/*
 * What memory does an MR of this process have? inlen is sizeof(*attr). Returns 0 or an
 * errno: EOPNOTSUPP if the kernel cannot say.
 */
int ibv_p2p_query_mr(struct ibv_mr *mr, struct ibv_p2p_mr_attr *attr,
		     size_t inlen);

enum ibv_p2p_mr_range_flags {
	IBV_P2P_MR_RANGE_WRITE = 1 << 0,
	IBV_P2P_MR_RANGE_PRIVATE = 1 << 1,
	IBV_P2P_MR_RANGE_HOST = 1 << 2,	/* the exporter has moved the data to the host */
};

/* As the kernel has it: this one does not grow. */
struct ibv_p2p_mr_range {
	uint64_t start;		/* address in the process; the IOVA of a dma-buf */
	uint64_t length;	/* bytes */
	uint32_t via;		/* enum ibv_p2p_via */
	uint32_t flags;		/* enum ibv_p2p_mr_range_flags */
	char exporter[32];	/* name of the device, or of the file */
};

/*
 * The device memory in an MR that is mapped at this moment and ends behind the address
 * from: up to max ranges, in their order; at most 1000 a call. *nr is how many were set.
 * Returns 0 or an errno, as ibv_p2p_query_mr().
 */
int ibv_p2p_query_mr_ranges(struct ibv_mr *mr, uint64_t from,
			    struct ibv_p2p_mr_range *ranges, uint32_t max,
			    uint32_t *nr);

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
