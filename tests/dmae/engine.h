/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The DMA engine under dmae, seen from outside: what it may reach, and where
 * dmae has an MR for it. Environment, in addition to common.h's: ENGINE, the
 * engine's sysfs folder.
 */
#ifndef TESTS_DMAE_ENGINE_H
#define TESTS_DMAE_ENGINE_H

#include "../verbs/common.h"

const char *engine_path(void);
/* Of its IOMMU domain, as sysfs calls it, or "none". */
const char *engine_domain(void);

/* A file of its driver in debugfs. */
int engine_debug_open(const char *name, int flags);
/* Let the engine move bytes between bus addresses, whoever mapped them or not. */
void engine_move(uint64_t from, uint64_t to, size_t len);
/* A page of system memory that is mapped for it, and where it has that. */
enum { SCRATCH_SIZE = 4096 };
uint64_t scratch_address(void);
void scratch_write(const void *data, size_t len);
void scratch_read(void *data, size_t len);

/* The physical address of the GPU's memory. */
uint64_t bar_address(int gpu);
/* Where the engine has the byte at @iova of the MR. */
uint64_t mr_address(const struct ibv_mr *mr, uint64_t iova);
/* How many entries of dmae's table the MR takes. */
unsigned int mr_entries(const struct ibv_mr *mr);

/* The same, of a file in a folder of sysfs. */

#endif
