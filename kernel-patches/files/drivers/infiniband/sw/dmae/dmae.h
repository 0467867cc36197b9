/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * dmae: an RDMA device whose data path is a dmaengine memcpy channel. Queue
 * pairs of the same device talk to each other; what moves the bytes is the
 * channel's bus master, never the CPU.
 *
 * Life of a work request. It is taken from the send ring into a struct dmae_op,
 * one after the other in a QP (dmae_run.c). The memory it reads and writes
 * becomes two lists of spans, pieces of MRs. The spans are translated with the
 * tables of their MRs and given to the channel (dmae_copy.c); its callback
 * completes operations in the order of the ring (dmae_complete.c).
 *
 * Locks, outermost first:
 *   qp->run_lock	who takes work requests of this QP. Process context.
 *   dev->issue_lock	who gives descriptors to the channel, from translation
 *			to submission. Nothing that faults, or waits for
 *			anything but the channel, happens under it, nor between
 *			submission and dma_async_issue_pending().
 *   lock of mr->table	also of the in-flight counts of the MR. irqsave.
 *   qp->lock, rq->lock, cq->lock	irqsave, in this order.
 * Nobody here waits for a page: threads of its owner do, see dmae_park.c. Those
 * come with umem_mutex to fill a table, as invalidations do, or with the dma-buf's
 * resv lock, to take out of it, for which they wait for the channel alone.
 */
#ifndef DMAE_H
#define DMAE_H

#include <linux/completion.h>
#include <linux/dmaengine.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <rdma/dmae-abi.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_umem_odp.h>
#include <rdma/ib_verbs.h>
#include <rdma/uverbs_ioctl.h>

enum {
	DMAE_MAX_SGE = 16,
	DMAE_MAX_INLINE = 512,		/* bytes */
	DMAE_MAX_QP_WR = 16384,
	DMAE_MAX_CQE = 1 << 17,
	DMAE_MAX_SRQ_WR = 16384,
	DMAE_MAX_MSG = 1 << 30,		/* bytes */
	DMAE_MAX_RD_ATOMIC = 128,
	DMAE_MAX_FRMR_PAGES = 512,
	DMAE_WINDOW = 64,		/* operations under way in a QP */
	DMAE_GRH_LEN = 40,
	DMAE_CHAN_TIMEOUT = 5 * HZ,	/* jiffies it may do nothing */
	DMAE_TIMEOUT_DEFAULT = 18,	/* of a transport: about a second */
	DMAE_FAULT_BYTES = SZ_16M,	/* mapped at a time */
};

/* ---- the device: dmae_main.c, dmae_verbs.c ---- */

struct dmae_stats {
	atomic64_t bytes;		/* moved by the channel */
	atomic64_t descriptors;
	atomic64_t faults;		/* resolved */
	atomic64_t fault_errors;
	atomic64_t invalidations;
	atomic64_t revocations;
	atomic64_t doorbells;		/* system calls that posted */
	atomic64_t rnr_naks;
};

struct dmae_dev {
	struct ib_device ib_dev;
	struct list_head node;		/* of dmae_devices; see dmae_main.c */
	struct net_device *ndev;	/* the ib_device holds it */
	struct dma_chan *chan;
	struct device *dma_device;	/* the channel's: who masters the bus */
	size_t max_copy;		/* bytes a descriptor */
	bool may_bounce;		/* it does not reach all memory */
	struct mutex issue_lock;
	/*
	 * What the channel has, see dmae_copy.c, and QPs that wait for it to
	 * have less.
	 */
	atomic_t queued;
	spinlock_t crowd_lock;		/* irqsave */
	struct list_head crowd;		/* dmae_qp.crowd */
	struct workqueue_struct *wq;	/* runs QPs */

	struct xarray qps;		/* by number; IRQ-safe lock */
	struct xarray mrs;		/* by key >> 8; IRQ-safe lock */
	struct xarray ahs;
	u32 next_qpn, next_mr, next_ah;	/* for xa_alloc_cyclic() */
	atomic_t last_srqn;

	struct dmae_stats stats;
	struct dentry *debugfs;
};

static inline struct dmae_dev *to_ddev(struct ib_device *ib_dev)
{
	return container_of(ib_dev, struct dmae_dev, ib_dev);
}

struct dmae_ucontext {
	struct ib_ucontext ibuctx;
};

/* Whose rings they are: NULL for the kernel's own. */
static inline struct ib_ucontext *dmae_udata_uctx(struct ib_udata *udata)
{
	return udata ? &rdma_udata_to_drv_context(udata, struct dmae_ucontext,
						  ibuctx)->ibuctx : NULL;
}

/*
 * The commands have no driver-specific input. What a later provider may send is
 * refused with -EOPNOTSUPP, unless it is 0. Process context.
 */
static inline bool dmae_udata_is_clear(struct ib_udata *udata)
{
	return !udata || !udata->inlen ||
	       ib_is_udata_cleared(udata, 0, udata->inlen);
}

extern bool dmae_odp;			/* module parameter odp */
extern const struct ib_device_ops dmae_dev_ops;

int dmae_enable_driver(struct ib_device *ib_dev);
void dmae_dealloc_driver(struct ib_device *ib_dev);

/* ---- rings: dmae_ring.c ---- */

struct dmae_ring_mem {
	struct dmae_ring *ring;		/* __vmalloc() */
	u32 depth;			/* a power of two */
	u32 stride;
	size_t size;
	struct dmae_ring_map *map;	/* of a user's ring */
};

/*
 * Entries may be changed by user space at any time: copy, then look.
 * dmae_ring_alloc() rounds depth up, a depth of 0 to 1; uctx is NULL for the
 * kernel's own. dmae_ring_free() of a ring that is not there is fine.
 */
int dmae_ring_alloc(struct dmae_ring_mem *mem, u32 depth, u32 stride,
		    struct ib_ucontext *uctx);
void dmae_ring_free(struct dmae_ring_mem *mem);
void dmae_ring_resp(struct dmae_ring_mem *mem, struct dmae_ring_resp *resp);
int dmae_mmap(struct ib_ucontext *uctx, struct vm_area_struct *vma);
void dmae_mmap_free(struct rdma_user_mmap_entry *entry);

static inline void *dmae_ring_entry(const struct dmae_ring_mem *mem, u32 i)
{
	return (void *)mem->ring + DMAE_RING_ENTRIES +
	       (size_t)(i & (mem->depth - 1)) * mem->stride;
}

/* ---- completion queues: dmae_cq.c ---- */

struct dmae_cq {
	struct ib_cq ibcq;
	spinlock_t lock;		/* irqsave */
	struct dmae_ring_mem ring;
	u32 producer;			/* the kernel's own copy */
	enum ib_cq_notify_flags armed;	/* 0: not */
	bool overflown;
	bool is_user;
	struct ib_qp **qps;		/* of the entries, unless is_user */
};

static inline struct dmae_cq *to_dcq(struct ib_cq *ibcq)
{
	return container_of(ibcq, struct dmae_cq, ibcq);
}

/*
 * A completion of qp. Any context, qp->lock not held when the CQ may be the
 * kernel's own. Calls the completion handler when the CQ is armed for it, a
 * completion with an error counts as solicited. A CQ without room gets
 * IB_EVENT_CQ_ERR, once, and loses all that comes from then on.
 */
void dmae_cq_post(struct dmae_cq *cq, struct ib_qp *qp,
		  const struct dmae_cqe *cqe, bool solicited);

int dmae_create_cq(struct ib_cq *ibcq, const struct ib_cq_init_attr *attr,
		   struct uverbs_attr_bundle *attrs);
int dmae_destroy_cq(struct ib_cq *ibcq, struct ib_udata *udata);
int dmae_poll_cq(struct ib_cq *ibcq, int num, struct ib_wc *wc);
int dmae_req_notify_cq(struct ib_cq *ibcq, enum ib_cq_notify_flags flags);

/* ---- receive queues, those of QPs and shared ones: dmae_rq.c ---- */

struct dmae_recv {			/* a receive request that was taken */
	u64 wr_id;
	u32 index;
	u32 num_sge;
	struct dmae_sge sge[DMAE_MAX_SGE];
};

struct dmae_rq {
	spinlock_t lock;		/* irqsave */
	struct dmae_ring_mem ring;
	u32 consumer;			/* the kernel's own copy */
	u32 max_sge;
};

struct dmae_srq {
	struct ib_srq ibsrq;
	struct dmae_rq rq;
	u32 limit;			/* rq.lock; 0: no event */
	bool is_user;
};

static inline struct dmae_srq *to_dsrq(struct ib_srq *ibsrq)
{
	return container_of(ibsrq, struct dmae_srq, ibsrq);
}

int dmae_rq_init(struct dmae_rq *rq, u32 max_wr, u32 max_sge,
		 struct ib_ucontext *uctx);
void dmae_rq_free(struct dmae_rq *rq);
/*
 * Take the next request. Any context. 0, -EAGAIN when there is none, -EINVAL
 * when the ring makes no sense (user space broke its counters or the entry).
 */
int dmae_rq_take(struct dmae_rq *rq, struct dmae_recv *recv);
int dmae_srq_take(struct dmae_srq *srq, struct dmae_recv *recv);
/* The kernel's own posts: into the ring. 0 or -errno, with *bad. */
int dmae_rq_post(struct dmae_rq *rq, const struct ib_recv_wr *wr,
		 const struct ib_recv_wr **bad);

int dmae_create_srq(struct ib_srq *ibsrq, struct ib_srq_init_attr *attr,
		    struct ib_udata *udata);
int dmae_modify_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr,
		    enum ib_srq_attr_mask mask, struct ib_udata *udata);
int dmae_query_srq(struct ib_srq *ibsrq, struct ib_srq_attr *attr);
int dmae_destroy_srq(struct ib_srq *ibsrq, struct ib_udata *udata);
int dmae_post_srq_recv(struct ib_srq *ibsrq, const struct ib_recv_wr *wr,
		       const struct ib_recv_wr **bad);

/* ---- memory regions: dmae_mr.c, dmae_table.c, dmae_fault.c, dmae_frmr.c ---- */

enum dmae_mr_kind {
	DMAE_MR_DMA,		/* all of the bus: get_dma_mr, local_dma_lkey */
	DMAE_MR_PINNED,
	DMAE_MR_ODP,
	DMAE_MR_DMABUF,
	DMAE_MR_FAST,
};

/*
 * The table translates page numbers of the MR (the first is the one with its
 * first byte) to DMA addresses: an xarray whose entries are of any power of
 * two of pages. What is there may be used by whoever holds the MR, from
 * dmae_span_translate() on; taking something out means to wait for them:
 * they are counted in inflight[epoch & 1], and whoever takes out turns the
 * epoch, so that it does not wait for those who came later.
 */
struct dmae_mr {
	struct ib_mr ibmr;
	enum dmae_mr_kind kind;
	u32 key;			/* lkey and rkey */
	int access;			/* enum ib_access_flags */
	struct ib_pd *pd;
	unsigned int generation;	/* of key, access and pd */
	u64 iova;
	u64 length;
	unsigned int first_offset;	/* of iova in its first page */

	refcount_t refs;		/* operations that know it, and its owner */
	refcount_t users;		/* who needs more of it, and the owner */
	struct completion unused;	/* users is 0 */

	struct xarray table;		/* its lock is that of what follows */
	struct xa_node *spare;		/* of dmae_table_reserve() */
	struct mutex zap_mutex;		/* one zap at a time */
	unsigned int epoch;
	unsigned int inflight[2];
	bool valid;			/* not invalidated, revoked, deregistered */
	wait_queue_head_t drained;
	unsigned int entries;

	struct ib_umem *umem;		/* or NULL */
	u64 *frmr_pages;
	unsigned int frmr_npages, frmr_max;
	struct mutex frmr_mutex;	/* who enables or invalidates */
};

static inline struct dmae_mr *to_dmr(struct ib_mr *ibmr)
{
	return container_of(ibmr, struct dmae_mr, ibmr);
}

void dmae_mr_put(struct dmae_mr *mr);

/* A piece of memory that an operation reads or writes. */
struct dmae_span {
	struct dmae_mr *mr;		/* a reference; NULL: addr is a DMA address */
	unsigned int generation;	/* of mr when its rights were checked */
	u64 addr;
	u32 len;
	bool write;
	bool remote;			/* of the peer: what an error is called */
	s8 hold;			/* index of mr->inflight, or -1 */
};

/*
 * Find the MR that key names, and check that the PD, the range of the span and
 * the rights (IB_ACCESS_*; 0 for local reads) are right. Any context. False, or
 * the span has a reference. A key of 0 is local_dma_lkey and for QPs of the
 * kernel only.
 */
bool dmae_span_get(struct dmae_span *span, struct dmae_dev *dev,
		   struct ib_pd *pd, u32 key, int access, bool is_user);
/*
 * Where byte @offset of the span is for the channel, and how many bytes from
 * there are contiguous (at most to the end of the span). Takes the span's hold
 * when it has none: what was translated stays valid until dmae_span_release().
 * Any context. 0, or -EFAULT: not in the table: release, dmae_span_fault(),
 * try again.
 */
int dmae_span_translate(struct dmae_span *span, u32 offset, dma_addr_t *dma,
			u32 *len);
void dmae_span_release(struct dmae_span *span);	/* any context; idempotent */

/*
 * Get bytes [offset, offset + len) of a span into the table. Process context,
 * nothing held by the caller but qp->run_lock. -EINPROGRESS: fault->done() will be
 * called. 0 says try again, it may have been taken out since; any other error is
 * for good. fault->err is that, or -EAGAIN: dmae_table_reserve().
 */
int dmae_span_fault(struct dmae_span *span, u32 offset, u32 len,
		    struct ib_umem_fault *fault);

/* A place that the tables do not have. */
struct dmae_miss {
	struct dmae_span *span;
	u32 offset;
};

/*
 * Table (dmae_table.c). Under the lock that keeps others from filling and
 * taking out (umem_mutex, dma_resv or nothing for kinds that never change).
 * dmae_table_fill() allocates with GFP_NOWAIT: -ENOMEM says to drop the lock,
 * call dmae_table_reserve(), which may sleep, and try again.
 */
int dmae_table_fill(struct dmae_mr *mr, unsigned long first,
		    unsigned long npages, dma_addr_t dma, bool write);
int dmae_table_reserve(struct dmae_mr *mr);
/*
 * Take out all entries that overlap [first, last], and wait until nothing in
 * flight uses them. May sleep, but allocates nothing and waits for the channel
 * only. A channel that does not finish is aborted, see dmae_chan_check().
 */
void dmae_table_zap(struct dmae_mr *mr, unsigned long first,
		    unsigned long last);
void dmae_table_free(struct dmae_mr *mr);

struct ib_mr *dmae_get_dma_mr(struct ib_pd *pd, int access);
struct ib_mr *dmae_reg_user_mr(struct ib_pd *pd, u64 start, u64 length,
			       u64 iova, int access, struct ib_udata *udata);
struct ib_mr *dmae_reg_user_mr_dmabuf(struct ib_pd *pd, u64 offset, u64 length,
				      u64 iova, int fd, int access,
				      struct uverbs_attr_bundle *attrs);
struct ib_mr *dmae_rereg_user_mr(struct ib_mr *ibmr, int flags, u64 start,
				 u64 length, u64 iova, int access,
				 struct ib_pd *pd, struct ib_udata *udata);
int dmae_dereg_mr(struct ib_mr *ibmr, struct ib_udata *udata);
int dmae_advise_mr(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice,
		   u32 flags, struct ib_sge *sges, u32 num,
		   struct uverbs_attr_bundle *attrs);
struct ib_mr *dmae_alloc_mr(struct ib_pd *pd, enum ib_mr_type type, u32 max);
int dmae_map_mr_sg(struct ib_mr *ibmr, struct scatterlist *sg, int nents,
		   unsigned int *offset);
/* IB_WR_REG_MR, and IB_WR_LOCAL_INV or a peer's invalidate: process context. */
int dmae_frmr_enable(struct dmae_dev *dev, struct ib_pd *pd, u32 key,
		     int access);
int dmae_frmr_invalidate(struct dmae_dev *dev, struct ib_pd *pd, u32 key);
void dmae_mr_debugfs(struct dmae_dev *dev);

/* ---- queue pairs: dmae_qp.c ---- */

/* What a work request with an opcode is. dmae_op.c has the table. */
struct dmae_opcode {
	enum ib_wc_opcode wc;
	unsigned int qp_types;		/* BIT(enum ib_qp_type) */
	int access;			/* rights to the peer's memory, or 0 */
	bool recv;			/* takes a receive request of the peer */
	bool imm;
	bool invalidate;
	bool atomic;
	bool local;			/* no message; of the kernel only */
};

struct dmae_spans {
	unsigned int nr;
	struct dmae_span span[DMAE_MAX_SGE + 1];
};

/*
 * A work request under way. Whoever has qp->run_lock owns it, but for what is
 * with the channel: then who makes @pending 0 does, and the holds of the spans
 * are his to release. From dmae_op_done() on it belongs to whoever completes.
 */
struct dmae_op {
	struct dmae_qp *qp;
	const struct dmae_opcode *kind;
	struct dmae_send_wqe wqe;	/* copy; checked */
	u32 index;			/* of the work request in the ring */
	u32 length;			/* bytes of the message */
	u32 bytes;			/* to be moved: with the GRH of a datagram */
	u32 issued;			/* bytes given to the channel */
	int queued;			/* its part of dev->queued */

	atomic_t pending;		/* descriptors, and one for who issues */
	bool final;			/* nothing is left to do after those */
	bool in_flight;			/* a part is with the channel */
	bool failed;			/* the channel did not do it */
	bool done;			/* qp->lock */

	bool ah_local;			/* a datagram for this device */
	bool built;			/* the peer and the spans are known */
	bool is_inbound;		/* is counted in peer->inbound */
	bool has_recv;			/* recv was taken from the peer's queue */
	struct dmae_qp *peer;		/* a reference, or NULL */
	int peer_access;		/* rights that the peer's QP grants */
	u8 rnr_timer;			/* of the peer */

	enum ib_wc_status status;	/* of the requester */
	enum ib_wc_status recv_status;	/* of the peer's receive request */

	struct dmae_spans src, dst;	/* read and written, in order */
	struct dmae_sge sge[DMAE_MAX_SGE];
	struct dmae_recv recv;
};

struct dmae_qp {
	struct ib_qp ibqp;
	bool is_user;
	bool sq_sig_all;
	u32 max_send_sge, max_inline;
	refcount_t refs;		/* peers' operations, and its owner */
	struct completion unused;
	struct mutex modify_lock;	/* one dmae_modify_qp(); outermost */

	/* run_lock */
	struct mutex run_lock;
	struct delayed_work run;	/* dmae_qp_work(), on dev->wq */
	struct dmae_ring_mem sq;
	u32 sq_consumer;		/* the kernel's own copy */
	struct dmae_op *op;		/* taken, and not through: the last one */
	u8 retries, rnr_retries;	/* left for it */
	unsigned int starved;		/* how often it got no descriptor */
	bool waiting;			/* it is not to be tried before ... */
	unsigned long wake_at;		/* ... these jiffies */
	bool unpushed;			/* descriptors submitted, not issued */
	bool crowded;			/* crowd is of dev->crowd */
	struct list_head crowd;		/* dev->crowd_lock */
	struct {
		struct dmae_op *op;	/* waits for a page; or NULL */
		struct dmae_miss miss;	/* the place that it waits for */
		struct ib_umem_fault fault;
		unsigned long give_up_at;	/* jiffies; 0: never */
		bool at_peer;		/* it is the peer's page, and node is ... */
		struct list_head node;	/* ... of its waiters; peer->lock */
	} park;

	spinlock_t sq_post_lock;	/* the kernel's own posts */

	/* lock, irqsave. State and attributes may be read without. */
	spinlock_t lock;
	enum ib_qp_state state;
	bool sq_draining;
	bool sqd_notify;		/* IB_EVENT_SQ_DRAINED is wanted */
	bool comm_est;			/* IB_EVENT_COMM_EST was raised */
	bool completing;		/* somebody moves op_head */
	bool flushing;			/* a predecessor failed: who completes */
	bool peer_local;		/* the path leads back to this device */
	struct dmae_op *ops;		/* DMAE_WINDOW of them, a ring */
	u32 op_head, op_tail;		/* oldest not completed; next to use */
	u32 stall;			/* run with less than that under way */
	struct ib_qp_attr attr;		/* as modified */
	struct list_head waiters;	/* park.node of peers' QPs */
	wait_queue_head_t idle;		/* see dmae_qp_is_idle() */

	unsigned long events;		/* bits: to be raised by the work */
	atomic_t inbound;		/* peers' operations: our receives */
	struct dmae_rq rq;		/* unless srq */
	struct dmae_srq *srq;
	bool last_wqe;			/* run_lock: that event was raised */

	/*
	 * A slot for each of ops: max_inline bytes of inline data, or the two
	 * words of an atomic operation, then the GRH of a datagram. Coherent.
	 */
	void *slots;
	dma_addr_t slots_dma;
	u32 slot_size;
};

static inline struct dmae_qp *to_dqp(struct ib_qp *ibqp)
{
	return container_of(ibqp, struct dmae_qp, ibqp);
}

struct dmae_ah {
	struct ib_ah ibah;
	struct rdma_ah_attr attr;	/* without its reference to the GID */
	u32 index;
	bool local;			/* the destination is this device */
	u8 grh[DMAE_GRH_LEN];		/* what the receiver gets to see */
};

static inline struct dmae_ah *to_dah(struct ib_ah *ibah)
{
	return container_of(ibah, struct dmae_ah, ibah);
}

/*
 * What a UD work request needs of the AH that it names. Any context. 0, or
 * -EINVAL: there is none with this index, or it is of another PD.
 */
int dmae_ah_use(struct dmae_dev *dev, struct ib_pd *pd, u32 index, bool *local,
		u8 *grh);
/* Is it a GID of this device? Any context. */
bool dmae_gid_is_local(struct dmae_dev *dev, const union ib_gid *gid);

/* Any context. A reference, or NULL. */
struct dmae_qp *dmae_qp_get(struct dmae_dev *dev, u32 qpn);
void dmae_qp_put(struct dmae_qp *qp);

int dmae_create_qp(struct ib_qp *ibqp, struct ib_qp_init_attr *attr,
		   struct ib_udata *udata);
int dmae_modify_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask,
		   struct ib_udata *udata);
int dmae_query_qp(struct ib_qp *ibqp, struct ib_qp_attr *attr, int mask,
		  struct ib_qp_init_attr *init);
int dmae_destroy_qp(struct ib_qp *ibqp, struct ib_udata *udata);

/*
 * To the error state, with an event for its owner if there is one (0: none).
 * Any context; the queues are flushed by the work that this schedules.
 */
void dmae_qp_fail(struct dmae_qp *qp, enum ib_event_type event);
/* The send queue of an unreliable QP, whose receive queue goes on. */
void dmae_qp_fail_sq(struct dmae_qp *qp);
/* An event for the owner, from the work. Any context. */
void dmae_qp_event(struct dmae_qp *qp, enum ib_event_type event);
/* All QPs of a device that is going away: failed and flushed on return. */
void dmae_qps_shut_down(struct dmae_dev *dev);

/* The send queue ends without doing what was posted. */
static inline bool dmae_qp_is_flushed(const struct dmae_qp *qp)
{
	enum ib_qp_state state = READ_ONCE(qp->state);

	return state == IB_QPS_ERR || state == IB_QPS_SQE ||
	       state == IB_QPS_RESET;
}

void dmae_qp_wait_idle(struct dmae_qp *qp);
/* Nothing of ours is under way, nor of a peer that has a receive of ours. */
static inline bool dmae_qp_is_idle(const struct dmae_qp *qp)
{
	return READ_ONCE(qp->op_head) == READ_ONCE(qp->op_tail) &&
	       !atomic_read(&qp->inbound);
}

static inline bool dmae_qp_is_datagram(const struct dmae_qp *qp)
{
	return qp->ibqp.qp_type == IB_QPT_UD || qp->ibqp.qp_type == IB_QPT_GSI;
}

/* ---- dmae_post.c: posts, the kernel's own and doorbells ---- */

int dmae_post_send(struct ib_qp *ibqp, const struct ib_send_wr *wr,
		   const struct ib_send_wr **bad);
int dmae_post_recv(struct ib_qp *ibqp, const struct ib_recv_wr *wr,
		   const struct ib_recv_wr **bad);

/* ---- dmae_run.c: from the ring to operations ---- */

void dmae_qp_work(struct work_struct *work);
/* Schedule dmae_qp_work(). Any context. */
void dmae_qp_kick(struct dmae_qp *qp);
/*
 * Take and issue what can be without a fault and without waiting, in the
 * caller's context; the rest is left to the work.
 */
void dmae_qp_run_now(struct dmae_qp *qp);
/* Flush what is in the queues of a QP in the error state. May sleep. */
void dmae_qp_flush(struct dmae_qp *qp);
/* Not to be tried before so many jiffies. -EAGAIN. */
int dmae_qp_wait(struct dmae_qp *qp, unsigned long delay);

/* ---- dmae_park.c: operations that wait for a page; run_lock ---- */

void dmae_park_init(struct dmae_qp *qp);
/*
 * Have the page mapped that an operation misses, none of which is held or with the
 * channel. -EINPROGRESS and -EAGAIN: it is parked, as dmae_op_try() returns.
 * 0: try again. 1: it has failed.
 */
int dmae_op_park(struct dmae_op *op, const struct dmae_miss *miss);
/* The QP runs, and op is parked. -EINPROGRESS, -EAGAIN: still. 0, 1: as above. */
int dmae_op_resume(struct dmae_op *op);
/* Is there a reason to run the QP, one of whose operations is parked? */
bool dmae_park_is_over(const struct dmae_qp *qp);
/* Under peer->lock, after a change of its state. */
void dmae_park_kick_waiters(struct dmae_qp *peer);

/* ---- dmae_op.c: what an operation is, and what it needs ---- */

/* Read a work request. What is wrong with it, or IB_WC_SUCCESS. */
enum ib_wc_status dmae_op_read(struct dmae_op *op, const void *entry);
/*
 * Find the peer, a receive request, and all memory. 0, or
 * -ENOTCONN: nobody answers; nothing is kept
 * -ENOBUFS: the peer has no receive request; nothing is kept
 * 1: it has failed. dmae_op_done() is all that is left to do.
 */
int dmae_op_build(struct dmae_op *op);

/* It ends with an error of ours, and so does the send queue. Any context. */
void dmae_op_fail(struct dmae_op *op, enum ib_wc_status status);
/* It ends with an error of the peer, which may get an event. */
void dmae_op_fail_remote(struct dmae_op *op, enum ib_wc_status status,
			 enum ib_wc_status recv_status,
			 enum ib_event_type event);
/* It ends because this span of it cannot be had. */
void dmae_op_fail_span(struct dmae_op *op, const struct dmae_span *span);

/* Any context. */
void dmae_op_release_spans(struct dmae_op *op);
void dmae_op_put_spans(struct dmae_op *op);
void dmae_op_put_peer(struct dmae_op *op);

static inline size_t dmae_op_slot_offset(const struct dmae_op *op)
{
	return (op - op->qp->ops) * op->qp->slot_size;
}

static inline void *dmae_op_slot(const struct dmae_op *op)
{
	return op->qp->slots + dmae_op_slot_offset(op);
}

static inline dma_addr_t dmae_op_slot_dma(const struct dmae_op *op)
{
	return op->qp->slots_dma + dmae_op_slot_offset(op);
}

static inline void *dmae_op_grh(const struct dmae_op *op)
{
	return dmae_op_slot(op) + op->qp->max_inline;
}

/* ---- dmae_copy.c: from operations to the channel ---- */

/*
 * Give op to the channel from op->issued on. Process context, sleeps for the
 * channel at most; dmae_qp_push() is still to be called.
 * 0: the rest of it is on its way, and whoever ends that completes it.
 * -EINPROGRESS: a part of it is, and whoever ends that kicks the QP.
 * In all other cases nothing of it is with the channel, nor held:
 * 1: it was moved, or op->failed. dmae_op_done() is left to the caller.
 * -EFAULT: *miss says what is not mapped
 * -EBUSY: the channel has enough to do; whoever ends some of that kicks the QP
 * -EAGAIN: the channel has no descriptor
 * -EINVAL: an atomic operation on what is no word for the channel
 */
int dmae_op_issue(struct dmae_op *op, struct dmae_miss *miss);
/* Let the channel begin with what was submitted. */
void dmae_qp_push(struct dmae_qp *qp);
/* The QP runs, and waits for no room. run_lock. */
void dmae_qp_leave_crowd(struct dmae_qp *qp);
/*
 * For who waits for the channel, every DMAE_CHAN_TIMEOUT: if it has something
 * to do, and has done nothing since the last call, stop it, and complete what
 * it had as aborted. May sleep, but allocates nothing: called from
 * invalidations.
 */
void dmae_chan_check(struct dmae_dev *dev, dma_cookie_t *progress);

/* ---- dmae_complete.c ---- */

/* The channel is through with op, or op failed before. Any context. */
void dmae_op_done(struct dmae_op *op);
/* The receives of a QP in the error state, if no peer has any. run_lock. */
void dmae_rq_flush(struct dmae_qp *qp);

#endif /* DMAE_H */
