/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files of sysfs, debugfs and the like. */
#ifndef TESTS_VERBS_SYSFS_H
#define TESTS_VERBS_SYSFS_H

#include <stddef.h>

/* 0, or -1 with errno. */
int write_in(const char *folder, const char *name, const char *text);
/* The same; the case fails instead. */
void put_in(const char *folder, const char *name, const char *text);
void write_file(const char *path, const char *text);
/* The first line, without its end: 0, or -1 with errno. None is ENODATA. */
int read_line(const char *folder, const char *name, char *line, size_t size);
/* Fails the case if there is none. */
long read_number(const char *folder, const char *name);

#endif
