// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * In front of libibverbs, for programs that register a pointer with ibv_reg_mr()
 * whatever memory it is of: the kernel is asked first, as without us. What it does not
 * take may be memory that only a library knows, or that the module p2p_dmabuf exports:
 * they are then asked for a dma-buf.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../dmabuf.h"
#include "libverbs.h"
#include "trace.h"

#define PUBLIC __attribute__((visibility("default")))

/* What an MR is asked for. */
struct want {
	const char *function;
	struct ibv_pd *pd;
	void *addr;
	size_t length;
	uint64_t iova;
	unsigned int access;
};

/*
 * As the kernel says that it has no pages there, or, of a mapping that nobody may access,
 * the series; as madvise() does, after ibv_fork_init(), that nothing is mapped; and as the
 * series refuses.
 */
static bool may_be_device_memory(int err)
{
	switch (err) {
	case EACCES:
	case EFAULT:
	case ENOMEM:
	case EINVAL:
	case EPERM:
	case EOPNOTSUPP:
	case EREMOTEIO:
		return true;
	default:
		return false;
	}
}

/* With IBV_P2P_FORCE: a dma-buf, also of what the kernel would take as it is. */
static reg_function dmabuf_first;

static reg_function choose_and_reg;

/* What is tried first. */
static reg_function *first = choose_and_reg;

/* libibverbs has failed with errno, which stays if nobody knows the memory. */
static struct ibv_mr *ask_for_dmabuf(const struct want *want)
{
	const int first_err = errno;
	struct ibv_mr *mr = NULL;
	struct tried tried = {};
	int err = ENOENT;

	if (may_be_device_memory(first_err)) {
		mr = dmabuf_reg(want->pd, want->addr, want->length, want->iova,
				want->access, &tried);
		err = errno;
	}
	trace_reg(want->function, want->addr, want->length, want->pd, mr, first_err, err,
		  tried.text);
	errno = err == ENOENT ? first_err : err;
	return mr;
}

static __attribute__((noinline, cold)) struct ibv_mr *
second_try(struct ibv_mr *mr, const struct want *want)
{
	if (__atomic_load_n(&first, __ATOMIC_RELAXED) == dmabuf_first)
		return mr;
	return mr ? dmabuf_instead_of(mr, want->iova, want->access) :
		    ask_for_dmabuf(want);
}

#define or_second_try(mr, access, ...) \
	(__builtin_expect((mr) && !((access) & IBV_ACCESS_ON_DEMAND), 1) ? (mr) : \
	 second_try(mr, &(struct want) { __func__, __VA_ARGS__, access }))

/* ---- what is tried first ---- */

static struct ibv_mr *dmabuf_first(struct ibv_pd *pd, void *addr, size_t length,
				   uint64_t iova, unsigned int access)
{
	struct tried tried;
	struct ibv_mr *mr = dmabuf_reg(pd, addr, length, iova, access, &tried);
	const int err = errno;
	int first_err = 0;

	if (!mr && err == ENOENT) {
		mr = libverbs()->reg_mr_iova2(pd, addr, length, iova, access);
		if (mr)
			return mr;
		first_err = errno;
	}
	trace_reg("ibv_reg_mr, by IBV_P2P_FORCE", addr, length, pd, mr, first_err, err,
		  tried.text);
	errno = first_err ? first_err : err;
	return mr;
}

static struct ibv_mr *choose_and_reg(struct ibv_pd *pd, void *addr, size_t length,
				     uint64_t iova, unsigned int access)
{
	const char *force = secure_getenv("IBV_P2P_FORCE");
	reg_function *chosen = force && !strcmp(force, "1") ? dmabuf_first :
							      libverbs()->reg_mr_iova2;

	/* Whoever else does the same does it with the same outcome. */
	__atomic_store_n(&first, chosen, __ATOMIC_RELAXED);
	return chosen(pd, addr, length, iova, access);
}

static inline struct ibv_mr *reg_first(struct ibv_pd *pd, void *addr, size_t length,
				       uint64_t iova, unsigned int access)
{
	return __atomic_load_n(&first, __ATOMIC_RELAXED)(pd, addr, length, iova, access);
}

/* ---- libibverbs' ---- */

#undef ibv_reg_mr
PUBLIC struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
				 int access)
{
	struct ibv_mr *mr = reg_first(pd, addr, length, (uintptr_t)addr, access);

	return or_second_try(mr, access, pd, addr, length, (uintptr_t)addr);
}

#undef ibv_reg_mr_iova
PUBLIC struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length,
				      uint64_t iova, int access)
{
	struct ibv_mr *mr = reg_first(pd, addr, length, iova, access);

	return or_second_try(mr, access, pd, addr, length, iova);
}

PUBLIC struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
				       uint64_t iova, unsigned int access)
{
	struct ibv_mr *mr = reg_first(pd, addr, length, iova, access);

	return or_second_try(mr, access, pd, addr, length, iova);
}

/* Newer headers declare it, with their name for the structure. */
struct ibv_mr *reg_mr_ex(struct ibv_pd *pd, struct mr_init_attr *attr)
	__asm__("ibv_reg_mr_ex");

/* Only what has an address, and nothing else, can be had in another way. */
PUBLIC struct ibv_mr *reg_mr_ex(struct ibv_pd *pd, struct mr_init_attr *attr)
{
	const uint64_t iova = attr->comp_mask & MR_INIT_IOVA ? attr->iova :
							       (uintptr_t)attr->addr;
	struct ibv_mr *mr;

	if (!libverbs()->reg_mr_ex) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	mr = libverbs()->reg_mr_ex(pd, attr);
	if ((attr->comp_mask | MR_INIT_IOVA) != (MR_INIT_ADDR | MR_INIT_IOVA))
		return mr;
	if (!mr)
		return ask_for_dmabuf(&(struct want) {
			"ibv_reg_mr_ex", pd, attr->addr, attr->length, iova, attr->access });
	return attr->access & IBV_ACCESS_ON_DEMAND ?
	       dmabuf_instead_of(mr, iova, attr->access) : mr;
}

/* An MR that a program has cannot become one of a dma-buf. */
PUBLIC int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
			size_t length, int access)
{
	const int ret = libverbs()->rereg_mr(mr, flags, pd, addr, length, access);
	const int err = errno;

	if (ret && flags & IBV_REREG_MR_CHANGE_TRANSLATION) {
		trace_rereg(addr, length, ret, err);
		errno = err;
	}
	return ret;
}

/*
 * Kernels that copy pinned pages on fork do not need it, and newer versions of
 * libibverbs know. Older ones would take a registered BAR from children for ever.
 */
PUBLIC int ibv_fork_init(void)
{
	return ibv_is_fork_initialized() == IBV_FORK_UNNEEDED ?
	       0 : libverbs()->fork_init();
}
