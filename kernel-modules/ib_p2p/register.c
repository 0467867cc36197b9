// SPDX-License-Identifier: GPL-2.0
/*
 * Registrations of device memory: what they hold, and an MR of its dma-buf.
 */
#include <linux/fdtable.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/p2p_dmabuf.h>
#include <rdma/uverbs_ioctl.h>
#include <uapi/linux/p2p_dmabuf.h>

#include "ib_p2p.h"

/* What uverbs lets an MR of a dma-buf have. */
#define DMABUF_ACCESS (IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_READ |	\
		       IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC |	\
		       IB_ACCESS_RELAXED_ORDERING)
/*
 * What it is masked of: done by the caller already, or what an MR of a dma-buf is
 * anyway. And MW_BIND, which many ask for who never bind: to bind fails then.
 */
#define MASKED_ACCESS (IB_ZERO_BASED | IB_ACCESS_ON_DEMAND | IB_ACCESS_MW_BIND | \
		       IB_ACCESS_OPTIONAL)

/* Tell whoever reads the log why a registration fails. */
static int refuse(struct ib_p2p_device *p2p, u64 start, u64 length, int err,
		  const struct p2p_refusal *why)
{
	ibdev_notice_ratelimited(p2p->ib_dev, "no MR for %#llx, %llu bytes: %s%s%s (%d)\n",
				 start, length, why->exporter,
				 why->exporter[0] ? ": " : "", why->reason, err);
	return err;
}

static int refuse_for(struct ib_p2p_device *p2p, u64 start, u64 length, int err,
		      const char *reason)
{
	return refuse(p2p, start, length, err, &(struct p2p_refusal) { .reason = reason });
}

int ib_p2p_wants(struct ib_p2p_device *p2p, u64 start, u64 length, int access)
{
	struct p2p_refusal why = {};
	unsigned long end;
	int contents;

	/* What is wrong by itself the driver finds. */
	if (!length || start != (unsigned long)start ||
	    check_add_overflow((unsigned long)start, (unsigned long)length, &end))
		return 0;
	contents = p2p_dmabuf_contents(start, end, &why);
	if (contents < 0)
		return contents;
	if (likely(!(contents & (P2P_CONTENTS_DEVICE | P2P_CONTENTS_OTHER))))
		return 0;

	/* On demand a driver takes any range, and what is not there fails later. */
	if (access & IB_ACCESS_ON_DEMAND && contents != P2P_CONTENTS_DEVICE)
		return 0;
	if (contents & P2P_CONTENTS_OTHER)
		return refuse(p2p, start, length, why.err, &why);
	if (contents & P2P_CONTENTS_HOLE)
		return refuse_for(p2p, start, length, -EFAULT,
				  "nothing is mapped in a part of it");
	if (contents & P2P_CONTENTS_HOST)
		return refuse_for(p2p, start, length, -EOPNOTSUPP,
				  "host memory is next to device memory, which takes an MR each here");
	if (access & IB_ACCESS_HUGETLB)
		return -EINVAL;
	if (access & ~(DMABUF_ACCESS | MASKED_ACCESS))
		return refuse_for(p2p, start, length, -EOPNOTSUPP,
				  "an access flag that MRs of dma-bufs do not have");
	return 1;
}

static struct ib_mr *register_fd(struct ib_p2p_device *p2p, struct ib_pd *pd,
				 u64 offset, u64 length, u64 iova, int fd,
				 int access, struct ib_udata *udata)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return p2p->ib_dev->ops.reg_user_mr_dmabuf(pd, offset, length, iova, fd, access,
				rdma_udata_to_uverbs_attr_bundle(udata));
#else
	return p2p->ib_dev->ops.reg_user_mr_dmabuf(pd, offset, length, iova, fd, access,
						   udata);
#endif
}

struct ib_mr *ib_p2p_register(struct ib_p2p_device *p2p, struct ib_pd *pd,
			      u64 start, u64 length, u64 iova, int access,
			      struct ib_udata *udata)
{
	unsigned long first = ALIGN_DOWN(start, PAGE_SIZE);
	unsigned long end = ALIGN(start + length, PAGE_SIZE);
	struct dma_buf *reader = NULL;
	struct p2p_refusal why = {};
	unsigned int flags = 0;
	struct ib_mr *mr;
	u64 offset;
	u32 kind;
	int fd;

	/* Drivers take what is for ibv_reg_mr() there for something else. */
	if (udata->inlen)
		return ERR_PTR(refuse_for(p2p, start, length, -EOPNOTSUPP,
					  "it has data for the driver, which an MR of a dma-buf has not"));
	if (ib_access_writable(access))
		flags = P2P_DMABUF_WRITE;
	else if (IS_ENABLED(HAVE_IB_UMEM_CHECK_REREG))
		flags = P2P_DMABUF_READER;
	fd = p2p_dmabuf_fd(first, end, flags, &offset, &kind, &reader, &why);
	if (fd < 0) {
		if (why.reason)
			refuse(p2p, start, length, fd, &why);
		mr = ERR_PTR(fd);
		goto out;
	}
	/* Of a BAR p2p_dmabuf sees to it. */
	if (!flags && kind != P2P_DMABUF_KIND_BAR) {
		mr = ERR_PTR(refuse_for(p2p, start, length, -EOPNOTSUPP,
					"this kernel's drivers would let the MR write later"));
		goto out_fd;
	}
	mr = register_fd(p2p, pd, offset + (start - first), length, iova, fd,
			 access & DMABUF_ACCESS, udata);
	/* uverbs does so of registrations, but not of what rereg_user_mr() returns. */
	if (!IS_ERR(mr)) {
		mr->iova = iova;
		mr->length = length;
	}
out_fd:
	close_fd(fd);
out:
	if (reader)
		p2p_dmabuf_seal(reader);
	return mr;
}
