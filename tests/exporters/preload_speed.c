// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What libibverbs-ext-preload costs memory of the host: ibv_reg_mr() and ibv_dereg_mr() of
 * a page with it in front, over the same without, in turns and in one process.
 */
#include "../verbs/common.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#undef ibv_reg_mr

enum { PAGE = 4096, ROUNDS = 201, EACH = 20 };

typedef struct ibv_mr *reg_function(struct ibv_pd *pd, void *addr, size_t length,
				    int access);

static double seconds(reg_function *reg_mr, void *page)
{
	double began = now();
	struct ibv_mr *mr;
	int i;

	for (i = 0; i < EACH; i++) {
		mr = reg_mr(dev.pd, page, PAGE, ACCESS_ALL);
		if (!mr)
			fail("ibv_reg_mr: %s", strerrorname_np(errno));
		dereg(mr);
	}
	return now() - began;
}

int main(void)
{
	void *lib = dlmopen(LM_ID_BASE, "libibverbs.so.1", RTLD_NOW | RTLD_NOLOAD);
	reg_function *plain = lib ? dlvsym(lib, "ibv_reg_mr", "IBVERBS_1.1") : NULL;
	reg_function *preloaded = dlsym(RTLD_DEFAULT, "ibv_reg_mr");
	double with[ROUNDS], without[ROUNDS];
	void *page;
	int i;

	if (!plain || plain == preloaded) {
		fprintf(stderr, "nothing is in front of libibverbs\n");
		return 2;
	}
	test_init(0, NULL);
	dev_open(dev_name());
	page = host_map(PAGE);
	for (i = 0; i < ROUNDS; i++) {
		with[i] = seconds(preloaded, page);
		without[i] = seconds(plain, page);
	}
	printf("%.4f\n", median(with, ROUNDS) / median(without, ROUNDS));
	return 0;
}
