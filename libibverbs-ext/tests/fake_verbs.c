// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * A libibverbs with one device, mlx5_0, to be preloaded: ibv_reg_mr() fails with the
 * errno FAKE_REG_MR, and with 0 succeeds; there is no port to use it with.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdlib.h>

#undef ibv_reg_mr

static struct ibv_device device = { .name = "mlx5_0" };
static struct ibv_context context = { .device = &device };
static struct ibv_pd pd = { .context = &context };

struct ibv_device **ibv_get_device_list(int *num)
{
	static struct ibv_device *list[] = { &device, NULL };

	if (num)
		*num = 1;
	return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
	(void)list;
}

const char *ibv_get_device_name(struct ibv_device *dev)
{
	return dev->name;
}

struct ibv_context *ibv_open_device(struct ibv_device *dev)
{
	(void)dev;
	return &context;
}

int ibv_close_device(struct ibv_context *c)
{
	(void)c;
	return 0;
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

struct ibv_mr *ibv_reg_mr(struct ibv_pd *p, void *addr, size_t length, int access)
{
	const char *fail = getenv("FAKE_REG_MR");
	struct ibv_mr *mr;

	(void)access;
	errno = fail ? atoi(fail) : 0;
	if (errno)
		return NULL;
	mr = calloc(1, sizeof(*mr));
	if (mr)
		*mr = (struct ibv_mr){ .context = &context, .pd = p, .addr = addr,
				       .length = length };
	return mr;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	free(mr);
	return 0;
}

int ibv_query_device(struct ibv_context *c, struct ibv_device_attr *attr)
{
	(void)c;
	*attr = (struct ibv_device_attr){};
	return 0;
}
