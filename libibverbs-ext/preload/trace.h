/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* With IBV_P2P_TRACE set: what was tried, what each said, and what would help. */
#ifndef TRACE_H
#define TRACE_H

#include <infiniband/verbs.h>
#include <stddef.h>

/*
 * libibverbs failed with first_err; 0: it was not asked. Then mr is what a dma-buf came to, or NULL: for the
 * reason err, ENOENT if nobody knows the memory; and tried is a line for each who was
 * asked.
 */
void trace_reg(const char *function, const void *addr, size_t length,
	       const struct ibv_pd *pd, const struct ibv_mr *mr, int first_err, int err,
	       const char *tried);
void trace_rereg(const void *addr, size_t length, int result, int err);

#endif
