// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Bytes, checked from outside: what goes through RDMA into device memory is
 * compared on the host, and what the host put there is read through RDMA.
 */
#include "common.h"

enum { GUARD = 64, WINDOW = MIB(72) };

struct span {
	size_t len;
	size_t at;	/* in the window */
	size_t shift;	/* of the host buffer, so that both sides differ */
};

/* From this size on a case takes seconds: only the direct operation. */
enum { LARGE = MIB(8) };

static const struct span spans[] = {
	{ 1, 0 + GUARD, 0 },
	{ 1, 4095, 3 },				/* the last byte of a page */
	{ 2, 2 * 4096 - 1, 1 },			/* over the end of a page */
	{ 3, KIB(12) + 101, 2 },
	{ 7, KIB(16) + 4093, 7 },
	{ 8, KIB(24) + 1, 5 },
	{ 63, KIB(28) + 65, 1 },
	{ 64, KIB(32) + 128, 0 },
	{ 65, KIB(36) + 4032, 9 },
	{ 511, KIB(48) + 511, 13 },
	{ 1023, KIB(52) + 7, 1 },
	{ 1024, KIB(56) + 1024, 0 },
	{ 1025, KIB(60) + 3000, 31 },
	{ 4095, KIB(72) + 100, 0 },
	{ 4096, KIB(80), 0 },
	{ 4097, KIB(92) + 1, 4000 },
	{ 12345, KIB(108) + 2222, 17 },
	{ 65535, KIB(128) + 129, 64 },
	{ 65536, KIB(256), 0 },
	{ 65537, KIB(384) + 4095, 1 },
	{ MIB(1) - 1, MIB(1) - 4097, 3 },
	{ KIB(300), MIB(4) - KIB(150), 11 },	/* over a 2 MiB boundary */
	{ MIB(1) + 1, MIB(5) + 12345, 4095 },
	{ MIB(64) - 3, MIB(7) + 1, 5 },
};

enum direction { TO_DEVICE, FROM_DEVICE };

struct transfer {
	enum direction direction;
	enum ibv_wr_opcode op;
	struct span span;
};

/* Host and device in the roles that the operation has for them. */
static void move(const struct transfer *t, struct mem *host, struct mem *device,
		 size_t len)
{
	struct mem *local = host, *remote = device;
	size_t local_at = t->span.shift, remote_at = t->span.at;
	struct pair p;

	if ((t->op == IBV_WR_RDMA_WRITE) != (t->direction == TO_DEVICE)) {
		local = device;
		remote = host;
		local_at = t->span.at;
		remote_at = t->span.shift;
	}
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, t->op, sge(local, local_at, len),
		  (uintptr_t)remote->addr + remote_at, remote->mr->rkey,
		  IBV_WC_SUCCESS, "transfer");
	pair_close(&p);
}

static void run_to_device(const struct transfer *t)
{
	size_t len = t->span.len, total = len + 2 * GUARD;
	uint64_t window = t->op == IBV_WR_RDMA_WRITE ? BYTES_WRITE_AT : BYTES_INTO_AT;
	struct mem device = mem_open(GPU0, window, t->span.at + len + GUARD);
	struct mem host = mem_open(HOST, 0, t->span.shift + len);
	uint8_t *around = device.addr + t->span.at - GUARD;
	uint8_t *want = host_map(total);

	memcpy(want, around, GUARD);
	memcpy(want + GUARD + len, around + GUARD + len, GUARD);
	pattern_fill(want + GUARD, len, seed_of(case_name()), 0);
	memcpy(host.addr + t->span.shift, want + GUARD, len);
	/* Not what an earlier run left there. */
	around[GUARD] = ~want[GUARD];
	around[GUARD + len - 1] = ~want[GUARD + len - 1];

	move(t, &host, &device, len);
	same_check(around, want, total, "as the guest sees it, with 64 bytes around");
	expect(GPU0, case_name(), window + t->span.at - GUARD, want, total);
}

static void run_from_device(const struct transfer *t)
{
	size_t len = t->span.len, shift = t->span.shift;
	struct mem device = mem_open(GPU0, BYTES_READ_AT, WINDOW);
	struct mem host = mem_open(HOST, 0, shift + len + GUARD);
	uint64_t seed = gpu_seed();
	size_t i;

	memset(host.addr, 0xee, host.len);
	move(t, &host, &device, len);
	pattern_check(host.addr + shift, len, seed, BYTES_READ_AT + t->span.at,
		      "what the host wrote");
	for (i = 0; i < host.len; i++)
		if ((i < shift || i >= shift + len) && host.addr[i] != 0xee)
			fail("byte %zu, outside of the %zu at %zu, was written",
			     i, len, shift);
}

static void run_transfer(const void *arg)
{
	const struct transfer *t = arg;

	if (t->direction == TO_DEVICE)
		run_to_device(t);
	else
		run_from_device(t);
}

static void run_spans(enum direction direction, enum ibv_wr_opcode op,
		      const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spans); i++) {
		struct transfer t = { direction, op, spans[i] };
		bool direct = (op == IBV_WR_RDMA_WRITE) ==
			      (direction == TO_DEVICE);

		if (slow && spans[i].len > LARGE)
			t.span.len = MIB(4) - 3;
		if (direct || spans[i].len <= LARGE)
			run_case(run_transfer, &t, "%s/%zu-at-%zu", name,
				 t.span.len, t.span.at);
	}
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_spans(TO_DEVICE, IBV_WR_RDMA_WRITE, "write-to-device");
	run_spans(TO_DEVICE, IBV_WR_RDMA_READ, "read-into-device");
	run_spans(FROM_DEVICE, IBV_WR_RDMA_READ, "read-from-device");
	run_spans(FROM_DEVICE, IBV_WR_RDMA_WRITE, "write-from-device");
	return test_done();
}
