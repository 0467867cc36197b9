// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * ibv_advise_mr(): fault ahead.
 *
 * A prefetch is a user of its MRs (dmae_mr_use()), so that they stay until it
 * is through with them.
 */
#include <linux/slab.h>

#include "dmae_mr.h"

struct dmae_prefetch {
	struct work_struct work;
	enum ib_uverbs_advise_mr_advice advice;
	u32 nr;
	struct {
		struct dmae_mr *mr;	/* whose user this is */
		struct ib_sge sge;
	} parts[] __counted_by(nr);
};

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

static int mr_prefetch(struct dmae_mr *mr,
		       enum ib_uverbs_advise_mr_advice advice,
		       const struct ib_sge *sge)
{
	bool write = advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE;

	if (!sge->length)
		return 0;
	if (advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT)
		return dmae_mr_snapshot(mr, sge->addr, sge->length);
	return dmae_mr_fault(mr, sge->addr, sge->length, write);
}

static void prefetch_work(struct work_struct *work)
{
	struct dmae_prefetch *pf = container_of(work, struct dmae_prefetch,
						work);
	struct dmae_mr *mr;
	u32 i;

	for (i = 0; i < pf->nr; i++) {
		mr = pf->parts[i].mr;
		/* Do not make deregistration wait for nothing. */
		if (READ_ONCE(mr->valid))
			mr_prefetch(mr, pf->advice, &pf->parts[i].sge);
		dmae_mr_unuse(mr);
	}
	kvfree(pf);
}

static int prefetch_later(struct ib_pd *pd,
			  enum ib_uverbs_advise_mr_advice advice,
			  const struct ib_sge *sges, u32 num)
{
	struct dmae_prefetch *pf;
	struct dmae_mr *mr;
	u32 i;

	pf = kvzalloc(struct_size(pf, parts, num), GFP_KERNEL_ACCOUNT);
	if (!pf)
		return -ENOMEM;
	INIT_WORK(&pf->work, prefetch_work);
	pf->advice = advice;

	for (i = 0; i < num; i++) {
		mr = prefetch_mr(pd, advice, &sges[i]);
		if (IS_ERR(mr))
			goto err_unuse;
		pf->nr++;
		pf->parts[i].mr = mr;
		pf->parts[i].sge = sges[i];
	}
	queue_work(to_ddev(pd->device)->wq, &pf->work);
	return 0;

err_unuse:
	while (i--)
		dmae_mr_unuse(pf->parts[i].mr);
	kvfree(pf);
	return PTR_ERR(mr);
}

int dmae_advise_mr(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice,
		   u32 flags, struct ib_sge *sges, u32 num,
		   struct uverbs_attr_bundle *attrs)
{
	struct dmae_mr *mr;
	int err = 0;
	u32 i;

	if (advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH &&
	    advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE &&
	    advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT)
		return -EOPNOTSUPP;

	if (!(flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH))
		return prefetch_later(pd, advice, sges, num);

	for (i = 0; i < num && !err; i++) {
		mr = prefetch_mr(pd, advice, &sges[i]);
		if (IS_ERR(mr))
			return PTR_ERR(mr);
		err = mr_prefetch(mr, advice, &sges[i]);
		dmae_mr_unuse(mr);
	}
	return err;
}
