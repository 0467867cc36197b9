/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * /dev/p2p_dmabuf and the test importer of dma-bufs, for programs. Environment, in
 * addition to common.h's: STOCK_MODULES, where p2p_importer.ko is, and ENGINE, the PCI
 * function on whose behalf it imports.
 */
#ifndef TESTS_STOCK_IMPORTER_H
#define TESTS_STOCK_IMPORTER_H

#include "../verbs/common.h"
#include "../verbs/sysfs.h"

#include <linux/p2p_dmabuf.h>

#include "importer/p2p_importer.h"

/* The ioctl as it is: 0 or an errno. */
int export_try(struct p2p_dmabuf_export *req);
/* A dma-buf of mapped memory; the case fails if there is none. */
int export_fd(void *addr, size_t len, uint32_t flags);
/* The open file of another process whose name has that word in it, as an fd of ours. */
int fd_of_process(pid_t pid, const char *word);

/* Before the first case, and after the last. */
void importer_load(void);
void importer_unload(void);

struct importer {
	int fd;
};

struct importer importer_open(void);
void importer_close(struct importer *imp);
/* No IOMMU translates for it, so it has the addresses of the bus. */
bool importer_has_addresses_of_bus(void);
int importer_attach_try(struct importer *imp, int fd, bool pin);
void importer_attach(struct importer *imp, int fd, bool pin);
/* 0 or an errno; the runs that it has. */
int importer_try(struct importer *imp, struct p2p_importer_map *map);
/* The case fails unless it ends with that errno, or 0. */
struct p2p_importer_map importer_want(struct importer *imp, uint32_t flags, int want,
				      const char *what);
void importer_unmap(struct importer *imp);
/* It was told to let go so many times by now, and has. */
void importer_told(struct importer *imp, uint64_t moves, const char *what);

#endif
