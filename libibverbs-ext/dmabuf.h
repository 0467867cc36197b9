/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* MRs of memory that a library, or the module p2p_dmabuf, gives a dma-buf of. */
#ifndef DMABUF_H
#define DMABUF_H

#include <infiniband/verbs.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

/*
 * As ibv_reg_mr_iova2(3), which has failed, does not take the memory, or is not wanted.
 * NULL with errno set, and tried says more: ENOENT if nobody knows the memory.
 */
struct ibv_mr *dmabuf_reg(struct ibv_pd *pd, void *addr, size_t length,
			  uint64_t iova, unsigned int access, struct tried *tried);
/* The same of a dma-buf that the caller has. */
struct ibv_mr *dmabuf_reg_fd(struct ibv_pd *pd, void *addr, size_t length,
			     uint64_t iova, unsigned int access, int fd,
			     uint64_t offset);
/*
 * mr, of on-demand paging, or one of a dma-buf in its place: with it the kernel takes any
 * address, and finds out what is there when it is used. For what it then does not take
 * that would be too late.
 */
struct ibv_mr *dmabuf_instead_of(struct ibv_mr *mr, uint64_t iova, unsigned int access);

#endif
