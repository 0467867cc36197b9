// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "output.h"
#include "sysfs.h"

/* ---- RDMA devices ---- */

static struct ibv_device *find_device(struct ibv_device **list, const char *name)
{
	for (; list && *list; list++)
		if (!strcmp(ibv_get_device_name(*list), name))
			return *list;
	return NULL;
}

/* What libibverbs tried last is not what failed first. */
static char *why_not_opened(const char *name, const struct ibv_device *device, int error)
{
	char path[IBV_SYSFS_NAME_MAX + 32];

	if (!device)
		return text_of("cannot open %s: no such device in libibverbs", name);
	snprintf(path, sizeof(path), "/dev/infiniband/%s", device->dev_name);
	if (access(path, R_OK | W_OK))
		return text_of("cannot open %s (%s): %s", path, name, strerror(errno));
	return text_of("cannot open %s: %s", name, strerror(error));
}

struct ibv_context *ask_open(const char *name, char **why)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_device *device = find_device(list, name);
	struct ibv_context *context = device ? ibv_open_device(device) : NULL;

	if (!context)
		*why = why_not_opened(name, device, errno);
	if (list)
		ibv_free_device_list(list);
	return context;
}

/* ---- what they say ---- */

static struct nic *own(struct inventory *inv, const struct nic *nic)
{
	return &inv->nics[nic - inv->nics];
}

static const char *about(const struct ibv_p2p_device_attr *attr, enum ibv_p2p_way way)
{
	return attr->ways & way ? "" : attr->about[__builtin_ctz(way)];
}

/* Without the series, on-demand paging is not for device memory, and not told. */
static void ask_device(struct nic *nic, struct ibv_context *context)
{
	struct ibv_p2p_device_attr attr;

	if (ibv_p2p_query_device(context, &attr, sizeof(attr)))
		return;
	nic->own = *nic->can;
	nic->own.dmabuf = attr.ways & IBV_P2P_WAY_DMABUF;
	if (kernel_way().series)
		nic->own.odp = attr.ways & IBV_P2P_WAY_KERNEL;
	snprintf(nic->no_series, sizeof(nic->no_series), "%.127s",
		 about(&attr, IBV_P2P_WAY_KERNEL));
	snprintf(nic->no_dmabuf, sizeof(nic->no_dmabuf), "%.127s",
		 about(&attr, IBV_P2P_WAY_DMABUF));
	nic->can = &nic->own;
	nic->asked = true;
}

static bool path_of(enum ibv_p2p_via via, enum path_kind *kind)
{
	static const struct { enum ibv_p2p_via via; enum path_kind kind; } paths[] = {
		{ IBV_P2P_VIA_NONE, PATH_NONE }, { IBV_P2P_VIA_CPU, PATH_CPU },
		{ IBV_P2P_VIA_BUS, PATH_BUS }, { IBV_P2P_VIA_HOST, PATH_HOST },
		{ IBV_P2P_VIA_IOMMU, PATH_HOST },
	};
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		if (paths[i].via != via)
			continue;
		*kind = paths[i].kind;
		return true;
	}
	return false;
}

static void ask_path(struct nic *nic, struct ibv_context *context,
		     const struct function *function)
{
	struct told told = { .function = function };
	enum ibv_p2p_via via;

	if (ibv_p2p_query_path(context, function->name, &via) ||
	    !path_of(via, &told.kind))
		return;
	told.translated = via == IBV_P2P_VIA_IOMMU;
	nic->told = grow(nic->told, nic->nr_told + 1, sizeof(*nic->told));
	nic->told[nic->nr_told++] = told;
}

void ask_one(struct inventory *inv, const struct nic *nic, struct ibv_context *context,
	     const struct function *function)
{
	if (sysfs_made_up())
		return;
	ask_device(own(inv, nic), context);
	ask_path(own(inv, nic), context, function);
}

static void ask_nic(struct nic *nic, const struct shown *shown)
{
	struct ibv_context *context;
	char *why;
	size_t i;

	context = ask_open(nic->name, &why);
	if (!context) {
		snprintf(nic->unasked, sizeof(nic->unasked),
			 "The kernel was not asked: %s.", why);
		free(why);
		return;
	}
	ask_device(nic, context);
	for (i = 0; i < shown->nr_memories; i++)
		ask_path(nic, context, shown->memories[i]->function);
	ibv_close_device(context);
}

void ask_all(struct inventory *inv, const struct shown *shown)
{
	size_t i;

	for (i = 0; !sysfs_made_up() && i < shown->nr_nics; i++)
		ask_nic(own(inv, shown->nics[i]), shown);
}
