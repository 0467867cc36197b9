/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/* Methods of the kernel's that libibverbs does not know: as in its uapi headers. */
#ifndef UVERBS_H
#define UVERBS_H

#include <infiniband/verbs.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stddef.h>
#include <stdint.h>

/* Of UVERBS_OBJECT_DEVICE: what it imports, and how. */
enum { UVERBS_METHOD_QUERY_P2P = 20 };
enum { QUERY_P2P_EXPORTER, QUERY_P2P_IMPORT, QUERY_P2P_PATH };
enum { P2P_IMPORT_ODP = 1 << 0, P2P_IMPORT_REVOKE = 1 << 1,
       P2P_IMPORT_DMABUF = 1 << 2 };

/* Of UVERBS_OBJECT_MR. */
enum { UVERBS_METHOD_QUERY_MR_MEMORY = 20 };
enum { MR_MEMORY_HANDLE, MR_MEMORY_RESP, MR_MEMORY_FROM, MR_MEMORY_RANGES,
       MR_MEMORY_NR_RANGES };

struct mr_memory {
	uint32_t flags, ranges;
	uint64_t bytes, maps, faults, invalidations;
};

struct ib_uverbs_attr uverbs_object(uint16_t id, uint32_t handle);
/* Up to 64 KiB each; what attr points to stays there until uverbs_call(). */
struct ib_uverbs_attr uverbs_in(uint16_t id, const void *data, size_t length);
struct ib_uverbs_attr uverbs_out(uint16_t id, void *data, size_t length);

/*
 * Call a method with nr attributes. 0 or an errno: EPROTONOSUPPORT if the kernel does
 * not have it.
 */
int uverbs_call(struct ibv_context *context, uint16_t object, uint16_t method,
		const struct ib_uverbs_attr *attrs, unsigned int nr);

#endif
