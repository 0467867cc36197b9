/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * What else dmae uses and an unmodified kernel does not have: small additions
 * of our patches, and in a kernel older than the 6.12 that they are for, what
 * 6.12 has. The latter is made for 6.1.
 */
#ifndef STOCK_H
#define STOCK_H

#include <linux/version.h>
#include <rdma/ib_verbs.h>

/* The number that the patches and the provider have. */
#define RDMA_DRIVER_DMAE	((enum rdma_driver_id)0x646d6165)

/* No device memory by ibv_reg_mr(), so no need to revoke it. */
#define IBK_P2P_REVOKE	0

static inline void ib_uverbs_mr_revoked(struct ib_mr *mr)
{
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <stock-6.1.h>
#endif

#endif /* STOCK_H */
