// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Memory of AMD's GPUs, by the runtime below HIP. It makes the dma-buf of the block that
 * an allocation is from, and says where in it an address is.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kind.h"

/* hsa_status_t */
enum {
	HSA_STATUS_SUCCESS = 0,
	HSA_STATUS_ERROR_INVALID_ARGUMENT = 0x1001,
	HSA_STATUS_ERROR_INVALID_ALLOCATION = 0x1003,
	HSA_STATUS_ERROR_INVALID_AGENT = 0x1004,
	HSA_STATUS_ERROR_NOT_INITIALIZED = 0x100b,
};

/* hsa_amd_pointer_type_t */
enum {
	POINTER_HSA = 1,
	POINTER_GRAPHICS = 3,
	POINTER_IPC = 4,
	POINTER_RESERVED = 5,
};

/* hsa_agent_info_t, and AMD's */
enum {
	AGENT_DEVICE = 17,
	AGENT_BDFID = 0xa006,
	AGENT_DOMAIN = 0xa00f,
};

enum {
	DEVICE_GPU = 1,				/* hsa_device_type_t */
	SYSTEM_DMABUF_SUPPORTED = 0x204,	/* hsa_system_info_t, AMD's */
};

struct agent {
	uint64_t handle;
};

/* hsa_amd_pointer_info_t, of which an older library fills less. */
struct pointer_info {
	uint32_t size;
	uint32_t type;
	void *agent_base;
	void *host_base;
	size_t length;
	void *user;
	struct agent owner;
	uint32_t flags;
};

/* hsa_status_t is an enumeration. */
struct rocm {
	int (*status_string)(int status, const char **string);
	int (*pointer)(const void *ptr, struct pointer_info *info, void *(*alloc)(size_t),
		       uint32_t *agents_count, struct agent **agents);
	int (*agent)(struct agent agent, int attribute, void *value);
	int (*system)(int attribute, void *value);
	int (*export_dmabuf)(const void *ptr, size_t size, int *fd, uint64_t *offset);
	int (*close_dmabuf)(int fd);
};

#define NEEDS "ROCm 5.4"
#define FUNCTION(field, name, since) { name, offsetof(struct rocm, field), since }

static const struct kind_function to_look[] = {
	FUNCTION(status_string, "hsa_status_string", NEEDS),
	FUNCTION(pointer, "hsa_amd_pointer_info", NEEDS),
	FUNCTION(agent, "hsa_agent_get_info", NEEDS),
	{},
};

static const struct kind_function to_export[] = {
	FUNCTION(system, "hsa_system_get_info", NEEDS),
	FUNCTION(export_dmabuf, "hsa_amd_portable_export_dmabuf", NEEDS),
	FUNCTION(close_dmabuf, "hsa_amd_portable_close_dmabuf", NEEDS),
	{},
};

static int failed(const struct rocm *rocm, const char *what, int status,
		  struct memory_why *why)
{
	const char *string;

	if (rocm->status_string(status, &string))
		string = "error";
	why_say(why, "%s: %s (%#x)", what, string, status);
	switch (status) {
	case HSA_STATUS_ERROR_INVALID_ALLOCATION:
		return EINVAL;
	case HSA_STATUS_ERROR_INVALID_AGENT:
		return EOPNOTSUPP;
	default:
		return EIO;
	}
}

/* The host's memory has an agent as well, which is a CPU. */
static bool is_of_gpu(const struct rocm *rocm, const struct pointer_info *info)
{
	uint32_t device = 0;

	switch (info->type) {
	case POINTER_HSA:
	case POINTER_GRAPHICS:
	case POINTER_IPC:
	case POINTER_RESERVED:
		return info->owner.handle &&
		       !rocm->agent(info->owner, AGENT_DEVICE, &device) &&
		       device == DEVICE_GPU;
	default:
		return false;
	}
}

static int find(const struct rocm *rocm, uint64_t addr, struct pointer_info *info,
		struct memory_why *why)
{
	int status;

	*info = (struct pointer_info){ .size = sizeof(*info) };
	status = rocm->pointer((const void *)addr, info, NULL, NULL, NULL);
	switch (status) {
	case HSA_STATUS_SUCCESS:
		return is_of_gpu(rocm, info) ? 0 : ENOENT;
	case HSA_STATUS_ERROR_INVALID_ARGUMENT:
	case HSA_STATUS_ERROR_NOT_INITIALIZED:
		return ENOENT;
	default:
		return failed(rocm, "hsa_amd_pointer_info", status, why);
	}
}

/* The library crashes if it is asked for a dma-buf of what it did not allocate itself. */
static int check_type(const struct pointer_info *info, struct memory_why *why)
{
	switch (info->type) {
	case POINTER_HSA:
		return 0;
	case POINTER_RESERVED:
		why_say(why, "addresses of hsa_amd_vmem_address_reserve (expandable "
			"segments) have no dma-buf: use hipMalloc");
		return EOPNOTSUPP;
	default:
		why_say(why, "memory of another process or of graphics has no dma-buf "
			"here: register it where it was allocated");
		return EOPNOTSUPP;
	}
}

static int check_system(const struct rocm *rocm, struct memory_why *why)
{
	bool supported = true;

	/* Libraries that do not know it fail. */
	if (rocm->system(SYSTEM_DMABUF_SUPPORTED, &supported) || supported)
		return 0;
	why_say(why, "the kernel's amdgpu has no dma-bufs for ROCm: it needs "
		"CONFIG_DMABUF_MOVE_NOTIFY and CONFIG_PCI_P2PDMA");
	return EOPNOTSUPP;
}

/* A descriptor of the library is closed by the library, and the caller has its own. */
static int get_fd(const struct rocm *rocm, uint64_t addr, size_t length,
		  struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	int fd, own, ret, status;
	uint64_t offset;

	status = rocm->export_dmabuf((const void *)addr, length, &fd, &offset);
	if (status)
		return failed(rocm, "hsa_amd_portable_export_dmabuf", status, why);
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	ret = own < 0 ? errno : 0;
	rocm->close_dmabuf(fd);
	if (ret) {
		why_say(why, "no descriptor for the dma-buf: %s", strerror(ret));
		return ret;
	}
	dmabuf->fd = own;
	dmabuf->offset = offset;
	return 0;
}

static int rocm_export(void *library, uint64_t addr, size_t length,
		       struct memory_dmabuf *dmabuf, struct memory_why *why)
{
	struct pointer_info info;
	struct rocm rocm;
	int ret;

	ret = kind_load(library, to_look, &rocm, why);
	if (!ret)
		ret = find(&rocm, addr, &info, why);
	if (!ret)
		ret = check_type(&info, why);
	if (!ret)
		ret = kind_check_range(addr, length, (uintptr_t)info.agent_base,
				       info.length, why);
	if (!ret)
		ret = kind_load(library, to_export, &rocm, why);
	if (!ret)
		ret = check_system(&rocm, why);
	if (!ret)
		ret = get_fd(&rocm, addr, length, dmabuf, why);
	return ret;
}

static void fill_device(const struct rocm *rocm, struct agent agent,
			struct ibv_p2p_addr_attr *attr)
{
	uint32_t bdf, domain;

	fill_exporter(attr, "amdgpu");
	if (!rocm->agent(agent, AGENT_BDFID, &bdf) &&
	    !rocm->agent(agent, AGENT_DOMAIN, &domain))
		kind_fill_pci(attr, &(struct kind_pci){ domain, bdf >> 8, bdf >> 3, bdf });
}

static int rocm_query(void *library, uint64_t addr, struct ibv_p2p_addr_attr *attr)
{
	struct pointer_info info;
	struct memory_why why;
	struct rocm rocm;

	if (kind_load(library, to_look, &rocm, &why) || find(&rocm, addr, &info, &why))
		return ENOENT;
	kind_fill(attr, IBV_P2P_KIND_ROCM, addr, (uintptr_t)info.agent_base, info.length);
	fill_device(&rocm, info.owner, attr);
	return 0;
}

const struct memory_kind memory_rocm = {
	.name = "rocm",
	.soname = "libhsa-runtime64.so.1",
	.export = rocm_export,
	.query = rocm_query,
};
