// SPDX-License-Identifier: GPL-2.0
/*
 * What is counted, and levers for tests, in debugfs: p2p_sample/. They are of
 * the module, not of a device: counters are exact when nobody is at work.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>

#include "p2p_sample_test.h"

static char deny[32];
module_param_string(deny, deny, sizeof(deny), 0644);
MODULE_PARM_DESC(deny, "An importing device that gets nothing, by its name");

static const char *const counter_names[SAMPLE_NR_COUNTERS] = {
	[SAMPLE_MAPS] = "maps",
	[SAMPLE_UNMAPS] = "unmaps",
	[SAMPLE_REFUSALS] = "refusals",
	[SAMPLE_MOVES] = "moves",
	[SAMPLE_INVALIDATIONS] = "invalidations",
};

static const char *const lever_names[SAMPLE_NR_LEVERS] = {
	[SAMPLE_REFUSE] = "refuse",
	[SAMPLE_BEFORE_MAP] = "invalidate_before_map",
	[SAMPLE_INSIDE_MAP] = "invalidate_inside_map",
	[SAMPLE_AFTER_MAP] = "invalidate_after_map",
};

static atomic_t counters[SAMPLE_NR_COUNTERS];
static atomic_t levers[SAMPLE_NR_LEVERS];
static u32 map_delay_ms;
static struct dentry *folder;

void sample_test_init(void)
{
	int i;

	folder = debugfs_create_dir("p2p_sample", NULL);
	for (i = 0; i < SAMPLE_NR_COUNTERS; i++)
		debugfs_create_atomic_t(counter_names[i], 0444, folder,
					&counters[i]);
	for (i = 0; i < SAMPLE_NR_LEVERS; i++)
		debugfs_create_atomic_t(lever_names[i], 0644, folder,
					&levers[i]);
	debugfs_create_u32("map_delay_ms", 0644, folder, &map_delay_ms);
}

void sample_test_exit(void)
{
	debugfs_remove_recursive(folder);
}

void sample_count(enum sample_counter counter)
{
	atomic_inc(&counters[counter]);
}

bool sample_lever_pulled(enum sample_lever lever)
{
	return atomic_dec_if_positive(&levers[lever]) >= 0;
}

bool sample_lever_is_ready(struct sample_ready *ready)
{
	u32 ms = READ_ONCE(map_delay_ms);

	if (!ready->pending) {
		ready->at = jiffies + msecs_to_jiffies(ms);
		ready->pending = ms;
	} else if (time_after_eq(jiffies, ready->at)) {
		ready->pending = false;
	}
	return !ready->pending;
}

int sample_lever_wait(void *at)
{
	unsigned long until = (unsigned long)at;

	while (time_before(jiffies, until)) {
		schedule_timeout_interruptible(until - jiffies);
		if (signal_pending(current))
			return -ERESTARTSYS;
	}
	return 0;
}

bool sample_denies(const struct device *importer)
{
	bool denied;

	kernel_param_lock(THIS_MODULE);
	denied = *deny && sysfs_streq(deny, dev_name(importer));
	kernel_param_unlock(THIS_MODULE);
	return denied;
}
