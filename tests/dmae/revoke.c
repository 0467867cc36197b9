// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * dmae.odp=0, an RDMA device without on-demand paging: it gets device memory
 * for as long as that stays where it is. Once that was taken back the MR fails
 * for good, and its owner learns of it.
 */
#include "../verbs/traffic.h"
#include "engine.h"

#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEN = KIB(64), AT = DMAE_AT + MIB(6), SLOT = KIB(256) };
enum { EVENT_MR_REVOKED = 32 };	/* libibverbs has no name for it */

static struct area area_open(int slot)
{
	struct area a = area_map(AT + slot * SLOT, LEN);

	a.mr = reg(a.addr, LEN, ACCESS_ALL);
	return a;
}

static bool event_comes(const struct ibv_mr *mr, double seconds)
{
	struct pollfd fd = { .fd = dev.ctx->async_fd, .events = POLLIN };
	struct ibv_async_event event;

	while (poll(&fd, 1, seconds * 1000) == 1) {
		if (ibv_get_async_event(dev.ctx, &event))
			fail("ibv_get_async_event: %s", strerror(errno));
		if ((int)event.event_type == EVENT_MR_REVOKED) {
			/* Events without an object of their own are like this. */
			if ((uint32_t)event.element.port_num != mr->lkey)
				fail("MR 0x%x was revoked, says the event, and not 0x%x",
				     event.element.port_num, mr->lkey);
			return true;
		}
		ibv_ack_async_event(&event);
	}
	return false;
}

static void want_dead(const struct area *a)
{
	struct mem buf = mem_open(HOST, 0, LEN);
	struct mem self = { a->addr, LEN, a->mr };
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, LEN), (uintptr_t)a->addr,
		  a->mr->rkey, IBV_WC_REM_ACCESS_ERR, "a revoked MR");
	pair_close(&p);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&self, 0, LEN), (uintptr_t)buf.addr,
		  buf.mr->rkey, IBV_WC_LOC_PROT_ERR, "from a revoked MR");
	pair_close(&p);
}

static void run_caps(const void *arg)
{
	struct ibv_device_attr_ex attr;
	int err = ibv_query_device_ex(dev.ctx, NULL, &attr);

	(void)arg;
	if (err)
		fail("ibv_query_device_ex: %s", strerror(err));
	if (attr.odp_caps.general_caps)
		fail("it says that it can do on-demand paging: 0x%llx",
		     (unsigned long long)attr.odp_caps.general_caps);
	if (try_reg(host_map(LEN), LEN, ACCESS_ALL | IBV_ACCESS_ON_DEMAND, &err))
		fail("it registers on demand");
	if (err != EOPNOTSUPP)
		fail("ibv_reg_mr on demand: %s, expected EOPNOTSUPP",
		     strerrorname_np(err));
}

static void run_works(const void *arg)
{
	struct area a = area_open(0);
	struct mem host = mem_open(HOST, 0, LEN);

	(void)arg;
	exercise(a.mr, (uintptr_t)a.addr, LEN, a.view, "device memory");
	exercise(host.mr, (uintptr_t)host.addr, LEN, host.addr, "host memory");
	expect(GPU0, case_name(), a.at, a.view, LEN);
	dereg(a.mr);
	unmap(a.addr, LEN);
	if (event_comes(a.mr, 0.3))
		fail("revoked, after it was deregistered");
}

static void do_munmap(struct area *a) { unmap(a->addr, LEN); }

static void do_part(struct area *a) { unmap(a->addr + LEN / 2, 4096); }

static void do_protect(struct area *a)
{
	protect(a->addr, LEN, PROT_READ);
}

static void do_replace(struct area *a)
{
	host_map_at(a->addr, LEN, PROT_READ | PROT_WRITE);
}

static const struct way {
	const char *name;
	void (*lose)(struct area *a);
} ways[] = {
	{ "munmap", do_munmap },
	{ "munmap-a-page", do_part },
	{ "mprotect", do_protect },
	{ "replaced-by-host-memory", do_replace },
};

static void run_way(const void *arg)
{
	const struct way *way = arg;
	struct area a = area_open(1 + (way - ways)), b;
	struct traffic *t = traffic_start(REMOTE_WRITTEN, a.mr, a.addr, LEN);

	traffic_flows(t);
	way->lose(&a);
	stays(&a, 0, LEN);
	traffic_fails(t, IBV_WC_REM_ACCESS_ERR);
	if (!event_comes(a.mr, patience(0)))
		fail("no event says that the MR was revoked");
	want_dead(&a);
	/* Not that it comes back to life. */
	gpu_map_at(GPU0, a.addr, a.at, LEN, PROT_READ | PROT_WRITE);
	want_dead(&a);
	if (event_comes(a.mr, 0.1))
		fail("revoked twice");
	dereg(a.mr);

	b = area_open(5);
	exercise(b.mr, (uintptr_t)b.addr, LEN, b.view, "another MR");
}

/*
 * An event names an MR by its lkey. Nobody gets it who might be taken for that MR,
 * nor the event of one that is gone.
 */
static void run_lkey(const void *arg)
{
	struct area a = area_open(6);
	uint8_t *p = host_map(LEN);
	uint32_t lkey = a.mr->lkey;
	struct ibv_mr *mr;
	int i;

	(void)arg;
	unmap(a.addr, LEN);
	dereg(a.mr);
	for (i = 0; i < 2000; i++) {
		mr = reg(p, LEN, IBV_ACCESS_LOCAL_WRITE);
		if (mr->lkey == lkey)
			fail("MR %d after it has the lkey of a revoked MR", i);
		dereg(mr);
	}
	mr = reg(p, LEN, IBV_ACCESS_LOCAL_WRITE);
	if (event_comes(mr, 0.1))
		fail("host memory was revoked");
}

/* Memory of the host is pinned, and nobody takes it back. */
static void run_pinned(const void *arg)
{
	struct mem host = mem_open(HOST, 0, LEN), buf = mem_open(HOST, 0, LEN);
	struct pair p;

	(void)arg;
	unmap(host.addr, LEN);
	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, IBV_WR_RDMA_WRITE, sge(&buf, 0, LEN), (uintptr_t)host.addr,
		  host.mr->rkey, IBV_WC_SUCCESS, "pinned memory");
	if (event_comes(host.mr, 0.1))
		fail("pinned memory was revoked");
}

int main(int argc, char **argv)
{
	size_t i;

	test_init(argc, argv);
	run_case(run_caps, NULL, "caps");
	run_case(run_works, NULL, "works");
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		run_case(run_way, &ways[i], "%s", ways[i].name);
	run_case(run_lkey, NULL, "lkey");
	run_case(run_pinned, NULL, "host-memory");
	return test_done();
}
