// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Patterns, host and device memory, and what the host shall find in it. */
#include "common.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/pci.h>
#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* FNV-1a: the same pattern in each run, another one for each name. */
uint64_t seed_of(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	while (*name)
		hash = (hash ^ (uint8_t)*name++) * 0x100000001b3ull;
	return hash;
}

void pattern_fill(void *to, size_t len, uint64_t seed, uint64_t offset)
{
	uint8_t *p = to;

	while (len) {
		uint64_t word = htole64(splitmix64(offset / 8 + seed));
		size_t skip_bytes = offset % 8;
		size_t n = 8 - skip_bytes;

		if (n > len)
			n = len;
		memcpy(p, (uint8_t *)&word + skip_bytes, n);
		p += n;
		offset += n;
		len -= n;
	}
}

static void differ(const uint8_t *got, const uint8_t *want, size_t len,
		   size_t at, size_t total, const char *what)
{
	size_t i;

	for (i = 0; i < len && got[i] == want[i]; i++)
		;
	fail("%s: byte %zu of %zu is 0x%02x, expected 0x%02x", what, at + i,
	     total, got[i], want[i]);
}

void pattern_check(const void *got, size_t len, uint64_t seed, uint64_t offset,
		   const char *what)
{
	uint8_t want[4096];
	size_t at, n;

	for (at = 0; at < len; at += n) {
		n = len - at < sizeof(want) ? len - at : sizeof(want);
		pattern_fill(want, n, seed, offset + at);
		if (memcmp((uint8_t *)got + at, want, n))
			differ((uint8_t *)got + at, want, n, at, len, what);
	}
}

void same_check(const void *got, const void *want, size_t len, const char *what)
{
	if (memcmp(got, want, len))
		differ(got, want, len, 0, len, what);
}

const char *gpu_path(int gpu)
{
	const char *var = gpu == GPU0 ? "GPU0" : "GPU1";
	const char *path = getenv(var);

	if (!path || !*path)
		skip("no device memory: %s is not set", var);
	return path;
}

int gpu_open(int gpu, const char *file, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", gpu_path(gpu), file);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		fail("open %s: %s", path, strerror(errno));
	return fd;
}

uint64_t gpu_address(int gpu)
{
	uint64_t start = 0;
	FILE *f = fdopen(gpu_open(gpu, "resource", O_RDONLY), "r");

	if (!f || fscanf(f, "%*s %*s %*s %*s %*s %*s %" SCNx64, &start) != 1)
		fail("cannot read BAR 2 in %s/resource", gpu_path(gpu));
	fclose(f);
	return start;
}

void *gpu_map_procfs(int gpu, uint64_t offset, size_t len)
{
	const char *name = strrchr(gpu_path(gpu), '/');
	char bus[3], slot[5], path[64];
	void *p;
	int fd;

	if (!name || sscanf(name, "/0000:%2[0-9a-f]:%4s", bus, slot) != 2)
		skip("%s is not in PCI domain 0", gpu_path(gpu));
	snprintf(path, sizeof(path), "/proc/bus/pci/%s/%s", bus, slot);
	fd = open(path, O_RDWR);
	if (fd < 0 && errno == ENOENT)
		skip("%s is not there", path);
	if (fd < 0 || ioctl(fd, PCIIOC_MMAP_IS_MEM) < 0)
		fail("%s: %s", path, strerror(errno));
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 gpu_address(gpu) + offset);
	if (p == MAP_FAILED)
		fail("mmap of %s, BAR 2: %s", path, strerror(errno));
	close(fd);
	return p;
}

size_t gpu_size(int gpu)
{
	int fd = gpu_open(gpu, "resource2", O_RDONLY);
	struct stat st;

	if (fstat(fd, &st))
		fail("fstat %s/resource2: %s", gpu_path(gpu), strerror(errno));
	close(fd);
	return st.st_size;
}

uint64_t gpu_seed(void)
{
	const char *seed = getenv("GPU_SEED");

	if (!seed || !*seed)
		skip("GPU_SEED is not set: what the host wrote is not known");
	return strtoull(seed, NULL, 0);
}

void *gpu_map_at(int gpu, void *at, uint64_t offset, size_t len, int prot)
{
	int fd = gpu_open(gpu, "resource2", O_RDWR);
	void *p;

	p = mmap(at, len, prot, MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset);
	if (p == MAP_FAILED)
		fail("mmap of %zu bytes at 0x%" PRIx64 " of %s/resource2: %s",
		     len, offset, gpu_path(gpu), strerror(errno));
	close(fd);
	return p;
}

void *gpu_map(int gpu, uint64_t offset, size_t len)
{
	return gpu_map_at(gpu, NULL, offset, len, PROT_READ | PROT_WRITE);
}

void *host_map_at(void *at, size_t len, int prot)
{
	void *p = mmap(at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS |
		       (at ? MAP_FIXED : 0), -1, 0);

	if (p == MAP_FAILED)
		fail("mmap of %zu bytes: %s", len, strerror(errno));
	return p;
}

void *host_map(size_t len)
{
	return host_map_at(NULL, len, PROT_READ | PROT_WRITE);
}

void unmap(void *addr, size_t len)
{
	if (munmap(addr, len))
		fail("munmap of %zu bytes: %s", len, strerror(errno));
}

void protect(void *addr, size_t len, int prot)
{
	if (mprotect(addr, len, prot))
		fail("mprotect to %d: %s", prot, strerror(errno));
}

/*
 * The kernel collects such pages in a batch for each CPU, and neither
 * MADV_PAGEOUT nor a migration takes them out of the batch of another CPU.
 */
void let_drop(void *addr, size_t len)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	if (sched_setaffinity(0, sizeof(here), &here))
		fail("sched_setaffinity: %s", strerror(errno));
	if (madvise(addr, len, MADV_FREE))
		fail("madvise(MADV_FREE) of %zu bytes: %s", len, strerror(errno));
}

struct ibv_mr *try_reg(void *addr, size_t len, int access, int *err)
{
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_mr(dev.pd, addr, len, access);
	*err = mr ? 0 : errno;
	return mr;
}

struct ibv_mr *reg(void *addr, size_t len, int access)
{
	int err;
	struct ibv_mr *mr = try_reg(addr, len, access, &err);

	if (!mr)
		fail("ibv_reg_mr of %zu bytes, access 0x%x: %s", len, access,
		     strerror(err));
	return mr;
}

void dereg(struct ibv_mr *mr)
{
	int err = ibv_dereg_mr(mr);

	if (err)
		fail("ibv_dereg_mr: %s", strerror(err));
}

struct mem mem_open(int where, uint64_t offset, size_t len)
{
	struct mem mem = { .len = len };

	mem.addr = where == HOST ? host_map(len) : gpu_map(where, offset, len);
	mem.mr = reg(mem.addr, len, ACCESS_ALL);
	return mem;
}

void mem_close(struct mem *mem)
{
	dereg(mem->mr);
	unmap(mem->addr, mem->len);
}

struct ibv_sge sge(const struct mem *mem, size_t offset, size_t len)
{
	return (struct ibv_sge){
		.addr = (uintptr_t)mem->addr + offset,
		.length = len,
		.lkey = mem->mr->lkey,
	};
}

void expect(int gpu, const char *name, uint64_t offset, const void *data,
	    size_t len)
{
	const char *out = getenv("OUT");
	char path[256], line[256];
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned int hash_len, i;
	int fd, n;

	if (!out || !*out)
		return;
	if (!EVP_Digest(data, len, hash, &hash_len, EVP_sha256(), NULL))
		fail("libcrypto has no SHA-256");

	n = snprintf(line, sizeof(line), "%s %" PRIu64 " %zu ", name, offset, len);
	for (i = 0; i < hash_len; i++)
		n += snprintf(line + n, sizeof(line) - n, "%02x", hash[i]);
	line[n++] = '\n';

	snprintf(path, sizeof(path), "%s/expect-gpu%d", out, gpu);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
	if (fd < 0 || write(fd, line, n) != n)
		fail("write %s: %s", path, strerror(errno));
	close(fd);
}

struct area area_map(uint64_t at, size_t len)
{
	struct area a = { .at = at };

	a.addr = gpu_map(GPU0, at, len);
	a.view = gpu_map(GPU0, at, len);
	/* Not the marks of an earlier run. */
	pattern_fill(a.view, len, seed_of(case_name()), 0);
	return a;
}

void stays(const struct area *a, size_t offset, size_t len)
{
	uint8_t *copy = malloc(len);

	memcpy(copy, a->view + offset, len);
	usleep(300000);
	same_check(a->view + offset, copy, len, "300 ms after the call returned");
	expect(GPU0, case_name(), a->at + offset, copy, len);
	free(copy);
}
