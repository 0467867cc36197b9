/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/p2p_dmabuf: a dma-buf for device memory that the calling process has mapped.
 */
#ifndef _UAPI_LINUX_P2P_DMABUF_H
#define _UAPI_LINUX_P2P_DMABUF_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* For p2p_dmabuf_export.flags: what importers of the dma-buf may do. */
#define P2P_DMABUF_WRITE	(1u << 0)	/* write, not only read */

/* p2p_dmabuf_export.kind: whose dma-buf it is. */
enum p2p_dmabuf_kind {
	/*
	 * BARs: a dma-buf of the module's own. It follows the page tables of the
	 * process that asked for it, and the rights that the process has by them.
	 * Without P2P_DMABUF_WRITE importers that map for both directions, as
	 * those of RDMA do, need an IOMMU that keeps them from writing.
	 */
	P2P_DMABUF_KIND_BAR	= 1,
	/* The mapping is one of a dma-buf: that dma-buf. */
	P2P_DMABUF_KIND_DMABUF	= 2,
	/* A buffer of a DRM driver: the driver's own dma-buf of it. */
	P2P_DMABUF_KIND_GEM	= 3,
};

/**
 * struct p2p_dmabuf_export - argument of P2P_DMABUF_EXPORT
 * @size: in: sizeof(struct p2p_dmabuf_export)
 * @flags: in: P2P_DMABUF_*
 * @addr: in: user virtual address; page aligned
 * @length: in: bytes; a multiple of the page size
 * @fd: out: a dma-buf, close-on-exec
 * @kind: out: enum p2p_dmabuf_kind
 * @offset: out: where in the dma-buf the byte at @addr is, in bytes
 *
 * What is longer than the kernel's structure has to be zero there, what is shorter
 * is zero here.
 *
 * Errors:
 *
 * * EINVAL - not whole pages, no length, or a flag that is not known
 * * E2BIG - a field that this kernel does not know is not zero
 * * EFAULT - nothing is mapped in a part of it, or what is no device memory that
 *   can be exported; or the argument itself is not readable
 * * EACCES - the mapping cannot be read, or is read-only and P2P_DMABUF_WRITE asked
 * * EPERM - the exporter does not allow it
 * * ENODEV - the exporting device is gone
 * * EOPNOTSUPP - memory of several exporters that cannot be one dma-buf
 * * EMFILE, ENFILE, ENOMEM
 *
 * The kernel's log says which it was and why. Importers that map the dma-buf get
 * EREMOTEIO where PCI has no path between the two devices.
 */
struct p2p_dmabuf_export {
	__u32 size;
	__u32 flags;
	__aligned_u64 addr;
	__aligned_u64 length;
	__s32 fd;
	__u32 kind;
	__aligned_u64 offset;
};

#define P2P_DMABUF_EXPORT	_IOWR(0xed, 0x00, struct p2p_dmabuf_export)

#endif /* _UAPI_LINUX_P2P_DMABUF_H */
