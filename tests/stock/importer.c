// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "importer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *engine(void)
{
	const char *path = getenv("ENGINE");

	if (!path)
		fail("ENGINE is not set");
	return path;
}

static int device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	return fd;
}

/* ---- /dev/p2p_dmabuf ---- */

int export_try(struct p2p_dmabuf_export *req)
{
	static int fd = -1;

	if (fd < 0)
		fd = device("/dev/p2p_dmabuf");
	return ioctl(fd, P2P_DMABUF_EXPORT, req) ? errno : 0;
}

int export_fd(void *addr, size_t len, uint32_t flags)
{
	struct p2p_dmabuf_export req = {
		.size = sizeof(req), .flags = flags, .addr = (uintptr_t)addr, .length = len,
	};
	int err = export_try(&req);

	if (err)
		fail("no dma-buf of %zu bytes: %s", len, strerrorname_np(err));
	if (req.kind != P2P_DMABUF_KIND_BAR || req.offset)
		fail("a BAR is of kind %u, at %llu of its dma-buf", req.kind,
		     (long long)req.offset);
	return req.fd;
}

int fd_of_process(pid_t pid, const char *word)
{
	char path[300], to[256];
	struct dirent *entry;
	int pidfd, fd = -1;
	ssize_t n;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && fd < 0 && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = '\0';
		if (strstr(to, word) && !strstr(to, "/dev/p2p"))
			fd = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (fd < 0)
		fail("the %s of process %d: %s", word, pid, strerror(errno));
	close(pidfd);
	return fd;
}

/* ---- the importer ---- */

static void load(bool in)
{
	char command[600], name[256], gpu[256];

	snprintf(name, sizeof(name), "%s", engine());
	snprintf(gpu, sizeof(gpu), "%s", gpu_path(GPU0));
	if (in)
		snprintf(command, sizeof(command),
			 "insmod %s/p2p_importer.ko device=%s exporter=%s",
			 getenv("STOCK_MODULES"), basename(name), basename(gpu));
	else
		snprintf(command, sizeof(command), "rmmod p2p_importer");
	if (system(command))
		fprintf(stderr, "%s failed\n", command);
}

void importer_load(void) { load(true); }
void importer_unload(void) { load(false); }

struct importer importer_open(void)
{
	return (struct importer){ .fd = device("/dev/p2p_importer") };
}

void importer_close(struct importer *imp) { close(imp->fd); }

bool importer_has_addresses_of_bus(void)
{
	char path[300], type[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/iommu_group/type", engine());
	file = fopen(path, "r");
	if (!file)
		return true;
	if (!fgets(type, sizeof(type), file))
		fail("%s cannot be read", path);
	fclose(file);
	return !strncmp(type, "identity", 8);
}

int importer_attach_try(struct importer *imp, int fd, bool pin)
{
	struct p2p_importer_attach attach = { .fd = fd, .pin = pin };

	return ioctl(imp->fd, P2P_IMPORTER_ATTACH, &attach) ? errno : 0;
}

void importer_attach(struct importer *imp, int fd, bool pin)
{
	int err = importer_attach_try(imp, fd, pin);

	if (err)
		fail("attach: %s", strerrorname_np(err));
}

int importer_try(struct importer *imp, struct p2p_importer_map *map)
{
	return ioctl(imp->fd, P2P_IMPORTER_MAP, map) ? errno : 0;
}

struct p2p_importer_map importer_want(struct importer *imp, uint32_t flags, int want,
				      const char *what)
{
	struct p2p_importer_map map = { .flags = flags };
	int err = importer_try(imp, &map);

	if (err != want)
		fail("%s: the importer gets %s, expected %s", what,
		     err ? strerrorname_np(err) : "it", want ? strerrorname_np(want) : "it");
	return map;
}

void importer_unmap(struct importer *imp)
{
	if (ioctl(imp->fd, P2P_IMPORTER_UNMAP))
		fail("unmap: %s", strerror(errno));
}

void importer_told(struct importer *imp, uint64_t moves, const char *what)
{
	struct p2p_importer_stat stat;

	if (ioctl(imp->fd, P2P_IMPORTER_STAT, &stat))
		fail("stat: %s", strerror(errno));
	if (stat.moves != moves)
		fail("%s: the importer was told %llu times, expected %llu", what,
		     (long long)stat.moves, (long long)moves);
	if (moves && stat.mapped)
		fail("%s: the importer has it mapped", what);
}
