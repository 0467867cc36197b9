// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "sysfs.h"

static const char real_root[] = "/sys", *root = real_root;

void sysfs_set_root(const char *path)
{
	root = path;
}

bool sysfs_made_up(void)
{
	return root != real_root;
}

/* A name that is too long is one that does not exist. */
static void full_path(char path[PATH_MAX], const char *format, va_list args)
{
	int n = snprintf(path, PATH_MAX, "%s/", root);

	if (n < PATH_MAX)
		n += vsnprintf(path + n, PATH_MAX - n, format, args);
	if (n >= PATH_MAX)
		*path = '\0';
}

#define FULL_PATH(path, format)				\
	do {						\
		va_list args_;				\
							\
		va_start(args_, format);		\
		full_path(path, format, args_);		\
		va_end(args_);				\
	} while (0)

static ssize_t read_all(void *bytes, size_t size, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	while (done < size) {
		n = read(fd, (char *)bytes + done, size - done);
		if (n <= 0)
			break;
		done += n;
	}
	close(fd);
	return done || !n ? (ssize_t)done : -1;
}

static bool read_text(char *text, size_t size, const char *path)
{
	ssize_t n = read_all(text, size - 1, path);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return n >= 0;
}

bool sysfs_exists(const char *format, ...)
{
	char path[PATH_MAX];

	FULL_PATH(path, format);
	return !access(path, F_OK);
}

bool sysfs_text(char *text, size_t size, const char *format, ...)
{
	char path[PATH_MAX];

	FULL_PATH(path, format);
	return read_text(text, size, path);
}

bool sysfs_number(uint64_t *number, const char *format, ...)
{
	char path[PATH_MAX], text[32], *end;

	*number = 0;
	FULL_PATH(path, format);
	if (!read_text(text, sizeof(text), path))
		return false;
	*number = strtoull(text, &end, 0);
	return end != text;
}

ssize_t sysfs_bytes(void *bytes, size_t size, const char *format, ...)
{
	char path[PATH_MAX];

	FULL_PATH(path, format);
	return read_all(bytes, size, path);
}

int sysfs_open(int flags, const char *format, ...)
{
	char path[PATH_MAX];

	FULL_PATH(path, format);
	return open(path, flags | O_CLOEXEC);
}

bool sysfs_link(char *name, size_t size, const char *format, ...)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	FULL_PATH(path, format);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	snprintf(name, size, "%s", n > 0 ? basename(target) : "");
	return n > 0;
}

char *sysfs_resolve(const char *format, ...)
{
	char path[PATH_MAX];

	FULL_PATH(path, format);
	return realpath(path, NULL);
}

static int no_dots(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

char **sysfs_list(const char *format, ...)
{
	char path[PATH_MAX], **names;
	struct dirent **found;
	int i, n;

	FULL_PATH(path, format);
	n = scandir(path, &found, no_dots, versionsort);
	names = allocate(n < 0 ? 1 : n + 1, sizeof(*names));
	for (i = 0; i < n; i++) {
		names[i] = text_of("%s", found[i]->d_name);
		free(found[i]);
	}
	if (n >= 0)
		free(found);
	return names;
}

void sysfs_list_free(char **names)
{
	char **n;

	for (n = names; *n; n++)
		free(*n);
	free(names);
}
