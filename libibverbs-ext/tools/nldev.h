/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* RDMA netlink: what the kernel tells of MRs, in a dump of them and one of counters. */
#ifndef NLDEV_H
#define NLDEV_H

#include <stdbool.h>

#include "mrs.h"

struct nlmsghdr;

/*
 * All of a device, or of all if that is NULL; sorted. False: why there is no answer has
 * been said.
 */
bool nldev_mrs(struct mrs *mrs, const char *device);

/* One message of either dump. What is not understood in it is left out. */
void nldev_add_mrs(void *mrs, struct nlmsghdr *message);
void nldev_add_counters(void *mrs, struct nlmsghdr *message);

#endif
