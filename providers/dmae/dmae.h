/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * User space's half of the dmae device. Work requests and completions are in
 * rings that the kernel maps too (see rdma/dmae-abi.h): post and poll are
 * memory accesses, and a system call when the kernel asked to be told.
 */
#ifndef DMAE_H
#define DMAE_H

#include <pthread.h>
#include <rdma/dmae-abi.h>

#include "verbs-private.h"

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* ---- the library that has loaded us: release.c ---- */

/* Was this built for it? If not, it says so on stderr. */
bool dmae_fits_libibverbs(void);

/* ---- rings: ring.c ---- */

struct dmae_ring_map {
	struct dmae_ring *ring;		/* NULL when depth is 0 */
	size_t size;
	uint32_t depth;
	uint32_t stride;
};

static inline void *dmae_ring_entry(const struct dmae_ring_map *map, uint32_t i)
{
	return (char *)map->ring + DMAE_RING_ENTRIES +
	       (size_t)(i & (map->depth - 1)) * map->stride;
}

/*
 * A ring of work requests. Entries [*tail, producer) are not ours to write:
 * those of a QP until their completion was polled, those of an SRQ until the
 * kernel took them. What is at producer is seen once it is published.
 */
struct dmae_queue {
	struct dmae_ring_map map;
	pthread_spinlock_t lock;
	uint32_t producer;
	uint32_t polled;
	uint32_t *tail;			/* &polled, or the ring's consumer */
	uint32_t max_sge;
};

int dmae_ring_map(struct ibv_context *context,
		  const struct dmae_ring_resp *resp, struct dmae_ring_map *map);
void dmae_ring_unmap(struct dmae_ring_map *map);

int dmae_queue_init(struct dmae_queue *queue, struct ibv_context *context,
		    const struct dmae_ring_resp *resp, uint32_t max_sge);
void dmae_queue_fini(struct dmae_queue *queue);

/* Under the queue's lock. The entry that comes next, or NULL: it is full. */
static inline void *dmae_queue_next(struct dmae_queue *queue)
{
	uint32_t tail = __atomic_load_n(queue->tail, __ATOMIC_ACQUIRE);

	if (queue->producer - tail >= queue->map.depth)
		return NULL;
	return dmae_ring_entry(&queue->map, queue->producer);
}

/* Under the queue's lock. True when the kernel wants to be told. */
static inline bool dmae_queue_publish(struct dmae_queue *queue)
{
	struct dmae_ring *ring = queue->map.ring;

	if (!ring)
		return false;
	__atomic_store_n(&ring->producer, queue->producer, __ATOMIC_RELEASE);
	/* Either the kernel sees producer before it waits, or we doorbell. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->doorbell, __ATOMIC_RELAXED);
}

/* Post receive requests to a queue; for the caller to ring the doorbell. */
int dmae_queue_recv(struct dmae_queue *queue, struct ibv_recv_wr *wr,
		    struct ibv_recv_wr **bad, bool *doorbell);

/* Tell the kernel, without a lock: it looks at the ring. 0, or an errno. */
int dmae_doorbell_send(struct ibv_qp *qp);
int dmae_doorbell_recv(struct ibv_qp *qp);
int dmae_doorbell_srq_recv(struct ibv_srq *srq);

/* The num SGEs of a work request, to where they are in its entry. */
static inline void dmae_put_sges(struct dmae_sge *to, const struct ibv_sge *sges,
				 size_t num)
{
	for (size_t i = 0; i < num; i++)
		to[i] = (struct dmae_sge){
			.addr = sges[i].addr,
			.length = sges[i].length,
			.lkey = sges[i].lkey,
		};
}

/* ---- the device: dmae.c ---- */

/* The QPs of a context by number: an array of arrays, which only ever grow. */
enum {
	DMAE_QPN_BITS = 24,
	DMAE_QP_LEAF_BITS = 12,
	DMAE_QP_LEAF = 1 << DMAE_QP_LEAF_BITS,
	DMAE_QP_LEAVES = 1 << (DMAE_QPN_BITS - DMAE_QP_LEAF_BITS),
};

struct dmae_context {
	struct verbs_context ibv;
	pthread_mutex_t qps_lock;	/* who writes */
	struct dmae_qp **qps[DMAE_QP_LEAVES];
};

static inline struct dmae_context *to_dcontext(struct ibv_context *context)
{
	return container_of(context, struct dmae_context, ibv.context);
}

/* ---- memory and addresses: mr.c ---- */

struct ibv_mr *dmae_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
			   uint64_t iova, int access);
struct ibv_mr *dmae_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset,
				  size_t length, uint64_t iova, int fd,
				  int access);
int dmae_rereg_mr(struct verbs_mr *mr, int flags, struct ibv_pd *pd, void *addr,
		  size_t length, int access);
int dmae_dereg_mr(struct verbs_mr *mr);

/* ---- completion queues: cq.c ---- */

struct dmae_cq {
	struct verbs_cq ibv;
	struct dmae_ring_map map;
	pthread_spinlock_t lock;
	bool single_threaded;		/* lock is not used */
	uint32_t consumer;		/* the ring's may be behind */
	const struct dmae_cqe *cqe;	/* what ibv_wc_read_*() read */
};

static inline struct dmae_cq *to_dcq(struct ibv_cq *cq)
{
	return container_of(cq, struct dmae_cq, ibv.cq);
}

struct ibv_cq *dmae_create_cq(struct ibv_context *context, int cqe,
			      struct ibv_comp_channel *channel,
			      int comp_vector);
struct ibv_cq_ex *dmae_create_cq_ex(struct ibv_context *context,
				    struct ibv_cq_init_attr_ex *attr);
int dmae_destroy_cq(struct ibv_cq *cq);
int dmae_poll_cq(struct ibv_cq *cq, int num, struct ibv_wc *wc);
/* Set the functions of a CQ that is polled with ibv_start_poll(). */
void dmae_cq_set_ex(struct dmae_cq *cq);
/* Forget the completions of a QP that will not get any more. */
void dmae_cq_clean(struct dmae_cq *cq, uint32_t qpn);

/* ---- shared receive queues: srq.c ---- */

struct dmae_srq {
	struct ibv_srq ibv;
	struct dmae_queue queue;
};

struct ibv_srq *dmae_create_srq(struct ibv_pd *pd,
				struct ibv_srq_init_attr *attr);
int dmae_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask);
int dmae_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr);
int dmae_destroy_srq(struct ibv_srq *srq);
int dmae_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr,
		       struct ibv_recv_wr **bad);

/* ---- queue pairs: qp.c ---- */

struct dmae_qp {
	struct verbs_qp ibv;
	struct dmae_queue sq, rq;
	uint32_t max_inline;

	/* Between ibv_wr_start() and ibv_wr_complete(), under sq.lock: */
	struct dmae_send_wqe *wqe;	/* of the last ibv_wr_send() and such */
	uint32_t first;			/* sq.producer at the start */
	int error;
};

static inline struct dmae_qp *to_dqp(struct ibv_qp *qp)
{
	return container_of(qp, struct dmae_qp, ibv.qp);
}

struct dmae_ah {
	struct ibv_ah ibv;
	uint32_t index;
};

struct ibv_ah *dmae_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr);
int dmae_destroy_ah(struct ibv_ah *ah);

/* Who polls for it holds the lock of a CQ of the QP, and until then has it. */
struct dmae_qp *dmae_find_qp(struct dmae_context *context, uint32_t qpn);

struct ibv_qp *dmae_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
struct ibv_qp *dmae_create_qp_ex(struct ibv_context *context,
				 struct ibv_qp_init_attr_ex *attr);
int dmae_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
int dmae_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		  struct ibv_qp_init_attr *init);
int dmae_destroy_qp(struct ibv_qp *qp);
int dmae_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr,
		   struct ibv_recv_wr **bad);

/* ---- sending: send.c ---- */

int dmae_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
		   struct ibv_send_wr **bad);
/* Set the functions of ibv_wr_*(). EOPNOTSUPP if the QP cannot do ops. */
int dmae_qp_set_ops(struct dmae_qp *qp, enum ibv_qp_type type, uint64_t ops);

#endif /* DMAE_H */
