// SPDX-License-Identifier: GPL-2.0
/*
 * ib_p2p: plain ibv_reg_mr() of device memory, on kernels whose RDMA core takes none:
 * puts itself before the registration of each device whose driver takes dma-bufs.
 *
 * Who may still be here when a device, or this module, goes. uverbs calls what is in
 * the device's ops at that moment. So the driver's own functions are put back first;
 * then everybody who has read ours has either entered, which callers counts, or is
 * about to, without having slept since: that is what synchronize_rcu_tasks() waits for,
 * before callers is waited for, and again after, for those who are on their way out.
 *
 * Of memory of the host a page fault may never end, and nobody who unloads a module is
 * to wait for it. So those calls go on to the driver as the last thing that ours do, by
 * a jump, which leaves nothing of ours on the stack. Compilers make one of such a call,
 * but do not have to; where they did not, these calls are counted too.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "ib_p2p.h"

static struct ib_client ib_p2p_client;

/* We are the device's client until the caller has left. */
static struct ib_p2p_device *enter(struct ib_device *ib_dev)
{
	struct ib_p2p_device *p2p = ib_get_client_data(ib_dev, &ib_p2p_client);

	atomic_inc(&p2p->callers);
	return p2p;
}

static void leave(struct ib_p2p_device *p2p)
{
	if (atomic_dec_and_test(&p2p->callers))
		wake_up_all(&p2p->no_callers);
}

static bool jumps;	/* see above */

/* Of somebody who goes on with @next, if that is not NULL. */
static void leave_to(struct ib_p2p_device *p2p, const void *next)
{
	if (jumps || !next)
		leave(p2p);
}

static void wait_for_callers(struct ib_p2p_device *p2p)
{
	synchronize_rcu_tasks();
	wait_event(p2p->no_callers, !atomic_read(&p2p->callers));
	synchronize_rcu_tasks();
}

/*
 * What a call comes to: an MR or an error, or the function of the driver's that is to
 * go on with it. In two registers: the address of a variable would be in the way of
 * the jump.
 */
struct answer {
	struct ib_mr *mr;
	void *next;
};

static struct answer no_mr(int err)
{
	return (struct answer) { .mr = ERR_PTR(err) };
}

/* Where they return to, instead of an MR: for jumps_to_driver(). */
static noinline struct ib_mr *probe_reg(struct ib_pd *pd, u64 start, u64 length,
					u64 iova, int access, struct ib_udata *udata)
{
	return __builtin_return_address(0);
}

static noinline struct ib_mr *probe_rereg(struct ib_mr *old, int flags, u64 start,
					  u64 length, u64 iova, int access,
					  struct ib_pd *pd, struct ib_udata *udata)
{
	return __builtin_return_address(0);
}

static noinline struct answer ask_reg(struct ib_pd *pd, u64 start, u64 length,
				      u64 iova, int access, struct ib_udata *udata)
{
	struct ib_p2p_device *p2p;
	struct answer answer;
	int wants = 0;

	if (unlikely(!pd))
		return (struct answer) { .next = probe_reg };
	p2p = enter(pd->device);
	answer = (struct answer) { .next = p2p->reg_user_mr };
	/* Without udata it is for somebody in the kernel, who has pages in mind. */
	if (READ_ONCE(p2p->on) && udata)
		wants = ib_p2p_wants(p2p, start, length, access);
	if (wants < 0)
		answer = no_mr(wants);
	else if (wants)
		answer = (struct answer) {
			.mr = ib_p2p_register(p2p, pd, start, length, iova, access,
					      udata),
		};
	leave_to(p2p, answer.next);
	return answer;
}

/*
 * A new translation to device memory is a new MR, in whose place uverbs puts it. The
 * access of the old one only its driver knows.
 */
static noinline struct answer ask_rereg(struct ib_mr *old, int flags, u64 start,
					u64 length, u64 iova, int access,
					struct ib_pd *pd, struct ib_udata *udata)
{
	struct ib_p2p_device *p2p;
	struct answer answer;
	int wants = 0;

	if (unlikely(!old))
		return (struct answer) { .next = probe_rereg };
	p2p = enter(old->device);
	answer = (struct answer) { .next = p2p->rereg_user_mr };
	if (READ_ONCE(p2p->on) && flags & IB_MR_REREG_TRANS)
		wants = ib_p2p_wants(p2p, start, length,
				     flags & IB_MR_REREG_ACCESS ? access : 0);
	if (wants < 0) {
		answer = no_mr(wants);
	} else if (wants && !(flags & IB_MR_REREG_ACCESS)) {
		ibdev_notice_ratelimited(p2p->ib_dev, "no MR changes to device memory at %#llx, %llu bytes: that takes IBV_REREG_MR_CHANGE_ACCESS too (%d)\n",
					 start, length, -EOPNOTSUPP);
		answer = no_mr(-EOPNOTSUPP);
	} else if (wants) {
		answer = (struct answer) {
			.mr = ib_p2p_register(p2p, pd, start, length, iova, access,
					      udata),
		};
	}
	leave_to(p2p, answer.next);
	return answer;
}

static noinline struct ib_mr *hook_reg_user_mr(struct ib_pd *pd, u64 start, u64 length,
				      u64 iova, int access, struct ib_udata *udata)
{
	struct answer answer = ask_reg(pd, start, length, iova, access, udata);
	reg_user_mr_t *next = answer.next;

	if (unlikely(!next))
		return answer.mr;
	if (likely(jumps))
		return next(pd, start, length, iova, access, udata);
	answer.mr = next(pd, start, length, iova, access, udata);
	leave(ib_get_client_data(pd->device, &ib_p2p_client));
	return answer.mr;
}

static noinline struct ib_mr *hook_rereg_user_mr(struct ib_mr *old, int flags, u64 start,
					u64 length, u64 iova, int access,
					struct ib_pd *pd, struct ib_udata *udata)
{
	struct answer answer = ask_rereg(old, flags, start, length, iova, access, pd,
					 udata);
	rereg_user_mr_t *next = answer.next;
	struct ib_p2p_device *p2p;

	if (unlikely(!next))
		return answer.mr;
	if (likely(jumps))
		return next(old, flags, start, length, iova, access, pd, udata);
	p2p = ib_get_client_data(old->device, &ib_p2p_client);
	answer.mr = next(old, flags, start, length, iova, access, pd, udata);
	leave(p2p);
	return answer.mr;
}

/* ---- /sys/class/infiniband/DEVICE/p2p ---- */

static struct ib_p2p_device *of_device(struct device *dev)
{
	struct ib_device *ib_dev = container_of(dev, struct ib_device, dev);

	return ib_get_client_data(ib_dev, &ib_p2p_client);
}

static ssize_t p2p_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(of_device(dev)->on));
}

static ssize_t p2p_store(struct device *dev, struct device_attribute *attr,
			 const char *buf, size_t count)
{
	bool on;
	int err = kstrtobool(buf, &on);

	if (err)
		return err;
	WRITE_ONCE(of_device(dev)->on, on);
	return count;
}
static DEVICE_ATTR_RW(p2p);

/* ---- devices come and go ---- */

static int add_device(struct ib_device *ib_dev)
{
	struct ib_p2p_device *p2p;
	int err;

	if (!ib_dev->ops.reg_user_mr || !ib_dev->ops.reg_user_mr_dmabuf) {
		dev_info(&ib_dev->dev, "its driver takes no dma-bufs, so ibv_reg_mr() takes no device memory\n");
		return -EOPNOTSUPP;
	}
	p2p = kzalloc(sizeof(*p2p), GFP_KERNEL);
	if (!p2p)
		return -ENOMEM;
	p2p->ib_dev = ib_dev;
	p2p->reg_user_mr = ib_dev->ops.reg_user_mr;
	p2p->rereg_user_mr = ib_dev->ops.rereg_user_mr;
	p2p->on = true;
	init_waitqueue_head(&p2p->no_callers);
	ib_set_client_data(ib_dev, &ib_p2p_client, p2p);

	err = device_create_file(&ib_dev->dev, &dev_attr_p2p);
	if (err) {
		kfree(p2p);
		return err;
	}
	/* Pairs with the address dependency of whoever calls it. */
	smp_store_release(&ib_dev->ops.reg_user_mr, hook_reg_user_mr);
	if (p2p->rereg_user_mr)
		smp_store_release(&ib_dev->ops.rereg_user_mr, hook_rereg_user_mr);
	dev_info(&ib_dev->dev, "ibv_reg_mr() takes device memory, by dma-bufs\n");
	return 0;
}

static void remove_device(struct ib_device *ib_dev, void *client_data)
{
	struct ib_p2p_device *p2p = client_data;

	device_remove_file(&ib_dev->dev, &dev_attr_p2p);
	WRITE_ONCE(ib_dev->ops.reg_user_mr, p2p->reg_user_mr);
	if (p2p->rereg_user_mr)
		WRITE_ONCE(ib_dev->ops.rereg_user_mr, p2p->rereg_user_mr);
	wait_for_callers(p2p);
	kfree(p2p);
}

static struct ib_client ib_p2p_client = {
	.name = "p2p",
	.add = add_device,
	.remove = remove_device,
};

/* What was jumped to returns to who called us, which is here, in the init section. */
static bool __init jumps_to_driver(void)
{
	void *reg, *rereg;

	jumps = true;
	reg = hook_reg_user_mr(NULL, 0, 0, 0, 0, NULL);
	rereg = hook_rereg_user_mr(NULL, 0, 0, 0, 0, 0, NULL, NULL);
	return within_module_init((unsigned long)reg, THIS_MODULE) &&
	       within_module_init((unsigned long)rereg, THIS_MODULE);
}

static int __init ib_p2p_init(void)
{
	jumps = jumps_to_driver();
	if (!jumps)
		pr_notice("%s: built without tail calls: to unload it waits for registrations that are under way\n",
			  KBUILD_MODNAME);
	return ib_register_client(&ib_p2p_client);
}
module_init(ib_p2p_init);

static void __exit ib_p2p_exit(void)
{
	ib_unregister_client(&ib_p2p_client);
}
module_exit(ib_p2p_exit);

MODULE_DESCRIPTION("Plain ibv_reg_mr() of device memory, by dma-bufs");
MODULE_LICENSE("GPL");
