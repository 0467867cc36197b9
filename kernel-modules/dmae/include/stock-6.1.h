/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* What 6.12 has and 6.1 does not, or has otherwise: see stock.h. */
#ifndef STOCK_6_1_H
#define STOCK_6_1_H

#include <linux/device.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/workqueue.h>
#include <rdma/ib_umem.h>
#include <rdma/uverbs_ioctl.h>

/* Not const there. */
#define bus_register_notifier(bus, nb) \
	bus_register_notifier((struct bus_type *)(bus), nb)
#define bus_unregister_notifier(bus, nb) \
	bus_unregister_notifier((struct bus_type *)(bus), nb)

/* Not exported. With device_lock() held, this is the same. */
#define device_is_bound(dev)	(!!(dev)->driver)

static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}

/*
 * For good: the work stays in the state in which it is while
 * cancel_delayed_work_sync() waits, when whoever queues it does nothing.
 */
static inline void disable_delayed_work_sync(struct delayed_work *dwork)
{
	const long disabled = WORK_STRUCT_PENDING | WORK_OFFQ_CANCELING;
	atomic_long_t *data = &dwork->work.data;
	long old;

	do {
		cancel_delayed_work_sync(dwork);
		old = atomic_long_read(data) & ~WORK_STRUCT_PENDING;
	} while (!atomic_long_try_cmpxchg(data, &old, old | disabled));
	/* It may have been queued in between, and have begun to run. */
	flush_work(&dwork->work);
}

/* The core's own is not exported. */
static inline struct net_device *ib_device_get_netdev(struct ib_device *ib_dev,
						      u32 port)
{
	struct ib_port_data *data = &ib_dev->port_data[port];
	struct net_device *ndev;

	spin_lock(&data->netdev_lock);
	ndev = rcu_dereference_protected(data->netdev,
					 lockdep_is_held(&data->netdev_lock));
	dev_hold(ndev);
	spin_unlock(&data->netdev_lock);
	return ndev;
}

/* Nobody is told who named the device. */
static inline void ib_mark_name_assigned_by_user(struct ib_device *ib_dev)
{
}

/* Memory that was pinned to be read cannot become writable. */
static inline int stock_check_rereg(struct ib_umem *umem, int flags, int access)
{
	return umem && !(flags & IB_MR_REREG_TRANS) &&
	       ib_access_writable(access) && !umem->writable ? -EACCES : 0;
}

/* A later 6.1 may have it. */
#define ib_umem_check_rereg	stock_check_rereg

/*
 * Two ops get the udata that is in the attributes. The macros rename dmae's
 * functions where they are declared and defined, but not where dmae_dev_ops
 * names them: these here go there.
 */
static inline struct uverbs_attr_bundle *stock_attrs(struct ib_udata *udata)
{
	return udata ? container_of(udata, struct uverbs_attr_bundle,
				    driver_udata) : NULL;
}

int dmae_create_cq_attrs(struct ib_cq *ibcq, const struct ib_cq_init_attr *attr,
			 struct uverbs_attr_bundle *attrs);
struct ib_mr *
dmae_reg_user_mr_dmabuf_attrs(struct ib_pd *pd, u64 offset, u64 length,
			      u64 iova, int fd, int access,
			      struct uverbs_attr_bundle *attrs);

static inline int dmae_create_cq(struct ib_cq *ibcq,
				 const struct ib_cq_init_attr *attr,
				 struct ib_udata *udata)
{
	return dmae_create_cq_attrs(ibcq, attr, stock_attrs(udata));
}

static inline struct ib_mr *
dmae_reg_user_mr_dmabuf(struct ib_pd *pd, u64 offset, u64 length, u64 iova,
			int fd, int access, struct ib_udata *udata)
{
	return dmae_reg_user_mr_dmabuf_attrs(pd, offset, length, iova, fd,
					     access, stock_attrs(udata));
}

#define dmae_create_cq(...)	dmae_create_cq_attrs(__VA_ARGS__)
#define dmae_reg_user_mr_dmabuf(...)	\
	dmae_reg_user_mr_dmabuf_attrs(__VA_ARGS__)

#endif /* STOCK_6_1_H */
