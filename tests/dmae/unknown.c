// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What a later provider may ask for, and this kernel does not know: it is refused,
 * as long as it is not 0, in commands and in rings.
 */
#include "work.h"

#include <rdma/dmae-abi.h>
#include <rdma/ib_user_verbs.h>
#include <stdio.h>
#include <unistd.h>

enum { LEN = 4096 };

/* ---- commands ---- */

struct more {			/* driver-specific input, a multiple of 8 bytes */
	uint64_t words[2];
};

static const struct more none, unknown = { { 0, 1 } };

/* Write a command with that behind it. 0 or an errno. */
#define COMMAND(name, NAME, out, more, ...)				\
	({								\
		struct {						\
			struct ib_uverbs_cmd_hdr hdr;			\
			struct ib_uverbs_##name body;			\
			struct more input;				\
		} cmd = {						\
			.hdr = {					\
				.command = IB_USER_VERBS_CMD_##NAME,	\
				.in_words = sizeof(cmd) / 4,		\
				.out_words = sizeof(out) / 4,		\
			},						\
			.body = { .response = (uintptr_t)&(out), __VA_ARGS__ }, \
			.input = more,					\
		};							\
		write(dev.ctx->cmd_fd, &cmd, sizeof(cmd)) ==		\
			sizeof(cmd) ? 0 : errno;			\
	})

static int reg_mr(struct more more)
{
	struct ib_uverbs_reg_mr_resp resp;
	uint8_t *p = host_map(LEN);

	return COMMAND(reg_mr, REG_MR, resp, more, .start = (uintptr_t)p,
		       .length = LEN, .hca_va = (uintptr_t)p,
		       .pd_handle = dev.pd->handle);
}

static int rereg_mr(struct more more)
{
	struct ibv_mr *mr = reg(host_map(LEN), LEN, IBV_ACCESS_LOCAL_WRITE);
	struct ib_uverbs_rereg_mr_resp resp;

	return COMMAND(rereg_mr, REREG_MR, resp, more, .mr_handle = mr->handle,
		       .flags = IBV_REREG_MR_CHANGE_ACCESS);
}

static int alloc_pd(struct more more)
{
	struct ib_uverbs_alloc_pd_resp resp;

	return COMMAND(alloc_pd, ALLOC_PD, resp, more);
}

static int create_cq(struct more more)
{
	struct {
		struct ib_uverbs_create_cq_resp verbs;
		struct dmae_create_cq_resp dmae;
	} resp;

	return COMMAND(create_cq, CREATE_CQ, resp, more, .cqe = 1,
		       .comp_channel = -1);
}

static int create_srq(struct more more)
{
	struct {
		struct ib_uverbs_create_srq_resp verbs;
		struct dmae_create_srq_resp dmae;
	} resp;

	return COMMAND(create_srq, CREATE_SRQ, resp, more, .max_wr = 1,
		       .max_sge = 1, .pd_handle = dev.pd->handle);
}

static const struct command {
	const char *name;
	int (*ask)(struct more more);
} commands[] = {
	{ "reg-mr", reg_mr },
	{ "rereg-mr", rereg_mr },
	{ "alloc-pd", alloc_pd },
	{ "create-cq", create_cq },
	{ "create-srq", create_srq },
};

static void run_command(const void *arg)
{
	const struct command *c = arg;
	int err = c->ask(none);

	if (err)
		fail("with zeroes: %s", strerrorname_np(err));
	err = c->ask(unknown);
	if (err != EOPNOTSUPP)
		fail("with what it does not know: %s, expected EOPNOTSUPP",
		     err ? strerrorname_np(err) : "success");
}

/* ---- rings ---- */

enum { MAX_RINGS = 16 };

/* Where rings are mapped, in the order in which they were made. */
static int find_rings(void *rings[MAX_RINGS])
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start[MAX_RINGS], offset[MAX_RINGS], s, o;
	char line[512];
	int i, n = 0;

	if (!maps)
		fail("/proc/self/maps: %s", strerror(errno));
	while (n < MAX_RINGS && fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "/dev/infiniband/uverbs") ||
		    sscanf(line, "%lx-%*x %*s %lx", &s, &o) != 2)
			continue;
		for (i = n++; i > 0 && offset[i - 1] > o; i--) {
			start[i] = start[i - 1];
			offset[i] = offset[i - 1];
		}
		start[i] = s;
		offset[i] = o;
	}
	fclose(maps);
	for (i = 0; i < n; i++)
		rings[i] = (void *)start[i];
	return n;
}

/* A QP that is its own peer, and the rings of its queues, which are empty. */
struct loop {
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	struct dmae_ring *sq, *rq;
};

static void loop_open(struct loop *l)
{
	void *rings[MAX_RINGS];
	struct peer self;
	int before;

	l->cq = cq_create();
	before = find_rings(rings);
	l->qp = qp_create(l->cq, IBV_QPT_RC, NULL, 0);
	if (find_rings(rings) != before + 2)
		fail("%d rings of a QP are mapped, expected 2",
		     find_rings(rings) - before);
	l->sq = rings[before];
	l->rq = rings[before + 1];
	self = (struct peer){ l->qp->qp_num, dev.gid };
	qp_connect(l->qp, &self);
}

/* The first entry of a ring, and then the kernel is told. */
static void put_first(struct dmae_ring *ring, const void *entry, size_t len)
{
	memcpy((uint8_t *)ring + DMAE_RING_ENTRIES, entry, len);
	__atomic_store_n(&ring->producer, 1, __ATOMIC_RELEASE);
}

static void ring_doorbell(struct ibv_qp *qp)
{
	struct ib_uverbs_post_send_resp resp;
	struct {
		struct ib_uverbs_cmd_hdr hdr;
		struct ib_uverbs_post_send body;
	} cmd = {
		.hdr = {
			.command = IB_USER_VERBS_CMD_POST_SEND,
			.in_words = sizeof(cmd) / 4,
			.out_words = sizeof(resp) / 4,
		},
		.body = {
			.response = (uintptr_t)&resp,
			.qp_handle = qp->handle,
			.wqe_size = sizeof(struct ib_uverbs_send_wr),
		},
	};

	if (write(dev.ctx->cmd_fd, &cmd, sizeof(cmd)) != sizeof(cmd))
		fail("the doorbell: %s", strerror(errno));
}

static void set_flag(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv)
{
	(void)recv;
	send->flags |= 1 << 4;
}

static void set_high_flag(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv)
{
	(void)recv;
	send->flags |= 1 << 7;
}

static void set_send(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv)
{
	(void)recv;
	send->reserved = 1;
}

static void set_recv(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv)
{
	(void)send;
	recv->reserved = 1;
}

/* Of no bytes: their keys are not looked at. */
static void make_write(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv)
{
	(void)recv;
	send->opcode = IB_UVERBS_WR_RDMA_WRITE;
}

static void set_write(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv)
{
	make_write(send, recv);
	send->rdma.reserved = 1;
}

static const struct entry {
	const char *name;
	void (*change)(struct dmae_send_wqe *send, struct dmae_recv_wqe *recv);
	enum ibv_wc_status want;
} entries[] = {
	{ "send", NULL, IBV_WC_SUCCESS },
	{ "send-flag", set_flag, IBV_WC_LOC_QP_OP_ERR },
	{ "send-high-flag", set_high_flag, IBV_WC_LOC_QP_OP_ERR },
	{ "send-reserved", set_send, IBV_WC_LOC_QP_OP_ERR },
	{ "recv-reserved", set_recv, IBV_WC_REM_OP_ERR },
	{ "write", make_write, IBV_WC_SUCCESS },
	{ "write-reserved", set_write, IBV_WC_LOC_QP_OP_ERR },
};

static void run_entry(const void *arg)
{
	const struct entry *e = arg;
	struct dmae_send_wqe send = {
		.wr_id = 1,
		.opcode = IB_UVERBS_WR_SEND,
		.flags = DMAE_SEND_SIGNALED,
	};
	struct dmae_recv_wqe recv = { .wr_id = RECV_ID };
	struct ibv_wc wc;
	struct loop l;

	if (e->change)
		e->change(&send, &recv);
	loop_open(&l);
	put_first(l.rq, &recv, sizeof(recv));
	put_first(l.sq, &send, sizeof(send));
	ring_doorbell(l.qp);
	do
		wc = wait_wc(l.cq, 0, "a message without data");
	while (wc.wr_id != 1);
	if (wc.status != e->want)
		fail("%s, expected %s", ibv_wc_status_str(wc.status),
		     ibv_wc_status_str(e->want));
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		run_case(run_command, &commands[i], "command/%s",
			 commands[i].name);
	for (i = 0; i < ARRAY_SIZE(entries); i++)
		run_case(run_entry, &entries[i], "ring/%s", entries[i].name);
	return test_done();
}
