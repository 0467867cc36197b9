/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* ibv_p2p_query_addr() for any process: ibv_p2pinfo looks into others. */
#ifndef ADDR_H
#define ADDR_H

#include <infiniband/verbs_p2p.h>

/* process is MAPS_SELF, or /proc/PID. 0 or an errno, and attr is unchanged then. */
int addr_query(const char *process, uint64_t addr, struct ibv_p2p_addr_attr *attr);

#endif
