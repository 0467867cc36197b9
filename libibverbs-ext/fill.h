/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* What all that describe memory put into a struct ibv_p2p_addr_attr. */
#ifndef FILL_H
#define FILL_H

#include <infiniband/verbs_p2p.h>
#include <stdbool.h>
#include <stddef.h>

void fill_exporter(struct ibv_p2p_addr_attr *attr, const char *name);
/* A PCI function, and its driver if it has one. */
void fill_pci(struct ibv_p2p_addr_attr *attr, const char *name);

/* The last part of where a link in sysfs leads to: a name. False: there is none. */
bool link_name(const char *path, char *name, size_t size);

#endif
