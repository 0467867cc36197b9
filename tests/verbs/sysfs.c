// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "sysfs.h"

#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int try_write(const char *path, const char *text)
{
	ssize_t n;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	errno = EIO;		/* of a part */
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

int write_in(const char *folder, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return try_write(path, text);
}

void write_file(const char *path, const char *text)
{
	if (try_write(path, text))
		fail("cannot write %s to %s: %s", text, path, strerror(errno));
}

void put_in(const char *folder, const char *name, const char *text)
{
	if (write_in(folder, name, text))
		fail("write %s to %s/%s: %s", text, folder, name,
		     strerror(errno));
}

int read_line(const char *folder, const char *name, char *line, size_t size)
{
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	n = read(fd, line, size - 1);
	close(fd);
	if (n <= 0) {
		errno = n ? errno : ENODATA;
		return -1;
	}
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

long read_number(const char *folder, const char *name)
{
	char text[32];

	if (read_line(folder, name, text, sizeof(text)))
		fail("read %s/%s: %s", folder, name, strerror(errno));
	return strtol(text, NULL, 0);
}
