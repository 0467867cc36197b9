/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Attributes below the root of sysfs: /sys, or a tree that a test has made up. */
#ifndef SYSFS_H
#define SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SYSFS_PRINTF(at) __attribute__((format(printf, at, at + 1)))

void sysfs_set_root(const char *path);
/* It is not that of the running kernel. */
bool sysfs_made_up(void);

bool sysfs_exists(const char *format, ...) SYSFS_PRINTF(1);
/* The text without the newline at its end. False, and "", if there is none to read. */
bool sysfs_text(char *text, size_t size, const char *format, ...) SYSFS_PRINTF(3);
/* In any base that C knows. False, and 0, if there is none. */
bool sysfs_number(uint64_t *number, const char *format, ...) SYSFS_PRINTF(2);
/* How many bytes could be read: less than size where the rest needs root. Or -1. */
ssize_t sysfs_bytes(void *bytes, size_t size, const char *format, ...) SYSFS_PRINTF(3);
/* The last part of where a link leads to. False, and "", if there is none. */
bool sysfs_link(char *name, size_t size, const char *format, ...) SYSFS_PRINTF(3);
/* A file descriptor, or -1 and errno. */
int sysfs_open(int flags, const char *format, ...) SYSFS_PRINTF(2);
/* All of it, free() it. NULL if it leads nowhere. */
char *sysfs_resolve(const char *format, ...) SYSFS_PRINTF(1);

/* The names in a folder, mlx5_2 before mlx5_10; NULL ends them. Never NULL itself. */
char **sysfs_list(const char *format, ...) SYSFS_PRINTF(1);
void sysfs_list_free(char **names);

#endif
