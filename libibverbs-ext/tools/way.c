// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "sysfs.h"
#include "way.h"

#define SWITCH "module/pci/parameters/p2p_user_bars"

struct kernel kernel_way(void)
{
	char text[8];

	return (struct kernel){
		.series = sysfs_exists(SWITCH),
		.bars_off = sysfs_text(text, sizeof(text), SWITCH) && *text == 'N',
		.module = sysfs_exists("module/ib_p2p"),
		.dmabuf = sysfs_exists("module/p2p_dmabuf"),
		.nvidia_peer = sysfs_exists("module/nvidia_peermem") ||
			       sysfs_exists("kernel/mm/memory_peers/nv_mem"),
		.amd_peer = sysfs_exists("kernel/mm/memory_peers/amdkfd"),
	};
}

char *kernel_text(const struct kernel *k)
{
	const bool peer = k->nvidia_peer || k->amd_peer;

	if (!k->series && !k->module && !peer)
		return text_of("this kernel gives ibv_reg_mr no device memory (it has "
			       "neither the p2p series nor ib_p2p nor peer memory)");
	return text_of("this kernel gives ibv_reg_mr device memory by:%s%s%s%s%s",
		       k->series ? " the p2p series" : "",
		       k->series && k->bars_off ? " (but no BARs: p2p_user_bars=0)" : "",
		       k->module ? " ib_p2p" : "",
		       k->nvidia_peer ? " nvidia_peermem" : "",
		       k->amd_peer ? " amdkfd's peer memory" : "");
}

const char *way_name(enum way_kind kind)
{
	static const char *const names[] = {
		[WAY_NONE] = "none", [WAY_KERNEL] = "kernel", [WAY_MODULE] = "module",
		[WAY_PEER] = "peer", [WAY_DMABUF] = "dma-buf",
	};

	return names[kind];
}

/* Drivers whose dma-bufs stay in the device when a peer maps them. */
static bool exports_dmabuf(const struct memory *m)
{
	static const char *const drivers[] = {
		"nvidia", "amdgpu", "xe", "habanalabs",
	};
	size_t i;

	for (i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
		if (!strcmp(m->function->driver, drivers[i]))
			return true;
	return false;
}

static bool has_peer(const struct kernel *k, const struct nic *nic,
		     const struct memory *m)
{
	if (strcmp(nic->can->name, "mlx5"))
		return false;
	return (k->nvidia_peer && !strcmp(m->function->driver, "nvidia")) ||
	       (k->amd_peer && !strcmp(m->function->driver, "amdgpu"));
}

/* Only buffers of a GPU's DRM driver are no BARs that a process has mapped. */
static bool series_takes(const struct kernel *k, const struct nic *nic,
			 const struct memory *m)
{
	return k->series && nic->can->odp && (!k->bars_off || m->kind == MEMORY_GPU);
}

/* A pointer of a library's, of which nothing is mapped. */
static const char *no_mapping(const struct memory *m)
{
	return strcmp(m->function->driver, "nvidia") ? "" :
	       " A CUDA pointer is no mapping: that takes a dma-buf.";
}

/* What would make plain ibv_reg_mr() take what is mapped. */
static char *what_would(const struct kernel *k, const struct nic *nic)
{
	if (nic->hooked)
		return text_of("ib_p2p would have ibv_reg_mr take what a process has "
			       "mapped, but is switched off for %s: echo 1 > "
			       "/sys/class/infiniband/%s/p2p", nic->name, nic->name);
	if (k->module)
		return text_of("ib_p2p would have ibv_reg_mr take what a process has "
			       "mapped, but leaves %s alone: dmesg may say why.",
			       nic->name);
	return text_of("With ib_p2p (modprobe ib_p2p), or the p2p series in the kernel, "
		       "ibv_reg_mr takes what a process has mapped.");
}

static char *why_no_dmabuf(const struct kernel *k, const struct nic *nic,
			   const struct memory *m)
{
	const char *driver = *nic->driver ? nic->driver : nic->name;
	const char *exporter = m->function->driver;
	char *would = what_would(k, nic);
	char *text = *exporter ?
		text_of("ibv_reg_mr says EFAULT. %s takes dma-bufs, but %s exports none. "
			"%s", driver, exporter, would) :
		text_of("ibv_reg_mr says EFAULT. %s takes dma-bufs, but without a driver "
			"nobody exports any. %s", driver, would);

	free(would);
	return text;
}

/* Not by ibv_reg_mr(), as ib_p2p would have it, but for whoever asks for it. */
static char *by_p2p_dmabuf(const struct kernel *k, const struct nic *nic)
{
	char *would = what_would(k, nic);
	char *text = text_of("Plain ibv_reg_mr says EFAULT. p2p_dmabuf makes a dma-buf of "
			     "what a process has mapped, and %s takes it: ibv_p2p_reg_mr, "
			     "or ibv_p2prun. %s", nic->driver, would);

	free(would);
	return text;
}

static char *why_none(const struct kernel *k, const struct nic *nic,
		      const struct memory *m)
{
	const char *driver = *nic->driver ? nic->driver : nic->name;

	if (k->series && nic->can->odp && k->bars_off)
		return text_of("The export of BARs is switched off: echo 1 > "
			       "/sys/module/pci/parameters/p2p_user_bars");
	if (nic->can->copies && nic->can->odp)
		return text_of("%s takes device memory only on a kernel with the p2p "
			       "series.", driver);
	if (!nic->can->dmabuf && nic->asked)
		return text_of("%s: %s; %s.", driver, nic->no_series, nic->no_dmabuf);
	if (!nic->can->dmabuf)
		return text_of("%s takes no dma-bufs, and is not known for on-demand "
			       "paging, which the p2p series needs.", driver);
	return why_no_dmabuf(k, nic, m);
}

/* Peer memory and dma-bufs of GPUs go by the vendor's library, whatever is mapped. */
struct way way_find(const struct kernel *k, const struct nic *nic,
		    const struct memory *m, const struct path *path)
{
	const char *driver = m->function->driver;

	if (has_peer(k, nic, m))
		return (struct way){ WAY_PEER, text_of("Pinned, by the peer memory of "
			"%s, which does not ask PCI for a path: ibv_p2pinfo test shows "
			"whether bytes get there.", driver) };
	if (path->kind == PATH_NONE)
		return (struct way){ WAY_NONE, text_of("Without a path ibv_reg_mr fails "
			"(EREMOTEIO with the p2p series or ib_p2p, else EFAULT).") };
	if (series_takes(k, nic, m))
		return (struct way){ WAY_KERNEL, text_of("The p2p series maps what a "
			"process has mapped: a BAR, or a buffer that a driver exports.%s",
			no_mapping(m)) };
	if (k->module && nic->hook_on)
		return (struct way){ WAY_MODULE, text_of("ib_p2p makes a dma-buf of what "
			"a process has mapped, and %s takes it.%s", nic->driver,
			no_mapping(m)) };
	if (nic->can->dmabuf && exports_dmabuf(m))
		return (struct way){ WAY_DMABUF, text_of("Plain ibv_reg_mr says EFAULT. "
			"%s takes dma-bufs and %s exports them: ibv_reg_dmabuf_mr.",
			nic->driver, driver) };
	if (nic->can->dmabuf && k->dmabuf)
		return (struct way){ WAY_DMABUF, by_p2p_dmabuf(k, nic) };
	return (struct way){ WAY_NONE, why_none(k, nic, m) };
}
