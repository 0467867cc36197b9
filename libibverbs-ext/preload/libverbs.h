/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* The functions of libibverbs that programs find ours in front of. */
#ifndef LIBVERBS_H
#define LIBVERBS_H

#include <infiniband/verbs.h>

/* As in versions of infiniband/verbs.h that are newer than Debian's. */
struct mr_init_attr {
	size_t length;
	int access;
	uint64_t comp_mask;
	uint64_t iova;
	void *addr;
};

enum { MR_INIT_IOVA = 1 << 0, MR_INIT_ADDR = 1 << 1 };

/* What the others of them come to, but reg_mr_ex. */
typedef struct ibv_mr *reg_function(struct ibv_pd *pd, void *addr, size_t length,
				    uint64_t iova, unsigned int access);

struct libverbs {
	int (*fork_init)(void);
	reg_function *reg_mr_iova2;
	struct ibv_mr *(*reg_mr_ex)(struct ibv_pd *pd, struct mr_init_attr *attr);
	int (*rereg_mr)(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
			size_t length, int access);
};

/* Those of libibverbs; reg_mr_ex is NULL in older ones. Thread-safe. */
const struct libverbs *libverbs(void);

#endif
