/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The threads that fault for ODP umems.
 */
#ifndef UMEM_FAULT_H
#define UMEM_FAULT_H

#include <rdma/ib_umem_odp.h>

void ib_umem_fault_disable(struct ib_umem_odp *umem_odp);

#ifdef CONFIG_INFINIBAND_ON_DEMAND_PAGING
int ib_umem_fault_init(void);
void ib_umem_fault_exit(void);
#else
static inline int ib_umem_fault_init(void)
{
	return 0;
}

static inline void ib_umem_fault_exit(void) {}
#endif

#endif /* UMEM_FAULT_H */
