// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Registration with a say in what the memory may be, and how it gets there: ask the
 * kernel first, then whoever gives dma-bufs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "attr.h"
#include "dmabuf.h"
#include "uverbs.h"

enum {
	REG_FLAGS = IBV_P2P_REG_DEVICE_ONLY | IBV_P2P_REG_PREFAULT,
	/* Ways of the same call: what makes it work is the kernel's. */
	PLAIN_WAYS = IBV_P2P_WAY_KERNEL | IBV_P2P_WAY_MODULE |
		     IBV_P2P_WAY_PEER_MEMORY,
	ALL_WAYS = PLAIN_WAYS | IBV_P2P_WAY_DMABUF,
	PREFETCH_BYTES = 1 << 30,
};

struct reg {
	struct ibv_pd *pd;
	void *addr;
	size_t length;
	uint64_t iova;
	unsigned int access;
	struct ibv_p2p_reg_attr attr;
};

/* 0 or an errno: EINVAL if there is memory of the host in the range. */
static int check_device_only(const struct reg *r)
{
	const uint64_t start = (uintptr_t)r->addr, end = start + r->length;
	struct ibv_p2p_addr_attr at;
	uint64_t addr;
	int ret;

	for (addr = start; addr < end; addr = at.map_addr + at.map_length) {
		ret = ibv_p2p_query_addr((void *)(uintptr_t)addr, &at, sizeof(at));
		if (ret)
			return ret;
		if (at.kind == IBV_P2P_KIND_HOST || at.map_addr + at.map_length <= addr)
			return EINVAL;
	}
	return 0;
}

/* Is this call one that the caller wants, and the machine has? */
static bool may_be_plain(const struct reg *r)
{
	struct ibv_p2p_device_attr device;

	if (!r->attr.ways)
		return true;
	return r->attr.ways & PLAIN_WAYS &&
	       !ibv_p2p_query_device(r->pd->context, &device, sizeof(device)) &&
	       device.ways & r->attr.ways & PLAIN_WAYS;
}

typedef struct ibv_mr *reg_function(struct ibv_pd *pd, void *addr, size_t length,
				    uint64_t iova, unsigned int access);

static reg_function *reg_mr;

/*
 * That of libibverbs also where the preload library is in front of it, which has its own
 * dlopen(), too: a way that is not wanted is not to be taken. It stays: we need it.
 */
static void find_reg_mr(void)
{
	void *libverbs = dlmopen(LM_ID_BASE, "libibverbs.so.1", RTLD_NOW | RTLD_NOLOAD);

	if (libverbs)
		reg_mr = dlvsym(libverbs, "ibv_reg_mr_iova2", "IBVERBS_1.8");
	if (!reg_mr)
		reg_mr = ibv_reg_mr_iova2;
}

static struct ibv_mr *reg_plain(const struct reg *r)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_reg_mr);
	return reg_mr(r->pd, r->addr, r->length, r->iova, r->access);
}

static struct ibv_mr *reg_by_any(const struct reg *r)
{
	const bool dmabuf = !r->attr.ways || r->attr.ways & IBV_P2P_WAY_DMABUF;
	struct ibv_mr *mr = NULL;
	struct tried tried;
	int err = EOPNOTSUPP;

	if (r->attr.comp_mask & IBV_P2P_REG_DMABUF)
		return dmabuf_reg_fd(r->pd, r->addr, r->length, r->iova, r->access,
				     r->attr.dmabuf_fd, r->attr.dmabuf_offset);
	if (may_be_plain(r)) {
		mr = reg_plain(r);
		err = errno;
	}
	if (mr && dmabuf && r->access & IBV_ACCESS_ON_DEMAND)
		mr = dmabuf_instead_of(mr, r->iova, r->access);
	if (!mr && dmabuf) {
		mr = dmabuf_reg(r->pd, r->addr, r->length, r->iova, r->access,
				&tried);
		err = errno == ENOENT ? err : errno;
	}
	errno = err;
	return mr;
}

static int prefetch(const struct reg *r, const struct ibv_sge *sge)
{
	const bool write = r->access & (IBV_ACCESS_LOCAL_WRITE |
					IBV_ACCESS_REMOTE_WRITE);
	const uint64_t advice = write ? IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE :
					IBV_ADVISE_MR_ADVICE_PREFETCH;
	const uint64_t flags = IBV_ADVISE_MR_FLAG_FLUSH;
	const struct ib_uverbs_attr attrs[] = {
		uverbs_object(UVERBS_ATTR_ADVISE_MR_PD_HANDLE, r->pd->handle),
		uverbs_in(UVERBS_ATTR_ADVISE_MR_ADVICE, &advice, sizeof(advice)),
		uverbs_in(UVERBS_ATTR_ADVISE_MR_FLAGS, &flags, sizeof(flags)),
		uverbs_in(UVERBS_ATTR_ADVISE_MR_SGE_LIST, sge, sizeof(*sge)),
	};

	return uverbs_call(r->pd->context, UVERBS_OBJECT_MR, UVERBS_METHOD_ADVISE_MR,
			   attrs, 4);
}

/*
 * What has no on-demand paging is there already. Not by ibv_advise_mr(), which older
 * providers do not have.
 */
static int prefault(const struct reg *r, struct ibv_mr *mr)
{
	struct ibv_sge sge = { .lkey = mr->lkey };
	struct ibv_p2p_mr_attr attr;
	size_t done;
	int err = 0;

	if (ibv_p2p_query_mr(mr, &attr, sizeof(attr)))
		attr.flags = r->access & IBV_ACCESS_ON_DEMAND ? IBV_P2P_MR_ODP : 0;
	if (!(attr.flags & IBV_P2P_MR_ODP))
		return 0;
	for (done = 0; !err && done < r->length; done += sge.length) {
		sge.addr = r->iova + done;
		sge.length = r->length - done < PREFETCH_BYTES ? r->length - done :
								 PREFETCH_BYTES;
		err = prefetch(r, &sge);
	}
	return err;
}

static int check(const struct reg *r)
{
	if (!r->pd || !r->length ||
	    (uintptr_t)r->addr + r->length < (uintptr_t)r->addr ||
	    r->attr.comp_mask & ~(uint32_t)IBV_P2P_REG_DMABUF ||
	    r->attr.flags & ~(uint32_t)REG_FLAGS ||
	    r->attr.ways & ~(uint32_t)ALL_WAYS)
		return EINVAL;
	/* A dma-buf is taken for memory of a device. */
	if (r->attr.comp_mask & IBV_P2P_REG_DMABUF)
		return r->attr.ways && !(r->attr.ways & IBV_P2P_WAY_DMABUF) ?
		       EINVAL : 0;
	return r->attr.flags & IBV_P2P_REG_DEVICE_ONLY ? check_device_only(r) : 0;
}

struct ibv_mr *ibv_p2p_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
			      uint64_t iova, unsigned int access,
			      const struct ibv_p2p_reg_attr *attr, size_t inlen)
{
	struct reg r = {
		.pd = pd, .addr = addr, .length = length, .iova = iova,
		.access = access,
	};
	struct ibv_mr *mr;
	int err;

	if (attr && inlen < REG_ATTR_V1) {
		errno = EINVAL;
		return NULL;
	}
	if (attr)
		attr_give(&r.attr, sizeof(r.attr), attr, inlen);
	err = check(&r);
	if (err) {
		errno = err;
		return NULL;
	}
	mr = reg_by_any(&r);
	if (!mr || !(r.attr.flags & IBV_P2P_REG_PREFAULT))
		return mr;
	err = prefault(&r, mr);
	if (!err)
		return mr;
	ibv_dereg_mr(mr);
	errno = err;
	return NULL;
}
