// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What a dmae device says about itself, and its protection domains, contexts
 * and address handles
 */
#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/netdevice.h>
#include <net/checksum.h>
#include <rdma/ib_addr.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_user_verbs.h>

#include "dmae.h"

/* Only memory limits how many there are of something. */
enum { DMAE_MAX_OBJECTS = 1 << 20 };

struct dmae_pd {
	struct ib_pd ibpd;
};

static void dmae_odp_caps(struct ib_device_attr *attr)
{
	struct ib_odp_caps *caps = &attr->odp_caps;

	if (!dmae_odp || !IS_ENABLED(CONFIG_INFINIBAND_ON_DEMAND_PAGING)) {
		attr->kernel_cap_flags |= IBK_P2P_REVOKE;
		return;
	}

	attr->kernel_cap_flags |= IBK_ON_DEMAND_PAGING;
	caps->general_caps = IB_ODP_SUPPORT;
	caps->per_transport_caps.ud_odp_caps =
		IB_ODP_SUPPORT_SEND | IB_ODP_SUPPORT_RECV |
		IB_ODP_SUPPORT_SRQ_RECV;
	caps->per_transport_caps.uc_odp_caps =
		caps->per_transport_caps.ud_odp_caps | IB_ODP_SUPPORT_WRITE;
	caps->per_transport_caps.rc_odp_caps =
		caps->per_transport_caps.uc_odp_caps | IB_ODP_SUPPORT_READ |
		IB_ODP_SUPPORT_ATOMIC;
}

static int dmae_query_device(struct ib_device *ib_dev,
			     struct ib_device_attr *attr,
			     struct ib_udata *udata)
{
	if (!dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;

	attr->sys_image_guid = ib_dev->node_guid;
	attr->max_mr_size = ~0ull;
	attr->page_size_cap = PAGE_MASK;
	attr->vendor_id = 0xffffff;	/* no OUI: nobody makes these */
	attr->max_qp = DMAE_MAX_OBJECTS;
	attr->max_qp_wr = DMAE_MAX_QP_WR;
	attr->device_cap_flags = IB_DEVICE_RC_RNR_NAK_GEN |
				 IB_DEVICE_PORT_ACTIVE_EVENT |
				 IB_DEVICE_SYS_IMAGE_GUID |
				 IB_DEVICE_MEM_MGT_EXTENSIONS;
	attr->kernel_cap_flags = IBK_LOCAL_DMA_LKEY | IBK_ALLOW_USER_UNREG;
	attr->max_send_sge = DMAE_MAX_SGE;
	attr->max_recv_sge = DMAE_MAX_SGE;
	attr->max_sge_rd = DMAE_MAX_SGE;
	attr->max_cq = DMAE_MAX_OBJECTS;
	attr->max_cqe = DMAE_MAX_CQE;
	attr->max_mr = DMAE_MAX_OBJECTS;
	attr->max_pd = DMAE_MAX_OBJECTS;
	attr->max_qp_rd_atom = DMAE_MAX_RD_ATOMIC;
	attr->max_res_rd_atom = DMAE_MAX_RD_ATOMIC;
	attr->max_qp_init_rd_atom = DMAE_MAX_RD_ATOMIC;
	attr->atomic_cap = IB_ATOMIC_HCA;
	attr->max_ah = DMAE_MAX_OBJECTS;
	attr->max_srq = DMAE_MAX_OBJECTS;
	attr->max_srq_wr = DMAE_MAX_SRQ_WR;
	attr->max_srq_sge = DMAE_MAX_SGE;
	attr->max_fast_reg_page_list_len = DMAE_MAX_FRMR_PAGES;
	attr->max_pkeys = 1;
	dmae_odp_caps(attr);
	return 0;
}

static int dmae_query_port(struct ib_device *ib_dev, u32 port,
			   struct ib_port_attr *attr)
{
	struct net_device *ndev = ib_device_get_netdev(ib_dev, port);

	if (!ndev)
		return -ENODEV;

	if (netif_running(ndev) && netif_carrier_ok(ndev)) {
		attr->state = IB_PORT_ACTIVE;
		attr->phys_state = IB_PORT_PHYS_STATE_LINK_UP;
	} else {
		attr->state = IB_PORT_DOWN;
		attr->phys_state = IB_PORT_PHYS_STATE_DISABLED;
	}
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = iboe_get_mtu(READ_ONCE(ndev->mtu)) ?: IB_MTU_256;
	attr->gid_tbl_len = 1024;
	attr->pkey_tbl_len = 1;
	attr->port_cap_flags = IB_PORT_CM_SUP;
	attr->max_msg_sz = DMAE_MAX_MSG;
	attr->max_vl_num = 1;
	/* The least there is: nobody knows how fast the channel is. */
	attr->active_width = IB_WIDTH_1X;
	attr->active_speed = IB_SPEED_SDR;

	dev_put(ndev);
	return 0;
}

static int dmae_get_port_immutable(struct ib_device *ib_dev, u32 port,
				   struct ib_port_immutable *immutable)
{
	struct ib_port_attr attr;
	int err;

	err = ib_query_port(ib_dev, port, &attr);
	if (err)
		return err;
	immutable->core_cap_flags = RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP;
	immutable->pkey_tbl_len = attr.pkey_tbl_len;
	immutable->gid_tbl_len = attr.gid_tbl_len;
	immutable->max_mad_size = IB_MGMT_MAD_SIZE;
	return 0;
}

static enum rdma_link_layer dmae_get_link_layer(struct ib_device *ib_dev,
						u32 port)
{
	return IB_LINK_LAYER_ETHERNET;
}

static int dmae_query_pkey(struct ib_device *ib_dev, u32 port, u16 index,
			   u16 *pkey)
{
	if (index)
		return -EINVAL;
	*pkey = IB_DEFAULT_PKEY_FULL;
	return 0;
}

static int dmae_alloc_ucontext(struct ib_ucontext *uctx, struct ib_udata *udata)
{
	return dmae_udata_is_clear(udata) ? 0 : -EOPNOTSUPP;
}

static void dmae_dealloc_ucontext(struct ib_ucontext *uctx)
{
}

/* The rings outlive the device: there is no memory of it to take away. */
static void dmae_disassociate_ucontext(struct ib_ucontext *uctx)
{
}

static int dmae_alloc_pd(struct ib_pd *ibpd, struct ib_udata *udata)
{
	return dmae_udata_is_clear(udata) ? 0 : -EOPNOTSUPP;
}

static int dmae_dealloc_pd(struct ib_pd *ibpd, struct ib_udata *udata)
{
	return 0;
}

/* ---- address handles ---- */

bool dmae_gid_is_local(struct dmae_dev *dev, const union ib_gid *gid)
{
	const struct ib_gid_attr *attr;

	attr = rdma_find_gid(&dev->ib_dev, gid, IB_GID_TYPE_ROCE_UDP_ENCAP,
			     NULL);
	if (IS_ERR(attr))
		return false;
	rdma_put_gid_attr(attr);
	return true;
}

/* The addresses are GIDs: IPv4 addresses are the last bytes of theirs. */
static void dmae_ah_ipv4_header(struct iphdr *ip,
				const struct ib_global_route *grh)
{
	ip->version = IPVERSION;
	ip->ihl = sizeof(*ip) / sizeof(u32);
	ip->tos = grh->traffic_class;
	ip->tot_len = cpu_to_be16(sizeof(*ip));
	ip->frag_off = cpu_to_be16(IP_DF);
	ip->ttl = grh->hop_limit;
	ip->protocol = IPPROTO_UDP;
	memcpy(&ip->saddr, &grh->sgid_attr->gid.raw[12], sizeof(ip->saddr));
	memcpy(&ip->daddr, &grh->dgid.raw[12], sizeof(ip->daddr));
	ip->check = ip_fast_csum(ip, ip->ihl);
}

static void dmae_ah_ipv6_header(struct ib_grh *ip,
				const struct ib_global_route *grh)
{
	ip->version_tclass_flow = cpu_to_be32(6u << 28 |
					      grh->traffic_class << 20 |
					      (grh->flow_label & 0xfffff));
	ip->next_hdr = IPPROTO_UDP;
	ip->hop_limit = grh->hop_limit;
	ip->sgid = grh->sgid_attr->gid;
	ip->dgid = grh->dgid;
}

/*
 * What would be in front of a datagram if there was a wire: a header without
 * payload, as the handle does not know of any.
 */
static void dmae_ah_network_header(struct dmae_ah *ah,
				   const struct ib_global_route *grh)
{
	union rdma_network_hdr hdr = {};

	BUILD_BUG_ON(sizeof(hdr) != sizeof(ah->grh));
	if (rdma_gid_attr_network_type(grh->sgid_attr) == RDMA_NETWORK_IPV4)
		dmae_ah_ipv4_header(&hdr.roce4grh, grh);
	else
		dmae_ah_ipv6_header(&hdr.ibgrh, grh);
	memcpy(ah->grh, &hdr, sizeof(hdr));
}

static int dmae_ah_publish(struct dmae_dev *dev, struct dmae_ah *ah)
{
	unsigned long flags;
	int err;

	/* The kernel's CM makes them with spinlocks held. */
	xa_lock_irqsave(&dev->ahs, flags);
	err = __xa_alloc_cyclic(&dev->ahs, &ah->index, ah, xa_limit_31b,
				&dev->next_ah, GFP_ATOMIC);
	xa_unlock_irqrestore(&dev->ahs, flags);
	return err < 0 ? err : 0;
}

static int dmae_destroy_ah(struct ib_ah *ibah, u32 ah_flags)
{
	struct dmae_dev *dev = to_ddev(ibah->device);
	unsigned long flags;

	xa_lock_irqsave(&dev->ahs, flags);
	__xa_erase(&dev->ahs, to_dah(ibah)->index);
	xa_unlock_irqrestore(&dev->ahs, flags);
	return 0;
}

static int dmae_ah_resp(struct dmae_ah *ah, struct ib_udata *udata)
{
	struct dmae_create_ah_resp resp = { .ah = ah->index };

	if (udata->outlen < sizeof(resp))
		return -EINVAL;
	return ib_copy_to_udata(udata, &resp, sizeof(resp));
}

static int dmae_create_ah(struct ib_ah *ibah, struct rdma_ah_init_attr *init,
			  struct ib_udata *udata)
{
	const struct ib_global_route *grh = rdma_ah_read_grh(init->ah_attr);
	struct dmae_dev *dev = to_ddev(ibah->device);
	struct dmae_ah *ah = to_dah(ibah);
	int err;

	if (!dmae_udata_is_clear(udata))
		return -EOPNOTSUPP;
	ah->attr = *init->ah_attr;
	ah->attr.grh.sgid_attr = NULL;
	ah->local = dmae_gid_is_local(dev, &grh->dgid);
	dmae_ah_network_header(ah, grh);

	err = dmae_ah_publish(dev, ah);
	if (err || !udata)
		return err;
	err = dmae_ah_resp(ah, udata);
	if (err)
		dmae_destroy_ah(ibah, RDMA_DESTROY_AH_SLEEPABLE);
	return err;
}

static int dmae_query_ah(struct ib_ah *ibah, struct rdma_ah_attr *attr)
{
	*attr = to_dah(ibah)->attr;
	return 0;
}

/* The lock keeps the handle: whoever destroys it takes it out first. */
int dmae_ah_use(struct dmae_dev *dev, struct ib_pd *pd, u32 index, bool *local,
		u8 *grh)
{
	struct dmae_ah *ah;
	unsigned long flags;
	int err = -EINVAL;

	xa_lock_irqsave(&dev->ahs, flags);
	ah = xa_load(&dev->ahs, index);
	if (ah && ah->ibah.pd == pd) {
		*local = ah->local;
		memcpy(grh, ah->grh, sizeof(ah->grh));
		err = 0;
	}
	xa_unlock_irqrestore(&dev->ahs, flags);
	return err;
}

/* ---- counters ---- */

#define DMAE_STAT(member)						\
	[offsetof(struct dmae_stats, member) / sizeof(atomic64_t)] = {	\
		.name = #member						\
	}

static const struct rdma_stat_desc dmae_stat_descs[] = {
	DMAE_STAT(bytes),
	DMAE_STAT(descriptors),
	DMAE_STAT(faults),
	DMAE_STAT(fault_errors),
	DMAE_STAT(invalidations),
	DMAE_STAT(revocations),
	DMAE_STAT(doorbells),
	DMAE_STAT(rnr_naks),
};

static_assert(ARRAY_SIZE(dmae_stat_descs) * sizeof(atomic64_t) ==
	      sizeof(struct dmae_stats));

static struct rdma_hw_stats *dmae_alloc_hw_port_stats(struct ib_device *ib_dev,
						      u32 port)
{
	return rdma_alloc_hw_stats_struct(dmae_stat_descs,
					  ARRAY_SIZE(dmae_stat_descs),
					  RDMA_HW_STATS_DEFAULT_LIFESPAN);
}

static int dmae_get_hw_stats(struct ib_device *ib_dev,
			     struct rdma_hw_stats *stats, u32 port, int index)
{
	const atomic64_t *counter = (atomic64_t *)&to_ddev(ib_dev)->stats;
	int i;

	for (i = 0; i < ARRAY_SIZE(dmae_stat_descs); i++)
		stats->value[i] = atomic64_read(&counter[i]);
	return ARRAY_SIZE(dmae_stat_descs);
}

const struct ib_device_ops dmae_dev_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_DMAE,
	.uverbs_abi_ver = DMAE_UVERBS_ABI_VERSION,

	.advise_mr = dmae_advise_mr,
	.alloc_hw_port_stats = dmae_alloc_hw_port_stats,
	.alloc_mr = dmae_alloc_mr,
	.alloc_pd = dmae_alloc_pd,
	.alloc_ucontext = dmae_alloc_ucontext,
	.create_ah = dmae_create_ah,
	.create_cq = dmae_create_cq,
	.create_qp = dmae_create_qp,
	.create_srq = dmae_create_srq,
	.create_user_ah = dmae_create_ah,
	.dealloc_driver = dmae_dealloc_driver,
	.dealloc_pd = dmae_dealloc_pd,
	.dealloc_ucontext = dmae_dealloc_ucontext,
	.dereg_mr = dmae_dereg_mr,
	.destroy_ah = dmae_destroy_ah,
	.destroy_cq = dmae_destroy_cq,
	.destroy_qp = dmae_destroy_qp,
	.destroy_srq = dmae_destroy_srq,
	.disassociate_ucontext = dmae_disassociate_ucontext,
	.enable_driver = dmae_enable_driver,
	.get_dma_mr = dmae_get_dma_mr,
	.get_hw_stats = dmae_get_hw_stats,
	.get_link_layer = dmae_get_link_layer,
	.get_port_immutable = dmae_get_port_immutable,
	.map_mr_sg = dmae_map_mr_sg,
	.mmap = dmae_mmap,
	.mmap_free = dmae_mmap_free,
	.modify_qp = dmae_modify_qp,
	.modify_srq = dmae_modify_srq,
	.poll_cq = dmae_poll_cq,
	.post_recv = dmae_post_recv,
	.post_send = dmae_post_send,
	.post_srq_recv = dmae_post_srq_recv,
	.query_ah = dmae_query_ah,
	.query_device = dmae_query_device,
	.query_pkey = dmae_query_pkey,
	.query_port = dmae_query_port,
	.query_qp = dmae_query_qp,
	.query_srq = dmae_query_srq,
	.reg_user_mr = dmae_reg_user_mr,
	.reg_user_mr_dmabuf = dmae_reg_user_mr_dmabuf,
	.req_notify_cq = dmae_req_notify_cq,
	.rereg_user_mr = dmae_rereg_user_mr,

	INIT_RDMA_OBJ_SIZE(ib_ah, dmae_ah, ibah),
	INIT_RDMA_OBJ_SIZE(ib_cq, dmae_cq, ibcq),
	INIT_RDMA_OBJ_SIZE(ib_pd, dmae_pd, ibpd),
	INIT_RDMA_OBJ_SIZE(ib_qp, dmae_qp, ibqp),
	INIT_RDMA_OBJ_SIZE(ib_srq, dmae_srq, ibsrq),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, dmae_ucontext, ibuctx),
};
