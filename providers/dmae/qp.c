// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Queue pairs and address handles.
 */
#include <errno.h>
#include <stdlib.h>

#include "dmae.h"

static struct dmae_qp **qp_leaf(struct dmae_context *context, uint32_t qpn)
{
	return __atomic_load_n(&context->qps[qpn >> DMAE_QP_LEAF_BITS],
			       __ATOMIC_ACQUIRE);
}

struct dmae_qp *dmae_find_qp(struct dmae_context *context, uint32_t qpn)
{
	struct dmae_qp **leaf;

	if (qpn >> DMAE_QPN_BITS)
		return NULL;
	leaf = qp_leaf(context, qpn);
	if (!leaf)
		return NULL;
	return __atomic_load_n(&leaf[qpn & (DMAE_QP_LEAF - 1)],
			       __ATOMIC_ACQUIRE);
}

/* qp is NULL to take it out again. 0, or an errno. */
static int set_qp(struct dmae_context *context, uint32_t qpn,
		  struct dmae_qp *qp)
{
	struct dmae_qp **leaf;
	int ret = 0;

	if (qpn >> DMAE_QPN_BITS)
		return EINVAL;
	pthread_mutex_lock(&context->qps_lock);
	leaf = qp_leaf(context, qpn);
	if (!leaf) {
		leaf = calloc(DMAE_QP_LEAF, sizeof(*leaf));
		if (!leaf) {
			ret = ENOMEM;
			goto out;
		}
		__atomic_store_n(&context->qps[qpn >> DMAE_QP_LEAF_BITS], leaf,
				 __ATOMIC_RELEASE);
	}
	__atomic_store_n(&leaf[qpn & (DMAE_QP_LEAF - 1)], qp, __ATOMIC_RELEASE);
out:
	pthread_mutex_unlock(&context->qps_lock);
	return ret;
}

static int init_queues(struct dmae_qp *qp, struct ibv_context *context,
		       const struct dmae_create_qp_resp *resp,
		       const struct ibv_qp_cap *cap)
{
	int ret;

	ret = dmae_queue_init(&qp->sq, context, &resp->sq, cap->max_send_sge);
	if (ret)
		return ret;
	ret = dmae_queue_init(&qp->rq, context, &resp->rq, cap->max_recv_sge);
	if (ret)
		goto err_sq;
	ret = set_qp(to_dcontext(context), qp->ibv.qp.qp_num, qp);
	if (ret)
		goto err_rq;
	qp->max_inline = cap->max_inline_data;
	return 0;

err_rq:
	dmae_queue_fini(&qp->rq);
err_sq:
	dmae_queue_fini(&qp->sq);
	return ret;
}

struct ibv_qp *dmae_create_qp_ex(struct ibv_context *context,
				 struct ibv_qp_init_attr_ex *attr)
{
	struct {
		struct ib_uverbs_create_qp_resp ibv;
		struct dmae_create_qp_resp dmae;
	} resp = {};
	struct ibv_create_qp cmd = {};
	struct dmae_qp *qp;
	int ret;

	if (attr->comp_mask & ~(IBV_QP_INIT_ATTR_PD |
				IBV_QP_INIT_ATTR_SEND_OPS_FLAGS)) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	qp = calloc(1, sizeof(*qp));
	if (!qp)
		return NULL;
	if (attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) {
		ret = dmae_qp_set_ops(qp, attr->qp_type, attr->send_ops_flags);
		if (ret)
			goto err_free;
	}
	ret = ibv_cmd_create_qp_ex(context, &qp->ibv, attr, &cmd, sizeof(cmd),
				   &resp.ibv, sizeof(resp));
	if (ret)
		goto err_free;
	if (attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS)
		qp->ibv.comp_mask |= VERBS_QP_EX;
	ret = init_queues(qp, context, &resp.dmae, &attr->cap);
	if (ret)
		goto err_destroy;
	return &qp->ibv.qp;

err_destroy:
	ibv_cmd_destroy_qp(&qp->ibv.qp);
err_free:
	free(qp);
	errno = ret;
	return NULL;
}

struct ibv_qp *dmae_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp_init_attr_ex ex = {
		.qp_context = attr->qp_context,
		.send_cq = attr->send_cq,
		.recv_cq = attr->recv_cq,
		.srq = attr->srq,
		.cap = attr->cap,
		.qp_type = attr->qp_type,
		.sq_sig_all = attr->sq_sig_all,
		.comp_mask = IBV_QP_INIT_ATTR_PD,
		.pd = pd,
	};
	struct ibv_qp *qp;

	qp = dmae_create_qp_ex(pd->context, &ex);
	if (qp)
		attr->cap = ex.cap;
	return qp;
}

static void clean_cqs(struct ibv_qp *qp)
{
	dmae_cq_clean(to_dcq(qp->send_cq), qp->qp_num);
	if (qp->recv_cq != qp->send_cq)
		dmae_cq_clean(to_dcq(qp->recv_cq), qp->qp_num);
}

/* Empty, from where the kernel will go on. */
static void reset_queue(struct dmae_queue *queue)
{
	struct dmae_ring *ring = queue->map.ring;

	if (!ring)
		return;
	pthread_spin_lock(&queue->lock);
	queue->producer = __atomic_load_n(&ring->consumer, __ATOMIC_ACQUIRE);
	queue->polled = queue->producer;
	__atomic_store_n(&ring->producer, queue->producer, __ATOMIC_RELEASE);
	pthread_spin_unlock(&queue->lock);
}

int dmae_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask)
{
	struct dmae_qp *qp = to_dqp(ibqp);
	struct ibv_modify_qp cmd = {};
	int ret;

	ret = ibv_cmd_modify_qp(ibqp, attr, mask, &cmd, sizeof(cmd));
	if (!ret && mask & IBV_QP_STATE && attr->qp_state == IBV_QPS_RESET) {
		clean_cqs(ibqp);
		reset_queue(&qp->sq);
		reset_queue(&qp->rq);
	}
	return ret;
}

int dmae_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		  struct ibv_qp_init_attr *init)
{
	struct ibv_query_qp cmd = {};

	return ibv_cmd_query_qp(qp, attr, mask, init, &cmd, sizeof(cmd));
}

int dmae_destroy_qp(struct ibv_qp *ibqp)
{
	struct dmae_qp *qp = to_dqp(ibqp);
	int ret;

	ret = ibv_cmd_destroy_qp(ibqp);
	if (ret)
		return ret;
	/* Who found it before holds a CQ's lock: clean_cqs() waits for that. */
	set_qp(to_dcontext(ibqp->context), ibqp->qp_num, NULL);
	clean_cqs(ibqp);
	dmae_queue_fini(&qp->rq);
	dmae_queue_fini(&qp->sq);
	free(qp);
	return 0;
}

int dmae_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr,
		   struct ibv_recv_wr **bad)
{
	bool doorbell;
	int ret, err;

	if (qp->state == IBV_QPS_RESET || qp->srq) {
		*bad = wr;
		return EINVAL;
	}
	ret = dmae_queue_recv(&to_dqp(qp)->rq, wr, bad, &doorbell);
	if (doorbell) {
		err = dmae_doorbell_recv(qp);
		if (err && !ret) {
			*bad = wr;
			ret = err;
		}
	}
	return ret;
}

struct ibv_ah *dmae_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	struct {
		struct ib_uverbs_create_ah_resp ibv;
		struct dmae_create_ah_resp dmae;
	} resp = {};
	struct dmae_ah *ah;
	int ret;

	ah = calloc(1, sizeof(*ah));
	if (!ah)
		return NULL;
	ret = ibv_cmd_create_ah(pd, &ah->ibv, attr, &resp.ibv, sizeof(resp));
	if (ret) {
		free(ah);
		errno = ret;
		return NULL;
	}
	ah->index = resp.dmae.ah;
	return &ah->ibv;
}

int dmae_destroy_ah(struct ibv_ah *ah)
{
	int ret = ibv_cmd_destroy_ah(ah);

	if (!ret)
		free(container_of(ah, struct dmae_ah, ibv));
	return ret;
}
