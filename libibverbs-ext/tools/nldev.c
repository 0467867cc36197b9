// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
#include <errno.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <rdma/rdma_netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nldev.h"
#include "output.h"
#include "sysfs.h"

/* ---- what is in a message ---- */

enum { MAX_ATTR = RDMA_NLDEV_ATTR_MAX - 1 };

/* Names come from other processes too: nothing that a terminal or JSON would mind. */
static void set_text(char *text, size_t size, const struct nlattr *attr)
{
	snprintf(text, size, "%.*s", (int)strnlen(nla_data(attr), nla_len(attr)),
		 (const char *)nla_data(attr));
	make_printable(text);
}

static bool is_text(const struct nlattr *attr, const char *text)
{
	const size_t size = strlen(text) + 1;

	return nla_len(attr) == (int)size && !memcmp(nla_data(attr), text, size);
}

static uint64_t number(const struct nlattr *attr)
{
	uint64_t value = 0;

	if (nla_len(attr) == sizeof(uint32_t))
		return nla_get_u32(attr);
	if (nla_len(attr) == sizeof(uint64_t))
		memcpy(&value, nla_data(attr), sizeof(value));
	return value;
}

static struct mr *add_mr(struct mrs *mrs, struct nlattr *device, struct nlattr *mrn)
{
	struct mr *mr = mrs_add(mrs);

	set_text(mr->device, sizeof(mr->device), device);
	mr->mrn = number(mrn);
	return mr;
}

/* A driver's table has names and values in turns; how to print one may be between. */
static void set_driver_value(struct mr *mr, const struct nlattr *name,
			     const struct nlattr *value)
{
	if (is_text(name, "odp")) {
		set_text(mr->odp, sizeof(mr->odp), value);
	} else if (is_text(name, "memory")) {
		set_text(mr->memory, sizeof(mr->memory), value);
	} else if (is_text(name, "exporter")) {
		set_text(mr->exporter, sizeof(mr->exporter), value);
	} else if (is_text(name, "path")) {
		set_text(mr->path, sizeof(mr->path), value);
	} else if (is_text(name, "ranges")) {
		mr->ranges = number(value);
		mr->has |= MR_RANGES;
	} else if (is_text(name, "device_bytes")) {
		mr->bytes = number(value);
		mr->has |= MR_BYTES;
	} else if (is_text(name, "revoked")) {
		mr->revoked = number(value);
		mr->has |= MR_REVOKED;
	}
}

/* The series tells of an MR with on-demand paging, and if there is a device's memory. */
static void set_driver(struct mr *mr, struct nlattr *table)
{
	const struct nlattr *name = NULL;
	struct nlattr *attr;
	int left;

	nla_for_each_nested(attr, table, left) {
		if (nla_type(attr) == RDMA_NLDEV_ATTR_DRIVER_PRINT_TYPE)
			continue;
		if (name)
			set_driver_value(mr, name, attr);
		name = name ? NULL : attr;
	}
	if (*mr->odp && !*mr->memory)
		strcpy(mr->memory, "host");
}

static void set_owner(struct mr *mr, struct nlattr **tb)
{
	char name[sizeof(mr->command) - 2];

	if (tb[RDMA_NLDEV_ATTR_RES_PID]) {
		mr->pid = number(tb[RDMA_NLDEV_ATTR_RES_PID]);
		mr->has |= MR_PID;
	} else if (tb[RDMA_NLDEV_ATTR_RES_KERN_NAME]) {
		set_text(name, sizeof(name), tb[RDMA_NLDEV_ATTR_RES_KERN_NAME]);
		snprintf(mr->command, sizeof(mr->command), "[%s]", name);
	}
}

static void set_mr(struct mrs *mrs, struct nlattr *device, struct nlattr *entry)
{
	struct nlattr *tb[MAX_ATTR + 1];
	struct mr *mr;

	if (nla_parse_nested(tb, MAX_ATTR, entry, NULL) || !tb[RDMA_NLDEV_ATTR_RES_MRN])
		return;
	mr = add_mr(mrs, device, tb[RDMA_NLDEV_ATTR_RES_MRN]);
	set_owner(mr, tb);
	if (tb[RDMA_NLDEV_ATTR_RES_MRLEN])
		mr->length = number(tb[RDMA_NLDEV_ATTR_RES_MRLEN]);
	if (tb[RDMA_NLDEV_ATTR_RES_LKEY] && tb[RDMA_NLDEV_ATTR_RES_RKEY]) {
		mr->lkey = number(tb[RDMA_NLDEV_ATTR_RES_LKEY]);
		mr->rkey = number(tb[RDMA_NLDEV_ATTR_RES_RKEY]);
		mr->has |= MR_KEYS;
	}
	if (tb[RDMA_NLDEV_ATTR_DRIVER])
		set_driver(mr, tb[RDMA_NLDEV_ATTR_DRIVER]);
}

static void set_counter(struct mr *mr, struct nlattr *entry)
{
	static const struct {
		const char *name;
		enum mr_has has;
		size_t at;
		bool drivers_own;	/* no driver without the series has the others */
	} counters[] = {
		{ "faults", MR_FAULTS, offsetof(struct mr, faults), false },
		{ "invalidations", MR_INVALIDATIONS, offsetof(struct mr, invalidations),
		  false },
		{ "page_faults", MR_FAULTS, offsetof(struct mr, faults), true },
		{ "page_invalidations", MR_INVALIDATIONS,
		  offsetof(struct mr, invalidations), true },
		{ "device_maps", MR_MAPS, offsetof(struct mr, maps), false },
		{ "device_bytes", MR_BYTES, offsetof(struct mr, bytes), false },
	};
	struct nlattr *tb[MAX_ATTR + 1], *name, *value;
	uint64_t count;
	size_t i;

	if (nla_parse_nested(tb, MAX_ATTR, entry, NULL))
		return;
	name = tb[RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY_NAME];
	value = tb[RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY_VALUE];
	for (i = 0; name && value && i < sizeof(counters) / sizeof(*counters); i++) {
		if (!is_text(name, counters[i].name) ||
		    (counters[i].drivers_own && mr->has & counters[i].has))
			continue;
		count = number(value);
		memcpy((char *)mr + counters[i].at, &count, sizeof(count));
		mr->has |= counters[i].has;
	}
}

static void set_counters(struct mrs *mrs, struct nlattr *device, struct nlattr *entry)
{
	struct nlattr *tb[MAX_ATTR + 1], *counter;
	struct mr *mr;
	int left;

	if (nla_parse_nested(tb, MAX_ATTR, entry, NULL) || !tb[RDMA_NLDEV_ATTR_RES_MRN])
		return;
	mr = add_mr(mrs, device, tb[RDMA_NLDEV_ATTR_RES_MRN]);
	if (tb[RDMA_NLDEV_ATTR_STAT_HWCOUNTERS])
		nla_for_each_nested(counter, tb[RDMA_NLDEV_ATTR_STAT_HWCOUNTERS], left)
			set_counter(mr, counter);
}

/* Both dumps have the same frame. */
static void add_all(struct mrs *mrs, struct nlmsghdr *message,
		    void (*set)(struct mrs *mrs, struct nlattr *device,
				struct nlattr *entry))
{
	struct nlattr *tb[MAX_ATTR + 1], *entry;
	int left;

	if (nlmsg_parse(message, 0, tb, MAX_ATTR, NULL) ||
	    !tb[RDMA_NLDEV_ATTR_DEV_NAME] || !tb[RDMA_NLDEV_ATTR_RES_MR])
		return;
	nla_for_each_nested(entry, tb[RDMA_NLDEV_ATTR_RES_MR], left)
		if (nla_type(entry) == RDMA_NLDEV_ATTR_RES_MR_ENTRY)
			set(mrs, tb[RDMA_NLDEV_ATTR_DEV_NAME], entry);
}

void nldev_add_mrs(void *mrs, struct nlmsghdr *message)
{
	add_all(mrs, message, set_mr);
}

void nldev_add_counters(void *mrs, struct nlmsghdr *message)
{
	add_all(mrs, message, set_counters);
}

/* ---- devices ---- */

struct device {
	char name[64];
	uint32_t index;
};

struct devices {
	struct device *device;
	size_t nr;
};

static void add_device(void *to, struct nlmsghdr *message)
{
	struct nlattr *tb[MAX_ATTR + 1];
	struct devices *devices = to;
	struct device *d;

	if (nlmsg_parse(message, 0, tb, MAX_ATTR, NULL) ||
	    !tb[RDMA_NLDEV_ATTR_DEV_NAME] || !tb[RDMA_NLDEV_ATTR_DEV_INDEX])
		return;
	devices->device = grow(devices->device, devices->nr + 1,
			       sizeof(*devices->device));
	d = &devices->device[devices->nr++];
	set_text(d->name, sizeof(d->name), tb[RDMA_NLDEV_ATTR_DEV_NAME]);
	d->index = number(tb[RDMA_NLDEV_ATTR_DEV_INDEX]);
}

/* ---- dumps ---- */

struct dump {
	int op;				/* RDMA_NLDEV_CMD_* */
	const struct device *device;	/* or NULL */
	void (*add)(void *to, struct nlmsghdr *message);
	void *to;
	int error;			/* errno that the kernel ended it with */
};

static int on_message(struct nl_msg *msg, void *arg)
{
	struct dump *dump = arg;

	dump->add(dump->to, nlmsg_hdr(msg));
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	const struct nlmsghdr *message = nlmsg_hdr(msg);
	struct dump *dump = arg;
	int error;

	if (nlmsg_datalen(message) < (int)sizeof(error))
		return NL_OK;
	memcpy(&error, nlmsg_data(message), sizeof(error));
	dump->error = -error;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *answer, void *arg)
{
	struct dump *dump = arg;

	(void)from;
	dump->error = -answer->error;
	return NL_STOP;
}

static struct nl_msg *new_request(const struct dump *dump)
{
	struct nl_msg *msg = nlmsg_alloc_simple(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, dump->op),
						NLM_F_REQUEST | NLM_F_DUMP);

	if (!msg ||
	    (dump->device &&
	     nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, dump->device->index)) ||
	    (dump->op == RDMA_NLDEV_CMD_STAT_GET &&
	     nla_put_u32(msg, RDMA_NLDEV_ATTR_STAT_RES, RDMA_NLDEV_ATTR_RES_MR))) {
		complain("out of memory");
		exit(NO_ANSWER);
	}
	return msg;
}

/* 0 or an error of libnl's; dump->error is the kernel's. */
static int dump_all(struct nl_sock *sock, struct dump *dump)
{
	struct nl_msg *msg = new_request(dump);
	int ret;

	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, dump);
	nl_socket_modify_cb(sock, NL_CB_FINISH, NL_CB_CUSTOM, on_end, dump);
	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, on_error, dump);
	ret = nl_send_auto(sock, msg);
	nlmsg_free(msg);
	if (ret >= 0)
		ret = nl_recvmsgs_default(sock);
	return dump->error ? 0 : ret;
}

static bool list_devices(struct nl_sock *sock, struct devices *devices)
{
	struct dump dump = {
		.op = RDMA_NLDEV_CMD_GET, .add = add_device, .to = devices,
	};
	const int ret = dump_all(sock, &dump);

	if (ret < 0 || dump.error)
		complain("RDMA netlink does not list the RDMA devices: %s",
			 dump.error ? strerror(dump.error) : nl_geterror(ret));
	return ret >= 0 && !dump.error;
}

/* One that is gone meanwhile has none any more. */
static bool dump_device(struct nl_sock *sock, struct dump *dump, const char *what)
{
	const int ret = dump_all(sock, dump);

	if (ret >= 0 && !dump->error)
		return true;
	if (dump->error == EINVAL &&
	    !sysfs_exists("class/infiniband/%s", dump->device->name))
		return true;
	complain("RDMA netlink does not list %s of %s: %s", what, dump->device->name,
		 dump->error ? strerror(dump->error) : nl_geterror(ret));
	return false;
}

static bool read_device(struct nl_sock *sock, struct mrs *mrs, struct mrs *counters,
			const struct device *device)
{
	struct dump dump_mrs = {
		.op = RDMA_NLDEV_CMD_RES_MR_GET, .device = device,
		.add = nldev_add_mrs, .to = mrs,
	};
	struct dump dump_counters = {
		.op = RDMA_NLDEV_CMD_STAT_GET, .device = device,
		.add = nldev_add_counters, .to = counters,
	};

	return dump_device(sock, &dump_mrs, "the MRs") &&
	       dump_device(sock, &dump_counters, "the counters of MRs");
}

static bool read_devices(struct nl_sock *sock, struct mrs *mrs, const char *name,
			 const struct devices *devices)
{
	struct mrs counters = {};
	bool found = false, ok = true;
	size_t i;

	for (i = 0; ok && i < devices->nr; i++) {
		if (name && strcmp(name, devices->device[i].name))
			continue;
		found = true;
		ok = read_device(sock, mrs, &counters, &devices->device[i]);
	}
	mrs_join(mrs, &counters);
	mrs_free(&counters);
	if (name && !found)
		complain("there is no RDMA device %s; ibv_p2pinfo without arguments "
			 "lists them", name);
	return ok && (found || !name);
}

static struct nl_sock *connect_socket(void)
{
	struct nl_sock *sock = nl_socket_alloc();
	int ret;

	if (!sock) {
		complain("out of memory");
		exit(NO_ANSWER);
	}
	nl_socket_disable_auto_ack(sock);
	ret = nl_connect(sock, NETLINK_RDMA);
	if (!ret)
		return sock;
	if (ret == -NLE_PROTO_MISMATCH)
		complain("this kernel has no RDMA netlink: that is in the module "
			 "ib_core, which comes with the driver of any RDMA device");
	else
		complain("cannot connect to RDMA netlink: %s", nl_geterror(ret));
	nl_socket_free(sock);
	return NULL;
}

bool nldev_mrs(struct mrs *mrs, const char *device)
{
	struct nl_sock *sock = connect_socket();
	struct devices devices = {};
	bool ok = false;

	*mrs = (struct mrs){};
	if (!sock)
		return false;
	if (list_devices(sock, &devices)) {
		clock_gettime(CLOCK_MONOTONIC, &mrs->taken);
		ok = read_devices(sock, mrs, device, &devices);
	}
	if (!ok)
		mrs_free(mrs);
	free(devices.device);
	nl_socket_free(sock);
	return ok;
}
