// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * fill-pattern FILE SIZE SEED: the content of a "GPU" before a test. The word
 * at byte offset o is a pure function of o and the seed, so that a program in
 * the guest can tell what it should read without having seen the file.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static int fail(const char *what, const char *path)
{
	fprintf(stderr, "fill-pattern: cannot %s %s: %s\n", what, path,
		strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t size, seed, i, *word;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: fill-pattern FILE SIZE SEED\n");
		return 2;
	}
	size = strtoull(argv[2], NULL, 0);
	seed = strtoull(argv[3], NULL, 0);

	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return fail("open", argv[1]);
	if (ftruncate(fd, size))
		return fail("resize", argv[1]);
	word = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (word == MAP_FAILED)
		return fail("map", argv[1]);
	for (i = 0; i < size / 8; i++)
		word[i] = htole64(splitmix64(i + seed));
	return 0;
}
