// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * dmae devices come and go
 *
 * One comes with "rdma link add" and takes a channel. It goes with "rdma link
 * del", with its network interface, with this module, and before the driver
 * of the channel's device (the engine) is unbound, whichever is first.
 *
 * dmae_devices has those that own a channel, from before they are registered
 * until they have released it. Who finds one there may get_device() it. To
 * unregister it is safe then, whoever else does: the core lets the second wait
 * for the first, and the memory stays for the reference. Whether it is
 * registered is what ib_device_try_get() tells.
 *
 * An engine's device_lock is held from the request of a channel until the
 * device is registered, and by whoever unbinds the driver: who unbinds finds
 * either nothing or a device that can be unregistered.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <net/addrconf.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_netlink.h>

#include "dmae.h"

#define DMAE_CHANNEL_NAME_MAX	32

/* Keeps the bytes of a descriptor a number, and pieces of pages whole. */
#define DMAE_MAX_COPY		(SZ_16M - PAGE_SIZE)

bool dmae_odp = true;
module_param_named(odp, dmae_odp, bool, 0444);
MODULE_PARM_DESC(odp, "On-demand paging (default: yes)");

static char dmae_channel[DMAE_CHANNEL_NAME_MAX];
module_param_string(channel, dmae_channel, sizeof(dmae_channel), 0644);
MODULE_PARM_DESC(channel,
		 "DMA channel for the next device, such as dma0chan0 (default: the first that is free)");

static LIST_HEAD(dmae_devices);
static DEFINE_MUTEX(dmae_devices_lock);	/* nothing is waited for under it */

static struct dentry *dmae_debugfs;

/* ---- channels ---- */

struct dmae_choice {
	char channel[DMAE_CHANNEL_NAME_MAX];	/* "": any */
	struct device *engine;
};

static void dmae_choice_init(struct dmae_choice *choice)
{
	char *newline;

	kernel_param_lock(THIS_MODULE);
	strscpy(choice->channel, dmae_channel, sizeof(choice->channel));
	kernel_param_unlock(THIS_MODULE);
	/* Who writes it with echo appends one. */
	newline = strchr(choice->channel, '\n');
	if (newline)
		*newline = '\0';
	choice->engine = NULL;
}

/*
 * SGEs begin and end at any byte, what was written before a flag arrives before
 * it, and when a QP or a mapping has to go a channel that hangs is stopped.
 */
static bool dmae_channel_fits(struct dma_chan *chan,
			      const struct dmae_choice *choice)
{
	struct dma_device *engine = chan->device;

	return engine->copy_align == DMAENGINE_ALIGN_1_BYTE &&
	       engine->device_terminate_all &&
	       !dma_has_cap(DMA_COMPLETION_NO_ORDER, engine->cap_mask) &&
	       (!*choice->channel ||
		!strcmp(dma_chan_name(chan), choice->channel));
}

/* Takes no channel, but a reference to the engine of the first that fits. */
static bool dmae_engine_filter(struct dma_chan *chan, void *data)
{
	struct dmae_choice *choice = data;

	if (!choice->engine && dmae_channel_fits(chan, choice))
		choice->engine = get_device(chan->device->dev);
	return false;
}

static bool dmae_channel_filter(struct dma_chan *chan, void *data)
{
	struct dmae_choice *choice = data;

	return chan->device->dev == choice->engine &&
	       dmae_channel_fits(chan, choice);
}

static struct dma_chan *dmae_request(dma_filter_fn filter,
				     struct dmae_choice *choice)
{
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	return dma_request_channel(mask, filter, choice);
}

/* ---- the engine loses its driver ---- */

/*
 * One notifier for each bus that had an engine, until the module goes: to
 * unregister it would wait for notifiers that wait for the unregistration of
 * devices, so a device cannot do it when it goes.
 */
struct dmae_bus {
	struct list_head node;
	const struct bus_type *bus;
	struct notifier_block nb;
};

static LIST_HEAD(dmae_buses);
static DEFINE_MUTEX(dmae_buses_lock);

/* A reference to any dmae device of this engine, or NULL. */
static struct dmae_dev *dmae_find_by_engine(struct device *engine)
{
	struct dmae_dev *dev, *found = NULL;

	mutex_lock(&dmae_devices_lock);
	list_for_each_entry(dev, &dmae_devices, node) {
		if (dev->dma_device == engine) {
			get_device(&dev->ib_dev.dev);
			found = dev;
			break;
		}
	}
	mutex_unlock(&dmae_devices_lock);
	return found;
}

static int dmae_bus_event(struct notifier_block *nb, unsigned long event,
			  void *engine)
{
	struct dmae_dev *dev;

	if (event != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;
	/* On return, it has left the list. */
	while ((dev = dmae_find_by_engine(engine))) {
		ib_unregister_device(&dev->ib_dev);
		put_device(&dev->ib_dev.dev);
	}
	return NOTIFY_OK;
}

static int dmae_bus_add_locked(const struct bus_type *bus)
{
	struct dmae_bus *dbus;
	int err;

	list_for_each_entry(dbus, &dmae_buses, node)
		if (dbus->bus == bus)
			return 0;

	dbus = kzalloc(sizeof(*dbus), GFP_KERNEL);
	if (!dbus)
		return -ENOMEM;
	dbus->bus = bus;
	dbus->nb.notifier_call = dmae_bus_event;
	err = bus_register_notifier(bus, &dbus->nb);
	if (err) {
		kfree(dbus);
		return err;
	}
	list_add(&dbus->node, &dmae_buses);
	return 0;
}

static int dmae_bus_add(const struct bus_type *bus)
{
	int err;

	mutex_lock(&dmae_buses_lock);
	err = dmae_bus_add_locked(bus);
	mutex_unlock(&dmae_buses_lock);
	return err;
}

static void dmae_buses_free(void)
{
	struct dmae_bus *dbus, *next;

	list_for_each_entry_safe(dbus, next, &dmae_buses, node) {
		bus_unregister_notifier(dbus->bus, &dbus->nb);
		kfree(dbus);
	}
}

/* ---- the network interface ---- */

static void dmae_port_event(struct dmae_dev *dev)
{
	struct ib_event event = {
		.device = &dev->ib_dev,
		.element.port_num = 1,
		.event = netif_running(dev->ndev) &&
			 netif_carrier_ok(dev->ndev) ?
			 IB_EVENT_PORT_ACTIVE : IB_EVENT_PORT_ERR,
	};

	ib_dispatch_event(&event);
}

static void dmae_netdev_event_for(struct dmae_dev *dev, unsigned long event)
{
	switch (event) {
	case NETDEV_UP:
	case NETDEV_DOWN:
	case NETDEV_CHANGE:
		dmae_port_event(dev);
		break;
	case NETDEV_UNREGISTER:
		ib_unregister_device_queued(&dev->ib_dev);
		break;
	}
}

static int dmae_netdev_event(struct notifier_block *nb, unsigned long event,
			     void *info)
{
	struct net_device *ndev = netdev_notifier_info_to_dev(info);
	struct dmae_dev *dev;

	mutex_lock(&dmae_devices_lock);
	list_for_each_entry(dev, &dmae_devices, node) {
		if (dev->ndev == ndev && ib_device_try_get(&dev->ib_dev)) {
			dmae_netdev_event_for(dev, event);
			ib_device_put(&dev->ib_dev);
		}
	}
	mutex_unlock(&dmae_devices_lock);
	return NOTIFY_OK;
}

static struct notifier_block dmae_netdev_nb = {
	.notifier_call = dmae_netdev_event,
};

/*
 * From now on ib_device_try_get() works, and the interface may have gone
 * before: either its notifier came later and got the device, or we see that
 * it is going, as it says so before it takes dmae_devices_lock.
 */
int dmae_enable_driver(struct ib_device *ib_dev)
{
	struct dmae_dev *dev = to_ddev(ib_dev);

	mutex_lock(&dmae_devices_lock);
	if (READ_ONCE(dev->ndev->reg_state) != NETREG_REGISTERED)
		ib_unregister_device_queued(ib_dev);
	mutex_unlock(&dmae_devices_lock);
	return 0;
}

/* ---- devices ---- */

/*
 * rxe and others call themselves after the MAC address of the interface that
 * they share with us. So this is a locally administered EUI-64, with the DMA
 * channel where one that was made of a MAC address has ff:fe.
 */
static __be64 dmae_guid(struct dmae_dev *dev)
{
	__be64 guid;
	u8 *eui64 = (u8 *)&guid;

	addrconf_addr_eui48(eui64, dev->ndev->dev_addr);
	eui64[0] |= 0x02;
	eui64[3] = dev->chan->device->dev_id;
	eui64[4] = dev->chan->chan_id;
	return guid;
}

static int dmae_init(struct dmae_dev *dev, struct dma_chan *chan,
		     struct net_device *ndev)
{
	struct ib_device *ib_dev = &dev->ib_dev;

	dev->wq = alloc_workqueue("dmae", WQ_UNBOUND, 0);
	if (!dev->wq)
		return -ENOMEM;
	dev->ndev = ndev;
	dev->chan = chan;
	dev->dma_device = chan->device->dev;
	dev->may_bounce = dma_addressing_limited(dev->dma_device);
	dev->max_copy = min_t(size_t, dma_get_max_seg_size(dev->dma_device),
			      DMAE_MAX_COPY);
	mutex_init(&dev->issue_lock);
	spin_lock_init(&dev->crowd_lock);
	INIT_LIST_HEAD(&dev->crowd);
	xa_init_flags(&dev->qps, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_IRQ);
	xa_init_flags(&dev->mrs, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_IRQ);
	xa_init_flags(&dev->ahs, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_IRQ);

	strscpy(ib_dev->node_desc, "dmae", sizeof(ib_dev->node_desc));
	ib_dev->node_type = RDMA_NODE_IB_CA;
	ib_dev->phys_port_cnt = 1;
	ib_dev->num_comp_vectors = 1;
	ib_dev->local_dma_lkey = 0;
	ib_dev->dev.parent = dev->dma_device;
	ib_dev->node_guid = dmae_guid(dev);
	/* Doorbells, and requests for events. */
	ib_dev->uverbs_cmd_mask |=
		BIT_ULL(IB_USER_VERBS_CMD_POST_SEND) |
		BIT_ULL(IB_USER_VERBS_CMD_POST_RECV) |
		BIT_ULL(IB_USER_VERBS_CMD_POST_SRQ_RECV) |
		BIT_ULL(IB_USER_VERBS_CMD_REQ_NOTIFY_CQ);

	mutex_lock(&dmae_devices_lock);
	list_add_tail(&dev->node, &dmae_devices);
	mutex_unlock(&dmae_devices_lock);
	/* With these, ib_dealloc_device() takes all of it back. */
	ib_set_device_ops(ib_dev, &dmae_dev_ops);
	return 0;
}

void dmae_dealloc_driver(struct ib_device *ib_dev)
{
	struct dmae_dev *dev = to_ddev(ib_dev);

	destroy_workqueue(dev->wq);
	dmaengine_terminate_sync(dev->chan);
	WARN_ON(!xa_empty(&dev->qps));
	WARN_ON(!xa_empty(&dev->mrs));
	WARN_ON(!xa_empty(&dev->ahs));
	mutex_destroy(&dev->issue_lock);
	dma_release_channel(dev->chan);

	/* Last: who unbinds the engine's driver waits for us until then. */
	mutex_lock(&dmae_devices_lock);
	list_del(&dev->node);
	mutex_unlock(&dmae_devices_lock);
}

/* The engine's device_lock is held. */
static int dmae_add(const char *name, struct net_device *ndev,
		    struct dma_chan *chan)
{
	struct dmae_dev *dev;
	int err;

	dev = ib_alloc_device(dmae_dev, ib_dev);
	if (!dev) {
		dma_release_channel(chan);
		return -ENOMEM;
	}
	err = dmae_init(dev, chan, ndev);
	if (err) {
		dma_release_channel(chan);
		goto dealloc;
	}

	ib_mark_name_assigned_by_user(&dev->ib_dev);
	err = ib_device_set_netdev(&dev->ib_dev, ndev, 1);
	if (err)
		goto dealloc;
	err = ib_register_device(&dev->ib_dev, name, dev->dma_device);
	if (err)
		goto dealloc;
	/* Somebody may have unregistered it: it is not ours any more. */
	return 0;

dealloc:
	ib_dealloc_device(&dev->ib_dev);
	return err;
}

static int dmae_add_locked(const char *name, struct net_device *ndev,
			   struct dmae_choice *choice)
{
	struct dma_chan *chan = NULL;

	if (device_is_bound(choice->engine))
		chan = dmae_request(dmae_channel_filter, choice);
	if (!chan) {
		pr_err("%s: the channel of %s was taken or has left\n", name,
		       dev_name(choice->engine));
		return -ENODEV;
	}
	pr_info("%s: channel %s of %s\n", name, dma_chan_name(chan),
		dev_name(choice->engine));
	return dmae_add(name, ndev, chan);
}

static int dmae_newlink(const char *name, struct net_device *ndev)
{
	struct dmae_choice choice;
	int err;

	if (is_vlan_dev(ndev) || ndev->addr_len != ETH_ALEN) {
		pr_err("%s: %s is a VLAN or no Ethernet interface\n", name,
		       ndev->name);
		return -EINVAL;
	}

	dmae_choice_init(&choice);
	dmae_request(dmae_engine_filter, &choice);
	if (!choice.engine) {
		pr_err("%s: no free DMA channel that copies from and to any byte (wanted: %s)\n",
		       name, *choice.channel ? choice.channel : "any");
		return -ENODEV;
	}

	err = dmae_bus_add(choice.engine->bus);
	if (!err) {
		device_lock(choice.engine);
		err = dmae_add_locked(name, ndev, &choice);
		device_unlock(choice.engine);
	}
	put_device(choice.engine);
	return err;
}

static struct rdma_link_ops dmae_link_ops = {
	.type = "dmae",
	.newlink = dmae_newlink,
};

/* ---- a client of our own devices ---- */

static int dmae_client_add(struct ib_device *ib_dev)
{
	struct dmae_dev *dev = to_ddev(ib_dev);

	if (ib_dev->ops.driver_id != RDMA_DRIVER_DMAE)
		return -EOPNOTSUPP;
	dev->debugfs = debugfs_create_dir(dev_name(&ib_dev->dev), dmae_debugfs);
	dmae_mr_debugfs(dev);
	return 0;
}

/*
 * Clients leave a device in the reverse order in which they came. So this runs
 * before uverbs destroys the QPs of applications: they find the completions of
 * all their requests in their rings.
 */
static void dmae_client_remove(struct ib_device *ib_dev, void *data)
{
	struct dmae_dev *dev = to_ddev(ib_dev);

	dmae_qps_shut_down(dev);
	debugfs_remove(dev->debugfs);
}

static void dmae_client_rename(struct ib_device *ib_dev, void *data)
{
	debugfs_rename(dmae_debugfs, to_ddev(ib_dev)->debugfs, dmae_debugfs,
		       dev_name(&ib_dev->dev));
}

static struct ib_client dmae_client = {
	.name = "dmae",
	.add = dmae_client_add,
	.remove = dmae_client_remove,
	.rename = dmae_client_rename,
};

static int __init dmae_module_init(void)
{
	int err;

	dmae_debugfs = debugfs_create_dir("dmae", NULL);
	err = ib_register_client(&dmae_client);
	if (err)
		goto remove_debugfs;
	err = register_netdevice_notifier(&dmae_netdev_nb);
	if (err)
		goto unregister_client;
	rdma_link_register(&dmae_link_ops);
	return 0;

unregister_client:
	ib_unregister_client(&dmae_client);
remove_debugfs:
	debugfs_remove(dmae_debugfs);
	return err;
}

static void __exit dmae_module_exit(void)
{
	rdma_link_unregister(&dmae_link_ops);
	/* All devices are gone after it, also those that others unregister. */
	ib_unregister_driver(RDMA_DRIVER_DMAE);
	unregister_netdevice_notifier(&dmae_netdev_nb);
	dmae_buses_free();
	ib_unregister_client(&dmae_client);
	debugfs_remove(dmae_debugfs);
}

module_init(dmae_module_init);
module_exit(dmae_module_exit);

MODULE_DESCRIPTION("RDMA over a dmaengine channel");
MODULE_AUTHOR("rdma-p2p developers <developers@rdma-p2p.example>");
MODULE_LICENSE("GPL");
MODULE_ALIAS_RDMA_LINK("dmae");
