// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Functions of the C library that libibverbs calls, before that one's own. Most
 * commands are told to be unknown as ioctls, so that they come by write(), in
 * the structures of rdma/ib_user_verbs.h.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fake-kernel.h"

#define DEVICES "/dev/infiniband/"

struct fake_kernel kernel;
static int device_fd = -1;
static char sysfs[] = "/tmp/dmae-abi-XXXXXX";

/* ---- the device's file: /dev/null, under another name ---- */

static const char *file_of(const char *path)
{
	return strncmp(path, DEVICES, strlen(DEVICES)) ? path : "/dev/null";
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode, fd;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	fd = openat(AT_FDCWD, file_of(path), flags, mode);
	if (file_of(path) != path)
		device_fd = fd;
	return fd;
}

int stat(const char *path, struct stat *buf)
{
	return fstatat(AT_FDCWD, file_of(path), buf, 0);
}

/* Without netlink, libibverbs looks into sysfs. */
int socket(int domain, int type, int protocol)
{
	errno = EAFNOSUPPORT;
	return -1;
}

/* ---- commands ---- */

static void respond(void *to, size_t size)
{
	memset(to, 0, size);
	if (kernel.answer)
		memcpy(to, kernel.answer, size < kernel.answer_size ?
					  size : kernel.answer_size);
	kernel.answer = NULL;
}

static void take_request(const void *request, size_t size)
{
	if (size > sizeof(kernel.request))
		errx(1, "a command of %zu bytes", size);
	memset(kernel.request, 0, sizeof(kernel.request));
	memcpy(kernel.request, request, size);
	kernel.request_size = size;
}

ssize_t write(int fd, const void *buf, size_t size)
{
	const struct ib_uverbs_cmd_hdr *hdr = buf;
	const struct ib_uverbs_ex_cmd_hdr *ex = (const void *)(hdr + 1);
	uint64_t response = 0;

	if (fd < 0 || fd != device_fd)
		return syscall(SYS_write, fd, buf, size);
	kernel.command = hdr->command;
	if (hdr->command & IB_USER_VERBS_CMD_FLAG_EXTENDED) {
		take_request(ex + 1, size - sizeof(*hdr) - sizeof(*ex));
		kernel.response_size = 8 * (hdr->out_words +
					    ex->provider_out_words);
		response = ex->response;
	} else {
		take_request(hdr + 1, size - sizeof(*hdr));
		kernel.response_size = 4 * hdr->out_words;
		if (hdr->out_words)
			memcpy(&response, kernel.request, sizeof(response));
	}
	kernel.response = (void *)(uintptr_t)response;
	if (kernel.response)
		respond(kernel.response, kernel.response_size);
	return size;
}

const struct ib_uverbs_attr *fake_kernel_attr(uint16_t id)
{
	for (int i = 0; i < kernel.ioctl.num_attrs; i++)
		if (kernel.attrs[i].attr_id == id)
			return &kernel.attrs[i];
	return NULL;
}

static void put(struct ib_uverbs_attr *attr, uint64_t value)
{
	memcpy((void *)(uintptr_t)attr->data, &value, attr->len);
}

static int do_command(struct ib_uverbs_ioctl_hdr *hdr)
{
	struct ib_uverbs_attr *attr = hdr->attrs;

#define COMMAND(object, method) ((object) << 16 | (method))
	switch (COMMAND(hdr->object_id, hdr->method_id)) {
	case COMMAND(UVERBS_OBJECT_ASYNC_EVENT, UVERBS_METHOD_ASYNC_EVENT_ALLOC):
		attr->data_s64 = dup(device_fd);
		return 0;
	case COMMAND(UVERBS_OBJECT_DEVICE, UVERBS_METHOD_GET_CONTEXT):
	case COMMAND(UVERBS_OBJECT_MR, UVERBS_METHOD_REG_DMABUF_MR):
	case COMMAND(UVERBS_OBJECT_MR, UVERBS_METHOD_ADVISE_MR):
		break;
	default:
		return EPROTONOSUPPORT;
	}
	if (hdr->num_attrs > sizeof(kernel.attrs) / sizeof(kernel.attrs[0]))
		errx(1, "an ioctl of %u attributes", hdr->num_attrs);
	kernel.ioctl = *hdr;
	memcpy(kernel.attrs, hdr->attrs, hdr->num_attrs * sizeof(*hdr->attrs));

	for (; attr < hdr->attrs + hdr->num_attrs; attr++) {
		if (hdr->object_id == UVERBS_OBJECT_DEVICE) {
			if (attr->attr_id == UVERBS_ATTR_GET_CONTEXT_NUM_COMP_VECTORS)
				put(attr, FAKE_COMP_VECTORS);
			if (attr->attr_id == UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT)
				put(attr, FAKE_CORE_SUPPORT);
		} else if (hdr->method_id == UVERBS_METHOD_REG_DMABUF_MR) {
			if (attr->attr_id == UVERBS_ATTR_REG_DMABUF_MR_HANDLE)
				attr->data = FAKE_MR_HANDLE;
			if (attr->attr_id == UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY)
				put(attr, FAKE_LKEY);
			if (attr->attr_id == UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY)
				put(attr, FAKE_RKEY);
		}
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd < 0 || fd != device_fd || request != RDMA_VERBS_IOCTL)
		return syscall(SYS_ioctl, fd, request, arg);
	errno = do_command(arg);
	return errno ? -1 : 0;
}

/* ---- sysfs ---- */

static void put_file(const char *path, const char *content)
{
	char *name;
	FILE *file;

	if (asprintf(&name, "%s/%s", sysfs, path) < 0)
		err(1, "memory");
	for (char *slash = name + strlen(sysfs) + 1;
	     (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		if (mkdir(name, 0700) && errno != EEXIST)
			err(1, "%s", name);
	}
	file = fopen(name, "w");
	if (!file || fputs(content, file) < 0 || fclose(file))
		err(1, "%s", name);
	free(name);
}

void fake_kernel_start(void)
{
	struct stat null;
	char text[32];

	if (!mkdtemp(sysfs) || fstatat(AT_FDCWD, "/dev/null", &null, 0))
		err(1, "%s", sysfs);
	put_file("class/infiniband_verbs/abi_version", "6\n");
	put_file("class/infiniband_verbs/uverbs7/ibdev", FAKE_DEVICE "\n");
	snprintf(text, sizeof(text), "%u:%u\n", major(null.st_rdev),
		 minor(null.st_rdev));
	put_file("class/infiniband_verbs/uverbs7/dev", text);
	snprintf(text, sizeof(text), "%u\n", FAKE_DEVICE_ABI);
	put_file("class/infiniband_verbs/uverbs7/abi_version", text);
	put_file("class/infiniband/" FAKE_DEVICE "/node_type", "1: CA\n");
	setenv("SYSFS_PATH", sysfs, 1);
}

static void remove_tree(const char *path)
{
	char *command;

	if (asprintf(&command, "rm -rf %s/%s", sysfs, path) < 0 ||
	    system(command))
		warnx("%s/%s is still there", sysfs, path);
	free(command);
}

void fake_kernel_unplug(void)
{
	remove_tree("class/infiniband_verbs/uverbs7");
}

void fake_kernel_stop(void)
{
	remove_tree("");
}
