/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* The bytes of memory that the stubs have, and of the dma-bufs that are made of it. */
#ifndef EXPORTED_H
#define EXPORTED_H

#include "memory.h"

static inline uint8_t byte_of(uint64_t addr)
{
	return (addr * 0x9e3779b97f4a7c15u) >> 56;
}

/* The bytes that were there are in the dma-buf, where it says. */
static inline void check_exported(const struct memory_dmabuf *dmabuf, uint64_t addr,
				  size_t length)
{
	off_t size = lseek(dmabuf->fd, 0, SEEK_END);
	uint8_t *p = mmap(NULL, size, PROT_READ, MAP_SHARED, dmabuf->fd, 0);
	size_t i;

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_true(dmabuf->offset + length <= (uint64_t)size);
	for (i = 0; i < length; i++)
		if (p[dmabuf->offset + i] != byte_of(addr + i))
			fail_msg("byte %zu of %zu at %#" PRIx64, i, length, addr);
	munmap(p, size);
	close(dmabuf->fd);
}

#endif
