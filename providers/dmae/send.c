// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Send queues: ibv_post_send(), and ibv_wr_start() to ibv_wr_complete().
 */
#include <errno.h>
#include <string.h>

#include "dmae.h"

static_assert(DMAE_SEND_FENCE == (int)IBV_SEND_FENCE &&
	      DMAE_SEND_SIGNALED == (int)IBV_SEND_SIGNALED &&
	      DMAE_SEND_SOLICITED == (int)IBV_SEND_SOLICITED &&
	      DMAE_SEND_INLINE == (int)IBV_SEND_INLINE, "the same flags");

/* Before these states a send is an error at once. */
static bool can_send(const struct dmae_qp *qp)
{
	switch (qp->ibv.qp.state) {
	case IBV_QPS_RESET:
	case IBV_QPS_INIT:
	case IBV_QPS_RTR:
		return false;
	default:
		return true;
	}
}

static void *wqe_data(struct dmae_send_wqe *wqe)
{
	return wqe + 1;
}

static int add_sges(struct dmae_qp *qp, struct dmae_send_wqe *wqe,
		    const struct ibv_sge *sges, size_t num)
{
	if (num > qp->sq.max_sge)
		return EINVAL;
	dmae_put_sges(wqe_data(wqe), sges, num);
	wqe->num_sge = num;
	return 0;
}

/* Append to the inline data of wqe. */
static int add_inline(struct dmae_qp *qp, struct dmae_send_wqe *wqe,
		      const void *addr, size_t length)
{
	if (length > qp->max_inline - wqe->inline_len)
		return EINVAL;
	if (length)
		memcpy((char *)wqe_data(wqe) + wqe->inline_len, addr, length);
	wqe->inline_len += length;
	wqe->flags |= DMAE_SEND_INLINE;
	return 0;
}

static void set_ud_addr(struct dmae_send_wqe *wqe, struct ibv_ah *ah,
			uint32_t qpn, uint32_t qkey)
{
	wqe->ud.ah = container_of(ah, struct dmae_ah, ibv)->index;
	wqe->ud.remote_qpn = qpn;
	wqe->ud.remote_qkey = qkey;
}

static int put_send(struct dmae_qp *qp, const struct ibv_send_wr *wr)
{
	struct dmae_send_wqe *wqe;
	int i, ret = 0;

	if (wr->num_sge < 0)
		return EINVAL;
	wqe = dmae_queue_next(&qp->sq);
	if (!wqe)
		return ENOMEM;
	*wqe = (struct dmae_send_wqe){
		.wr_id = wr->wr_id,
		.opcode = wr->opcode,
		.flags = wr->send_flags & (IBV_SEND_FENCE | IBV_SEND_SIGNALED |
					   IBV_SEND_SOLICITED |
					   IBV_SEND_INLINE),
		.ex = wr->imm_data,
	};

	switch (wr->opcode) {
	case IBV_WR_SEND:
	case IBV_WR_SEND_WITH_IMM:
		if (qp->ibv.qp.qp_type == IBV_QPT_UD)
			set_ud_addr(wqe, wr->wr.ud.ah, wr->wr.ud.remote_qpn,
				    wr->wr.ud.remote_qkey);
		break;
	case IBV_WR_SEND_WITH_INV:
		break;
	case IBV_WR_RDMA_WRITE:
	case IBV_WR_RDMA_WRITE_WITH_IMM:
	case IBV_WR_RDMA_READ:
		wqe->rdma.remote_addr = wr->wr.rdma.remote_addr;
		wqe->rdma.rkey = wr->wr.rdma.rkey;
		break;
	case IBV_WR_ATOMIC_CMP_AND_SWP:
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		wqe->atomic.remote_addr = wr->wr.atomic.remote_addr;
		wqe->atomic.compare_add = wr->wr.atomic.compare_add;
		wqe->atomic.swap = wr->wr.atomic.swap;
		wqe->atomic.rkey = wr->wr.atomic.rkey;
		wqe->atomic.reserved = 0;
		break;
	default:
		return EINVAL;
	}

	if (!(wr->send_flags & IBV_SEND_INLINE))
		ret = add_sges(qp, wqe, wr->sg_list, wr->num_sge);
	else
		for (i = 0; i < wr->num_sge && !ret; i++)
			ret = add_inline(qp, wqe,
					 (void *)(uintptr_t)wr->sg_list[i].addr,
					 wr->sg_list[i].length);
	if (!ret)
		qp->sq.producer++;
	return ret;
}

int dmae_post_send(struct ibv_qp *ibqp, struct ibv_send_wr *wr,
		   struct ibv_send_wr **bad)
{
	struct dmae_qp *qp = to_dqp(ibqp);
	struct ibv_send_wr *first = wr;
	int ret = 0, err = 0;
	bool doorbell;

	if (!can_send(qp)) {
		*bad = wr;
		return EINVAL;
	}
	pthread_spin_lock(&qp->sq.lock);
	for (; wr; wr = wr->next) {
		ret = put_send(qp, wr);
		if (ret) {
			*bad = wr;
			break;
		}
	}
	doorbell = dmae_queue_publish(&qp->sq);
	pthread_spin_unlock(&qp->sq.lock);

	if (doorbell)
		err = dmae_doorbell_send(ibqp);
	if (err && !ret) {
		*bad = first;
		ret = err;
	}
	return ret;
}

/*
 * ibv_wr_*(). The first thing that goes wrong is what ibv_wr_complete()
 * returns; nothing is posted then. There is no work request to fill after it.
 */
static void wr_start(struct ibv_qp_ex *ex)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);

	pthread_spin_lock(&qp->sq.lock);
	qp->wqe = NULL;
	qp->first = qp->sq.producer;
	qp->error = can_send(qp) ? 0 : EINVAL;
}

static void wr_abort(struct ibv_qp_ex *ex)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);

	qp->sq.producer = qp->first;
	pthread_spin_unlock(&qp->sq.lock);
}

static int wr_complete(struct ibv_qp_ex *ex)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);
	int error = qp->error;
	bool doorbell;

	if (error) {
		wr_abort(ex);
		return error;
	}
	doorbell = dmae_queue_publish(&qp->sq);
	pthread_spin_unlock(&qp->sq.lock);
	return doorbell ? dmae_doorbell_send(&ex->qp_base) : 0;
}

static void wr_fail(struct dmae_qp *qp, int error)
{
	qp->error = error;
	qp->wqe = NULL;
}

static struct dmae_send_wqe *wr_begin(struct ibv_qp_ex *ex,
				      enum ibv_wr_opcode opcode, uint32_t extra)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);

	if (qp->error)
		return NULL;
	qp->wqe = dmae_queue_next(&qp->sq);
	if (!qp->wqe) {
		wr_fail(qp, ENOMEM);
		return NULL;
	}
	*qp->wqe = (struct dmae_send_wqe){
		.wr_id = ex->wr_id,
		.opcode = opcode,
		.flags = ex->wr_flags & (IBV_SEND_FENCE | IBV_SEND_SIGNALED |
					 IBV_SEND_SOLICITED),
		.ex = extra,
	};
	qp->sq.producer++;
	return qp->wqe;
}

static void wr_send(struct ibv_qp_ex *ex)
{
	wr_begin(ex, IBV_WR_SEND, 0);
}

static void wr_send_imm(struct ibv_qp_ex *ex, __be32 imm_data)
{
	wr_begin(ex, IBV_WR_SEND_WITH_IMM, imm_data);
}

static void wr_send_inv(struct ibv_qp_ex *ex, uint32_t invalidate_rkey)
{
	wr_begin(ex, IBV_WR_SEND_WITH_INV, invalidate_rkey);
}

static void wr_rdma(struct ibv_qp_ex *ex, enum ibv_wr_opcode opcode,
		    uint32_t rkey, uint64_t remote_addr, uint32_t extra)
{
	struct dmae_send_wqe *wqe = wr_begin(ex, opcode, extra);

	if (wqe) {
		wqe->rdma.remote_addr = remote_addr;
		wqe->rdma.rkey = rkey;
	}
}

static void wr_rdma_write(struct ibv_qp_ex *ex, uint32_t rkey,
			  uint64_t remote_addr)
{
	wr_rdma(ex, IBV_WR_RDMA_WRITE, rkey, remote_addr, 0);
}

static void wr_rdma_write_imm(struct ibv_qp_ex *ex, uint32_t rkey,
			      uint64_t remote_addr, __be32 imm_data)
{
	wr_rdma(ex, IBV_WR_RDMA_WRITE_WITH_IMM, rkey, remote_addr, imm_data);
}

static void wr_rdma_read(struct ibv_qp_ex *ex, uint32_t rkey,
			 uint64_t remote_addr)
{
	wr_rdma(ex, IBV_WR_RDMA_READ, rkey, remote_addr, 0);
}

static void wr_atomic(struct ibv_qp_ex *ex, enum ibv_wr_opcode opcode,
		      uint32_t rkey, uint64_t remote_addr, uint64_t compare_add,
		      uint64_t swap)
{
	struct dmae_send_wqe *wqe = wr_begin(ex, opcode, 0);

	if (wqe) {
		wqe->atomic.remote_addr = remote_addr;
		wqe->atomic.compare_add = compare_add;
		wqe->atomic.swap = swap;
		wqe->atomic.rkey = rkey;
		wqe->atomic.reserved = 0;
	}
}

static void wr_atomic_cmp_swp(struct ibv_qp_ex *ex, uint32_t rkey,
			      uint64_t remote_addr, uint64_t compare,
			      uint64_t swap)
{
	wr_atomic(ex, IBV_WR_ATOMIC_CMP_AND_SWP, rkey, remote_addr, compare,
		  swap);
}

static void wr_atomic_fetch_add(struct ibv_qp_ex *ex, uint32_t rkey,
				uint64_t remote_addr, uint64_t add)
{
	wr_atomic(ex, IBV_WR_ATOMIC_FETCH_AND_ADD, rkey, remote_addr, add, 0);
}

static void wr_set_ud_addr(struct ibv_qp_ex *ex, struct ibv_ah *ah,
			   uint32_t remote_qpn, uint32_t remote_qkey)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);

	if (qp->wqe)
		set_ud_addr(qp->wqe, ah, remote_qpn, remote_qkey);
}

static void wr_set_sge_list(struct ibv_qp_ex *ex, size_t num_sge,
			    const struct ibv_sge *sges)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);
	int ret;

	if (!qp->wqe)
		return;
	ret = add_sges(qp, qp->wqe, sges, num_sge);
	if (ret)
		wr_fail(qp, ret);
}

static void wr_set_sge(struct ibv_qp_ex *ex, uint32_t lkey, uint64_t addr,
		       uint32_t length)
{
	struct ibv_sge sge = { .addr = addr, .length = length, .lkey = lkey };

	wr_set_sge_list(ex, 1, &sge);
}

static void wr_set_inline_data_list(struct ibv_qp_ex *ex, size_t num_buf,
				    const struct ibv_data_buf *bufs)
{
	struct dmae_qp *qp = to_dqp(&ex->qp_base);
	int ret;

	for (size_t i = 0; i < num_buf && qp->wqe; i++) {
		ret = add_inline(qp, qp->wqe, bufs[i].addr, bufs[i].length);
		if (ret)
			wr_fail(qp, ret);
	}
}

static void wr_set_inline_data(struct ibv_qp_ex *ex, void *addr, size_t length)
{
	struct ibv_data_buf buf = { .addr = addr, .length = length };

	wr_set_inline_data_list(ex, 1, &buf);
}

int dmae_qp_set_ops(struct dmae_qp *qp, enum ibv_qp_type type, uint64_t ops)
{
	const uint64_t ud = IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM;
	const uint64_t uc = ud | IBV_QP_EX_WITH_RDMA_WRITE |
			    IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM;
	const uint64_t rc = uc | IBV_QP_EX_WITH_RDMA_READ |
			    IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
			    IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD |
			    IBV_QP_EX_WITH_SEND_WITH_INV;
	struct ibv_qp_ex *ex = &qp->ibv.qp_ex;

	if (ops & ~(type == IBV_QPT_RC ? rc : type == IBV_QPT_UC ? uc : ud))
		return EOPNOTSUPP;

	ex->wr_start = wr_start;
	ex->wr_complete = wr_complete;
	ex->wr_abort = wr_abort;
	ex->wr_send = wr_send;
	ex->wr_send_imm = wr_send_imm;
	ex->wr_set_sge = wr_set_sge;
	ex->wr_set_sge_list = wr_set_sge_list;
	ex->wr_set_inline_data = wr_set_inline_data;
	ex->wr_set_inline_data_list = wr_set_inline_data_list;
	if (type == IBV_QPT_UD) {
		ex->wr_set_ud_addr = wr_set_ud_addr;
		return 0;
	}
	ex->wr_rdma_write = wr_rdma_write;
	ex->wr_rdma_write_imm = wr_rdma_write_imm;
	if (type == IBV_QPT_UC)
		return 0;
	ex->wr_send_inv = wr_send_inv;
	ex->wr_rdma_read = wr_rdma_read;
	ex->wr_atomic_cmp_swp = wr_atomic_cmp_swp;
	ex->wr_atomic_fetch_add = wr_atomic_fetch_add;
	return 0;
}
