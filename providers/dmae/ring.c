// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Rings that are shared with the kernel, and how it is told of new entries.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmae.h"

int dmae_ring_map(struct ibv_context *context,
		  const struct dmae_ring_resp *resp, struct dmae_ring_map *map)
{
	void *ring;

	memset(map, 0, sizeof(*map));
	if (!resp->size)
		return 0;
	ring = mmap(NULL, resp->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    context->cmd_fd, resp->offset);
	if (ring == MAP_FAILED)
		return errno;
	*map = (struct dmae_ring_map){
		.ring = ring,
		.size = resp->size,
		.depth = resp->depth,
		.stride = resp->stride,
	};
	return 0;
}

void dmae_ring_unmap(struct dmae_ring_map *map)
{
	if (map->ring)
		munmap(map->ring, map->size);
}

int dmae_queue_init(struct dmae_queue *queue, struct ibv_context *context,
		    const struct dmae_ring_resp *resp, uint32_t max_sge)
{
	int ret;

	ret = dmae_ring_map(context, resp, &queue->map);
	if (ret)
		return ret;
	pthread_spin_init(&queue->lock, PTHREAD_PROCESS_PRIVATE);
	queue->tail = &queue->polled;
	queue->max_sge = max_sge;
	return 0;
}

void dmae_queue_fini(struct dmae_queue *queue)
{
	pthread_spin_destroy(&queue->lock);
	dmae_ring_unmap(&queue->map);
}

static int put_recv(struct dmae_queue *queue, const struct ibv_recv_wr *wr)
{
	struct dmae_recv_wqe *wqe;

	if (wr->num_sge < 0 || (uint32_t)wr->num_sge > queue->max_sge)
		return EINVAL;
	wqe = dmae_queue_next(queue);
	if (!wqe)
		return ENOMEM;
	*wqe = (struct dmae_recv_wqe){
		.wr_id = wr->wr_id,
		.num_sge = wr->num_sge,
	};
	dmae_put_sges((struct dmae_sge *)(wqe + 1), wr->sg_list, wr->num_sge);
	queue->producer++;
	return 0;
}

int dmae_queue_recv(struct dmae_queue *queue, struct ibv_recv_wr *wr,
		    struct ibv_recv_wr **bad, bool *doorbell)
{
	int ret = 0;

	pthread_spin_lock(&queue->lock);
	for (; wr; wr = wr->next) {
		ret = put_recv(queue, wr);
		if (ret) {
			*bad = wr;
			break;
		}
	}
	*doorbell = dmae_queue_publish(queue);
	pthread_spin_unlock(&queue->lock);
	return ret;
}

/* POST_SEND, POST_RECV and POST_SRQ_RECV look the same with no work request. */
static int doorbell(struct ibv_context *context, uint32_t command,
		    uint32_t handle, size_t wqe_size)
{
	struct ib_uverbs_post_send_resp resp = {};
	struct ibv_post_send cmd = {
		.hdr = {
			.command = command,
			.in_words = sizeof(cmd) / 4,
			.out_words = sizeof(resp) / 4,
		},
		.core = {
			.response = (uintptr_t)&resp,
			.qp_handle = handle,
			.wqe_size = wqe_size,
		},
	};

	static_assert(sizeof(cmd) == sizeof(struct ibv_post_recv) &&
		      sizeof(cmd) == sizeof(struct ibv_post_srq_recv) &&
		      sizeof(resp) == sizeof(struct ib_uverbs_post_recv_resp),
		      "one layout");
	if (write(context->cmd_fd, &cmd, sizeof(cmd)) != sizeof(cmd))
		return errno;
	return 0;
}

int dmae_doorbell_send(struct ibv_qp *qp)
{
	return doorbell(qp->context, IB_USER_VERBS_CMD_POST_SEND, qp->handle,
			sizeof(struct ib_uverbs_send_wr));
}

int dmae_doorbell_recv(struct ibv_qp *qp)
{
	return doorbell(qp->context, IB_USER_VERBS_CMD_POST_RECV, qp->handle,
			sizeof(struct ib_uverbs_recv_wr));
}

int dmae_doorbell_srq_recv(struct ibv_srq *srq)
{
	return doorbell(srq->context, IB_USER_VERBS_CMD_POST_SRQ_RECV,
			srq->handle, sizeof(struct ib_uverbs_recv_wr));
}
