// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "engine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *engine_path(void)
{
	const char *path = getenv("ENGINE");

	if (!path || !*path)
		fail("no DMA engine: ENGINE is not set");
	return path;
}

const char *engine_domain(void)
{
	static char type[32];
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/iommu_group/type", engine_path());
	f = fopen(path, "r");
	if (!f)
		return "none";
	if (fscanf(f, "%31s", type) != 1)
		fail("cannot read %s", path);
	fclose(f);
	return type;
}

int engine_debug_open(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dmaengine/%s/%s",
		 strrchr(engine_path(), '/') + 1, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	return fd;
}

void engine_move(uint64_t from, uint64_t to, size_t len)
{
	int fd = engine_debug_open("raw_move", O_WRONLY), n;
	char line[64];

	n = snprintf(line, sizeof(line), "%" PRIx64 " %" PRIx64 " %zx\n", from,
		     to, len);
	if (write(fd, line, n) != n)
		fail("moving %zu bytes from 0x%" PRIx64 " to 0x%" PRIx64 ": %s",
		     len, from, to, strerror(errno));
	close(fd);
}

uint64_t scratch_address(void)
{
	int fd = engine_debug_open("scratch_address", O_RDONLY);
	char line[32] = "";

	if (read(fd, line, sizeof(line) - 1) <= 0)
		fail("cannot read scratch_address: %s", strerror(errno));
	close(fd);
	return strtoull(line, NULL, 0);
}

void scratch_write(const void *data, size_t len)
{
	int fd = engine_debug_open("scratch", O_WRONLY);

	if (write(fd, data, len) != (ssize_t)len)
		fail("cannot write scratch: %s", strerror(errno));
	close(fd);
}

void scratch_read(void *data, size_t len)
{
	int fd = engine_debug_open("scratch", O_RDONLY);

	if (read(fd, data, len) != (ssize_t)len)
		fail("cannot read scratch: %s", strerror(errno));
	close(fd);
}

uint64_t bar_address(int gpu)
{
	char path[PATH_MAX];
	uint64_t start = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/resource", gpu_path(gpu));
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*s %*s %*s %*s %*s %*s %" SCNx64, &start) != 1)
		fail("cannot read BAR 2 in %s", path);
	fclose(f);
	return start;
}

/* A piece of an MR that is contiguous for the engine. */
struct piece {
	uint32_t lkey;
	uint64_t iova, len, dma;
};

static FILE *pieces_open(void)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dmae/%s/mrs", dev_name());
	f = fopen(path, "r");
	if (!f)
		fail("open %s: %s", path, strerror(errno));
	return f;
}

/* Lines "lkey kind iova bytes dma-address r|rw", one a table entry. */
static bool pieces_next(FILE *f, uint32_t lkey, struct piece *piece)
{
	char line[256];

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx32 " %*s %" SCNx64 " %" SCNu64
			   " %" SCNx64, &piece->lkey, &piece->iova, &piece->len,
			   &piece->dma) == 4 && piece->lkey == lkey)
			return true;
	return false;
}

uint64_t mr_address(const struct ibv_mr *mr, uint64_t iova)
{
	FILE *f = pieces_open();
	struct piece piece;

	while (pieces_next(f, mr->lkey, &piece))
		if (iova >= piece.iova && iova - piece.iova < piece.len) {
			fclose(f);
			return piece.dma + (iova - piece.iova);
		}
	fail("no piece of lkey 0x%x has 0x%" PRIx64, mr->lkey, iova);
}

unsigned int mr_entries(const struct ibv_mr *mr)
{
	FILE *f = pieces_open();
	struct piece piece;
	unsigned int n = 0;

	while (pieces_next(f, mr->lkey, &piece))
		n++;
	fclose(f);
	return n;
}

