// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <stdlib.h>

#include "dmae.h"

static struct dmae_srq *to_dsrq(struct ibv_srq *srq)
{
	return container_of(srq, struct dmae_srq, ibv);
}

struct ibv_srq *dmae_create_srq(struct ibv_pd *pd,
				struct ibv_srq_init_attr *attr)
{
	struct {
		struct ib_uverbs_create_srq_resp ibv;
		struct dmae_create_srq_resp dmae;
	} resp = {};
	struct ibv_create_srq cmd = {};
	struct dmae_srq *srq;
	int ret;

	srq = calloc(1, sizeof(*srq));
	if (!srq)
		return NULL;
	ret = ibv_cmd_create_srq(pd, &srq->ibv, attr, &cmd, sizeof(cmd),
				 &resp.ibv, sizeof(resp));
	if (ret)
		goto err_free;
	ret = dmae_queue_init(&srq->queue, pd->context, &resp.dmae.ring,
			      attr->attr.max_sge);
	if (ret)
		goto err_destroy;
	/* Requests are taken in order, but complete in any. */
	srq->queue.tail = &srq->queue.map.ring->consumer;
	return &srq->ibv;

err_destroy:
	ibv_cmd_destroy_srq(&srq->ibv);
err_free:
	free(srq);
	errno = ret;
	return NULL;
}

int dmae_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask)
{
	struct ibv_modify_srq cmd = {};

	return ibv_cmd_modify_srq(srq, attr, mask, &cmd, sizeof(cmd));
}

int dmae_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr)
{
	struct ibv_query_srq cmd = {};

	return ibv_cmd_query_srq(srq, attr, &cmd, sizeof(cmd));
}

int dmae_destroy_srq(struct ibv_srq *ibsrq)
{
	struct dmae_srq *srq = to_dsrq(ibsrq);
	int ret;

	ret = ibv_cmd_destroy_srq(ibsrq);
	if (ret)
		return ret;
	dmae_queue_fini(&srq->queue);
	free(srq);
	return 0;
}

int dmae_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr,
		       struct ibv_recv_wr **bad)
{
	bool doorbell;
	int ret, err;

	ret = dmae_queue_recv(&to_dsrq(srq)->queue, wr, bad, &doorbell);
	if (doorbell) {
		err = dmae_doorbell_srq_recv(srq);
		if (err && !ret) {
			*bad = wr;
			ret = err;
		}
	}
	return ret;
}
