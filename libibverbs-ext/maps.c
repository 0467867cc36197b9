// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * One mapping of a process. From Linux 6.11 on the kernel looks it up; before, all
 * lines of the file are read up to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "maps.h"

/* As in the kernel's linux/fs.h, which Debian 12's does not have yet. */
struct procmap_query_v0 {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

enum { VMA_READABLE = 1 << 0, VMA_WRITABLE = 1 << 1 };

#define PROCMAP_QUERY_V0 _IOWR('f', 17, struct procmap_query_v0)

static int ask(int fd, uint64_t addr, struct map *map)
{
	struct procmap_query_v0 q = {
		.size = sizeof(q),
		.query_addr = addr,
		.vma_name_size = sizeof(map->name),
		.vma_name_addr = (uintptr_t)map->name,
	};

	if (ioctl(fd, PROCMAP_QUERY_V0, &q))
		return errno == ENOENT ? EFAULT : errno;
	*map->name = q.vma_name_size ? *map->name : '\0';
	map->start = q.vma_start;
	map->end = q.vma_end;
	map->offset = q.vma_offset;
	map->readable = q.vma_flags & VMA_READABLE;
	map->writable = q.vma_flags & VMA_WRITABLE;
	map->inode = q.inode;
	return 0;
}

/* "START-END PERM OFFSET MAJOR:MINOR INODE   NAME" */
static bool parse(const char *line, struct map *map)
{
	char perm[5];
	int name = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*x:%*x %" SCNu64 " %n",
		   &map->start, &map->end, perm, &map->offset, &map->inode,
		   &name) != 5 || !name)
		return false;
	map->readable = perm[0] == 'r';
	map->writable = perm[1] == 'w';
	snprintf(map->name, sizeof(map->name), "%.*s",
		 (int)strcspn(line + name, "\n"), line + name);
	return true;
}

/* They are in the order of their addresses. */
static int search(int fd, uint64_t addr, struct map *map)
{
	char line[PATH_MAX + 128];
	int ret = EFAULT;
	FILE *file;

	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file) {
		ret = errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (ret && fgets(line, sizeof(line), file)) {
		if (!parse(line, map) || map->end <= addr)
			continue;
		if (map->start > addr)
			break;
		ret = 0;
	}
	fclose(file);
	return ret;
}

int map_find(const char *process, uint64_t addr, struct map *map)
{
	char path[64];
	int fd, ret;

	/* Valgrind does not know that the kernel fills it in. */
	memset(map, 0, sizeof(*map));
	snprintf(path, sizeof(path), "%s/maps", process);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	ret = ask(fd, addr, map);
	if (ret == ENOTTY)
		ret = search(fd, addr, map);
	close(fd);
	return ret;
}
