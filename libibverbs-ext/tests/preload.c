// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * With libibverbs-ext-preload in front, and no RDMA device: who finds which function, and
 * what the program's own dlopen() does.
 */
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Of the library that is linked, and has a RUNPATH of its own. */
void *plugin_load(const char *name);

static const char *object_of(void *symbol)
{
	Dl_info info;

	assert_non_null(symbol);
	assert_int_not_equal(dladdr(symbol, &info), 0);
	return info.dli_fname;
}

#define assert_of(symbol, object) assert_non_null(strstr(object_of(symbol), object))

/* A symbol, and the version with which programs that load it ask for it. */
static const struct {
	const char *name, *version;
} ours[] = {
	{ "ibv_reg_mr", "IBVERBS_1.1" },
	{ "ibv_rereg_mr", "IBVERBS_1.1" },
	{ "ibv_fork_init", "IBVERBS_1.1" },
	{ "ibv_reg_mr_iova", "IBVERBS_1.7" },
	{ "ibv_reg_mr_iova2", "IBVERBS_1.8" },
}, theirs[] = {
	{ "ibv_get_device_list", "IBVERBS_1.1" },
	{ "ibv_dereg_mr", "IBVERBS_1.1" },
	{ "ibv_reg_dmabuf_mr", "IBVERBS_1.12" },
	/* Programs of 2006 have other structures. */
	{ "ibv_reg_mr", "IBVERBS_1.0" },
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void check_handle(void *handle)
{
	size_t i;

	for (i = 0; i < COUNT(ours); i++)
		assert_of(dlvsym(handle, ours[i].name, ours[i].version),
			  "libibverbs-ext-preload");
	for (i = 0; i < COUNT(theirs); i++)
		assert_of(dlvsym(handle, theirs[i].name, theirs[i].version),
			  "libibverbs.so");
	assert_of(dlsym(handle, "ibv_reg_mr_iova2"), "libibverbs-ext-preload");
}

static void test_linked(void **state)
{
	(void)state;
	check_handle(RTLD_DEFAULT);
#undef ibv_reg_mr
	assert_of((void *)ibv_reg_mr, "libibverbs-ext-preload");
}

/* As NCCL does. */
static void test_loaded(void **state)
{
	void *handle = dlopen("libibverbs.so.1", RTLD_NOW);

	(void)state;
	assert_non_null(handle);
	check_handle(handle);
	assert_int_equal(dlclose(handle), 0);
	/* It stays, for who has it linked. */
	check_handle(RTLD_DEFAULT);
}

/* The dynamic linker still knows who called dlopen(). */
static void test_runpath(void **state)
{
	void *plugin = plugin_load("libext-only-there.so");

	(void)state;
	if (!plugin)
		fail_msg("%s", dlerror());
	dlclose(plugin);
	assert_null(dlopen("libext-only-there.so", RTLD_NOW));
}

static void test_others(void **state)
{
	void *self = dlopen(NULL, RTLD_NOW);

	(void)state;
	assert_non_null(self);
	dlclose(self);
	assert_null(dlopen("libibverbs-there-is-none.so", RTLD_NOW));
	assert_null(dlopen("/nowhere/libx.so", RTLD_NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linked),
		cmocka_unit_test(test_loaded),
		cmocka_unit_test(test_runpath),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
