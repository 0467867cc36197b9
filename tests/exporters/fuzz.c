// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The methods that tell of device memory, called with anything: they say no, and write
 * nowhere but where they may.
 */
#include "../verbs/common.h"

#include <errno.h>
#include <infiniband/verbs_p2p.h>
#include <libgen.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = KIB(64), AT = MIB(2), CALLS = 1000000, MAX_ATTRS = 8 };
enum { METHOD_QUERY_P2P = 20, METHOD_QUERY_MR_MEMORY = 20 };
enum { ROOM = 65536, GUARD = 4096, FILL = 0xa5 };

struct call {
	struct ib_uverbs_ioctl_hdr hdr;
	struct ib_uverbs_attr attrs[MAX_ATTRS];
};

static uint64_t state;

static uint64_t next(void)
{
	state = splitmix64(state + 1);
	return state;
}

static uint64_t below(uint64_t n)
{
	return next() % n;
}

static bool one_in(unsigned int n)
{
	return !below(n);
}

/* Drivers have numbers, and a call has to have the right one. */
static uint32_t driver_id(void)
{
	struct call c = { .hdr = { .length = sizeof(c.hdr), .object_id = 0xfff } };

	for (c.hdr.driver_id = 1; c.hdr.driver_id < 64; c.hdr.driver_id++)
		if (ioctl(dev.ctx->cmd_fd, RDMA_VERBS_IOCTL, &c) &&
		    errno == EPROTONOSUPPORT)
			return c.hdr.driver_id;
	return 0x646d6165;
}

/* Where an attribute may point to: our buffer, or what is no memory of ours. */
static uint64_t any_pointer(const uint8_t *buffer, size_t len)
{
	switch (below(12)) {
	case 0:
		return 0;
	case 1:
		return 0xffff888000000000ull + below(1 << 20);
	case 2:
		return next();
	case 3:
		return 0x1000;
	default:
		return (uintptr_t)buffer + GUARD + below(ROOM - len + 1);
	}
}

static uint16_t any_length(void)
{
	static const uint16_t usual[] = { 0, 1, 4, 8, 12, 31, 32, 33, 40, 48, 56, 112, 560 };

	return one_in(4) ? below(UINT16_MAX) : usual[below(ARRAY_SIZE(usual))];
}

static struct ib_uverbs_attr any_attr(const uint8_t *buffer, uint16_t id, uint32_t handle)
{
	struct ib_uverbs_attr attr = {
		.attr_id = one_in(10) ? below(1 << 16) : id,
		.len = any_length(),
		.flags = one_in(10) ? below(1 << 16) : below(2),
	};

	if (one_in(50))
		attr.attr_data.reserved = below(1 << 16);
	attr.data = any_pointer(buffer, attr.len);
	/* The first of QUERY_MR_MEMORY is the MR. */
	if (!id && !one_in(8)) {
		attr.len = 0;
		attr.data = one_in(8) ? below(16) : handle;
	}
	return attr;
}

static unsigned int answered_mr, answered_device;

static bool make(struct call *c)
{
	return !ioctl(dev.ctx->cmd_fd, RDMA_VERBS_IOCTL, c);
}

static void call_once(uint8_t *buffer, uint32_t driver, uint32_t handle)
{
	const unsigned int n = below(MAX_ATTRS + 1);
	struct call c = { .hdr = { .driver_id = driver, .num_attrs = n } };
	unsigned int i;

	c.hdr.length = sizeof(c.hdr) + n * sizeof(c.attrs[0]);
	if (one_in(50))
		c.hdr.length = below(4096);
	c.hdr.object_id = one_in(2) ? UVERBS_OBJECT_MR : UVERBS_OBJECT_DEVICE;
	c.hdr.method_id = c.hdr.object_id == UVERBS_OBJECT_MR ? METHOD_QUERY_MR_MEMORY :
								METHOD_QUERY_P2P;
	for (i = 0; i < n; i++)
		c.attrs[i] = any_attr(buffer, i % 5, handle);
	make(&c);
}

/* Names of devices, of none, and what is no name. */
static void put_name(uint8_t *to, size_t len)
{
	char name[256];
	size_t i;

	snprintf(name, sizeof(name), "%s", gpu_path(below(2) ? GPU0 : GPU1));
	memset(to, 0, len);
	memcpy(to, basename(name), len < 12 ? len : 12);
	if (one_in(4))
		to[below(len)] = next();
	if (one_in(16))
		for (i = 0; i < len; i++)
			to[i] = next();
}

/* The attributes of QUERY_P2P, one of which may be anything. */
static void call_device(uint8_t *buffer, uint32_t driver, uint32_t handle)
{
	const uint16_t lengths[] = { one_in(4) ? 9 + below(40) : 12, 4, 4 };
	struct call c = { .hdr = {
		.driver_id = driver, .object_id = UVERBS_OBJECT_DEVICE,
		.method_id = METHOD_QUERY_P2P, .num_attrs = 3,
		.length = sizeof(c.hdr) + 3 * sizeof(c.attrs[0]),
	} };
	unsigned int i;

	put_name(buffer + GUARD, lengths[0]);
	for (i = 0; i < 3; i++) {
		c.attrs[i].attr_id = i;
		c.attrs[i].len = lengths[i];
		c.attrs[i].flags = UVERBS_ATTR_F_MANDATORY;
		c.attrs[i].data = (uintptr_t)buffer + GUARD + 64 * i;
	}
	if (one_in(2)) {
		i = below(3);
		c.attrs[i] = any_attr(buffer, i, handle);
	}
	answered_device += make(&c);
}

/* Most that is random is refused early: these are nearly right. */
static void call_mr(uint8_t *buffer, uint32_t driver, uint32_t handle)
{
	const uint16_t lengths[] = { 0, 40, 8, 56 * below(3), 4 };
	struct call c = { .hdr = {
		.driver_id = driver, .object_id = UVERBS_OBJECT_MR,
		.method_id = METHOD_QUERY_MR_MEMORY, .num_attrs = 5,
		.length = sizeof(c.hdr) + 5 * sizeof(c.attrs[0]),
	} };
	unsigned int i;

	for (i = 0; i < 5; i++) {
		c.attrs[i].attr_id = i;
		c.attrs[i].len = lengths[i];
		c.attrs[i].flags = UVERBS_ATTR_F_MANDATORY;
		c.attrs[i].data = i == 0 ? handle : i == 2 ? next() :
				  (uintptr_t)buffer + GUARD + below(ROOM - 128);
	}
	i = below(5);
	c.attrs[i] = any_attr(buffer, i, handle);
	answered_mr += make(&c);
}

static void want_guards(const uint8_t *buffer)
{
	size_t i;

	for (i = 0; i < GUARD; i++)
		if (buffer[i] != FILL || buffer[GUARD + ROOM + i] != FILL)
			fail("byte %zu before or behind the buffer was written", i);
}

/* The MR's memory comes and goes meanwhile. */
static void fuzz(unsigned int calls)
{
	uint8_t *buffer = host_map(ROOM + 2 * GUARD), *p = gpu_map(GPU0, AT, LEN);
	struct ibv_mr *mr = reg(p, LEN, ACCESS_ALL);
	const uint32_t driver = driver_id();
	struct ibv_p2p_mr_attr attr;
	unsigned int i;

	memset(buffer, FILL, ROOM + 2 * GUARD);
	for (i = 0; i < calls; i++) {
		if (i % 3 == 0)
			call_once(buffer, driver, mr->handle);
		else if (i % 3 == 1)
			call_mr(buffer, driver, mr->handle);
		else
			call_device(buffer, driver, mr->handle);
		if (i % 4096 == 0)
			gpu_map_at(GPU0, p, AT + LEN * (i / 4096 % 4), LEN,
				   PROT_READ | PROT_WRITE);
	}
	want_guards(buffer);
	note("of %u, %u about the MR were answered, and %u about the device", calls,
	     answered_mr, answered_device);
	if (answered_mr < calls / 30 || answered_device < calls / 30)
		fail("next to nothing was answered: it is refused before it gets there");
	if (ibv_p2p_query_mr(mr, &attr, sizeof(attr)))
		fail("a good call fails afterwards");
	exercise(mr, (uintptr_t)p, LEN, p, "afterwards");
	dereg(mr);
}

static void run_fuzz(const void *arg)
{
	(void)arg;
	state = getenv("FUZZ_SEED") ? strtoull(getenv("FUZZ_SEED"), NULL, 0) : now() * 1e6;
	note("seed %#llx", (unsigned long long)state);
	fuzz(CALLS);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	run_case(run_fuzz, NULL, "million");
	return test_done();
}
