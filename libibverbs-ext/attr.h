/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Structures that grow at their end, for callers that were built with other versions. */
#ifndef ATTR_H
#define ATTR_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Bytes of their first versions: no caller has less. */
enum {
	ADDR_ATTR_V1 = 128,
	DEVICE_ATTR_V1 = 1032,
	MR_ATTR_V1 = 48,
	PATH_ATTR_V1 = 48,
	REG_ATTR_V1 = 24,
};

/* As much of ours, size bytes, as the caller's length has room for; behind it zeroes. */
static inline void attr_give(void *to, size_t length, const void *ours, size_t size)
{
	memset(to, 0, length);
	memcpy(to, ours, length < size ? length : size);
}

#endif
