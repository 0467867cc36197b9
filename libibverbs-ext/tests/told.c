// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* The matrix of ibv_p2pinfo, where the kernel was asked: answers that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../tools/pairs.h"
#include "../tools/sysfs.h"

/* A NIC and a GPU below one switch, or each below the root where it has no bridge. */
enum { UP, NIC, GPU, NR };

static struct function f[NR];
static struct told told;
static struct nic nic;
static struct memory memory;
static struct inventory inv;
static const struct rdma_driver driver = { .name = "mlx5", .odp = true, .dmabuf = true };

static int set_up(void **state)
{
	static const char *const names[] = { "0000:01:00.0", "0000:02:00.0",
					     "0000:03:00.0" };
	unsigned int i;

	(void)state;
	for (i = 0; i < NR; i++) {
		f[i] = (struct function){ .root = "pci0000:00", .acs = ACS_NONE };
		snprintf(f[i].name, sizeof(f[i].name), "%s", names[i]);
	}
	f[NIC].bridge = f[GPU].bridge = &f[UP];
	told = (struct told){ .function = &f[GPU] };
	nic = (struct nic){ .name = "mlx5_0", .driver = "mlx5", .can = &driver,
			    .function = &f[NIC], .told = &told };
	memory = (struct memory){ .name = "GPU0", .kind = MEMORY_GPU,
				  .function = &f[GPU] };
	inv = (struct inventory){ .topology = { .functions = f, .nr = NR } };
	sysfs_set_root("/nonexistent");
	return 0;
}

static void tell(enum path_kind kind, bool translated)
{
	told.kind = kind;
	told.translated = translated;
	nic.nr_told = 1;
}

/* The notes of the path, after each other; and the pair. */
static const char *notes(struct pair *pair)
{
	struct pairs pairs = pairs_one(&inv, &nic, &memory);
	static char text[4096];
	struct advice advice;
	size_t i;

	*pair = pairs.pairs[0];
	*text = '\0';
	for (i = 0; i < PAIR_NOTES && pair->path_notes[i]; i++) {
		advice = advice_of(&pairs.notes[pair->path_notes[i] - 1]);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ",
			 advice.text);
		advice_free(&advice);
	}
	pairs_free(&pairs);
	return text;
}

static void assert_path(enum path_kind kind, bool is_told, enum path_kind looks,
			const char *note)
{
	struct pair pair;
	const char *text = notes(&pair);

	assert_int_equal(pair.path.kind, kind);
	assert_int_equal(pair.told, is_told);
	assert_int_equal(pair.looks, looks);
	if (note ? !strstr(text, note) : *text)
		fail_msg("not \"%s\": %s", note ? note : "", text);
}

static void test_not_asked(void **state)
{
	(void)state;
	assert_path(PATH_BUS, false, PATH_BUS, NULL);
	snprintf(nic.unasked, sizeof(nic.unasked), "The kernel was not asked: no way.");
	assert_path(PATH_BUS, false, PATH_BUS, "The kernel was not asked: no way.");
	/* Of another function. */
	tell(PATH_NONE, false);
	told.function = &f[UP];
	assert_path(PATH_BUS, false, PATH_BUS, "The kernel was not asked: no way.");
}

static void test_same(void **state)
{
	(void)state;
	tell(PATH_BUS, false);
	assert_path(PATH_BUS, true, PATH_BUS, NULL);
}

static void test_different(void **state)
{
	struct pair pair;

	(void)state;
	tell(PATH_NONE, false);
	assert_path(PATH_NONE, true, PATH_BUS,
		    "The kernel says none. By sysfs it looks like bus, with the rules");
	tell(PATH_HOST, true);
	assert_path(PATH_HOST, true, PATH_BUS,
		    "The kernel says host+iommu. By sysfs it looks like bus, ");
	/* A host bridge that our list does not have is not called unlisted then. */
	f[NIC].bridge = NULL;
	tell(PATH_HOST, false);
	assert_path(PATH_HOST, true, PATH_NONE, "The kernel says host. By sysfs it looks "
						"like none, ");
	assert_null(strstr(notes(&pair), "refuses"));
	/* A port that redirects, and yet does not. */
	set_up(NULL);
	f[GPU].acs_control = ACS_REDIRECT;
	tell(PATH_BUS, false);
	assert_path(PATH_BUS, true, PATH_NONE, "The kernel says bus. ");
	assert_null(strstr(notes(&pair), "ACS redirect is on"));
}

static void test_translated(void **state)
{
	(void)state;
	f[NIC].bridge = NULL;
	inv.topology.zen = true;
	snprintf(f[NIC].iommu_type, sizeof(f[NIC].iommu_type), "DMA");
	tell(PATH_HOST, true);
	assert_path(PATH_HOST, true, PATH_HOST, "Not below one switch.");
	tell(PATH_HOST, false);
	assert_path(PATH_HOST, true, PATH_HOST,
		    "The kernel says host. By sysfs it looks like host+iommu, ");
}

/* What only root can see, the kernel tells everybody. */
static void test_unread(void **state)
{
	(void)state;
	f[NIC].acs = ACS_UNKNOWN;
	assert_path(PATH_UNKNOWN, false, PATH_UNKNOWN, "?: needs root");
	tell(PATH_BUS, false);
	assert_path(PATH_BUS, true, PATH_UNKNOWN, NULL);
	tell(PATH_NONE, false);
	assert_path(PATH_NONE, true, PATH_UNKNOWN,
		    "so a port between them redirects (ACS). Root sees which");
}

static void test_soft(void **state)
{
	static const struct rdma_driver rxe = { "rxe", .odp = true, .copies = true };

	(void)state;
	nic.function = NULL;
	nic.can = &rxe;
	snprintf(nic.driver, sizeof(nic.driver), "rxe");
	tell(PATH_CPU, false);
	assert_path(PATH_CPU, true, PATH_CPU, "rxe copies with the CPU");
	/* No PCI function of ours, but the kernel knows one. */
	nic.can = &driver;
	tell(PATH_HOST, false);
	assert_path(PATH_HOST, true, PATH_NONE, "The kernel says host. By sysfs");
}

static void assert_way(enum way_kind kind, const char *reason)
{
	const struct kernel kernel = { .series = true };
	const struct path path = { .kind = PATH_BUS };
	struct way way = way_find(&kernel, &nic, &memory, &path);

	assert_int_equal(way.kind, kind);
	if (!strstr(way.reason, reason))
		fail_msg("not \"%s\": %s", reason, way.reason);
	free(way.reason);
}

static void test_way(void **state)
{
	(void)state;
	nic.own.name = "mlx5";
	nic.can = &nic.own;
	nic.asked = true;
	snprintf(nic.no_series, sizeof(nic.no_series), "it has no on-demand paging");
	snprintf(nic.no_dmabuf, sizeof(nic.no_dmabuf), "it takes no dma-bufs");
	assert_way(WAY_NONE, "mlx5: it has no on-demand paging; it takes no dma-bufs.");
	nic.own.dmabuf = true;
	snprintf(f[GPU].driver, sizeof(f[GPU].driver), "amdgpu");
	assert_way(WAY_DMABUF, "ibv_reg_dmabuf_mr");
	nic.own.odp = true;
	assert_way(WAY_KERNEL, "The p2p series maps");
}

#define TEST(name) cmocka_unit_test_setup(test_##name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(not_asked), TEST(same), TEST(different), TEST(translated),
		TEST(unread), TEST(soft), TEST(way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
