// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * ibv_advise_mr(): fault ahead.
 *
 * Only the caller waits, if he asked to. In the meantime the MR may go.
 */
#include "dmae_mr.h"

static int prefetch_check(struct dmae_mr *mr, struct ib_pd *pd,
			  enum ib_uverbs_advise_mr_advice advice,
			  const struct ib_sge *sge)
{
	if (!mr || mr->key != sge->lkey || !dmae_mr_faults(mr) ||
	    !READ_ONCE(mr->valid))
		return -ENOENT;
	if (mr->pd != pd)
		return -EPERM;
	if (advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE &&
	    !ib_access_writable(mr->access))
		return -EPERM;
	if (!dmae_mr_covers(mr, sge->addr, sge->length))
		return -EFAULT;
	return dmae_mr_use(mr) ? 0 : -ENOENT;
}

/* The MR that is meant, as its user. */
static struct dmae_mr *prefetch_mr(struct ib_pd *pd,
				   enum ib_uverbs_advise_mr_advice advice,
				   const struct ib_sge *sge)
{
	struct dmae_dev *dev = to_ddev(pd->device);
	struct dmae_mr *mr;
	int err;

	xa_lock_irq(&dev->mrs);
	mr = xa_load(&dev->mrs, sge->lkey >> 8);
	err = prefetch_check(mr, pd, advice, sge);
	xa_unlock_irq(&dev->mrs);
	return err ? ERR_PTR(err) : mr;
}

static int prefetch_now(struct ib_pd *pd,
			enum ib_uverbs_advise_mr_advice advice,
			const struct ib_sge *sge)
{
	struct dmae_mr *mr = prefetch_mr(pd, advice, sge);

	if (IS_ERR(mr))
		return PTR_ERR(mr);
	return dmae_mr_populate(mr, sge->addr, sge->length,
				advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
				advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT);
}

/* A dma-buf has no faults that wait: what it waits for, it waits for now. */
static int prefetch_later(struct ib_pd *pd,
			  enum ib_uverbs_advise_mr_advice advice,
			  const struct ib_sge *sge,
			  struct ib_umem_prefetch *prefetch)
{
	bool write = advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE;
	struct dmae_mr *mr = prefetch_mr(pd, advice, sge);
	int err;

	if (IS_ERR(mr))
		return PTR_ERR(mr);
	if (mr->kind == DMAE_MR_DMABUF)
		return dmae_mr_populate(mr, sge->addr, sge->length, write, true);

	err = dmae_mr_prefetch(mr, sge->addr, sge->length, write, prefetch);
	dmae_mr_unuse(mr);
	return err;
}

static int prefetch_all_later(struct ib_pd *pd,
			      enum ib_uverbs_advise_mr_advice advice,
			      const struct ib_sge *sges, u32 num)
{
	struct ib_umem_prefetch *prefetch = ib_umem_prefetch_alloc(num);
	int err = 0;
	u32 i;

	if (!prefetch)
		return -ENOMEM;
	for (i = 0; i < num && !err; i++)
		err = prefetch_later(pd, advice, &sges[i], prefetch);
	if (err)
		ib_umem_prefetch_cancel(prefetch);
	else
		ib_umem_prefetch_end(prefetch);
	return err;
}

int dmae_advise_mr(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice,
		   u32 flags, struct ib_sge *sges, u32 num,
		   struct uverbs_attr_bundle *attrs)
{
	int err = 0;
	u32 i;

	switch (advice) {
	case IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH:
	case IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE:
		if (!(flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH))
			return prefetch_all_later(pd, advice, sges, num);
		break;
	case IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT:
		break;
	default:
		return -EOPNOTSUPP;
	}

	for (i = 0; i < num && !err; i++)
		err = prefetch_now(pd, advice, &sges[i]);
	return err;
}
