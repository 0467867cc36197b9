// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* What the kernel knows of the memory of an MR. */
#include <errno.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <string.h>

#include "attr.h"
#include "uverbs.h"

enum { MAX_RANGES = 1000 };	/* an attribute has less than 64 KiB */

static int query(struct ibv_mr *mr, const struct ib_uverbs_attr *attrs,
		 unsigned int nr)
{
	int ret = uverbs_call(mr->context, UVERBS_OBJECT_MR,
			      UVERBS_METHOD_QUERY_MR_MEMORY, attrs, nr);

	/* EINVAL: to this kernel the method's number is that of another one. */
	return ret == EPROTONOSUPPORT || ret == EINVAL ? EOPNOTSUPP : ret;
}

int ibv_p2p_query_mr(struct ibv_mr *mr, struct ibv_p2p_mr_attr *attr,
		     size_t inlen)
{
	struct ibv_p2p_mr_attr full = {};
	struct mr_memory memory = {};
	const struct ib_uverbs_attr attrs[] = {
		uverbs_object(MR_MEMORY_HANDLE, mr ? mr->handle : 0),
		uverbs_out(MR_MEMORY_RESP, &memory, sizeof(memory)),
	};
	int ret;

	if (!mr || !attr || inlen < MR_ATTR_V1)
		return EINVAL;
	ret = query(mr, attrs, 2);
	if (ret)
		return ret;
	full.flags = memory.flags;
	full.ranges = memory.ranges;
	full.bytes = memory.bytes;
	full.maps = memory.maps;
	full.faults = memory.faults;
	full.invalidations = memory.invalidations;
	attr_give(attr, inlen, &full, sizeof(full));
	return 0;
}

int ibv_p2p_query_mr_ranges(struct ibv_mr *mr, uint64_t from,
			    struct ibv_p2p_mr_range *ranges, uint32_t max,
			    uint32_t *nr)
{
	const uint32_t room = max < MAX_RANGES ? max : MAX_RANGES;
	struct mr_memory memory = {};
	const struct ib_uverbs_attr attrs[] = {
		uverbs_object(MR_MEMORY_HANDLE, mr ? mr->handle : 0),
		uverbs_out(MR_MEMORY_RESP, &memory, sizeof(memory)),
		uverbs_in(MR_MEMORY_FROM, &from, sizeof(from)),
		uverbs_out(MR_MEMORY_NR_RANGES, nr, sizeof(*nr)),
		uverbs_out(MR_MEMORY_RANGES, ranges, room * sizeof(*ranges)),
	};

	if (!mr || !ranges || !max || !nr)
		return EINVAL;
	return query(mr, attrs, 5);
}
