/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Work requests that are told apart, and what becomes of them. */
#ifndef TESTS_DMAE_WORK_H
#define TESTS_DMAE_WORK_H

#include "../verbs/common.h"

enum { REQUESTER, RESPONDER };	/* struct pair's qp[], cq[] */

/*
 * wr_id of receives are from here on: a completion with an error says no more
 * than wr_id about which queue it is from.
 */
enum { RECV_ID = 1000 };

/* A pair, and memory: the first half is a pattern, the second half zeroes. */
struct bed {
	struct pair pair;
	struct mem mem;
};

enum { BED_LEN = MIB(1), ZEROES_AT = BED_LEN / 2 };

void bed_open(struct bed *bed, enum ibv_qp_type type, int flags);
/* The second half of the memory is as it was. */
void bed_untouched(const struct bed *bed, const char *what);

/* RDMA to or from the same offset in the second half, or a message. */
struct ibv_send_wr request(const struct bed *bed, uint64_t id,
			   enum ibv_wr_opcode op, struct ibv_sge *local);
/* Post it as it is, without asking for a completion. */
void post_one(struct ibv_qp *qp, struct ibv_send_wr *wr);
void receive(struct bed *bed, int side, uint64_t id, struct ibv_sge to);

struct want {
	uint64_t id;
	enum ibv_wc_status status;
};

/*
 * The next completions: those of send requests in this order, those of receives
 * in their order. No other follows.
 */
void want_all(struct ibv_cq *cq, const struct want *sends, size_t nsends,
	      const struct want *recvs, size_t nrecvs);
void want_one(struct ibv_cq *cq, uint64_t id, enum ibv_wc_status status);
void want_none(struct ibv_cq *cq, const char *what);
void want_state(struct ibv_qp *qp, enum ibv_qp_state want, const char *what);
/* The next asynchronous event. @element: the QP, CQ or SRQ that it is about. */
void want_event(enum ibv_event_type type, const void *element);
void want_no_event(void);

/* Of a QP in RTS, also those that need a drained send queue. */
void set_attr(struct ibv_qp *qp, struct ibv_qp_attr attr, int mask);

/* One message, and one write of the same bytes to the start of the second half. */
enum { MESSAGE_LEN = 512 };

struct ibv_send_wr message(const struct bed *bed, uint64_t id,
			   struct ibv_sge *from);
void send_one(const struct bed *bed, uint64_t id);
void write_one(const struct bed *bed, uint64_t id);
void receive_one(struct bed *bed, uint64_t id);
void want_message(struct bed *bed, uint64_t send, uint64_t recv);

/* RC with this rnr_retry. What has waited for a receive tries again after 41 ms. */
enum { RNR_TIMER = 24, RNR_MS = 41 };

void rnr_open(struct bed *bed, uint8_t retries);
/* How many there have been, on all of the device; until there are so many. */
unsigned long rnr_naks(void);
void wait_naks(unsigned long n);

#endif
