// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What rxe in the kernel can do and the rxe provider of rdma-core 44 has no
 * function for: two commands that we send ourselves, and the flush operation,
 * which we write into the send queue ourselves.
 */
#include "common.h"

#include <infiniband/verbs.h>
#include <inttypes.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl.h>
#include <rdma/rdma_user_rxe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct ib_uverbs_attr attr_in(uint16_t id, uint16_t len, uint64_t data)
{
	return (struct ib_uverbs_attr){
		.attr_id = id,
		.len = len,
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = data,
	};
}

/* Return: 0 or an errno, as ibv_advise_mr(), which is used where it works. */
int uverbs_advise_mr(struct ibv_pd *pd, uint32_t advice, uint32_t flags,
		     struct ibv_sge *sges, uint32_t n)
{
	struct {
		struct ib_uverbs_ioctl_hdr hdr;
		struct ib_uverbs_attr attrs[4];
	} cmd = {
		.hdr = {
			.length = sizeof(cmd),
			.object_id = UVERBS_OBJECT_MR,
			.method_id = UVERBS_METHOD_ADVISE_MR,
			.num_attrs = ARRAY_SIZE(cmd.attrs),
			.driver_id = RDMA_DRIVER_RXE,
		},
		.attrs = {
			attr_in(UVERBS_ATTR_ADVISE_MR_PD_HANDLE, 0, pd->handle),
			attr_in(UVERBS_ATTR_ADVISE_MR_ADVICE, sizeof(uint64_t),
				advice),
			attr_in(UVERBS_ATTR_ADVISE_MR_FLAGS, sizeof(uint32_t),
				flags),
			attr_in(UVERBS_ATTR_ADVISE_MR_SGE_LIST,
				n * sizeof(*sges), (uintptr_t)sges),
		},
	};

	int err = ibv_advise_mr(pd, advice, flags, sges, n);

	/* That is what libibverbs says when the provider has no such function. */
	if (err != EOPNOTSUPP)
		return err;
	return ioctl(pd->context->cmd_fd, RDMA_VERBS_IOCTL, &cmd.hdr) ? errno : 0;
}

/* Return: 0 or an errno. Like ibv_rereg_mr() it changes @mr if it succeeds. */
int uverbs_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
		    size_t len, int access)
{
	struct ib_uverbs_rereg_mr_resp resp = {};
	struct {
		struct ib_uverbs_cmd_hdr hdr;
		struct ib_uverbs_rereg_mr body;
	} cmd = {
		.hdr = {
			.command = IB_USER_VERBS_CMD_REREG_MR,
			.in_words = sizeof(cmd) / 4,
			.out_words = sizeof(resp) / 4,
		},
		.body = {
			.response = (uintptr_t)&resp,
			.mr_handle = mr->handle,
			.flags = flags,
			.start = (uintptr_t)addr,
			.length = len,
			.hca_va = (uintptr_t)addr,
			.pd_handle = pd ? pd->handle : 0,
			.access_flags = access,
		},
	};

	if (write(mr->context->cmd_fd, &cmd, sizeof(cmd)) != sizeof(cmd))
		return errno;
	mr->lkey = resp.lkey;
	mr->rkey = resp.rkey;
	if (flags & IBV_REREG_MR_CHANGE_TRANSLATION) {
		mr->addr = addr;
		mr->length = len;
	}
	if (flags & IBV_REREG_MR_CHANGE_PD)
		mr->pd = pd;
	return 0;
}

/* As in the kernel's rdma_user_rxe.h; Debian 12's does not have it yet. */
struct flush_wr {
	uint64_t remote_addr;
	uint32_t length;
	uint32_t rkey;
	uint8_t type;
	uint8_t level;
};

static struct rxe_send_wqe *wqe_in_queue(struct rxe_queue_buf *q, size_t size,
					 uint64_t wr_id)
{
	struct rxe_send_wqe *wqe;
	size_t i, step;

	if (q->log2_elem_size > 16)
		return NULL;
	step = (size_t)1 << q->log2_elem_size;
	if (step < sizeof(*wqe) || sizeof(*q) + (q->index_mask + 1) * step > size)
		return NULL;
	for (i = 0; i <= q->index_mask; i++) {
		wqe = (void *)(q->data + i * step);
		if (wqe->wr.wr_id == wr_id)
			return wqe;
	}
	return NULL;
}

/* Look for a work request in all the queues that we share with the kernel. */
static struct rxe_send_wqe *find_wqe(uint64_t wr_id)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	struct rxe_send_wqe *wqe = NULL;
	uintptr_t start, end;
	char line[512];

	while (!wqe && maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "/uverbs") &&
		    sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2)
			wqe = wqe_in_queue((void *)start, end - start, wr_id);
	if (maps)
		fclose(maps);
	return wqe;
}

/*
 * Let libibverbs prepare an RDMA write of no bytes, turn that into a flush
 * while it is in the queue but not yet posted, and post it.
 */
void post_flush(struct pair *p, uint64_t remote, uint32_t len, uint32_t rkey,
		uint8_t type, uint8_t level)
{
	/* One of its own each time: old ones are still in the queues. */
	static uint64_t wr_id = 0x666c757368000000ull;
	struct ibv_qp_ex *qpx = ibv_qp_to_qp_ex(p->qp[0]);
	struct flush_wr flush = { remote, len, rkey, type, level };
	struct rxe_send_wqe *wqe;
	int err;

	ibv_wr_start(qpx);
	qpx->wr_id = ++wr_id;
	qpx->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_rdma_write(qpx, rkey, remote);
	ibv_wr_set_sge_list(qpx, 0, NULL);

	wqe = find_wqe(wr_id);
	if (!wqe)
		fail("no send queue of rxe's layout in /proc/self/maps");
	wqe->wr.opcode = RXE_WR_FLUSH;
	memcpy(&wqe->wr.wr, &flush, sizeof(flush));
	wqe->dma.length = len;
	wqe->dma.resid = len;

	err = ibv_wr_complete(qpx);
	if (err)
		fail("ibv_wr_complete of a flush: %s", strerror(err));
}
