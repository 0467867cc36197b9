/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* A connection of an RDMA device with itself. */
#ifndef LOOP_H
#define LOOP_H

#include <infiniband/verbs.h>
#include <stddef.h>

enum { LOOP_SILENT = -1 };

struct loop {
	struct ibv_cq *cq;
	struct ibv_qp *qp[2];	/* requester, responder */
};

/* On the first active port. 0 or an errno: ENODEV if there is none. */
int loop_open(struct loop *loop, struct ibv_pd *pd);
void loop_close(struct loop *loop);
/*
 * One RDMA read or write between two MRs of the PD: the bytes at local and remote.
 * Its enum ibv_wc_status, or LOOP_SILENT: it did not end in time. The loop is of no
 * use after anything but IBV_WC_SUCCESS.
 */
int loop_rdma(struct loop *loop, enum ibv_wr_opcode opcode, void *local,
	      const struct ibv_mr *local_mr, void *remote,
	      const struct ibv_mr *remote_mr, size_t length);

#endif
