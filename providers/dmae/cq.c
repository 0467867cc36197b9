// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dmae.h"

static void lock_cq(struct dmae_cq *cq)
{
	if (!cq->single_threaded)
		pthread_spin_lock(&cq->lock);
}

static void unlock_cq(struct dmae_cq *cq)
{
	if (!cq->single_threaded)
		pthread_spin_unlock(&cq->lock);
}

/*
 * Take the next completion, or NULL. What it points to stays as it is until
 * give_back(), but the work request's place in its queue is free.
 */
static const struct dmae_cqe *take(struct dmae_cq *cq)
{
	struct dmae_context *context = to_dcontext(cq->ibv.cq.context);
	const struct dmae_cqe *cqe;
	struct dmae_queue *queue;
	struct dmae_qp *qp;

	if (cq->consumer == __atomic_load_n(&cq->map.ring->producer,
					    __ATOMIC_ACQUIRE))
		return NULL;
	cqe = dmae_ring_entry(&cq->map, cq->consumer);
	cq->consumer++;

	if (cqe->flags & DMAE_CQE_SRQ)
		return cqe;
	qp = dmae_find_qp(context, cqe->qpn);
	if (qp) {
		queue = cqe->flags & DMAE_CQE_RECV ? &qp->rq : &qp->sq;
		__atomic_store_n(&queue->polled, cqe->index + 1,
				 __ATOMIC_RELEASE);
	}
	return cqe;
}

/* The kernel may write to all that was taken. */
static void give_back(struct dmae_cq *cq)
{
	__atomic_store_n(&cq->map.ring->consumer, cq->consumer,
			 __ATOMIC_RELEASE);
}

static unsigned int wc_flags(const struct dmae_cqe *cqe)
{
	unsigned int flags = 0;

	if (cqe->flags & DMAE_CQE_GRH)
		flags |= IBV_WC_GRH;
	if (cqe->flags & DMAE_CQE_IMM)
		flags |= IBV_WC_WITH_IMM;
	if (cqe->flags & DMAE_CQE_INV)
		flags |= IBV_WC_WITH_INV;
	return flags;
}

int dmae_poll_cq(struct ibv_cq *ibcq, int num, struct ibv_wc *wc)
{
	struct dmae_cq *cq = to_dcq(ibcq);
	const struct dmae_cqe *cqe;
	int n;

	lock_cq(cq);
	for (n = 0; n < num; n++) {
		cqe = take(cq);
		if (!cqe)
			break;
		wc[n] = (struct ibv_wc){
			.wr_id = cqe->wr_id,
			.status = cqe->status,
			.opcode = cqe->opcode,
			.vendor_err = cqe->vendor_err,
			.byte_len = cqe->byte_len,
			.imm_data = cqe->ex,
			.qp_num = cqe->qpn,
			.src_qp = cqe->src_qp,
			.wc_flags = wc_flags(cqe),
		};
	}
	if (n)
		give_back(cq);
	unlock_cq(cq);
	return n;
}

static int next_poll(struct ibv_cq_ex *ibcq)
{
	struct dmae_cq *cq = container_of(ibcq, struct dmae_cq, ibv.cq_ex);

	cq->cqe = take(cq);
	if (!cq->cqe)
		return ENOENT;
	ibcq->wr_id = cq->cqe->wr_id;
	ibcq->status = cq->cqe->status;
	return 0;
}

static int start_poll(struct ibv_cq_ex *ibcq, struct ibv_poll_cq_attr *attr)
{
	struct dmae_cq *cq = container_of(ibcq, struct dmae_cq, ibv.cq_ex);
	int ret;

	if (attr->comp_mask)
		return EINVAL;
	lock_cq(cq);
	ret = next_poll(ibcq);
	if (ret)
		unlock_cq(cq);
	return ret;
}

static void end_poll(struct ibv_cq_ex *ibcq)
{
	struct dmae_cq *cq = container_of(ibcq, struct dmae_cq, ibv.cq_ex);

	give_back(cq);
	unlock_cq(cq);
}

static const struct dmae_cqe *current(struct ibv_cq_ex *ibcq)
{
	return container_of(ibcq, struct dmae_cq, ibv.cq_ex)->cqe;
}

static enum ibv_wc_opcode read_opcode(struct ibv_cq_ex *cq)
{
	return current(cq)->opcode;
}

static uint32_t read_vendor_err(struct ibv_cq_ex *cq)
{
	return current(cq)->vendor_err;
}

static uint32_t read_byte_len(struct ibv_cq_ex *cq)
{
	return current(cq)->byte_len;
}

static __be32 read_imm_data(struct ibv_cq_ex *cq)
{
	return current(cq)->ex;
}

static uint32_t read_qp_num(struct ibv_cq_ex *cq)
{
	return current(cq)->qpn;
}

static uint32_t read_src_qp(struct ibv_cq_ex *cq)
{
	return current(cq)->src_qp;
}

static unsigned int read_wc_flags(struct ibv_cq_ex *cq)
{
	return wc_flags(current(cq));
}

/* RoCE has no LIDs; the service level is not carried. */
static uint32_t read_slid(struct ibv_cq_ex *cq)
{
	return 0;
}

static uint8_t read_sl(struct ibv_cq_ex *cq)
{
	return 0;
}

static uint8_t read_dlid_path_bits(struct ibv_cq_ex *cq)
{
	return 0;
}

void dmae_cq_set_ex(struct dmae_cq *cq)
{
	struct ibv_cq_ex *ex = &cq->ibv.cq_ex;

	ex->start_poll = start_poll;
	ex->next_poll = next_poll;
	ex->end_poll = end_poll;
	ex->read_opcode = read_opcode;
	ex->read_vendor_err = read_vendor_err;
	ex->read_byte_len = read_byte_len;
	ex->read_imm_data = read_imm_data;
	ex->read_qp_num = read_qp_num;
	ex->read_src_qp = read_src_qp;
	ex->read_wc_flags = read_wc_flags;
	ex->read_slid = read_slid;
	ex->read_sl = read_sl;
	ex->read_dlid_path_bits = read_dlid_path_bits;
}

/*
 * Those that stay move up to the end of what is there now: the kernel may add
 * more behind it, but reads nothing, and writes before it only what was given
 * back.
 */
void dmae_cq_clean(struct dmae_cq *cq, uint32_t qpn)
{
	const struct dmae_cqe *cqe;
	uint32_t from, to;

	lock_cq(cq);
	from = to = __atomic_load_n(&cq->map.ring->producer, __ATOMIC_ACQUIRE);
	while (from != cq->consumer) {
		cqe = dmae_ring_entry(&cq->map, --from);
		if (cqe->qpn == qpn)
			continue;
		if (--to != from)
			memcpy(dmae_ring_entry(&cq->map, to), cqe,
			       sizeof(*cqe));
	}
	cq->consumer = to;
	give_back(cq);
	unlock_cq(cq);
}

static struct dmae_cq *create_cq(struct ibv_context *context, int cqe,
				 struct ibv_comp_channel *channel,
				 int comp_vector, bool single_threaded)
{
	struct {
		struct ib_uverbs_create_cq_resp ibv;
		struct dmae_create_cq_resp dmae;
	} resp = {};
	struct ibv_create_cq cmd = {};
	struct dmae_cq *cq;
	int ret;

	cq = calloc(1, sizeof(*cq));
	if (!cq)
		return NULL;
	ret = ibv_cmd_create_cq(context, cqe, channel, comp_vector, &cq->ibv.cq,
				&cmd, sizeof(cmd), &resp.ibv, sizeof(resp));
	if (ret)
		goto err_free;
	ret = dmae_ring_map(context, &resp.dmae.ring, &cq->map);
	if (ret)
		goto err_destroy;
	pthread_spin_init(&cq->lock, PTHREAD_PROCESS_PRIVATE);
	cq->single_threaded = single_threaded;
	return cq;

err_destroy:
	ibv_cmd_destroy_cq(&cq->ibv.cq);
err_free:
	free(cq);
	errno = ret;
	return NULL;
}

struct ibv_cq *dmae_create_cq(struct ibv_context *context, int cqe,
			      struct ibv_comp_channel *channel, int comp_vector)
{
	struct dmae_cq *cq = create_cq(context, cqe, channel, comp_vector,
				       false);

	return cq ? &cq->ibv.cq : NULL;
}

struct ibv_cq_ex *dmae_create_cq_ex(struct ibv_context *context,
				    struct ibv_cq_init_attr_ex *attr)
{
	struct dmae_cq *cq;
	uint32_t flags = 0;

	if (attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS)
		flags = attr->flags;
	if (attr->comp_mask & ~IBV_CQ_INIT_ATTR_MASK_FLAGS ||
	    attr->wc_flags & ~(uint64_t)IBV_WC_STANDARD_FLAGS ||
	    flags & ~IBV_CREATE_CQ_ATTR_SINGLE_THREADED) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	cq = create_cq(context, attr->cqe, attr->channel, attr->comp_vector,
		       flags & IBV_CREATE_CQ_ATTR_SINGLE_THREADED);
	if (!cq)
		return NULL;
	dmae_cq_set_ex(cq);
	return &cq->ibv.cq_ex;
}

int dmae_destroy_cq(struct ibv_cq *ibcq)
{
	struct dmae_cq *cq = to_dcq(ibcq);
	int ret;

	ret = ibv_cmd_destroy_cq(ibcq);
	if (ret)
		return ret;
	pthread_spin_destroy(&cq->lock);
	dmae_ring_unmap(&cq->map);
	free(cq);
	return 0;
}
