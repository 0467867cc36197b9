/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * What the kernel itself says, where an RDMA device can be opened: what it takes, and by
 * which path. Goes into the inventory, for who would else guess from sysfs.
 */
#ifndef ASK_H
#define ASK_H

#include "pairs.h"

struct ibv_context;

/* NULL: *why says why, and is to be freed. */
struct ibv_context *ask_open(const char *name, char **why);
/* One RDMA device that is open, with one PCI function. Nothing if sysfs is made up. */
void ask_one(struct inventory *inventory, const struct nic *nic,
	     struct ibv_context *context, const struct function *function);
/* All that is shown; opens the RDMA devices for that. */
void ask_all(struct inventory *inventory, const struct shown *shown);

#endif
