// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Posting and polling on rings in this program's own memory: the test is the
 * kernel. What a doorbell writes to the uverbs file ends in a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dmae.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum {
	DEPTH = 8,
	MAX_SGE = 3,
	MAX_INLINE = 32,
	QPN = (5 << DMAE_QP_LEAF_BITS) + 17,
	OTHER_QPN = QPN + 1,
	QP_HANDLE = 42,
};

struct bench {
	struct dmae_context *context;
	int doorbell_fd;
	struct dmae_cq cq;
	struct dmae_qp qp;
	struct dmae_ah ah;
};

static void make_ring(struct dmae_ring_map *map, uint32_t stride)
{
	map->depth = DEPTH;
	map->stride = stride;
	map->size = DMAE_RING_ENTRIES + DEPTH * stride;
	map->ring = calloc(1, map->size);
	assert_non_null(map->ring);
}

static void make_queue(struct dmae_queue *queue, uint32_t stride)
{
	make_ring(&queue->map, stride);
	pthread_spin_init(&queue->lock, PTHREAD_PROCESS_PRIVATE);
	queue->tail = &queue->polled;
	queue->max_sge = MAX_SGE;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct ibv_context *context;
	int fds[2];

	if (!b || pipe2(fds, O_NONBLOCK))
		return -1;
	b->context = calloc(1, sizeof(*b->context));
	if (!b->context)
		return -1;
	b->doorbell_fd = fds[0];
	context = &b->context->ibv.context;
	context->cmd_fd = fds[1];

	b->cq.ibv.cq.context = context;
	make_ring(&b->cq.map, sizeof(struct dmae_cqe));
	pthread_spin_init(&b->cq.lock, PTHREAD_PROCESS_PRIVATE);
	dmae_cq_set_ex(&b->cq);

	b->qp.ibv.qp.context = context;
	b->qp.ibv.qp.handle = QP_HANDLE;
	b->qp.ibv.qp.qp_num = QPN;
	b->qp.ibv.qp.qp_type = IBV_QPT_RC;
	b->qp.ibv.qp.state = IBV_QPS_RTS;
	b->qp.max_inline = MAX_INLINE;
	make_queue(&b->qp.sq, sizeof(struct dmae_send_wqe) +
			      MAX_SGE * sizeof(struct dmae_sge));
	make_queue(&b->qp.rq, sizeof(struct dmae_recv_wqe) +
			      MAX_SGE * sizeof(struct dmae_sge));
	assert_int_equal(dmae_qp_set_ops(&b->qp, IBV_QPT_RC,
					 IBV_QP_EX_WITH_SEND), 0);
	b->ah.index = 7;

	b->context->qps[QPN >> DMAE_QP_LEAF_BITS] =
		calloc(DMAE_QP_LEAF, sizeof(struct dmae_qp *));
	b->context->qps[QPN >> DMAE_QP_LEAF_BITS][QPN & (DMAE_QP_LEAF - 1)] =
		&b->qp;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close(b->doorbell_fd);
	close(b->context->ibv.context.cmd_fd);
	free(b->context->qps[QPN >> DMAE_QP_LEAF_BITS]);
	free(b->context);
	free(b->cq.map.ring);
	free(b->qp.sq.map.ring);
	free(b->qp.rq.map.ring);
	free(b);
	return 0;
}

/* As the kernel completes. */
static void complete(struct bench *b, const struct dmae_cqe *cqe)
{
	struct dmae_ring *ring = b->cq.map.ring;

	assert_true(ring->producer - ring->consumer < DEPTH);
	memcpy(dmae_ring_entry(&b->cq.map, ring->producer), cqe, sizeof(*cqe));
	ring->producer++;
}

static void complete_send(struct bench *b, uint32_t qpn, uint32_t index)
{
	complete(b, &(struct dmae_cqe){
		.wr_id = index,
		.qpn = qpn,
		.index = index,
	});
}

static int post_send(struct bench *b, uint64_t wr_id)
{
	struct ibv_send_wr wr = { .wr_id = wr_id, .opcode = IBV_WR_SEND };
	struct ibv_send_wr *bad = NULL;
	int ret = dmae_post_send(&b->qp.ibv.qp, &wr, &bad);

	assert_ptr_equal(bad, ret ? &wr : NULL);
	return ret;
}

static void fill_send_queue(struct bench *b)
{
	while (b->qp.sq.producer - b->qp.sq.polled < DEPTH)
		assert_int_equal(post_send(b, b->qp.sq.producer), 0);
	assert_int_equal(post_send(b, 99), ENOMEM);
}

static int poll_one(struct bench *b, struct ibv_wc *wc)
{
	return dmae_poll_cq(&b->cq.ibv.cq, 1, wc);
}

/* One completion stands for all requests before it, around the ring's end. */
static void test_send_queue_full(void **state)
{
	struct bench *b = *state;
	struct ibv_wc wc;

	for (uint32_t i = 2; i < 40; i += 3) {
		fill_send_queue(b);
		complete_send(b, QPN, i);
		assert_int_equal(post_send(b, 99), ENOMEM);
		assert_int_equal(poll_one(b, &wc), 1);
		assert_int_equal(wc.wr_id, i);
		assert_int_equal(b->qp.sq.polled, i + 1);
	}
	assert_int_equal(b->qp.sq.map.ring->producer, b->qp.sq.producer);
}

static void test_counters_wrap(void **state)
{
	struct bench *b = *state;
	struct ibv_wc wc;

	b->qp.sq.producer = b->qp.sq.polled = UINT32_MAX - 3;
	fill_send_queue(b);
	assert_int_equal(b->qp.sq.map.ring->producer, (uint32_t)(DEPTH - 4));
	complete_send(b, QPN, UINT32_MAX);
	assert_int_equal(poll_one(b, &wc), 1);
	assert_int_equal(b->qp.sq.polled, 0);
	fill_send_queue(b);
}

/* A list of which the last does not fit: the others are posted. */
static void test_list_is_posted_up_to_bad(void **state)
{
	struct bench *b = *state;
	struct ibv_sge sges[MAX_SGE + 1] = {};
	struct ibv_send_wr wr[2] = {
		{ .wr_id = 1, .next = &wr[1], .opcode = IBV_WR_SEND },
		{ .wr_id = 2, .opcode = IBV_WR_SEND, .sg_list = sges,
		  .num_sge = ARRAY_SIZE(sges) },
	};
	struct ibv_send_wr *bad = NULL;

	assert_int_equal(dmae_post_send(&b->qp.ibv.qp, wr, &bad), EINVAL);
	assert_ptr_equal(bad, &wr[1]);
	assert_int_equal(b->qp.sq.map.ring->producer, 1);
}

static void test_receive_queue(void **state)
{
	struct bench *b = *state;
	struct ibv_sge sge = { .addr = 0x1000, .length = 5, .lkey = 6 };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 };
	struct ibv_recv_wr *bad = NULL;
	const struct dmae_recv_wqe *wqe;
	const struct dmae_sge *put;
	struct ibv_wc wc;

	for (wr.wr_id = 0; wr.wr_id < DEPTH; wr.wr_id++)
		assert_int_equal(dmae_post_recv(&b->qp.ibv.qp, &wr, &bad), 0);
	assert_int_equal(dmae_post_recv(&b->qp.ibv.qp, &wr, &bad), ENOMEM);
	assert_ptr_equal(bad, &wr);

	wqe = dmae_ring_entry(&b->qp.rq.map, 3);
	put = (const struct dmae_sge *)(wqe + 1);
	assert_int_equal(wqe->wr_id, 3);
	assert_int_equal(wqe->num_sge, 1);
	assert_int_equal(put->addr, 0x1000);
	assert_int_equal(put->length, 5);
	assert_int_equal(put->lkey, 6);

	complete(b, &(struct dmae_cqe){ .qpn = QPN, .index = 0,
					.flags = DMAE_CQE_RECV });
	assert_int_equal(poll_one(b, &wc), 1);
	assert_int_equal(dmae_post_recv(&b->qp.ibv.qp, &wr, &bad), 0);
	assert_int_equal(b->qp.sq.polled, 0);

	b->qp.ibv.qp.state = IBV_QPS_RESET;
	assert_int_equal(dmae_post_recv(&b->qp.ibv.qp, &wr, &bad), EINVAL);
}

/* An SRQ's requests complete in any order: they are free once taken. */
static void test_shared_receive_queue(void **state)
{
	struct bench *b = *state;
	struct dmae_srq srq = {};
	struct ibv_recv_wr wr = {}, *bad;
	struct ibv_wc wc;

	make_queue(&srq.queue, sizeof(struct dmae_recv_wqe));
	srq.queue.tail = &srq.queue.map.ring->consumer;
	for (int i = 0; i < DEPTH; i++)
		assert_int_equal(dmae_post_srq_recv(&srq.ibv, &wr, &bad), 0);
	assert_int_equal(dmae_post_srq_recv(&srq.ibv, &wr, &bad), ENOMEM);

	complete(b, &(struct dmae_cqe){
		.qpn = QPN, .flags = DMAE_CQE_RECV | DMAE_CQE_SRQ });
	assert_int_equal(poll_one(b, &wc), 1);
	assert_int_equal(b->qp.rq.polled, 0);
	assert_int_equal(dmae_post_srq_recv(&srq.ibv, &wr, &bad), ENOMEM);

	srq.queue.map.ring->consumer++;
	assert_int_equal(dmae_post_srq_recv(&srq.ibv, &wr, &bad), 0);
	free(srq.queue.map.ring);
}

static const struct dmae_cqe received = {
	.wr_id = 0x123456789abcdef0,
	.qpn = QPN,
	.index = 4,
	.byte_len = 1234,
	.ex = 0x11223344,
	.src_qp = 77,
	.vendor_err = 3,
	.opcode = IBV_WC_RECV_RDMA_WITH_IMM,
	.flags = DMAE_CQE_RECV | DMAE_CQE_IMM | DMAE_CQE_GRH,
};

static void test_poll(void **state)
{
	struct bench *b = *state;
	struct ibv_wc wc[DEPTH];

	assert_int_equal(poll_one(b, wc), 0);
	complete(b, &received);
	complete(b, &(struct dmae_cqe){ .qpn = QPN, .wr_id = 2,
					.status = IBV_WC_WR_FLUSH_ERR });
	assert_int_equal(dmae_poll_cq(&b->cq.ibv.cq, DEPTH, wc), 2);
	assert_int_equal(b->cq.map.ring->consumer, 2);

	assert_int_equal(wc[0].wr_id, received.wr_id);
	assert_int_equal(wc[0].status, IBV_WC_SUCCESS);
	assert_int_equal(wc[0].opcode, IBV_WC_RECV_RDMA_WITH_IMM);
	assert_int_equal(wc[0].byte_len, 1234);
	assert_int_equal(wc[0].imm_data, 0x11223344);
	assert_int_equal(wc[0].qp_num, QPN);
	assert_int_equal(wc[0].src_qp, 77);
	assert_int_equal(wc[0].vendor_err, 3);
	assert_int_equal(wc[0].wc_flags, IBV_WC_WITH_IMM | IBV_WC_GRH);
	assert_int_equal(wc[1].wr_id, 2);
	assert_int_equal(wc[1].status, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(b->qp.rq.polled, 5);
}

static void test_poll_ex(void **state)
{
	struct bench *b = *state;
	struct ibv_cq_ex *ex = &b->cq.ibv.cq_ex;
	struct ibv_poll_cq_attr attr = {};

	assert_int_equal(ibv_start_poll(ex, &attr), ENOENT);
	complete(b, &received);
	complete(b, &(struct dmae_cqe){ .qpn = QPN, .wr_id = 2, .ex = 8,
					.status = IBV_WC_RETRY_EXC_ERR,
					.flags = DMAE_CQE_INV });
	assert_int_equal(ibv_start_poll(ex, &attr), 0);
	assert_int_equal(ex->wr_id, received.wr_id);
	assert_int_equal(ex->status, IBV_WC_SUCCESS);
	assert_int_equal(ibv_wc_read_opcode(ex), IBV_WC_RECV_RDMA_WITH_IMM);
	assert_int_equal(ibv_wc_read_byte_len(ex), 1234);
	assert_int_equal(ibv_wc_read_imm_data(ex), 0x11223344);
	assert_int_equal(ibv_wc_read_qp_num(ex), QPN);
	assert_int_equal(ibv_wc_read_src_qp(ex), 77);
	assert_int_equal(ibv_wc_read_vendor_err(ex), 3);
	assert_int_equal(ibv_wc_read_wc_flags(ex),
			 IBV_WC_WITH_IMM | IBV_WC_GRH);
	assert_int_equal(ibv_wc_read_slid(ex), 0);
	assert_int_equal(ibv_wc_read_sl(ex), 0);
	assert_int_equal(ibv_wc_read_dlid_path_bits(ex), 0);

	/* Its place is not the kernel's again while it can be read. */
	assert_int_equal(b->cq.map.ring->consumer, 0);
	assert_int_equal(ibv_next_poll(ex), 0);
	assert_int_equal(ex->wr_id, 2);
	assert_int_equal(ex->status, IBV_WC_RETRY_EXC_ERR);
	assert_int_equal(ibv_wc_read_wc_flags(ex), IBV_WC_WITH_INV);
	assert_int_equal(ibv_wc_read_invalidated_rkey(ex), 8);
	assert_int_equal(ibv_next_poll(ex), ENOENT);
	ibv_end_poll(ex);
	assert_int_equal(b->cq.map.ring->consumer, 2);
	assert_int_equal(pthread_spin_trylock(&b->cq.lock), 0);
}

static void test_clean(void **state)
{
	struct bench *b = *state;
	struct ibv_wc wc[DEPTH];

	/* From wherever it starts in the ring; the others keep their order. */
	for (int start = 0; start < DEPTH; start++) {
		for (uint32_t i = 0; i < DEPTH; i++)
			complete_send(b, i % 3 ? OTHER_QPN : QPN, i);
		dmae_cq_clean(&b->cq, QPN);
		assert_int_equal(dmae_poll_cq(&b->cq.ibv.cq, DEPTH, wc), 5);
		for (int i = 0; i < 5; i++) {
			assert_int_equal(wc[i].qp_num, OTHER_QPN);
			assert_int_equal(wc[i].wr_id, i + 1 + i / 2);
		}
		complete_send(b, OTHER_QPN, 0);
		assert_int_equal(poll_one(b, wc), 1);
		assert_int_equal(b->qp.sq.polled, 0);
	}
	dmae_cq_clean(&b->cq, QPN);
	assert_int_equal(poll_one(b, wc), 0);
}

/* Both ways to post a work request write the same to the ring. */
struct same {
	const char *name;
	struct ibv_send_wr wr;
	void (*op)(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr);
};

static void op_send(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_send(ex);
}

static void op_send_imm(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_send_imm(ex, wr->imm_data);
}

static void op_send_inv(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_send_inv(ex, wr->invalidate_rkey);
}

static void op_write(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_rdma_write(ex, wr->wr.rdma.rkey, wr->wr.rdma.remote_addr);
}

static void op_write_imm(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_rdma_write_imm(ex, wr->wr.rdma.rkey, wr->wr.rdma.remote_addr,
			      wr->imm_data);
}

static void op_read(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_rdma_read(ex, wr->wr.rdma.rkey, wr->wr.rdma.remote_addr);
}

static void op_cmp_swp(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_atomic_cmp_swp(ex, wr->wr.atomic.rkey, wr->wr.atomic.remote_addr,
			      wr->wr.atomic.compare_add, wr->wr.atomic.swap);
}

static void op_fetch_add(struct ibv_qp_ex *ex, const struct ibv_send_wr *wr)
{
	ibv_wr_atomic_fetch_add(ex, wr->wr.atomic.rkey,
				wr->wr.atomic.remote_addr,
				wr->wr.atomic.compare_add);
}

static char inline_data[MAX_INLINE + 1] = "what is sent inline, in two parts";

static void test_two_ways_to_post(void **state)
{
	struct bench *b = *state;
	struct dmae_queue *sq = &b->qp.sq;
	struct ibv_qp_ex *ex = &b->qp.ibv.qp_ex;
	struct ibv_sge sges[2] = {
		{ .addr = 0x10000, .length = 100, .lkey = 0x1111 },
		{ .addr = 0x20000, .length = 200, .lkey = 0x2222 },
	};
	struct ibv_sge inline_sges[2] = {
		{ .addr = (uintptr_t)inline_data, .length = 19 },
		{ .addr = (uintptr_t)inline_data + 19, .length = 13 },
	};
	const struct ibv_data_buf bufs[2] = {
		{ .addr = inline_data, .length = 19 },
		{ .addr = inline_data + 19, .length = 13 },
	};
	struct same all[] = {
		{ "send", { .opcode = IBV_WR_SEND }, op_send },
		{ "send_imm", { .opcode = IBV_WR_SEND_WITH_IMM,
				.imm_data = 0x1234 }, op_send_imm },
		{ "send_inv", { .opcode = IBV_WR_SEND_WITH_INV,
				.invalidate_rkey = 0x4321 }, op_send_inv },
		{ "write", { .opcode = IBV_WR_RDMA_WRITE,
			     .wr.rdma = { 0x5000, 0x99 } }, op_write },
		{ "write_imm", { .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
				 .imm_data = 0x1234,
				 .wr.rdma = { 0x5000, 0x99 } }, op_write_imm },
		{ "read", { .opcode = IBV_WR_RDMA_READ,
			    .wr.rdma = { 0x5000, 0x99 } }, op_read },
		{ "cmp_swp", { .opcode = IBV_WR_ATOMIC_CMP_AND_SWP,
			       .wr.atomic = { 0x5000, 1, 2, 0x99 } },
		  op_cmp_swp },
		{ "fetch_add", { .opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
				 .wr.atomic = { 0x5000, 1, 0, 0x99 } },
		  op_fetch_add },
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(all); i++) {
		struct ibv_send_wr *wr = &all[i / 2].wr, *bad;
		const struct dmae_send_wqe *wqe;
		char posted[256] = {};
		bool inlined = i % 2;

		wr->wr_id = 0x1000 + i;
		wr->send_flags = IBV_SEND_SIGNALED | IBV_SEND_FENCE |
				 (inlined ? IBV_SEND_INLINE : 0);
		wr->sg_list = inlined ? inline_sges : sges;
		wr->num_sge = 2;
		sq->producer = sq->polled = 0;
		memset(dmae_ring_entry(&sq->map, 0), 0xaa, sq->map.stride);
		assert_int_equal(dmae_post_send(&b->qp.ibv.qp, wr, &bad), 0);
		memcpy(posted, dmae_ring_entry(&sq->map, 0), sq->map.stride);

		sq->producer = sq->polled = 0;
		memset(dmae_ring_entry(&sq->map, 0), 0xaa, sq->map.stride);
		ibv_wr_start(ex);
		ex->wr_id = wr->wr_id;
		ex->wr_flags = IBV_SEND_SIGNALED | IBV_SEND_FENCE;
		all[i / 2].op(ex, wr);
		if (inlined)
			ibv_wr_set_inline_data_list(ex, 2, bufs);
		else
			ibv_wr_set_sge_list(ex, 2, sges);
		assert_int_equal(ibv_wr_complete(ex), 0);
		if (memcmp(posted, dmae_ring_entry(&sq->map, 0),
			   sq->map.stride))
			fail_msg("%s differs", all[i / 2].name);

		wqe = (const void *)posted;
		assert_int_equal(wqe->wr_id, 0x1000 + i);
		assert_int_equal(wqe->opcode, wr->opcode);
		assert_int_equal(wqe->flags, DMAE_SEND_SIGNALED |
					     DMAE_SEND_FENCE |
					     (inlined ? DMAE_SEND_INLINE : 0));
		assert_int_equal(wqe->num_sge, inlined ? 0 : 2);
		assert_int_equal(wqe->inline_len, inlined ? MAX_INLINE : 0);
		if (inlined)
			assert_memory_equal(wqe + 1, inline_data, MAX_INLINE);
	}
}

static void test_datagram(void **state)
{
	struct bench *b = *state;
	struct ibv_qp_ex *ex = &b->qp.ibv.qp_ex;
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_SEND,
		.wr.ud = { &b->ah.ibv, 0x123, 0x456 },
	};
	struct ibv_send_wr *bad;
	const struct dmae_send_wqe *wqe;

	b->qp.ibv.qp.qp_type = IBV_QPT_UD;
	assert_int_equal(dmae_qp_set_ops(&b->qp, IBV_QPT_UD,
					 IBV_QP_EX_WITH_SEND), 0);
	assert_int_equal(dmae_post_send(&b->qp.ibv.qp, &wr, &bad), 0);
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_set_ud_addr(ex, &b->ah.ibv, 0x123, 0x456);
	ibv_wr_set_sge(ex, 1, 2, 3);
	assert_int_equal(ibv_wr_complete(ex), 0);
	for (uint32_t i = 0; i < 2; i++) {
		wqe = dmae_ring_entry(&b->qp.sq.map, i);
		assert_int_equal(wqe->ud.ah, 7);
		assert_int_equal(wqe->ud.remote_qpn, 0x123);
		assert_int_equal(wqe->ud.remote_qkey, 0x456);
		assert_int_equal(wqe->num_sge, i);
	}
}

static void test_ops_of_a_type(void **state)
{
	struct bench *b = *state;

	assert_int_equal(dmae_qp_set_ops(&b->qp, IBV_QPT_UD,
					 IBV_QP_EX_WITH_RDMA_WRITE),
			 EOPNOTSUPP);
	assert_int_equal(dmae_qp_set_ops(&b->qp, IBV_QPT_UC,
					 IBV_QP_EX_WITH_RDMA_READ), EOPNOTSUPP);
	assert_int_equal(dmae_qp_set_ops(&b->qp, IBV_QPT_RC,
					 IBV_QP_EX_WITH_BIND_MW), EOPNOTSUPP);
}

/* When one of a batch is wrong, none is posted. */
static void test_wr_errors(void **state)
{
	struct bench *b = *state;
	struct ibv_qp_ex *ex = &b->qp.ibv.qp_ex;
	struct ibv_sge sges[MAX_SGE + 1] = {};

	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_send(ex);
	ibv_wr_set_sge_list(ex, ARRAY_SIZE(sges), sges);
	ibv_wr_set_sge(ex, 1, 2, 3);
	ibv_wr_rdma_write(ex, 1, 2);
	assert_int_equal(ibv_wr_complete(ex), EINVAL);

	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_set_inline_data(ex, inline_data, MAX_INLINE + 1);
	assert_int_equal(ibv_wr_complete(ex), EINVAL);

	ibv_wr_start(ex);
	for (int i = 0; i < DEPTH + 1; i++)
		ibv_wr_rdma_read(ex, 1, 2);
	assert_int_equal(ibv_wr_complete(ex), ENOMEM);

	ibv_wr_start(ex);
	ibv_wr_send(ex);
	ibv_wr_abort(ex);

	b->qp.ibv.qp.state = IBV_QPS_RTR;
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	assert_int_equal(ibv_wr_complete(ex), EINVAL);
	assert_int_equal(post_send(b, 1), EINVAL);

	assert_int_equal(b->qp.sq.map.ring->producer, 0);
	b->qp.ibv.qp.state = IBV_QPS_RTS;
	assert_int_equal(post_send(b, 1), 0);
	assert_int_equal(b->qp.sq.map.ring->producer, 1);
}

static void expect_doorbell(struct bench *b, uint32_t command)
{
	struct ibv_post_send cmd;

	assert_int_equal(read(b->doorbell_fd, &cmd, sizeof(cmd)), sizeof(cmd));
	assert_int_equal(cmd.hdr.command, command);
	assert_int_equal(cmd.hdr.in_words * 4, sizeof(cmd));
	assert_int_equal(cmd.core.qp_handle, QP_HANDLE);
	assert_int_equal(cmd.core.wr_count, 0);
	assert_int_equal(cmd.core.sge_count, 0);
}

static void test_doorbell(void **state)
{
	struct bench *b = *state;
	struct ibv_qp *qp = &b->qp.ibv.qp;
	struct ibv_qp_ex *ex = &b->qp.ibv.qp_ex;
	struct ibv_recv_wr wr = {}, *bad;
	char none;

	assert_int_equal(post_send(b, 1), 0);
	assert_int_equal(dmae_post_recv(qp, &wr, &bad), 0);
	assert_int_equal(read(b->doorbell_fd, &none, 1), -1);

	b->qp.sq.map.ring->doorbell = 1;
	b->qp.rq.map.ring->doorbell = 1;
	assert_int_equal(post_send(b, 1), 0);
	expect_doorbell(b, IB_USER_VERBS_CMD_POST_SEND);
	ibv_wr_start(ex);
	ibv_wr_send(ex);
	assert_int_equal(ibv_wr_complete(ex), 0);
	expect_doorbell(b, IB_USER_VERBS_CMD_POST_SEND);
	assert_int_equal(dmae_post_recv(qp, &wr, &bad), 0);
	expect_doorbell(b, IB_USER_VERBS_CMD_POST_RECV);
	assert_int_equal(read(b->doorbell_fd, &none, 1), -1);

	/* The device is gone. */
	close(qp->context->cmd_fd);
	assert_int_equal(post_send(b, 1), EBADF);
	assert_int_equal(dmae_post_recv(qp, &wr, &bad), EBADF);
	assert_ptr_equal(bad, &wr);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_send_queue_full),
		TEST(test_counters_wrap),
		TEST(test_list_is_posted_up_to_bad),
		TEST(test_receive_queue),
		TEST(test_shared_receive_queue),
		TEST(test_poll),
		TEST(test_poll_ex),
		TEST(test_clean),
		TEST(test_two_ways_to_post),
		TEST(test_datagram),
		TEST(test_ops_of_a_type),
		TEST(test_wr_errors),
		TEST(test_doorbell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
