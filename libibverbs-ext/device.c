// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* Which ways there are for an RDMA device to come to device memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attr.h"
#include "uverbs.h"

enum { NO_FD = -1, MAX_NAME = 31 };

struct ways {
	struct ibv_p2p_device_attr attr;
	uint32_t import;	/* P2P_IMPORT_* */
	bool asked;		/* the kernel knows what we ask for */
};

static char *about(struct ways *w, enum ibv_p2p_way way)
{
	return w->attr.about[__builtin_ctz(way)];
}

#define say(w, way, ...) \
	snprintf(about(w, way), sizeof((w)->attr.about[0]), __VA_ARGS__)

static int ask_kernel(struct ibv_context *context, uint32_t *import,
		      const char *exporter, uint32_t *path)
{
	const struct ib_uverbs_attr attrs[] = {
		uverbs_out(QUERY_P2P_IMPORT, import, sizeof(*import)),
		uverbs_in(QUERY_P2P_EXPORTER, exporter,
			  exporter ? strlen(exporter) : 0),
		uverbs_out(QUERY_P2P_PATH, path, sizeof(*path)),
	};

	return uverbs_call(context, UVERBS_OBJECT_DEVICE,
			   UVERBS_METHOD_QUERY_P2P, attrs, exporter ? 3 : 1);
}

static void try_kernel(struct ways *w)
{
	if (w->import & P2P_IMPORT_ODP) {
		w->attr.ways |= IBV_P2P_WAY_KERNEL;
		say(w, IBV_P2P_WAY_KERNEL, "on-demand paging of this device");
	} else if (w->import & P2P_IMPORT_REVOKE) {
		w->attr.ways |= IBV_P2P_WAY_KERNEL;
		say(w, IBV_P2P_WAY_KERNEL,
		    "this device revokes an MR whose memory moves");
	} else if (w->asked) {
		say(w, IBV_P2P_WAY_KERNEL,
		    "this device has no on-demand paging, and cannot revoke an MR");
	} else {
		say(w, IBV_P2P_WAY_KERNEL,
		    "the kernel does not have the rdma-p2p series");
	}
}

static bool module_loaded(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return !access(path, F_OK);
}

/* The first character of the attribute that ib_p2p gives this device; 0: none. */
static char read_switch(struct ibv_context *context)
{
	char path[IBV_SYSFS_PATH_MAX + sizeof("/p2p")], state = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/p2p", context->device->ibdev_path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, &state, 1) != 1)
		state = 0;
	close(fd);
	return state;
}

static void try_module(struct ways *w, struct ibv_context *context)
{
	const char state = read_switch(context);

	if (!module_loaded("ib_p2p")) {
		say(w, IBV_P2P_WAY_MODULE,
		    "the module ib_p2p is not loaded: modprobe ib_p2p");
	} else if (!state) {
		say(w, IBV_P2P_WAY_MODULE, "ib_p2p leaves this device alone: its driver "
		    "takes no dma-buf MRs");
	} else if (state != '1') {
		say(w, IBV_P2P_WAY_MODULE, "off for this device: echo 1 > "
		    "/sys/class/infiniband/%s/p2p", context->device->name);
	} else {
		w->attr.ways |= IBV_P2P_WAY_MODULE;
		say(w, IBV_P2P_WAY_MODULE, "ib_p2p");
	}
}

/* The first that has registered with a kernel that has such an interface. */
static bool peer_memory_client(char *name, size_t size)
{
	DIR *dir = opendir("/sys/kernel/mm/memory_peers");
	bool found = false;
	struct dirent *d;

	if (!dir)
		return false;
	while (!found && (d = readdir(dir))) {
		found = d->d_name[0] != '.';
		if (found)
			snprintf(name, size, "%.63s", d->d_name);
	}
	closedir(dir);
	return found;
}

/* rxe and siw have no device below them. */
static bool masters_bus(struct ibv_context *context)
{
	char path[IBV_SYSFS_PATH_MAX + sizeof("/device")];

	snprintf(path, sizeof(path), "%s/device", context->device->ibdev_path);
	return !access(path, F_OK);
}

static void try_peer_memory(struct ways *w, struct ibv_context *context)
{
	char name[64];

	if (!masters_bus(context)) {
		say(w, IBV_P2P_WAY_PEER_MEMORY, "this RDMA device does no DMA");
	} else if (peer_memory_client(name, sizeof(name)) ||
	    (module_loaded("nvidia_peermem") &&
	     snprintf(name, sizeof(name), "nvidia_peermem") > 0)) {
		w->attr.ways |= IBV_P2P_WAY_PEER_MEMORY;
		say(w, IBV_P2P_WAY_PEER_MEMORY, "%s", name);
	} else {
		say(w, IBV_P2P_WAY_PEER_MEMORY,
		    "no module for it is loaded, such as nvidia_peermem");
	}
}

/* A driver that takes dma-bufs finds that this one is none. */
static void try_dmabuf(struct ways *w, struct ibv_context *context)
{
	struct ibv_pd *pd = ibv_alloc_pd(context);
	struct ibv_mr *mr;
	int err;

	if (!pd) {
		say(w, IBV_P2P_WAY_DMABUF, "there is no PD to try it with: %s",
		    strerror(errno));
		return;
	}
	mr = ibv_reg_dmabuf_mr(pd, 0, sysconf(_SC_PAGESIZE), 0, NO_FD,
			       IBV_ACCESS_LOCAL_WRITE);
	err = errno;
	if (mr)
		ibv_dereg_mr(mr);
	ibv_dealloc_pd(pd);
	if (mr || err == EBADF) {
		w->attr.ways |= IBV_P2P_WAY_DMABUF;
		say(w, IBV_P2P_WAY_DMABUF, "this device's driver takes dma-bufs");
	} else {
		say(w, IBV_P2P_WAY_DMABUF,
		    "this device's driver takes no dma-bufs: %s", strerror(err));
	}
}

int ibv_p2p_query_device(struct ibv_context *context,
			 struct ibv_p2p_device_attr *attr, size_t inlen)
{
	struct ways w = {};

	if (!context || !attr || inlen < DEVICE_ATTR_V1)
		return EINVAL;
	w.asked = !ask_kernel(context, &w.import, NULL, NULL);
	try_kernel(&w);
	try_dmabuf(&w, context);
	try_module(&w, context);
	try_peer_memory(&w, context);
	attr_give(attr, inlen, &w.attr, sizeof(w.attr));
	return 0;
}

int ibv_p2p_query_path(struct ibv_context *context, const char *pci_address,
		       enum ibv_p2p_via *via)
{
	uint32_t import, path = IBV_P2P_VIA_UNKNOWN;
	int ret;

	if (!context || !pci_address || !*pci_address || strlen(pci_address) > MAX_NAME ||
	    !via)
		return EINVAL;
	ret = ask_kernel(context, &import, pci_address, &path);
	/* EINVAL: to this kernel the method's number is that of another one. */
	if (ret)
		return ret == EPROTONOSUPPORT || ret == EINVAL ? EOPNOTSUPP : ret;
	*via = path;
	return 0;
}
