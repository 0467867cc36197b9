// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/* ibv_p2pinfo mr: answers of RDMA netlink that are made up, joined and shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <rdma/rdma_netlink.h>

#include "../tools/mrs.h"
#include "../tools/nldev.h"
#include "capture.h"

/* ---- answers ---- */

struct answer {
	struct nl_msg *msg;
	struct nlattr *table, *entry;
};

static struct answer answer_open(const char *device)
{
	struct answer a = { .msg = nlmsg_alloc_size(1 << 16) };

	assert_non_null(a.msg);
	assert_non_null(nlmsg_put(a.msg, 0, 0, 0, 0, NLM_F_MULTI));
	assert_int_equal(nla_put_u32(a.msg, RDMA_NLDEV_ATTR_DEV_INDEX, 7), 0);
	assert_int_equal(nla_put_string(a.msg, RDMA_NLDEV_ATTR_DEV_NAME, device), 0);
	a.table = nla_nest_start(a.msg, RDMA_NLDEV_ATTR_RES_MR);
	return a;
}

static void answer_close(struct answer *a, struct mrs *to,
			 void (*add)(void *mrs, struct nlmsghdr *message))
{
	nla_nest_end(a->msg, a->table);
	add(to, nlmsg_hdr(a->msg));
	nlmsg_free(a->msg);
}

static void entry_open(struct answer *a, uint32_t mrn)
{
	a->entry = nla_nest_start(a->msg, RDMA_NLDEV_ATTR_RES_MR_ENTRY);
	assert_int_equal(nla_put_u32(a->msg, RDMA_NLDEV_ATTR_RES_MRN, mrn), 0);
}

static void entry_close(struct answer *a)
{
	nla_nest_end(a->msg, a->entry);
}

static void put_text(struct answer *a, const char *key, const char *text)
{
	nla_put_string(a->msg, RDMA_NLDEV_ATTR_DRIVER_STRING, key);
	nla_put_string(a->msg, RDMA_NLDEV_ATTR_DRIVER_STRING, text);
}

static void put_number(struct answer *a, const char *key, uint32_t value)
{
	nla_put_string(a->msg, RDMA_NLDEV_ATTR_DRIVER_STRING, key);
	nla_put_u8(a->msg, RDMA_NLDEV_ATTR_DRIVER_PRINT_TYPE, 1);
	nla_put_u32(a->msg, RDMA_NLDEV_ATTR_DRIVER_U32, value);
}

static void put_bytes(struct answer *a, uint64_t bytes)
{
	nla_put_string(a->msg, RDMA_NLDEV_ATTR_DRIVER_STRING, "device_bytes");
	nla_put_u64(a->msg, RDMA_NLDEV_ATTR_DRIVER_U64, bytes);
}

/* As the kernel orders it. */
static void put_device_memory(struct answer *a, const char *exporter)
{
	struct nlattr *driver = nla_nest_start(a->msg, RDMA_NLDEV_ATTR_DRIVER);

	put_text(a, "odp", "explicit");
	put_text(a, "exporter", exporter);
	put_text(a, "path", "bus");
	put_text(a, "memory", "device");
	put_number(a, "ranges", 2);
	put_bytes(a, 5ull << 32);
	put_number(a, "revoked", 1);
	nla_nest_end(a->msg, driver);
}

static void put_mr(struct answer *a, uint32_t mrn, uint32_t pid, bool keys)
{
	entry_open(a, mrn);
	if (keys) {
		nla_put_u32(a->msg, RDMA_NLDEV_ATTR_RES_RKEY, 0x1234);
		nla_put_u32(a->msg, RDMA_NLDEV_ATTR_RES_LKEY, 0x4321);
	}
	nla_put_u64(a->msg, RDMA_NLDEV_ATTR_RES_MRLEN, 6ull << 32);
	nla_put_u32(a->msg, RDMA_NLDEV_ATTR_RES_PID, pid);
	put_device_memory(a, "0000:03:00.0");
	entry_close(a);
}

static void put_counter(struct answer *a, const char *name, uint64_t value)
{
	struct nlattr *counter = nla_nest_start(a->msg,
						RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY);

	nla_put_string(a->msg, RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY_NAME, name);
	nla_put_u64(a->msg, RDMA_NLDEV_ATTR_STAT_HWCOUNTER_ENTRY_VALUE, value);
	nla_nest_end(a->msg, counter);
}

/* Those of the kernel's after those of a driver's own. */
static void put_counters(struct answer *a, uint32_t mrn, uint64_t from)
{
	struct nlattr *counters;

	entry_open(a, mrn);
	counters = nla_nest_start(a->msg, RDMA_NLDEV_ATTR_STAT_HWCOUNTERS);
	put_counter(a, "page_faults", 97);
	put_counter(a, "page_invalidations", 98);
	put_counter(a, "page_prefetch", 99);
	put_counter(a, "faults", from);
	put_counter(a, "invalidations", from + 1);
	put_counter(a, "device_maps", from + 2);
	put_counter(a, "device_bytes", from + 3);
	nla_nest_end(a->msg, counters);
	entry_close(a);
}

/* One of a process with device memory, and nothing else. */
static struct mrs one(bool keys)
{
	struct answer a = answer_open("mlx5_0");
	struct mrs mrs = {};

	put_mr(&a, 3, 4711, keys);
	answer_close(&a, &mrs, nldev_add_mrs);
	assert_int_equal(mrs.nr, 1);
	return mrs;
}

/* ---- what is understood ---- */

static void test_device_memory(void **state)
{
	struct mrs mrs = one(true);
	const struct mr *mr = mrs.mr;

	(void)state;
	assert_string_equal(mr->device, "mlx5_0");
	assert_int_equal(mr->mrn, 3);
	assert_int_equal(mr->pid, 4711);
	assert_true(mr->length == 6ull << 32);
	assert_true(mr->bytes == 5ull << 32);
	assert_string_equal(mr->odp, "explicit");
	assert_string_equal(mr->memory, "device");
	assert_string_equal(mr->exporter, "0000:03:00.0");
	assert_string_equal(mr->path, "bus");
	assert_int_equal(mr->ranges, 2);
	assert_true(mr->revoked);
	assert_int_equal(mr->lkey, 0x4321);
	assert_int_equal(mr->rkey, 0x1234);
	assert_int_equal(mr->has, MR_PID | MR_KEYS | MR_RANGES | MR_BYTES | MR_REVOKED);
	assert_true(mr_is_device(mr));
	mrs_free(&mrs);
}

static void test_other_memory(void **state)
{
	struct answer a = answer_open("mlx5_0");
	struct nlattr *driver;
	struct mrs mrs = {};

	(void)state;
	entry_open(&a, 1);	/* on demand, of the host */
	driver = nla_nest_start(a.msg, RDMA_NLDEV_ATTR_DRIVER);
	put_text(&a, "odp", "implicit");
	nla_nest_end(a.msg, driver);
	entry_close(&a);
	entry_open(&a, 2);	/* nothing is told */
	entry_close(&a);
	entry_open(&a, 3);	/* of the kernel */
	nla_put_string(a.msg, RDMA_NLDEV_ATTR_RES_KERN_NAME, "ib_srpt");
	entry_close(&a);
	answer_close(&a, &mrs, nldev_add_mrs);
	assert_int_equal(mrs.nr, 3);
	assert_string_equal(mrs.mr[0].memory, "host");
	assert_string_equal(mrs.mr[0].odp, "implicit");
	assert_string_equal(mrs.mr[1].memory, "");
	assert_string_equal(mrs.mr[2].command, "[ib_srpt]");
	assert_int_equal(mrs.mr[2].has, 0);
	assert_false(mr_is_device(&mrs.mr[0]) || mr_is_device(&mrs.mr[1]));
	mrs_free(&mrs);
}

/* What a kernel that is older, newer or broken may send. */
static void test_strange(void **state)
{
	struct answer a = answer_open("mlx5_0");
	struct nlattr *driver;
	struct mrs mrs = {};

	(void)state;
	nla_put_u32(a.msg, RDMA_NLDEV_ATTR_RES_MRN, 1);	/* in no entry */
	a.entry = nla_nest_start(a.msg, RDMA_NLDEV_ATTR_RES_MR_ENTRY);
	entry_close(&a);				/* without a number */
	entry_open(&a, 5);
	nla_put_u32(a.msg, RDMA_NLDEV_ATTR_RES_MRLEN, 4096);	/* in 32 bits */
	nla_put(a.msg, RDMA_NLDEV_ATTR_RES_PID, 1, "x");
	driver = nla_nest_start(a.msg, RDMA_NLDEV_ATTR_DRIVER);
	put_text(&a, "exporter", "a\033[31m name that is longer than there is room for");
	put_text(&a, "unknown", "device");
	nla_put_string(a.msg, RDMA_NLDEV_ATTR_DRIVER_STRING, "memory");
	nla_put(a.msg, RDMA_NLDEV_ATTR_DRIVER_STRING, 6, "device and no end");
	put_text(&a, "pathology", "none");
	nla_put_string(a.msg, RDMA_NLDEV_ATTR_DRIVER_STRING, "path");	/* no value */
	nla_nest_end(a.msg, driver);
	entry_close(&a);
	answer_close(&a, &mrs, nldev_add_mrs);
	assert_int_equal(mrs.nr, 1);
	assert_int_equal(mrs.mr[0].length, 4096);
	assert_int_equal(mrs.mr[0].pid, 0);
	assert_string_equal(mrs.mr[0].exporter, "a?[31m name that is longer than");
	assert_string_equal(mrs.mr[0].memory, "device");
	assert_string_equal(mrs.mr[0].path, "");
	mrs_free(&mrs);
}

static void test_no_table(void **state)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct mrs mrs = {};

	(void)state;
	nlmsg_put(msg, 0, 0, 0, 0, 0);
	nldev_add_mrs(&mrs, nlmsg_hdr(msg));
	nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, "mlx5_0");
	nldev_add_mrs(&mrs, nlmsg_hdr(msg));
	nldev_add_counters(&mrs, nlmsg_hdr(msg));
	nlmsg_hdr(msg)->nlmsg_len = 4;
	nldev_add_mrs(&mrs, nlmsg_hdr(msg));
	assert_int_equal(mrs.nr, 0);
	nlmsg_free(msg);
	mrs_join(&mrs, &(struct mrs){});
	mrs_free(&mrs);
}

/* ---- joining ---- */

static void add_plain(struct mrs *mrs, const char *device, uint32_t mrn)
{
	struct mr *mr = mrs_add(mrs);

	strcpy(mr->device, device);
	mr->mrn = mrn;
}

static void test_join(void **state)
{
	struct mrs mrs = one(true), counters = {};
	struct answer a = answer_open("mlx5_10"), b = answer_open("mlx5_0");

	(void)state;
	/* Another device with this number, more counters than MRs, one without, twice. */
	add_plain(&mrs, "mlx5_10", 3);
	add_plain(&mrs, "mlx5_2", 0);
	add_plain(&mrs, "mlx5_0", 1);
	add_plain(&mrs, "mlx5_10", 3);
	put_counters(&a, 3, 1000);
	put_counters(&a, 2, 1);
	answer_close(&a, &counters, nldev_add_counters);
	put_counters(&b, 4, 1);
	put_counters(&b, 3, 20);
	answer_close(&b, &counters, nldev_add_counters);

	mrs_join(&mrs, &counters);
	assert_int_equal(mrs.nr, 4);
	assert_int_equal(mrs.mr[0].mrn, 1);
	assert_int_equal(mrs.mr[0].has, 0);
	assert_int_equal(mrs.mr[1].mrn, 3);
	assert_int_equal(mrs.mr[1].faults, 20);
	assert_int_equal(mrs.mr[1].invalidations, 21);
	assert_int_equal(mrs.mr[1].maps, 22);
	assert_true(mrs.mr[1].bytes == 5ull << 32);	/* as the first dump had it */
	assert_string_equal(mrs.mr[2].device, "mlx5_2");
	assert_string_equal(mrs.mr[3].device, "mlx5_10");
	assert_int_equal(mrs.mr[3].faults, 1000);
	assert_int_equal(mrs.mr[3].bytes, 1003);
	mrs_free(&mrs);
	mrs_free(&counters);
}

/* As a driver without the series gives them, and in whichever order. */
static void test_own_counters(void **state)
{
	struct answer a = answer_open("mlx5_0");
	struct mrs counters = {};
	struct nlattr *table;

	(void)state;
	entry_open(&a, 1);
	table = nla_nest_start(a.msg, RDMA_NLDEV_ATTR_STAT_HWCOUNTERS);
	put_counter(&a, "faults", 1);
	put_counter(&a, "page_faults", 2);
	put_counter(&a, "page_invalidations", 3);
	nla_nest_end(a.msg, table);
	entry_close(&a);
	answer_close(&a, &counters, nldev_add_counters);
	assert_int_equal(counters.nr, 1);
	assert_int_equal(counters.mr->has, MR_FAULTS | MR_INVALIDATIONS);
	assert_int_equal(counters.mr->faults, 1);
	assert_int_equal(counters.mr->invalidations, 3);
	mrs_free(&counters);
}

static void test_many(void **state)
{
	enum { MANY = 10000 };
	struct mrs mrs = {}, counters = {};
	uint32_t i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		add_plain(&mrs, "mlx5_0", MANY - i);
		add_plain(&counters, "mlx5_0", i * 7919 % MANY + 1);
		counters.mr[i].faults = counters.mr[i].mrn;
		counters.mr[i].has = MR_FAULTS;
	}
	mrs_join(&mrs, &counters);
	assert_int_equal(mrs.nr, MANY);
	for (i = 0; i < MANY; i++) {
		assert_int_equal(mrs.mr[i].mrn, i + 1);
		assert_int_equal(mrs.mr[i].faults, i + 1);
	}
	mrs_free(&mrs);
	mrs_free(&counters);
}

/* ---- rates ---- */

static struct mrs counted(uint64_t faults, uint64_t invalidations, long milliseconds)
{
	struct mrs mrs = one(true);

	mrs.mr->faults = faults;
	mrs.mr->invalidations = invalidations;
	mrs.mr->maps = 1;
	mrs.mr->has |= MR_FAULTS | MR_INVALIDATIONS | MR_MAPS;
	mrs.taken = (struct timespec){ 100 + milliseconds / 1000,
				       milliseconds % 1000 * 1000000 };
	return mrs;
}

static void assert_rates(struct mrs before, struct mrs now, bool has, double faults,
			 double invalidations)
{
	mrs_rate(&now, &before);
	assert_int_equal(!!(now.mr->has & MR_RATES), has);
	assert_true(now.mr->fault_rate == faults);
	assert_true(now.mr->invalidation_rate == invalidations);
	assert_int_equal(mr_thrashes(now.mr), invalidations >= 10);
	mrs_free(&before);
	mrs_free(&now);
}

static void test_rates(void **state)
{
	struct mrs other = counted(10, 10, 0);

	(void)state;
	assert_rates(counted(10, 20, 500), counted(15, 25, 1000), true, 10, 10);
	assert_rates(counted(10, 20, 500), counted(10, 24, 1000), true, 0, 8);
	assert_rates((struct mrs){}, counted(10, 20, 1000), false, 0, 0);
	/* Not the same MR any more, and no time between. */
	assert_rates(counted(11, 20, 0), counted(10, 24, 1000), false, 0, 0);
	assert_rates(counted(10, 25, 0), counted(10, 24, 1000), false, 0, 0);
	assert_rates(counted(10, 20, 1000), counted(15, 25, 1000), false, 0, 0);
	other.mr->pid++;
	assert_rates(other, counted(15, 25, 1000), false, 0, 0);
	/* Nothing is counted. */
	assert_rates(one(true), counted(15, 25, 1000), false, 0, 0);
}

/* ---- what is shown ---- */

static const char *print(const struct mrs *mrs, struct mr_view view)
{
	struct capture capture = capture_begin();

	mrs_print(mrs, &view);
	return capture_end(&capture);
}

static void assert_shows(const struct mrs *mrs, struct mr_view view, const char *text)
{
	const char *out = print(mrs, view);

	if (!strstr(out, text))
		fail_msg("it does not say \"%s\": %s", text, out);
}

static void test_table(void **state)
{
	struct mrs mrs = counted(4, 5, 0);
	const struct mr_view view = { .tells = true };

	(void)state;
	strcpy(mrs.mr->command, "trainer");
	assert_shows(&mrs, view,
		     "MR pid command length ranges memory exporter path mapped maps "
		     "faults inval. revoked lkey rkey mlx5_0/3 4711 trainer 24 GiB 2 "
		     "device 0000:03:00.0 bus 20 GiB 1 4 5 yes 0x4321 0x1234");
	assert_null(strstr(print(&mrs, view), "Not "));
	mrs_free(&mrs);

	add_plain(&mrs, "rxe0", 1);
	strcpy(mrs.mr->odp, "implicit");
	assert_shows(&mrs, view, "inval. revoked rxe0/1 - - all - - - - - - - - - "
				 "Not shown: lkey and rkey");
	assert_shows(&mrs, (struct mr_view){}, "Not known: which of them");
	mrs_free(&mrs);
	assert_shows(&mrs, view, "There is no such MR with device memory.");
	assert_shows(&mrs, (struct mr_view){}, "There is no such MR.");
}

static void test_thrashing(void **state)
{
	struct mrs before = counted(10, 20, 0), mrs = counted(20, 60, 2000);
	const struct mr_view view = { .rates = true, .tells = true };

	(void)state;
	assert_shows(&mrs, view, "inval. faults/s inval./s revoked");
	assert_shows(&mrs, view, "20 60 - - yes");
	assert_null(strstr(print(&mrs, view), "perf"));
	mrs_rate(&mrs, &before);
	assert_shows(&mrs, view, "20 60 5.0 20.0 * yes");
	assert_shows(&mrs, view,
		     "* This memory is taken from the RDMA device 10 times a second");
	assert_shows(&mrs, view, "perf record -ag -e p2p:p2p_invalidate -- sleep 10 && "
				 "perf report --stdio");
	mrs_free(&mrs);
	mrs_free(&before);
}

static void assert_key(struct json_object *mr, const char *key, const char *value)
{
	struct json_object *found;

	assert_true(json_object_object_get_ex(mr, key, &found));
	if (value)
		assert_string_equal(json_object_get_string(found), value);
	else
		assert_null(found);
}

static void test_json(void **state)
{
	static const char *const unknown[] = {
		"pid", "command", "odp", "ranges", "memory", "exporter", "path",
		"device_bytes", "maps", "faults", "invalidations", "fault_rate",
		"invalidation_rate", "revoked", "lkey", "rkey",
	};
	struct mrs before = counted(10, 20, 0), mrs = counted(20, 60, 2000);
	struct json_object *array, *mr;
	size_t i;

	(void)state;
	mrs_rate(&mrs, &before);
	add_plain(&mrs, "rxe0", 1);
	array = mrs_json(&mrs);
	assert_int_equal(json_object_array_length(array), 2);
	mr = json_object_array_get_idx(array, 0);
	assert_key(mr, "rdma_device", "mlx5_0");
	assert_key(mr, "length", "25769803776");
	assert_key(mr, "invalidation_rate", "20.0");
	assert_key(mr, "thrashes", "true");
	assert_key(mr, "revoked", "true");
	assert_key(mr, "lkey", "0x4321");
	mr = json_object_array_get_idx(array, 1);
	for (i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		assert_key(mr, unknown[i], NULL);
	assert_key(mr, "thrashes", "false");
	json_object_put(array);
	mrs_free(&mrs);
	mrs_free(&before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device_memory), cmocka_unit_test(test_other_memory),
		cmocka_unit_test(test_strange), cmocka_unit_test(test_no_table),
		cmocka_unit_test(test_join), cmocka_unit_test(test_own_counters),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_rates), cmocka_unit_test(test_table),
		cmocka_unit_test(test_thrashing), cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
