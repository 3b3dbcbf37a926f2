// SPDX-License-Identifier: GPL-2.0
/* Keys without a daemon: their requests wait for the next one, up to a deadline. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/module.h>

#include "tresor.h"

static unsigned int grace_seconds = 30;
module_param(grace_seconds, uint, 0644);
MODULE_PARM_DESC(grace_seconds, "how long requests wait for a daemon to come back (30)");

/* Keys with a deadline, the next one first; a reference each. Under tresor_lock. */
static LIST_HEAD(waiting);
static void expire(struct work_struct *work);
/* One timer for all of them: no key can leave one behind. */
static DECLARE_DELAYED_WORK(expiry, expire);

/* The watchdogs and deadlines, which end waits of tresor's own callbacks. */
struct workqueue_struct *tresor_timers;

static void count_and_fail(struct list_head *requests)
{
	struct tresor_request *request;
	u64 count = 0;

	list_for_each_entry(request, requests, node)
		count++;
	tresor_count(TRESOR_COUNT_EXPIRED, count);
	tresor_requests_fail(requests, -EIO);
}

void tresor_orphan_arm(struct tresor_key *key)
{
	struct tresor_key *before;

	if (key->expired || !list_empty(&key->waiting))
		return;
	refcount_inc(&key->refs);
	key->deadline = jiffies + tresor_jiffies(READ_ONCE(grace_seconds));
	list_for_each_entry_reverse(before, &waiting, waiting)
		if (!time_before(key->deadline, before->deadline))
			break;
	list_add(&key->waiting, &before->waiting);
	if (list_is_first(&key->waiting, &waiting))
		mod_delayed_work(tresor_timers, &expiry, key->deadline - jiffies);
}

bool tresor_orphan_disarm(struct tresor_key *key)
{
	if (list_empty(&key->waiting))
		return false;
	list_del_init(&key->waiting);
	return true;
}

/* Must hold tresor_lock. NULL when the next deadline, if any, is to come. */
static struct tresor_key *next_due(void)
{
	struct tresor_key *key = list_first_entry_or_null(&waiting, struct tresor_key, waiting);

	if (!key)
		return NULL;
	if (time_before(jiffies, key->deadline)) {
		mod_delayed_work(tresor_timers, &expiry, key->deadline - jiffies);
		return NULL;
	}
	list_del_init(&key->waiting);
	return key;
}

/*
 * Must hold tresor_lock. A handle that no daemon serves and no cipher holds can
 * not come back. Returns true when the caller has to put the table's reference.
 */
static bool unlist_unused(struct tresor_key *key)
{
	if (key->users || key->owner || key->legacy || list_empty(&key->node))
		return false;
	tresor_key_bury(key->handle);
	list_del_init(&key->node);
	return true;
}

static void expire(struct work_struct *work)
{
	struct tresor_key *key;
	bool unlisted;

	for (;;) {
		LIST_HEAD(requests);

		unlisted = false;
		spin_lock_bh(&tresor_lock);
		key = next_due();
		if (key && !rcu_access_pointer(key->daemon)) {
			key->expired = true;
			list_splice_init(&key->parked, &requests);
			unlisted = unlist_unused(key);
		}
		spin_unlock_bh(&tresor_lock);
		if (!key)
			return;
		if (!list_empty(&requests))
			pr_warn("no daemon took over key %llu in time, its requests fail\n",
				key->id);
		count_and_fail(&requests);
		if (unlisted)
			tresor_key_put(key);
		tresor_key_put(key);
	}
}

void tresor_orphans_fail(void)
{
	struct tresor_key *key;
	LIST_HEAD(requests);

	spin_lock_bh(&tresor_lock);
	list_for_each_entry(key, &tresor_keys, node) {
		if (rcu_access_pointer(key->daemon) || (list_empty(&key->parked) && !key->users))
			continue;
		key->expired = true;
		list_splice_tail_init(&key->parked, &requests);
	}
	spin_unlock_bh(&tresor_lock);
	count_and_fail(&requests);
}

int tresor_orphan_park(struct tresor_key *key, struct tresor_request *request)
{
	if (key->dead)
		return -ENOKEY;
	if (key->expired)
		return -EIO;
	list_add_tail(&request->node, &key->parked);
	tresor_orphan_arm(key);
	tresor_count(TRESOR_COUNT_PARKED, 1);
	return 0;
}

void tresor_key_release(struct tresor_key *key)
{
	bool unlisted, disarmed = false;

	spin_lock_bh(&tresor_lock);
	key->users--;
	unlisted = unlist_unused(key);
	/* Nobody waits for it, whoever owns it. */
	if (!key->users && list_empty(&key->parked))
		disarmed = tresor_orphan_disarm(key);
	spin_unlock_bh(&tresor_lock);
	if (disarmed)
		tresor_key_put(key);
	if (unlisted)
		tresor_key_put(key);
	tresor_key_put(key);
}

int tresor_orphans_init(void)
{
	tresor_timers = alloc_workqueue("tresor_timers", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return tresor_timers ? 0 : -ENOMEM;
}

void tresor_orphans_exit(void)
{
	struct tresor_key *key, *next;
	LIST_HEAD(left);

	cancel_delayed_work_sync(&expiry);
	spin_lock_bh(&tresor_lock);
	list_splice_init(&waiting, &left);
	spin_unlock_bh(&tresor_lock);
	list_for_each_entry_safe(key, next, &left, waiting) {
		list_del_init(&key->waiting);
		tresor_key_put(key);
	}
	/* Handles that only the table knows. */
	list_for_each_entry_safe(key, next, &tresor_keys, node) {
		list_del_init(&key->node);
		tresor_key_put(key);
	}
	destroy_workqueue(tresor_timers);
}
