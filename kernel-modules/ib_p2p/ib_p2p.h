/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ib_p2p: plain ibv_reg_mr() of device memory, by dma-bufs. main.c puts itself before
 * the functions of a driver, register.c is what runs there.
 */
#ifndef IB_P2P_H
#define IB_P2P_H

#include <linux/atomic.h>
#include <linux/version.h>
#include <linux/wait.h>
#include <rdma/ib_verbs.h>

typedef struct ib_mr *reg_user_mr_t(struct ib_pd *pd, u64 start, u64 length,
				    u64 iova, int access, struct ib_udata *udata);
typedef struct ib_mr *rereg_user_mr_t(struct ib_mr *mr, int flags, u64 start,
				      u64 length, u64 iova, int access,
				      struct ib_pd *pd, struct ib_udata *udata);

/* A device whose registrations pass here. */
struct ib_p2p_device {
	struct ib_device *ib_dev;
	reg_user_mr_t *reg_user_mr;	/* the driver's own */
	rereg_user_mr_t *rereg_user_mr;	/* or NULL */
	bool on;
	atomic_t callers;		/* see main.c */
	wait_queue_head_t no_callers;
};

/*
 * Is [start, start + length) device memory that takes an MR of a dma-buf? 1, 0, or the
 * errno to fail the registration with. May sleep.
 */
int ib_p2p_wants(struct ib_p2p_device *p2p, u64 start, u64 length, int access);
struct ib_mr *ib_p2p_register(struct ib_p2p_device *p2p, struct ib_pd *pd,
			      u64 start, u64 length, u64 iova, int access,
			      struct ib_udata *udata);

#endif /* IB_P2P_H */
