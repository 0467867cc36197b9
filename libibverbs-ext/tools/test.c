// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* Does memory register, and do bytes get there and back? */
#include <errno.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "p2pinfo.h"
#include "pairs.h"
#include "report.h"
#include "target.h"

enum { ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
		IBV_ACCESS_REMOTE_READ };

static struct ibv_context *open_device(const char *name)
{
	char *why;
	struct ibv_context *context = ask_open(name, &why);

	if (context)
		return context;
	complain("%s. /dev/infiniband/uverbs* has to be there for this user (module "
		 "ib_uverbs), and the provider library of its driver (package "
		 "ibverbs-providers)", why);
	free(why);
	return NULL;
}

static enum exit_status test_mr(struct report *r, const struct target *t,
				struct ibv_pd *pd)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, t->addr, t->length, ACCESS);

	if (!mr) {
		r->reg_error = errno;
		return ANSWER_NO;
	}
	r->test_error = ibv_p2p_test_path(mr, t->addr, t->length, 0, &r->attr,
					  sizeof(r->attr));
	ibv_dereg_mr(mr);
	if (r->test_error)
		return NO_ANSWER;
	return r->attr.status == IBV_P2P_PATH_WORKS ? ANSWER_YES : ANSWER_NO;
}

static enum exit_status test_target(struct inventory *inv, struct report *r,
				    const struct target *t)
{
	struct ibv_context *context = open_device(r->nic->name);
	enum exit_status status;
	struct ibv_pd *pd;

	if (!context)
		return NO_ANSWER;
	pd = ibv_alloc_pd(context);
	if (pd) {
		status = test_mr(r, t, pd);
		if (t->function)
			ask_one(inv, r->nic, context, t->function);
		report_print(r, t);
		ibv_dealloc_pd(pd);
	} else {
		complain("%s gives no protection domain: %s", r->nic->name,
			 strerror(errno));
		status = NO_ANSWER;
	}
	ibv_close_device(context);
	return status;
}

static const struct nic *find_nic(const struct inventory *inv, const char *name)
{
	const struct nic *nic = inventory_nic(inv, name);

	if (!nic)
		complain("there is no RDMA device %s; ibv_p2pinfo without arguments "
			 "lists them", name);
	return nic;
}

static enum exit_status run(const struct options *options, struct inventory *inv,
			    char **argv)
{
	struct report report = { .inventory = inv, .json = options->json };
	struct target target;
	enum exit_status status;

	status = target_parse(&target, &inv->topology, options, argv[1]);
	if (status)
		return status;
	report.nic = find_nic(inv, argv[0]);
	if (!report.nic)
		return NO_ANSWER;
	status = target_map(&target);
	if (status)
		return status;
	status = test_target(inv, &report, &target);
	target_unmap(&target);
	return status;
}

enum exit_status test_command(const struct options *options, int argc, char **argv)
{
	enum exit_status status;
	struct inventory inv;

	if (argc != 2) {
		complain("test takes an RDMA device and a memory, such as: "
			 "ibv_p2pinfo test mlx5_0 0000:42:00.0:1, or: test mlx5_0 host");
		return WRONG_USAGE;
	}
	inventory_read(&inv);
	status = run(options, &inv, argv);
	inventory_free(&inv);
	return status;
}
