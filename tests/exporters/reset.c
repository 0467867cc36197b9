// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The exporter is reset in the middle of traffic, by its bus or as a function:
 * traffic waits, and neither it nor the CPU sees the memory meanwhile.
 */
#include "../verbs/sysfs.h"
#include "buffer.h"
#include "others.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- devices that can be reset ---- */

static bool has_method(const char *folder, const char *method)
{
	char *rest = NULL, *word, methods[64] = "";

	read_line(folder, "reset_method", methods, sizeof(methods));
	for (word = strtok_r(methods, " ", &rest); word;
	     word = strtok_r(NULL, " ", &rest))
		if (!strcmp(word, method))
			return true;
	return false;
}

/* An NVMe drive with a controller memory buffer; NULL if there is none. */
static const char *drive_path(void)
{
	static const char bus[] = "/sys/bus/pci/devices";
	static char path[300];
	bool found = false;
	struct dirent *e;
	DIR *dir = opendir(bus);

	while (!found && dir && (e = readdir(dir))) {
		char class[16] = "", memory[320];

		snprintf(path, sizeof(path), "%s/%s", bus, e->d_name);
		snprintf(memory, sizeof(memory), "%s/resource2", path);
		read_line(path, "class", class, sizeof(class));
		found = !strcmp(class, "0x010802") && !access(memory, F_OK);
	}
	if (dir)
		closedir(dir);
	return found ? path : NULL;
}

/* ---- the case ---- */

enum { WORKERS = 3, REGION = KIB(128) };

static void run_reset(const char *folder, const char *node)
{
	struct buffer b = buffer_open_on(node, WORKERS * REGION);
	struct ibv_mr *mr = reg(b.addr, b.len, ACCESS_ALL);
	struct verifier v[WORKERS];
	struct others others;
	int i, j, n = slow ? 4 : 10;

	others_start(&others);
	for (i = 0; i < WORKERS; i++) {
		v[i] = (struct verifier) {
			.mr = mr, .addr = b.addr + i * REGION, .len = REGION,
			.view = i ? b.addr + i * REGION : NULL,
		};
		verify_start(&v[i], i);
	}
	for (i = 0; i < n; i++) {
		long maps = sample_counter("maps");
		long before = sample_counter("invalidations");

		/* Scattered, every other time. */
		buffer_move(&b, P2P_SAMPLE_BAR, i % 2 ? 32 : 1);
		for (j = 0; j < WORKERS; j++)
			verify_flows(&v[j]);
		if (write_in(folder, "reset", "1"))
			fail("reset: %s", strerror(errno));
		/* One for the move. */
		if (sample_counter("invalidations") != before + 2)
			fail("the reset did not end mappings");
		for (j = 0; j < WORKERS; j++)
			verify_flows(&v[j]);
		if (sample_counter("maps") < maps + 2)
			fail("it was not mapped again after the reset");
		others_flow(&others);
	}
	for (j = 0; j < WORKERS; j++)
		verify_end(&v[j]);
	others_end(&others);
	dereg(mr);
	buffer_close(&b);
	sample_balanced();
}

static void run_bus(const void *arg)
{
	(void)arg;
	sample_need();
	if (!has_method(gpu_path(GPU0), "bus"))
		fail("GPU 0 cannot be reset by its bus");
	run_reset(gpu_path(GPU0), "/dev/p2p_sample0");
}

static void run_flr(const void *arg)
{
	const char *drive = drive_path();

	(void)arg;
	sample_need();
	if (!drive)
		skip("no NVMe drive with a controller memory buffer");
	if (!has_method(drive, "flr"))
		skip("%s cannot be reset as a function", drive);
	if (write_in(drive, "reset_method", "flr"))
		fail("reset_method: %s", strerror(errno));
	if (write_in(drive, "driver/unbind", strrchr(drive, '/') + 1) &&
	    errno != ENOENT)
		fail("unbind %s: %s", drive, strerror(errno));
	if (sample_bind(drive))
		fail("driver_override of %s: %s", drive, strerror(errno));
	run_reset(drive, "/dev/p2p_sample1");
	if (sample_unbind(drive) || write_in(drive, "driver_override", "\n"))
		fail("unbind %s from p2p_sample: %s", drive, strerror(errno));
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sample_load();
	run_case(run_bus, NULL, "bus");
	run_case(run_flr, NULL, "function");
	sample_unload();
	return test_done();
}
