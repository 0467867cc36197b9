// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Fails to compile when struct verbs_context_ops is not what libibverbs has:
 * list-ops made ops-order.h from the library.
 */
#include "verbs-private.h"

#define OP(index, op)							\
	static_assert(offsetof(struct verbs_context_ops, op) ==		\
		      (index) * sizeof(void *), "not this libibverbs: " #op);
#include "ops-order.h"
