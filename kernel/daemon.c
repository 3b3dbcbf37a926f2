// SPDX-License-Identifier: GPL-2.0
/* A daemon's life: it attaches, is watched, and leaves its keys to the next. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "tresor.h"

static unsigned int hang_seconds = 60;
module_param(hang_seconds, uint, 0644);
MODULE_PARM_DESC(hang_seconds, "silence after which a daemon counts as dead; 0: never (60)");

/* ---- its end ---- */

/* Must hold tresor_lock. Moves handles nobody holds to the list. */
static void detach_keys(struct tresor_daemon *daemon, struct list_head *unused)
{
	struct tresor_key *key, *next;

	list_for_each_entry_safe(key, next, &daemon->keys, mine) {
		RCU_INIT_POINTER(key->daemon, NULL);
		key->owner = NULL;
		key->event = TRESOR_KEY_QUIET;
		list_del_init(&key->mine);
		list_del_init(&key->event_node);
		tresor_legacy_reply(key, -ESHUTDOWN);
		if (key->users || !list_empty(&key->parked)) {
			tresor_orphan_arm(key);
		} else if (!key->legacy) {
			tresor_key_bury(key->handle);
			list_del_init(&key->node);
			list_add(&key->mine, unused);
		}
	}
}

void tresor_daemon_detach(struct tresor_daemon *daemon)
{
	struct tresor_key *key, *next;
	LIST_HEAD(requests);
	LIST_HEAD(unused);
	LIST_HEAD(forgotten);
	u32 i;

	spin_lock_bh(&tresor_lock);
	WRITE_ONCE(daemon->stopped, true);
	detach_keys(daemon, &unused);
	/* What is left are keys whose last reference is gone already. */
	list_splice_init(&daemon->events, &forgotten);
	spin_unlock_bh(&tresor_lock);
	wake_up_all(&daemon->event_wait);

	for (i = 0; i < daemon->queue_count; i++)
		tresor_queue_kill(&daemon->queues[i], &requests);
	tresor_requests_place(&requests);
	list_for_each_entry_safe(key, next, &forgotten, event_node)
		kfree_rcu(key, rcu);
	list_for_each_entry_safe(key, next, &unused, mine) {
		list_del_init(&key->mine);
		tresor_key_put(key);
	}
	tresor_route_settle();
}

/* ---- the watchdog ---- */

/* A daemon that stopped taking part (SIGSTOP, deadlock) is never released. Its queues tell. */
static void watch(struct work_struct *work)
{
	struct tresor_daemon *daemon =
		container_of(to_delayed_work(work), struct tresor_daemon, watchdog);
	unsigned int seconds = READ_ONCE(hang_seconds);
	bool busy = false;
	u32 i;

	if (READ_ONCE(daemon->stopped))
		return;
	for (i = 0; i < daemon->queue_count; i++) {
		switch (tresor_queue_check(&daemon->queues[i], tresor_jiffies(seconds))) {
		case TRESOR_QUEUE_IDLE:
			continue;
		case TRESOR_QUEUE_BUSY:
			busy = true;
			continue;
		case TRESOR_QUEUE_HUNG:
			busy = true;
			if (!seconds)
				continue;
		}
		pr_warn("daemon %d has left requests unanswered for %u s, treating it as dead\n",
			daemon->pid, seconds);
		tresor_daemon_detach(daemon);
		return;
	}
	/* Else the next request's submission starts it again. */
	if (busy)
		queue_delayed_work(tresor_timers, &daemon->watchdog, HZ);
}

void tresor_queue_busy(struct tresor_queue *queue)
{
	struct tresor_daemon *daemon = queue->owner;

	queue_delayed_work(tresor_timers, &daemon->watchdog, HZ);
}

/* ---- its beginning ---- */

struct tresor_daemon *tresor_daemon_make(void)
{
	struct tresor_daemon *daemon = kzalloc(sizeof(*daemon), GFP_KERNEL);

	if (!daemon)
		return NULL;
	INIT_LIST_HEAD(&daemon->node);
	INIT_LIST_HEAD(&daemon->keys);
	INIT_LIST_HEAD(&daemon->events);
	init_waitqueue_head(&daemon->event_wait);
	mutex_init(&daemon->attach_lock);
	INIT_DELAYED_WORK(&daemon->watchdog, watch);
	return daemon;
}

static void free_queues(struct tresor_queue *queues, u32 count)
{
	while (count--)
		tresor_queue_exit(&queues[count]);
	kvfree(queues);
}

void tresor_daemon_free(struct tresor_daemon *daemon)
{
	if (daemon->queue_count) {
		tresor_daemon_detach(daemon);
		/* Not before: a submission starts it. */
		cancel_delayed_work_sync(&daemon->watchdog);
		spin_lock_bh(&tresor_lock);
		list_del_init(&daemon->node);
		spin_unlock_bh(&tresor_lock);
		free_queues(daemon->queues, daemon->queue_count);
		put_pid(daemon->process);
	}
	kfree(daemon);
}

/* Holds daemon->attach_lock. */
static int attach(struct tresor_daemon *daemon, const struct tresor_attach *arg)
{
	struct tresor_queue *queues;
	u32 i;
	int ret;

	if (daemon->queue_count)
		return -EBUSY;
	queues = kvcalloc(arg->queues, sizeof(*queues), GFP_KERNEL);
	if (!queues)
		return -ENOMEM;
	for (i = 0; i < arg->queues; i++) {
		ret = tresor_queue_init(&queues[i], arg->depth);
		if (ret)
			goto free;
		queues[i].owner = daemon;
	}
	ret = tresor_ciphers_register();
	if (ret)
		goto free;

	spin_lock_bh(&tresor_lock);
	if ((arg->flags & TRESOR_ATTACH_LEGACY) && tresor_legacy_daemon()) {
		spin_unlock_bh(&tresor_lock);
		ret = -EBUSY;
		goto free;
	}
	daemon->legacy = arg->flags & TRESOR_ATTACH_LEGACY;
	daemon->queues = queues;
	daemon->process = get_pid(task_tgid(current));
	daemon->pid = pid_nr(daemon->process);
	/* Pairs with the acquires of device.c: whoever sees it sees the queues. */
	smp_store_release(&daemon->queue_count, arg->queues);
	list_add_tail(&daemon->node, &tresor_daemons);
	/* Under the same lock: a STOP of another thread comes before, or with all its keys. */
	if (daemon->legacy)
		tresor_legacy_offer_orphans(daemon);
	spin_unlock_bh(&tresor_lock);
	return 0;
free:
	free_queues(queues, i);
	return ret;
}

int tresor_daemon_attach(struct tresor_daemon *daemon, const struct tresor_attach *arg)
{
	int ret;

	mutex_lock(&daemon->attach_lock);
	ret = attach(daemon, arg);
	mutex_unlock(&daemon->attach_lock);
	return ret;
}
