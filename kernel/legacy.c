// SPDX-License-Identifier: GPL-2.0
/*
 * The keys of the legacy daemon: what setkey delivers goes to it as an event,
 * setkey waits for its answer.
 */
#include <crypto/algapi.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "tresor.h"

static unsigned int setkey_seconds = 60;
module_param(setkey_seconds, uint, 0644);
MODULE_PARM_DESC(setkey_seconds, "how long setkey waits for a legacy daemon (60)");

/* A setkey that waits; lives on the caller's stack. */
struct tresor_key_ask {
	struct completion done;
	int status;
	u8 bytes[TRESOR_BYTES_MAX];
};

/* Must hold tresor_lock. */
struct tresor_daemon *tresor_legacy_daemon(void)
{
	struct tresor_daemon *daemon;

	list_for_each_entry(daemon, &tresor_daemons, node)
		if (daemon->legacy && !daemon->stopped)
			return daemon;
	return NULL;
}

void tresor_legacy_reply(struct tresor_key *key, int status)
{
	if (!key->ask)
		return;
	key->ask->status = status;
	complete(&key->ask->done);
	key->ask = NULL;
}

struct tresor_key *tresor_legacy_ask(const u8 *bytes, u32 size, u8 mode)
{
	struct tresor_key_ask ask = { .status = -ETIMEDOUT };
	struct tresor_daemon *daemon;
	struct tresor_key *key;
	bool disarmed = false;
	long left;

	/* A wipe comes while the device above is suspended: no writeback from here. */
	key = tresor_key_make(GFP_NOIO);
	if (!key)
		return ERR_PTR(-ENOMEM);
	init_completion(&ask.done);
	memcpy(ask.bytes, bytes, size);
	key->legacy = true;
	key->mode = mode;
	key->size = size;
	key->users = 1;

	spin_lock_bh(&tresor_lock);
	daemon = tresor_legacy_daemon();
	if (daemon) {
		key->owner = daemon;
		key->ask = &ask;
		key->event = TRESOR_KEY_ASK;
		tresor_key_list(key);
		list_add_tail(&key->mine, &daemon->keys);
		list_add_tail(&key->event_node, &daemon->events);
		wake_up_interruptible(&daemon->event_wait);
	}
	spin_unlock_bh(&tresor_lock);
	if (!daemon) {
		memzero_explicit(ask.bytes, sizeof(ask.bytes));
		tresor_key_put(key);
		return NULL;
	}

	left = wait_for_completion_killable_timeout(&ask.done,
						    tresor_jiffies(READ_ONCE(setkey_seconds)));
	spin_lock_bh(&tresor_lock);
	/* An answer from here on finds nobody; one just given makes a FORGET. */
	key->ask = NULL;
	if (left < 0)
		ask.status = -EINTR;
	/* A daemon that stopped while it was asked left a deadline behind. */
	if (ask.status) {
		key->users = 0;
		disarmed = tresor_orphan_disarm(key);
	}
	spin_unlock_bh(&tresor_lock);
	memzero_explicit(ask.bytes, sizeof(ask.bytes));
	if (disarmed)
		tresor_key_put(key);
	if (ask.status) {
		tresor_key_put(key);
		return ERR_PTR(ask.status);
	}
	return key;
}

bool tresor_legacy_next_event(struct tresor_daemon *daemon, struct tresor_event *event)
{
	struct tresor_key *key, *gone = NULL;

	memset(event, 0, sizeof(*event));
	spin_lock_bh(&tresor_lock);
	key = list_first_entry_or_null(&daemon->events, struct tresor_key, event_node);
	if (!key) {
		spin_unlock_bh(&tresor_lock);
		return false;
	}
	list_del_init(&key->event_node);
	event->id = key->id;
	event->cookie = key->cookie;
	if (key->event == TRESOR_KEY_FORGET) {
		event->type = TRESOR_EVENT_FORGET;
		gone = key;
	} else {
		key->event = TRESOR_KEY_ASKED;
		event->type = TRESOR_EVENT_SETKEY;
		event->mode = key->mode;
		event->size = key->size;
		if (key->ask) {
			memcpy(event->bytes, key->ask->bytes, key->size);
			memzero_explicit(key->ask->bytes, sizeof(key->ask->bytes));
		} else {
			event->flags = TRESOR_EVENT_AGAIN;
		}
	}
	spin_unlock_bh(&tresor_lock);
	if (gone)
		kfree_rcu(gone, rcu);
	return true;
}

/* A reference to this daemon's legacy key, or NULL. */
static struct tresor_key *get_legacy(struct tresor_daemon *daemon, u64 id)
{
	struct tresor_key *key, *found = NULL;

	spin_lock_bh(&tresor_lock);
	list_for_each_entry(key, &daemon->keys, mine) {
		if (key->legacy && key->id == id && tresor_key_tryget(key)) {
			found = key;
			break;
		}
	}
	spin_unlock_bh(&tresor_lock);
	return found;
}

/*
 * Must hold tresor_lock. Answered so, the key's requests flow; the setkey that
 * waits is told.
 */
static int serve(struct tresor_key *key, struct tresor_daemon *daemon,
		 const struct tresor_answer *answer, struct list_head *waited, bool *disarmed)
{
	int ret = tresor_route_serve(key, daemon, answer->cookie, answer->check, waited, disarmed);

	if (ret)
		return ret;
	key->event = TRESOR_KEY_QUIET;
	tresor_legacy_reply(key, 0);
	return 0;
}

/* What an ioctl does to its key, with tresor_lock held. */
typedef int (*act_fn)(struct tresor_key *key, struct tresor_daemon *daemon,
		      const struct tresor_answer *answer, struct list_head *waited, bool *disarmed);

static int act_on_key(struct tresor_daemon *daemon, const struct tresor_answer *answer, act_fn act)
{
	struct tresor_key *key = get_legacy(daemon, answer->id);
	bool disarmed = false;
	LIST_HEAD(waited);
	int ret;

	if (!key)
		return -ENOENT;
	spin_lock_bh(&tresor_lock);
	ret = act(key, daemon, answer, &waited, &disarmed);
	spin_unlock_bh(&tresor_lock);
	tresor_route_move(daemon, &waited);
	if (disarmed)
		tresor_key_put(key);
	tresor_key_put(key);
	return ret;
}

static int answer_setkey(struct tresor_key *key, struct tresor_daemon *daemon,
			 const struct tresor_answer *answer, struct list_head *waited,
			 bool *disarmed)
{
	/* Not a second time, not for a setkey that gave up, not when STOP came first. */
	if (key->owner != daemon || key->event != TRESOR_KEY_ASKED || !key->users)
		return -ENOENT;
	if (!answer->status)
		return serve(key, daemon, answer, waited, disarmed);
	key->event = TRESOR_KEY_QUIET;
	if (answer->status == TRESOR_ANSWER_HELD) {
		tresor_orphan_arm(key);
		tresor_legacy_reply(key, 0);
		return 0;
	}
	/* Refused; an orphan offered again keeps its deadline. */
	key->owner = NULL;
	list_del_init(&key->mine);
	tresor_legacy_reply(key, answer->status);
	return 0;
}

static int release_held(struct tresor_key *key, struct tresor_daemon *daemon,
			const struct tresor_answer *answer, struct list_head *waited,
			bool *disarmed)
{
	if (key->owner != daemon || key->event != TRESOR_KEY_QUIET ||
	    rcu_access_pointer(key->daemon) || !key->users)
		return -ENOENT;
	return serve(key, daemon, answer, waited, disarmed);
}

int tresor_legacy_answer(struct tresor_daemon *daemon, const struct tresor_answer *answer)
{
	return act_on_key(daemon, answer, answer_setkey);
}

int tresor_legacy_release(struct tresor_daemon *daemon, const struct tresor_answer *answer)
{
	return act_on_key(daemon, answer, release_held);
}

/* Must hold tresor_lock. To a daemon that has just come. */
void tresor_legacy_offer_orphans(struct tresor_daemon *daemon)
{
	struct tresor_key *key;

	if (daemon->stopped)
		return;
	list_for_each_entry(key, &tresor_keys, node) {
		if (!key->legacy || key->owner || !key->users)
			continue;
		key->owner = daemon;
		key->event = TRESOR_KEY_ASK;
		list_add_tail(&key->mine, &daemon->keys);
		list_add_tail(&key->event_node, &daemon->events);
	}
}
