// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "dmabuf.h"

/*
 * The MR's translations come and go with its dma-buf: it is one with on-demand paging
 * where the device has that. Huge pages and what is optional are hints.
 */
static int dmabuf_access(unsigned int access)
{
	access &= ~(unsigned int)(IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB);
	return access & ~(IBV_ACCESS_OPTIONAL_RANGE & ~IBV_ACCESS_RELAXED_ORDERING);
}

struct ibv_mr *dmabuf_reg_fd(struct ibv_pd *pd, void *addr, size_t length,
			     uint64_t iova, unsigned int access, int fd,
			     uint64_t offset)
{
	struct ibv_mr *mr = ibv_reg_dmabuf_mr(pd, offset, length, iova, fd,
					      dmabuf_access(access));

	/* Where libibverbs has put the offset. */
	if (mr)
		mr->addr = addr;
	return mr;
}

/* As the kernel has it: such an MR may change the memory. */
static bool writes(unsigned int access)
{
	return access & (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
			 IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND);
}

static const char *explain(int err)
{
	switch (err) {
	case EOPNOTSUPP:
		return " (the RDMA device's driver takes no dma-bufs, or dmesg "
		       "says why)";
	case EREMOTEIO:
		return " (PCI has no path between the two devices: see ibv_p2pinfo(1))";
	default:
		return "";
	}
}

struct ibv_mr *dmabuf_reg(struct ibv_pd *pd, void *addr, size_t length,
			  uint64_t iova, unsigned int access, struct tried *tried)
{
	struct memory_dmabuf dmabuf = { .write = writes(access) };
	const char *kind = memory_export((uintptr_t)addr, length, &dmabuf, tried);
	struct memory_why why;
	struct ibv_mr *mr;
	int err;

	if (!kind)
		return NULL;
	mr = dmabuf_reg_fd(pd, addr, length, iova, access, dmabuf.fd, dmabuf.offset);
	err = errno;
	/* The MR keeps the dma-buf. */
	close(dmabuf.fd);
	if (!mr) {
		why_say(&why, "it gave a dma-buf, but ibv_reg_dmabuf_mr() failed: %s%s",
			strerror(err), explain(err));
		tried_add(tried, kind, why.text);
	}
	errno = err;
	return mr;
}

/* Device memory that the process has mapped is as good as a dma-buf. */
static bool kernel_knows(struct ibv_mr *mr)
{
	struct ibv_p2p_mr_attr attr;

	return !ibv_p2p_query_mr(mr, &attr, sizeof(attr)) &&
	       attr.flags & IBV_P2P_MR_P2P;
}

struct ibv_mr *dmabuf_instead_of(struct ibv_mr *mr, uint64_t iova, unsigned int access)
{
	struct memory_dmabuf dmabuf = { .write = writes(access) };
	struct ibv_mr *instead;
	struct tried tried;

	/* Managed memory has none: it is the host's whenever it has to be. */
	if (!memory_export((uintptr_t)mr->addr, mr->length, &dmabuf, &tried))
		return mr;
	instead = kernel_knows(mr) ? NULL :
		  dmabuf_reg_fd(mr->pd, mr->addr, mr->length, iova, access, dmabuf.fd,
				dmabuf.offset);
	close(dmabuf.fd);
	if (!instead)
		return mr;
	ibv_dereg_mr(mr);
	return instead;
}
