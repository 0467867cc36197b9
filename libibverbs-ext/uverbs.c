// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <rdma/rdma_user_ioctl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "uverbs.h"

enum { MAX_ATTRS = 8, NO_OBJECT = 0xfff, DRIVER_IDS = 64, DRIVER_DMAE = 0x646d6165 };

struct call {
	struct ib_uverbs_ioctl_hdr hdr;
	struct ib_uverbs_attr attrs[MAX_ATTRS];
};

struct ib_uverbs_attr uverbs_object(uint16_t id, uint32_t handle)
{
	return (struct ib_uverbs_attr) {
		.attr_id = id,
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = handle,
	};
}

/* The kernel expects what fits in the attribute there. */
struct ib_uverbs_attr uverbs_in(uint16_t id, const void *data, size_t length)
{
	struct ib_uverbs_attr attr = {
		.attr_id = id,
		.len = length,
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = (uintptr_t)data,
	};

	if (length > sizeof(attr.data))
		return attr;
	attr.data = 0;
	if (length)
		memcpy(&attr.data, data, length);
	return attr;
}

struct ib_uverbs_attr uverbs_out(uint16_t id, void *data, size_t length)
{
	return (struct ib_uverbs_attr) {
		.attr_id = id,
		.len = length,
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = (uintptr_t)data,
	};
}

static int call(struct ibv_context *context, struct call *c, uint32_t driver)
{
	c->hdr.driver_id = driver;
	return ioctl(context->cmd_fd, RDMA_VERBS_IOCTL, c) ? errno : 0;
}

/* With the right number the kernel says that it does not know the object. */
static bool is_driver(struct ibv_context *context, uint32_t driver)
{
	struct call c = { .hdr = { .length = sizeof(c.hdr), .object_id = NO_OBJECT } };

	return call(context, &c, driver) == EPROTONOSUPPORT;
}

/*
 * The driver's number is part of each call, and of libibverbs' secrets; netlink does not
 * tell it of all drivers. A process mostly asks the one that it has asked before. 0 if
 * there is none.
 */
static uint32_t find_driver(struct ibv_context *context)
{
	static uint32_t last = DRIVER_DMAE;
	uint32_t driver = __atomic_load_n(&last, __ATOMIC_RELAXED);

	if (is_driver(context, driver))
		return driver;
	for (driver = 1; driver < DRIVER_IDS; driver++)
		if (is_driver(context, driver))
			break;
	if (driver == DRIVER_IDS)
		driver = is_driver(context, DRIVER_DMAE) ? DRIVER_DMAE : 0;
	if (driver)
		__atomic_store_n(&last, driver, __ATOMIC_RELAXED);
	return driver;
}

int uverbs_call(struct ibv_context *context, uint16_t object, uint16_t method,
		const struct ib_uverbs_attr *attrs, unsigned int nr)
{
	uint32_t driver = find_driver(context);
	struct call c = {
		.hdr = {
			.length = sizeof(c.hdr) + nr * sizeof(*attrs),
			.object_id = object,
			.method_id = method,
			.num_attrs = nr,
		},
	};

	if (!driver)
		return EPROTONOSUPPORT;
	memcpy(c.attrs, attrs, nr * sizeof(*attrs));
	return call(context, &c, driver);
}
