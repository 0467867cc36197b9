/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * What the dmae driver and its user-space provider share: rings of work
 * requests and completions in memory that both map.
 *
 * Whatever is reserved, and flags without a name, are 0. The kernel refuses
 * other values, so that they can get a meaning, and what a command of today
 * has no structure for: with EOPNOTSUPP.
 */
#ifndef DMAE_ABI_H
#define DMAE_ABI_H

#include <linux/types.h>

#define DMAE_UVERBS_ABI_VERSION	1

/*
 * The start of a ring. Entries follow at DMAE_RING_ENTRIES, a power of two of
 * them; the counters run freely, entry i is number i & (depth - 1). Whoever
 * fills entries stores @producer with release semantics after them.
 *
 * In a send or receive ring user space fills. It looks at @doorbell after a
 * full barrier that follows its store of @producer: if it is not zero, the
 * kernel is not looking at the ring by itself and wants a call, the
 * POST_SEND, POST_RECV or POST_SRQ_RECV command with no work request in it.
 */
struct dmae_ring {
	__u32 producer;
	__u32 pad0[15];
	__u32 consumer;		/* entries before it were taken */
	__u32 pad1[15];
	__u32 doorbell;
	__u32 pad2[31];
};

#define DMAE_RING_ENTRIES	256

struct dmae_sge {
	__aligned_u64 addr;
	__u32 length;
	__u32 lkey;
};

/* The values of IB_UVERBS_SEND_*, in dmae_send_wqe.flags. */
enum dmae_send_flags {
	DMAE_SEND_FENCE = 1 << 0,
	DMAE_SEND_SIGNALED = 1 << 1,
	DMAE_SEND_SOLICITED = 1 << 2,
	DMAE_SEND_INLINE = 1 << 3,
};

/* An array of num_sge struct dmae_sge, or inline_len bytes, follows. */
struct dmae_send_wqe {
	__aligned_u64 wr_id;
	__u8 opcode;		/* enum ib_uverbs_wr_opcode */
	__u8 flags;		/* enum dmae_send_flags */
	__u16 num_sge;
	__u32 inline_len;	/* with DMAE_SEND_INLINE */
	__u32 ex;		/* immediate data, big endian, or rkey to invalidate */
	__u32 reserved;
	union {
		struct {
			__aligned_u64 remote_addr;
			__u32 rkey;
			__u32 reserved;
		} rdma;
		struct {
			__aligned_u64 remote_addr;
			__aligned_u64 compare_add;
			__aligned_u64 swap;
			__u32 rkey;
			__u32 reserved;
		} atomic;
		struct {
			__u32 ah;	/* dmae_create_ah_resp.ah */
			__u32 remote_qpn;
			__u32 remote_qkey;
			__u32 reserved;
		} ud;
		struct {		/* the kernel's own QPs only */
			__u32 key;
			__u32 access;
		} reg;
		__aligned_u64 pad[5];
	};
};

/* An array of num_sge struct dmae_sge follows. */
struct dmae_recv_wqe {
	__aligned_u64 wr_id;
	__u32 num_sge;
	__u32 reserved;
};

enum dmae_cqe_flags {
	DMAE_CQE_RECV = 1 << 0,		/* of a receive, not a send, queue */
	DMAE_CQE_GRH = 1 << 1,
	DMAE_CQE_IMM = 1 << 2,		/* ex is immediate data, big endian */
	DMAE_CQE_INV = 1 << 3,		/* ex is the rkey that was invalidated */
	DMAE_CQE_SRQ = 1 << 4,		/* a receive from an SRQ */
	DMAE_CQE_IPV4 = 1 << 5,		/* the GRH is an IPv4 header, at its end */
};

struct dmae_cqe {
	__aligned_u64 wr_id;
	__u32 qpn;
	__u32 index;		/* ring counter of the work request; not for an SRQ */
	__u32 byte_len;
	__u32 ex;
	__u32 src_qp;
	__u32 vendor_err;
	__u8 status;		/* enum ibv_wc_status */
	__u8 opcode;		/* enum ibv_wc_opcode; valid if status is 0 */
	__u8 flags;		/* enum dmae_cqe_flags */
	__u8 reserved[29];
};

/* Where a ring is mapped, with the uverbs file, and what it looks like. */
struct dmae_ring_resp {
	__aligned_u64 offset;	/* for mmap() */
	__u32 size;		/* bytes, for mmap() */
	__u32 depth;		/* entries */
	__u32 stride;		/* bytes an entry */
	__u32 reserved;
};

struct dmae_create_cq_resp {
	struct dmae_ring_resp ring;
};

struct dmae_create_srq_resp {
	struct dmae_ring_resp ring;
	__u32 srqn;
	__u32 reserved;
};

/* A ring that is not there, of a QP with an SRQ, has size 0. */
struct dmae_create_qp_resp {
	struct dmae_ring_resp sq;
	struct dmae_ring_resp rq;
};

struct dmae_create_ah_resp {
	__u32 ah;
	__u32 reserved;
};

#endif /* DMAE_ABI_H */
