// SPDX-License-Identifier: GPL-2.0
/* /sys/class/misc/tresor: counters/, daemons, queue_depth, fail_now. */
#include <linux/device.h>
#include <linux/kstrtox.h>
#include <linux/sysfs.h>

#include "tresor.h"

struct counter_attribute {
	struct device_attribute base;
	enum tresor_counter counter;
};

static ssize_t show_counter(struct device *device, struct device_attribute *attribute, char *buf)
{
	enum tresor_counter counter =
		container_of(attribute, struct counter_attribute, base)->counter;

	return sysfs_emit(buf, "%llu\n", tresor_counted(counter));
}

#define COUNTER(name_, value_)						\
	static struct counter_attribute counter_##name_ = {			\
		.base = __ATTR(name_, 0444, show_counter, NULL),		\
		.counter = value_,						\
	}

COUNTER(encrypt, TRESOR_COUNT_ENCRYPT);
COUNTER(decrypt, TRESOR_COUNT_DECRYPT);
COUNTER(setkey, TRESOR_COUNT_SETKEY);
COUNTER(failures, TRESOR_COUNT_FAILURES);
COUNTER(batches, TRESOR_COUNT_BATCHES);
COUNTER(parked, TRESOR_COUNT_PARKED);
COUNTER(expired, TRESOR_COUNT_EXPIRED);
COUNTER(rejected, TRESOR_COUNT_REJECTED);

static struct attribute *counter_attributes[] = {
	&counter_encrypt.base.attr,
	&counter_decrypt.base.attr,
	&counter_setkey.base.attr,
	&counter_failures.base.attr,
	&counter_batches.base.attr,
	&counter_parked.base.attr,
	&counter_expired.base.attr,
	&counter_rejected.base.attr,
	NULL,
};

static const struct attribute_group counter_group = {
	.name = "counters",
	.attrs = counter_attributes,
};

/* Requests inside: slots taken and backlog, of all queues. */
static ssize_t queue_depth_show(struct device *device, struct device_attribute *attribute,
				char *buf)
{
	struct tresor_daemon *daemon;
	u64 sum = 0;
	u32 i;

	spin_lock_bh(&tresor_lock);
	list_for_each_entry(daemon, &tresor_daemons, node)
		for (i = 0; i < daemon->queue_count; i++)
			sum += tresor_queue_load(&daemon->queues[i]);
	spin_unlock_bh(&tresor_lock);
	return sysfs_emit(buf, "%llu\n", sum);
}
static DEVICE_ATTR_RO(queue_depth);

/* One line per attached daemon: its process and what it is. */
static ssize_t daemons_show(struct device *device, struct device_attribute *attribute, char *buf)
{
	struct tresor_daemon *daemon;
	int at = 0;

	spin_lock_bh(&tresor_lock);
	list_for_each_entry(daemon, &tresor_daemons, node)
		at += sysfs_emit_at(buf, at, "%d %s%s\n", daemon->pid,
				    daemon->legacy ? "legacy" : "volume",
				    daemon->stopped ? " stopped" : "");
	spin_unlock_bh(&tresor_lock);
	return at;
}
static DEVICE_ATTR_RO(daemons);

/* Writing 1 does not wait for grace_seconds: what waits for a daemon fails now. */
static ssize_t fail_now_store(struct device *device, struct device_attribute *attribute,
			      const char *buf, size_t size)
{
	bool yes;
	int ret = kstrtobool(buf, &yes);

	if (ret)
		return ret;
	if (yes)
		tresor_orphans_fail();
	return size;
}
static DEVICE_ATTR_WO(fail_now);

static struct attribute *device_attributes[] = {
	&dev_attr_queue_depth.attr,
	&dev_attr_daemons.attr,
	&dev_attr_fail_now.attr,
	NULL,
};

static const struct attribute_group device_group = {
	.attrs = device_attributes,
};

const struct attribute_group *tresor_attribute_groups[] = {
	&device_group,
	&counter_group,
	NULL,
};
