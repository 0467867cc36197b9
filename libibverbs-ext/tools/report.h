/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* How a test went, and what would make it work. */
#ifndef REPORT_H
#define REPORT_H

#include <infiniband/verbs_p2p.h>

#include "inventory.h"
#include "target.h"

struct report {
	const struct inventory *inventory;
	const struct nic *nic;
	bool json;
	int reg_error;		/* errno of ibv_reg_mr(), or 0 */
	int test_error;		/* what ibv_p2p_test_path() returned */
	struct ibv_p2p_path_attr attr;
};

void report_print(const struct report *report, const struct target *target);

#endif
