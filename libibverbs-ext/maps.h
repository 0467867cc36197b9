/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* The address space of a process, as procfs shows it. */
#ifndef MAPS_H
#define MAPS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct map {
	uint64_t start, end;
	uint64_t offset;	/* of start, in the file */
	bool readable, writable;
	uint64_t inode;		/* 0: no file */
	char name[PATH_MAX];	/* of the file, or what the kernel calls it; or "" */
};

/* In procfs, of the calling process. */
#define MAPS_SELF "/proc/self"

/*
 * The mapping that has addr in a process: MAPS_SELF, or another's folder. 0 or an
 * errno: EFAULT if there is none.
 */
int map_find(const char *process, uint64_t addr, struct map *map);

#endif
