/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * What the stubs of the vendors' libraries have in common: memory that the CPU cannot
 * reach at its addresses, and whose bytes are in a memfd, of which udmabuf makes real
 * dma-bufs. Where there is no udmabuf a dma-buf is a memfd with a copy of the bytes.
 * The addresses are taken from one range, the lowest ones first, so that allocations lie
 * next to each other.
 */
#ifndef STUB_H
#define STUB_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STUB_PAGE = 4096 };

struct stub_allocation {
	struct stub_allocation *next;	/* by their addresses */
	uint64_t start;
	size_t size;
	int type, device;
	void *owner;
	int flag;
	int fd;				/* that the library keeps; -1: none */
	struct stub_allocation *parts;	/* or what it has mapped to it */
};

/* Held over each call of the library. */
extern pthread_mutex_t stub_lock;
extern struct stub_allocation *stub_allocations;

/* Counts the call. What it is to fail with, or 0. */
int stub_called(const char *name);

/* The library's caller did what it may not. */
void stub_misuse(const char *what);

/* True in a child of the process that initialized the library. */
bool stub_forked(void);

/* NULL: no memory. lead bytes before it are nobody's. */
struct stub_allocation *stub_allocate(size_t size, size_t align, size_t lead);
void stub_free(struct stub_allocation *a);

/* The allocation that has the address, or NULL. */
struct stub_allocation *stub_find(struct stub_allocation *list, uint64_t addr);

/* Into a list, in the order of the addresses. */
void stub_insert(struct stub_allocation **list, struct stub_allocation *a);
void stub_remove(struct stub_allocation **list, struct stub_allocation *a);

/* A dma-buf of these pages: a new descriptor, without CLOEXEC; or -1 and errno. */
int stub_dmabuf(uint64_t start, size_t size);

/*
 * For tests, as stub_STUB_...(): how often a function was called; have it fail with a
 * result, until that is 0; where the CPU finds the byte at an address; what was done
 * wrong first, or NULL; how many dma-bufs the process has open.
 */
#define STUB_PASTE(stub, name) stub_##stub##_##name
#define STUB_PASTE_VALUE(stub, name) STUB_PASTE(stub, name)
#define STUB_NAME(name) STUB_PASTE_VALUE(STUB, name)

#define STUB_EXPORT(type, name, ...)						\
	__attribute__((visibility("default"))) type name(__VA_ARGS__);		\
	type name(__VA_ARGS__)

#endif
