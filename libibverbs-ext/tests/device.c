// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Which ways an RDMA device has: with and without the module ib_p2p, whose attribute of
 * the device is a file that is made up, as is libibverbs.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <infiniband/verbs_p2p.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct ibv_device device = { .name = "mlx5_0" };
static struct ibv_context context = { .device = &device, .cmd_fd = -1 };
static struct ibv_pd pd = { .context = &context };
static bool module_loaded;
static int reg_err;

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);

int __wrap_access(const char *path, int mode)
{
	if (!strcmp(path, "/sys/module/ib_p2p"))
		return module_loaded ? 0 : -1;
	return __real_access(path, mode);
}

struct ibv_pd *ibv_alloc_pd(struct ibv_context *c)
{
	(void)c;
	return &pd;
}

int ibv_dealloc_pd(struct ibv_pd *p)
{
	(void)p;
	return 0;
}

struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *p, uint64_t offset, size_t length,
				 uint64_t iova, int fd, int access)
{
	(void)p;
	(void)offset;
	(void)length;
	(void)iova;
	(void)fd;
	(void)access;
	errno = reg_err;
	return NULL;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	(void)mr;
	return 0;
}

static void attribute(const char *text)
{
	char path[sizeof(device.ibdev_path) + sizeof("/p2p")];
	FILE *file;

	snprintf(path, sizeof(path), "%s/p2p", device.ibdev_path);
	unlink(path);
	if (!text)
		return;
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void assert_ways(uint32_t ways, const char *says)
{
	struct ibv_p2p_device_attr attr;

	assert_int_equal(ibv_p2p_query_device(&context, &attr, sizeof(attr)), 0);
	assert_int_equal(attr.ways & (IBV_P2P_WAY_MODULE | IBV_P2P_WAY_DMABUF), ways);
	assert_string_equal(attr.about[__builtin_ctz(IBV_P2P_WAY_MODULE)], says);
}

static void test_module(void **state)
{
	(void)state;
	reg_err = EBADF;
	assert_ways(IBV_P2P_WAY_DMABUF, "the module ib_p2p is not loaded: "
					"modprobe ib_p2p");
	module_loaded = true;
	attribute("1\n");
	assert_ways(IBV_P2P_WAY_DMABUF | IBV_P2P_WAY_MODULE, "ib_p2p");
	attribute("0\n");
	assert_ways(IBV_P2P_WAY_DMABUF, "off for this device: "
					"echo 1 > /sys/class/infiniband/mlx5_0/p2p");
	attribute(NULL);
	assert_ways(IBV_P2P_WAY_DMABUF, "ib_p2p leaves this device alone: its driver "
					"takes no dma-buf MRs");
	module_loaded = false;
}

/* Its provider in libibverbs need not take dma-bufs: the kernel's driver does. */
static void test_provider(void **state)
{
	(void)state;
	reg_err = EOPNOTSUPP;
	module_loaded = true;
	attribute("1\n");
	assert_ways(IBV_P2P_WAY_MODULE, "ib_p2p");
	attribute(NULL);
	module_loaded = false;
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(device.ibdev_path, "/tmp/ext-device-XXXXXX");
	return !mkdtemp(device.ibdev_path);
}

static int remove_folder(void **state)
{
	(void)state;
	attribute(NULL);
	return rmdir(device.ibdev_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_module),
		cmocka_unit_test(test_provider),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
