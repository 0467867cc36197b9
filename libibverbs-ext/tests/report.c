// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* What ibv_p2pinfo test says of each way in which a test can end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <infiniband/verbs.h>
#include <json-c/json.h>

#include "../tools/report.h"
#include "capture.h"

static struct function nic_function = { .name = "0000:01:00.0", .root = "pci0000:00" };
static struct function memory_function = { .name = "0000:02:00.0", .root = "pci0000:00",
	.bars = { [2] = { .size = 1 << 26, .memory = true, .prefetchable = true } } };
static const struct rdma_driver can = { .name = "mlx5", .odp = true, .dmabuf = true };
static const struct nic nic = { .name = "mlx5_0", .driver = "mlx5", .can = &can,
				.function = &nic_function };
static const struct inventory inventory;
static const struct target target = { .function = &memory_function, .bar = 2,
				      .offset = 1 << 20, .length = 4096 };

static const char *print(struct report report, bool json)
{
	struct capture capture = capture_begin();

	report.inventory = &inventory;
	report.nic = &nic;
	report.json = json;
	report_print(&report, &target);
	return capture_end(&capture);
}

static void assert_says(struct report report, const char *text)
{
	const char *out = print(report, false);

	if (!strstr(out, text))
		fail_msg("it does not say \"%s\": %s", text, out);
}

static void assert_json(struct report report, const char *key, const char *value)
{
	struct json_object *object = json_tokener_parse(print(report, true)), *found;

	assert_non_null(object);
	assert_true(json_object_object_get_ex(object, key, &found));
	assert_string_equal(json_object_get_string(found), value);
	json_object_put(object);
}

static void test_works(void **state)
{
	const struct report r = { .attr = {
		.comp_mask = IBV_P2P_PATH_RATES, .status = IBV_P2P_PATH_WORKS,
		.read_rate = 12340000000, .write_rate = 5600000,
	} };

	(void)state;
	assert_says(r, "mlx5_0 and 0000:02:00.0 BAR 2 at 0x100000, 4 KiB: works");
	assert_says(r, "from the memory 12.34 GB/s to the memory 5.60 MB/s");
	assert_null(strstr(print(r, false), "path:"));
	assert_json(r, "status", "works");
	assert_json(r, "read_rate", "12340000000");
	assert_json(r, "lost", "false");
}

static void test_failed(void **state)
{
	const struct report r = { .attr = {
		.comp_mask = IBV_P2P_PATH_WAY | IBV_P2P_PATH_WC_STATUS,
		.status = IBV_P2P_PATH_FAILED, .way = IBV_P2P_PATH_LOCAL_WRITE,
		.wc_status = IBV_WC_LOC_PROT_ERR, .lost = 1,
	} };

	(void)state;
	assert_says(r, ": failed It registers, but an RDMA read into it ended with: "
		       "local protection error. What was there could not be restored.");
	assert_says(r, "path: none");
	assert_json(r, "way", "local_write");
	assert_json(r, "wc_status", "local protection error");
	assert_json(r, "lost", "true");
}

static void test_silent(void **state)
{
	const struct report r = { .attr = {
		.comp_mask = IBV_P2P_PATH_WAY, .status = IBV_P2P_PATH_SILENT,
		.way = IBV_P2P_PATH_REMOTE_READ,
	} };

	(void)state;
	assert_says(r, ": silent It registers, but an RDMA read from it did not end.");
	assert_json(r, "status", "silent");
	assert_json(r, "way", "remote_read");
}

static void test_wrong(void **state)
{
	const struct report r = { .attr = {
		.comp_mask = IBV_P2P_PATH_WAY | IBV_P2P_PATH_WRONG_AT,
		.status = IBV_P2P_PATH_WRONG, .way = IBV_P2P_PATH_CPU, .wrong_at = 64,
	} };

	(void)state;
	assert_says(r, ": wrong It registers, and all transfers succeeded, but with a "
		       "look at it with the CPU the byte at 0x40 was not the one");
	assert_json(r, "wrong_at", "0x40");
	assert_json(r, "way", "cpu");
}

static void test_refused(void **state)
{
	static const struct { int error; const char *says; } whys[] = {
		{ EFAULT, "(Bad address). The kernel took it for pages of the host" },
		{ EPERM, "p2p_user_bars=0" }, { EREMOTEIO, "There is no path" },
		{ EOPNOTSUPP, "no on-demand paging" }, { ENODEV, "was removed" },
		{ ENOMEM, "No memory" }, { EINVAL, "ibv_reg_mr failed: EINVAL" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(whys) / sizeof(*whys); i++) {
		assert_says((struct report){ .reg_error = whys[i].error }, whys[i].says);
		assert_says((struct report){ .reg_error = whys[i].error }, ": refused");
	}
	assert_json((struct report){ .reg_error = EFAULT }, "errno", "EFAULT");
	assert_json((struct report){ .reg_error = EFAULT }, "path", "none");
}

static void test_untested(void **state)
{
	const struct report r = { .test_error = ENODEV };

	(void)state;
	assert_says(r, ": untested");
	assert_says(r, "no port of it is active");
	assert_json(r, "status", "untested");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_works), cmocka_unit_test(test_failed),
		cmocka_unit_test(test_silent), cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_untested),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
