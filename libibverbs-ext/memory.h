/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Who gives dma-bufs. Of memory that is no mapping only the library that allocated it can
 * say what is at an address, and give one: each is asked if the process has loaded it, as
 * otherwise it has none of its memory. Of what is mapped the module p2p_dmabuf gives one.
 * One file in kinds/ for each.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <infiniband/verbs_p2p.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A dma-buf that holds a range of addresses. */
struct memory_dmabuf {
	bool write;		/* wanted: that whoever imports it may write, too */
	int fd;			/* closed by whoever asked for it */
	uint64_t offset;	/* of the range, in the dma-buf */
};

/* For people to read: what a kind said, and what would make it work. */
struct memory_why {
	char text[256];
};

struct memory_kind {
	const char *name;	/* as in IBV_P2P_MEMORY */
	const char *soname;	/* of the library that both of these are given, or NULL */
	/*
	 * A dma-buf of the length bytes at addr. 0 or an errno: ENOENT if addr is not
	 * this kind's. With any other, and maybe with that, why is what to tell.
	 */
	int (*export)(void *library, uint64_t addr, size_t length,
		      struct memory_dmabuf *dmabuf, struct memory_why *why);
	/*
	 * What is at addr: all that attr can hold of it. 0, or ENOENT. NULL for memory
	 * that is mapped, of which that is known without.
	 */
	int (*query)(void *library, uint64_t addr, struct ibv_p2p_addr_attr *attr);
};

/* The same, ENOENT also if the process has not loaded the library. */
int memory_kind_export(const struct memory_kind *kind, uint64_t addr, size_t length,
		       struct memory_dmabuf *dmabuf, struct memory_why *why);
int memory_kind_query(const struct memory_kind *kind, uint64_t addr,
		      struct ibv_p2p_addr_attr *attr);

/* For people: a line for each kind that was asked and did not help. */
struct tried {
	char text[1024];
};

void tried_add(struct tried *tried, const char *name, const char *what);

/*
 * A dma-buf of the range, by the kind that knows it. Its name; or NULL with errno set,
 * and tried says more: ENOENT if none does.
 */
const char *memory_export(uint64_t addr, size_t length, struct memory_dmabuf *dmabuf,
			  struct tried *tried);
/* Would it give one of what is at addr? */
bool memory_has_dmabuf(uint64_t addr, bool write);
/* What is at addr, if a kind knows: all but dmabuf. 0, or ENOENT. */
int memory_query(uint64_t addr, struct ibv_p2p_addr_attr *attr);

extern const struct memory_kind memory_cuda, memory_rocm, memory_ze, memory_p2p_dmabuf;

/*
 * The library with this soname, if the process has loaded it; else NULL. It stays
 * loaded until library_put().
 */
void *library_get(const char *soname);
/* NULL: nothing is done. */
void library_put(void *library);

void why_say(struct memory_why *why, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
