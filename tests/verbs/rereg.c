// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* ibv_rereg_mr(): an MR gets other memory, other rights, another PD. */
#include "common.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LEN = KIB(64) };
enum { TRANS = IBV_REREG_MR_CHANGE_TRANSLATION,
       ACCESS = IBV_REREG_MR_CHANGE_ACCESS,
       PD = IBV_REREG_MR_CHANGE_PD };

/* Peers have the rkey, which stays unless the translation changes. */
static void rereg(struct ibv_mr *mr, int flags, void *addr, size_t len,
		  int access)
{
	uint32_t lkey = mr->lkey, rkey = mr->rkey;
	int err = uverbs_rereg_mr(mr, flags, dev.pd, addr, len, access);

	if (err)
		fail("ibv_rereg_mr, flags 0x%x, %zu bytes, access 0x%x: %s",
		     flags, len, access, strerrorname_np(err));
	if (!(flags & TRANS) && (mr->lkey != lkey || mr->rkey != rkey))
		fail("ibv_rereg_mr, flags 0x%x: keys 0x%x and 0x%x became 0x%x and 0x%x",
		     flags, lkey, rkey, mr->lkey, mr->rkey);
}

static void want_access(struct ibv_mr *mr, void *addr, enum ibv_wr_opcode op,
			enum ibv_wc_status want, const char *what)
{
	struct mem buf = mem_open(HOST, 0, LEN);
	struct pair p;

	pair_open(&p, IBV_QPT_RC, 0);
	want_rdma(&p, op, sge(&buf, 0, LEN), (uintptr_t)addr, mr->rkey, want, what);
	pair_close(&p);
	mem_close(&buf);
}

static void run_access(const void *arg)
{
	struct mem mem = mem_open(*(const int *)arg, REREG_AT, LEN);

	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "to begin with");
	rereg(mem.mr, ACCESS, NULL, 0, IBV_ACCESS_REMOTE_READ);
	want_access(mem.mr, mem.addr, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR,
		    "for reading only");
	want_access(mem.mr, mem.addr, IBV_WR_RDMA_READ, IBV_WC_SUCCESS,
		    "for reading only");
	rereg(mem.mr, ACCESS, NULL, 0, ACCESS_ALL);
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "for writing again");
}

struct more {
	const char *name;
	int where, prot;
};

/*
 * What was registered for reading cannot be written by a change of access
 * alone, whatever memory it is; with a new translation it can, if the mapping
 * can.
 */
static void run_more_access(const void *arg)
{
	const struct more *m = arg;
	uint8_t *p = m->where == HOST ? host_map(LEN) :
		     gpu_map_at(GPU0, NULL, REREG_AT, LEN, m->prot);
	struct ibv_mr *mr = reg(p, LEN, IBV_ACCESS_REMOTE_READ);
	int flags, err;

	for (flags = ACCESS; flags <= (ACCESS | TRANS); flags += TRANS) {
		err = uverbs_rereg_mr(mr, flags, dev.pd, p, LEN, ACCESS_ALL);
		if (flags & TRANS && m->prot & PROT_WRITE) {
			if (err)
				fail("writable, with its translation: %s",
				     strerrorname_np(err));
			exercise(mr, (uintptr_t)p, LEN, p, "writable now");
			return;
		}
		if (err != EACCES)
			fail("writable, flags 0x%x: %s, expected EACCES", flags,
			     err ? strerrorname_np(err) : "success");
		want_access(mr, p, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR,
			    "after the refusal");
		want_access(mr, p, IBV_WR_RDMA_READ, IBV_WC_SUCCESS,
			    "after the refusal");
	}
}

struct step {
	int where;
	size_t offset, len;
};

/* The memory before is out of reach, although it is still mapped. */
static void run_translation(const void *arg)
{
	const struct step *steps = arg;
	uint8_t *last = NULL, *p;
	struct ibv_mr *mr = NULL;
	int i;

	for (i = 0; i < 4; i++) {
		const struct step *s = &steps[i];

		p = s->where == HOST ? host_map(s->offset + s->len) :
			gpu_map(s->where, REREG_AT, s->offset + s->len);
		p += s->offset;
		if (mr)
			rereg(mr, TRANS | ACCESS, p, s->len, ACCESS_ALL);
		else
			mr = reg(p, s->len, ACCESS_ALL);
		exercise(mr, (uintptr_t)p, s->len, p, "its new memory");
		if (last)
			want_access(mr, last, IBV_WR_RDMA_READ,
				    IBV_WC_REM_ACCESS_ERR, "its old memory");
		last = p;
	}
	dereg(mr);
}

static void run_pd(const void *arg)
{
	struct mem mem = mem_open(*(const int *)arg, REREG_AT, LEN);
	struct ibv_pd *first = dev.pd;
	struct ibv_pd *second = ibv_alloc_pd(dev.ctx);

	if (!second)
		fail("ibv_alloc_pd: %s", strerror(errno));
	dev.pd = second;
	rereg(mem.mr, PD, NULL, 0, 0);
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "in its new PD");
	dev.pd = first;
	want_access(mem.mr, mem.addr, IBV_WR_RDMA_READ, IBV_WC_REM_ACCESS_ERR,
		    "from its old PD");
}

/* An MR whose new memory is refused keeps the old one. */
static void run_refused(const void *arg)
{
	struct mem mem = mem_open(*(const int *)arg, REREG_AT, LEN);
	uint8_t *read_only = gpu_map_at(GPU0, NULL, REREG_AT + MIB(1), LEN,
					PROT_READ);
	uint8_t *hole = gpu_map(GPU0, REREG_AT + MIB(1), LEN);
	int err;

	unmap(hole, LEN);
	err = uverbs_rereg_mr(mem.mr, TRANS, dev.pd, read_only, LEN, 0);
	if (err != EACCES)
		fail("to a read-only mapping: %s, expected EACCES",
		     err ? strerrorname_np(err) : "success");
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "first refusal");
	err = uverbs_rereg_mr(mem.mr, TRANS, dev.pd, hole, LEN, 0);
	if (err != EFAULT)
		fail("to nothing: %s, expected EFAULT",
		     err ? strerrorname_np(err) : "success");
	exercise(mem.mr, (uintptr_t)mem.addr, LEN, mem.addr, "second refusal");
}

int main(int argc, char **argv)
{
	static const struct step moves[] = {
		{ HOST, 0, LEN }, { GPU0, 4097, 2 * LEN }, { HOST, 99, LEN / 2 },
		{ GPU0, MIB(1), MIB(1) },
	};
	static const struct step within[] = {
		{ GPU0, 0, LEN }, { GPU0, LEN, LEN }, { GPU1, 0, LEN },
		{ GPU0, 0, MIB(2) },
	};
	static const struct more mores[] = {
		{ "host", HOST, PROT_READ | PROT_WRITE },
		{ "device", GPU0, PROT_READ | PROT_WRITE },
		{ "read-only-device", GPU0, PROT_READ },
	};
	size_t i;
	int where;

	test_init(argc, argv);
	for (where = HOST; where <= GPU0; where++) {
		const char *name = where == HOST ? "host" : "device";

		run_case(run_access, &where, "access/%s", name);
		run_case(run_pd, &where, "pd/%s", name);
		run_case(run_refused, &where, "refused/%s", name);
	}
	for (i = 0; i < ARRAY_SIZE(mores); i++)
		run_case(run_more_access, &mores[i], "more-access/%s",
			 mores[i].name);
	run_case(run_translation, moves, "translation/host-device");
	run_case(run_translation, within, "translation/device-device");
	return test_done();
}
