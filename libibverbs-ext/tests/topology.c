// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* Paths between PCI functions, by the kernel's rules, on trees that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../tools/topology.c"

/* A port with a switch below it: an upstream port, two downstream, a device at each. */
enum { HOST, PORT, UP, DOWN0, DOWN1, DEVICE0, DEVICE1, NR };

static struct topology t;
static struct function f[NR];

static void add(unsigned int i, const char *name, const struct function *bridge)
{
	f[i] = (struct function){ .bridge = bridge, .root = "pci0000:00",
				  .acs = ACS_NONE, .class = 0x060400 };
	snprintf(f[i].name, sizeof(f[i].name), "%s", name);
}

static int set_up(void **state)
{
	(void)state;
	add(HOST, "0000:00:00.0", NULL);
	add(PORT, "0000:00:01.0", NULL);
	add(UP, "0000:01:00.0", &f[PORT]);
	add(DOWN0, "0000:02:00.0", &f[UP]);
	add(DOWN1, "0000:02:01.0", &f[UP]);
	add(DEVICE0, "0000:03:00.0", &f[DOWN0]);
	add(DEVICE1, "0000:04:00.0", &f[DOWN1]);
	f[HOST].class = 0x060000;
	t = (struct topology){ f, NR, false };
	return 0;
}

static void list_host(void)
{
	f[HOST].vendor = 0x8086;
	f[HOST].device = 0x09a2;
}

static void assert_path(unsigned int a, unsigned int b, enum path_kind kind,
			unsigned int hops)
{
	struct path there = path_find(&t, &f[a], &f[b]), back = path_find(&t, &f[b],
									  &f[a]);

	assert_int_equal(there.kind, kind);
	assert_int_equal(there.hops, hops);
	assert_int_equal(back.kind, kind);
	assert_int_equal(back.hops, hops);
}

static void test_below_a_switch(void **state)
{
	(void)state;
	assert_path(DEVICE0, DEVICE1, PATH_BUS, 4);
	assert_path(DEVICE0, DEVICE0, PATH_BUS, 0);
	assert_path(DEVICE0, UP, PATH_BUS, 2);
	/* Another function of the same device. */
	f[DEVICE1].bridge = &f[DOWN0];
	assert_path(DEVICE0, DEVICE1, PATH_BUS, 2);
}

static void test_redirect(void **state)
{
	static const unsigned int ports[] = { DOWN0, DOWN1, DEVICE0, DEVICE1 };
	unsigned int bit, port;
	struct path path;

	(void)state;
	list_host();
	for (port = 0; port < 4; port++) {
		for (bit = 0; bit < 7; bit++) {
			set_up(NULL);
			list_host();
			f[ports[port]].acs = ACS_THERE;
			f[ports[port]].acs_control = 1 << bit;
			assert_path(DEVICE0, DEVICE1,
				    ACS_REDIRECT & 1 << bit ? PATH_HOST : PATH_BUS, 4);
		}
		f[ports[port]].acs_control = ACS_REDIRECT;
		path = path_find(&t, &f[DEVICE0], &f[DEVICE1]);
		assert_int_equal(path.redirect.nr, 1);
		assert_ptr_equal(path.redirect.port[0], &f[ports[port]]);
		assert_ptr_equal(path.common, &f[UP]);
	}
}

/* Nothing has to pass what both are below. */
static void test_redirect_above(void **state)
{
	(void)state;
	f[UP].acs_control = ACS_REDIRECT;
	f[PORT].acs_control = ACS_REDIRECT;
	assert_path(DEVICE0, DEVICE1, PATH_BUS, 4);
}

static void test_redirect_to_nowhere(void **state)
{
	(void)state;
	f[DOWN0].acs_control = ACS_REDIRECT;
	assert_path(DEVICE0, DEVICE1, PATH_NONE, 4);
}

static void test_unread(void **state)
{
	struct path path;

	(void)state;
	f[DOWN0].acs = ACS_UNKNOWN;
	assert_path(DEVICE0, DEVICE1, PATH_UNKNOWN, 4);
	path = path_find(&t, &f[DEVICE0], &f[DEVICE1]);
	assert_int_equal(path.unread.nr, 1);
	assert_ptr_equal(path.unread.port[0], &f[DOWN0]);
	/* One that redirects is enough. */
	f[DOWN1].acs_control = ACS_COMPLETION;
	list_host();
	assert_path(DEVICE0, DEVICE1, PATH_HOST, 4);
}

static void test_host_bridges(void **state)
{
	(void)state;
	f[DOWN1].bridge = NULL;
	assert_path(DEVICE0, DEVICE1, PATH_NONE, 6);
	list_host();
	assert_path(DEVICE0, DEVICE1, PATH_HOST, 6);
	f[HOST].device = 0x3c00;
	assert_path(DEVICE0, DEVICE1, PATH_HOST, 6);
	f[HOST].device = 0;
	t.zen = true;
	assert_path(DEVICE0, DEVICE1, PATH_HOST, 6);
}

static void test_two_host_bridges(void **state)
{
	(void)state;
	/* A root port that is the first on its bus, at any place. */
	f[DOWN1].bridge = NULL;
	snprintf(f[DOWN1].root, sizeof(f[DOWN1].root), "pci0000:80");
	snprintf(f[DEVICE1].root, sizeof(f[DEVICE1].root), "pci0000:80");
	list_host();
	assert_path(DEVICE0, DEVICE1, PATH_NONE, 6);
	f[DOWN1].vendor = 0x8086;
	f[DOWN1].device = 0x2030;
	assert_path(DEVICE0, DEVICE1, PATH_HOST, 6);
	f[HOST].device = 0x3c01;
	assert_path(DEVICE0, DEVICE1, PATH_NONE, 6);
	assert_int_equal(host_trust(&t, &f[DEVICE0], &f[DEVICE1]), HOST_APART);
}

static void test_host_bridge(void **state)
{
	(void)state;
	assert_ptr_equal(host_bridge(&t, "pci0000:00"), &f[HOST]);
	assert_null(host_bridge(&t, "pci0000:80"));
	snprintf(f[HOST].name, sizeof(f[HOST].name), "0000:00:00.1");
	assert_null(host_bridge(&t, "pci0000:00"));
	f[HOST].class = 0x060400;
	assert_ptr_equal(host_bridge(&t, "pci0000:00"), &f[HOST]);
}

static void test_translated(void **state)
{
	static const struct { const char *type; bool is; } types[] = {
		{ "DMA", true }, { "DMA-FQ", true }, { "identity", false }, { "", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		strcpy(f[DEVICE0].iommu_type, types[i].type);
		assert_int_equal(path_find(&t, &f[DEVICE0], &f[DEVICE1]).translated,
				 types[i].is);
		assert_false(path_find(&t, &f[DEVICE1], &f[DEVICE0]).translated);
	}
}

static void put(uint8_t *config, size_t at, uint32_t header)
{
	memcpy(config + at, &(uint8_t[]){ header, header >> 8, header >> 16,
					 header >> 24 },
	       4);
}

static void test_capabilities(void **state)
{
	uint8_t config[CONFIG_SIZE] = {};

	(void)state;
	assert_int_equal(find_acs(config, sizeof(config)), 0);
	put(config, 0x100, 0x200u << 20 | 1 << 16 | 0x0001);
	put(config, 0x200, 0x140u << 20 | 1 << 16 | 0x0019);
	put(config, 0x140, 1 << 16 | EXT_CAP_ACS);
	assert_int_equal(find_acs(config, sizeof(config)), 0x140);
	/* Cut within what comes first, and within the register itself. */
	assert_int_equal(find_acs(config, 0x200), 0);
	put(config, 0x100, 0x140u << 20 | 1 << 16 | 0x0001);
	assert_int_equal(find_acs(config, 0x148), 0x140);
	assert_int_equal(find_acs(config, 0x147), 0);
	/* One that is its own next. */
	put(config, 0x140, 0x140u << 20 | 1 << 16 | 0x0001);
	assert_int_equal(find_acs(config, sizeof(config)), 0);
	put(config, 0x140, 0xffffffff);
	assert_int_equal(find_acs(config, sizeof(config)), 0);
}

static void test_find(void **state)
{
	(void)state;
	assert_ptr_equal(topology_find(&t, "0000:02:01.0"), &f[DOWN1]);
	assert_ptr_equal(topology_find(&t, "02:01.0"), &f[DOWN1]);
	assert_null(topology_find(&t, "02:01.1"));
	assert_null(topology_find(&t, ""));
	assert_null(topology_find(&t, "a name that is longer than any PCI address"));
}

#define TEST(name) cmocka_unit_test_setup(test_##name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(below_a_switch), TEST(redirect), TEST(redirect_above),
		TEST(redirect_to_nowhere), TEST(unread), TEST(host_bridges),
		TEST(two_host_bridges), TEST(host_bridge), TEST(translated),
		TEST(capabilities), TEST(find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
