// SPDX-License-Identifier: GPL-2.0
/*
 * Keys as the kernel knows them: which daemon serves which, where requests wait
 * while none does, and who is told when they are done.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/crypto.h>
#include <crypto/algapi.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/srcu.h>

#include "tresor.h"

/* Protects tresor_daemons, tresor_keys, waiting and what tresor.h says of their members. */
DEFINE_SPINLOCK(tresor_lock);
LIST_HEAD(tresor_daemons);
LIST_HEAD(tresor_keys);

/* Keys with a deadline, the next one first; a reference each. */
static LIST_HEAD(waiting);
static void expire(struct work_struct *work);
/* One timer for all of them: no key can leave one behind. */
static DECLARE_DELAYED_WORK(expiry, expire);

/* Slots in use from which on another queue may be the better one. */
#define PILE	4u

/* Daemons that may die, one after the other, below one request before it fails. */
#define TRIES	8u

static u64 last_id;

/* Holds a daemon's queues while requests move to them in process context. */
DEFINE_STATIC_SRCU(adopting);

/*
 * Ours, as long as it keeps up: one worker of dm-crypt submits a whole bio
 * before its first sector is done, and the other queues' threads would idle.
 * The loads are read without the locks, as hints.
 */
static struct tresor_queue *choose_queue(struct tresor_daemon *daemon)
{
	struct tresor_queue *queue = &daemon->queues[raw_smp_processor_id() % daemon->queue_count];
	u32 i, load, least = tresor_queue_load(queue);

	if (least < PILE)
		return queue;
	for (i = 0; i < daemon->queue_count; i++) {
		load = tresor_queue_load(&daemon->queues[i]);
		if (load < least) {
			least = load;
			queue = &daemon->queues[i];
		}
	}
	return queue;
}

bool tresor_key_tryget(struct tresor_key *key)
{
	return refcount_inc_not_zero(&key->refs);
}

void tresor_key_put(struct tresor_key *key)
{
	bool forget = false;

	if (refcount_dec_not_one(&key->refs))
		return;
	/* The last one goes under the lock, so that no list shows a dead key. */
	spin_lock_bh(&tresor_lock);
	if (!refcount_dec_and_test(&key->refs)) {
		spin_unlock_bh(&tresor_lock);
		return;
	}
	list_del_init(&key->node);
	list_del_init(&key->mine);
	list_del_init(&key->event_node);
	/* The daemon still has the key itself; its turn to free ours comes with the event. */
	if (key->legacy && key->owner && key->event == TRESOR_KEY_QUIET) {
		forget = true;
		key->event = TRESOR_KEY_FORGET;
		list_add_tail(&key->event_node, &key->owner->events);
		wake_up_interruptible(&key->owner->event_wait);
	}
	spin_unlock_bh(&tresor_lock);
	if (!forget)
		kfree_rcu(key, rcu);
}

/* ---- completion ---- */

/*
 * Callbacks may sleep until this or another key's requests are done (dm-crypt
 * above dm-crypt without its own workqueues), hence never in a daemon's thread,
 * and a work item for each key.
 */
static void tell(struct work_struct *work)
{
	struct tresor_key *key = container_of(work, struct tresor_key, tell);
	struct tresor_request *request, *next;
	LIST_HEAD(requests);

	spin_lock_bh(&key->finished_lock);
	list_splice_init(&key->finished, &requests);
	spin_unlock_bh(&key->finished_lock);
	list_for_each_entry_safe(request, next, &requests, node) {
		list_del_init(&request->node);
		tresor_request_deliver(request);
	}
	tresor_key_put(key);
}

/* The head of the list, and what follows it under the same key. */
static void complete_some(struct list_head *requests)
{
	struct tresor_request *request, *next;
	struct tresor_key *key = list_first_entry(requests, struct tresor_request, node)->key;

	/* While it is held nobody takes the requests, and with them the key, away. */
	spin_lock_bh(&key->finished_lock);
	list_for_each_entry_safe(request, next, requests, node) {
		if (request->key != key)
			break;
		list_move_tail(&request->node, &key->finished);
	}
	if (queue_work(tresor_completions, &key->tell))
		refcount_inc(&key->refs);
	spin_unlock_bh(&key->finished_lock);
}

void tresor_requests_complete(struct list_head *requests)
{
	while (!list_empty(requests))
		complete_some(requests);
}

void tresor_requests_fail(struct list_head *requests, int error)
{
	struct tresor_request *request;

	list_for_each_entry(request, requests, node) {
		tresor_request_progress(request);
		request->error = error;
	}
	tresor_requests_complete(requests);
}

/* ---- deadlines ---- */

static void count_and_fail(struct list_head *requests)
{
	struct tresor_request *request;
	u64 count = 0;

	list_for_each_entry(request, requests, node)
		count++;
	tresor_count(TRESOR_COUNT_EXPIRED, count);
	tresor_requests_fail(requests, -EIO);
}

/* Must hold tresor_lock. The deadline of an orphan that somebody may wait for. */
void tresor_key_arm(struct tresor_key *key)
{
	struct tresor_key *before;

	if (key->expired || !list_empty(&key->waiting))
		return;
	refcount_inc(&key->refs);
	key->deadline = jiffies + tresor_jiffies(READ_ONCE(tresor_grace_seconds));
	list_for_each_entry_reverse(before, &waiting, waiting)
		if (!time_before(key->deadline, before->deadline))
			break;
	list_add(&key->waiting, &before->waiting);
	if (list_is_first(&key->waiting, &waiting))
		mod_delayed_work(tresor_timers, &expiry, key->deadline - jiffies);
}

/* Must hold tresor_lock. Returns true when the caller has to put a reference. */
bool tresor_key_disarm(struct tresor_key *key)
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
	tresor_handle_bury(key->handle);
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
			pr_warn("no daemon took over key %llu in time, its requests fail\n", key->id);
		count_and_fail(&requests);
		if (unlisted)
			tresor_key_put(key);
		tresor_key_put(key);
	}
}

void tresor_key_fail_parked(void)
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

struct tresor_key *tresor_key_make(gfp_t flags)
{
	struct tresor_key *key = kzalloc(sizeof(*key), flags);

	if (!key)
		return NULL;
	refcount_set(&key->refs, 1);
	INIT_LIST_HEAD(&key->node);
	INIT_LIST_HEAD(&key->mine);
	INIT_LIST_HEAD(&key->event_node);
	INIT_LIST_HEAD(&key->parked);
	INIT_LIST_HEAD(&key->waiting);
	INIT_LIST_HEAD(&key->finished);
	spin_lock_init(&key->finished_lock);
	INIT_WORK(&key->tell, tell);
	return key;
}

/* Must hold tresor_lock. */
void tresor_key_list(struct tresor_key *key)
{
	key->id = ++last_id;
	list_add_tail(&key->node, &tresor_keys);
}

void tresor_key_exit(void)
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
}

/* ---- requests ---- */

u32 tresor_key_cookie(const struct tresor_key *key)
{
	return READ_ONCE(key->cookie);
}

/* Must hold tresor_lock. 0: parked. Else what became of the key. */
static int park(struct tresor_key *key, struct tresor_request *request)
{
	if (key->dead)
		return -ENOKEY;
	if (key->expired)
		return -EIO;
	list_add_tail(&request->node, &key->parked);
	tresor_key_arm(key);
	tresor_count(TRESOR_COUNT_PARKED, 1);
	return 0;
}

/* Must hold tresor_lock, with no daemon there. */
static int submit_orphan(struct tresor_key *key, struct tresor_request *request)
{
	int ret;

	if (!request->may_backlog)
		return key->dead ? -ENOKEY : key->expired ? -EIO : -ENOSPC;
	request->owed = true;
	ret = park(key, request);
	if (!ret)
		return -EBUSY;
	request->owed = false;
	return ret;
}

int tresor_key_submit(struct tresor_request *request)
{
	struct tresor_key *key = request->key;
	struct tresor_daemon *daemon;
	u32 tries;
	int ret;

	/* A queue dies after its keys were detached: each try is another daemon's. */
	for (tries = 0; tries < TRIES; tries++) {
		ret = -ESHUTDOWN;
		rcu_read_lock();
		daemon = rcu_dereference(key->daemon);
		if (daemon)
			ret = tresor_queue_submit(choose_queue(daemon), request);
		rcu_read_unlock();
		if (ret != -ESHUTDOWN)
			return ret;

		spin_lock_bh(&tresor_lock);
		daemon = rcu_dereference_protected(key->daemon, lockdep_is_held(&tresor_lock));
		if (!daemon)
			ret = submit_orphan(key, request);
		spin_unlock_bh(&tresor_lock);
		if (!daemon)
			return ret;
	}
	return -EIO;
}

/* One that was accepted before. It is parked, with a daemon, failed or in @left. */
static void place(struct tresor_request *request, struct list_head *left)
{
	struct tresor_key *key = request->key;
	struct tresor_daemon *daemon;
	LIST_HEAD(one);
	int ret = 0, index;

	index = srcu_read_lock(&adopting);
	spin_lock_bh(&tresor_lock);
	daemon = rcu_dereference_protected(key->daemon, lockdep_is_held(&tresor_lock));
	if (!daemon)
		ret = park(key, request);
	spin_unlock_bh(&tresor_lock);
	if (daemon || ret)
		list_add(&request->node, &one);
	if (daemon)
		tresor_queue_adopt(choose_queue(daemon), &one, left);
	srcu_read_unlock(&adopting, index);
	if (ret)
		tresor_requests_fail(&one, ret);
}

void tresor_requests_place(struct list_head *requests)
{
	struct tresor_request *request, *next;
	u32 tries;

	for (tries = 0; tries < TRIES && !list_empty(requests); tries++) {
		LIST_HEAD(left);

		list_for_each_entry_safe(request, next, requests, node) {
			list_del_init(&request->node);
			place(request, &left);
		}
		list_splice_init(&left, requests);
	}
	tresor_requests_fail(requests, -EIO);
}

/* ---- ciphers ---- */

void tresor_key_release(struct tresor_key *key)
{
	bool unlisted, disarmed = false;

	spin_lock_bh(&tresor_lock);
	key->users--;
	unlisted = unlist_unused(key);
	/* Nobody waits for it, whoever owns it. */
	if (!key->users && list_empty(&key->parked))
		disarmed = tresor_key_disarm(key);
	spin_unlock_bh(&tresor_lock);
	if (disarmed)
		tresor_key_put(key);
	if (unlisted)
		tresor_key_put(key);
	tresor_key_put(key);
}

/* ---- daemons ---- */

/*
 * Must hold tresor_lock. Requests flow from here on; those that waited are the
 * caller's to move, and a reference to put when *@disarmed.
 */
int tresor_key_serve(struct tresor_key *key, struct tresor_daemon *daemon, u32 cookie,
		     const u8 *check, struct list_head *waited, bool *disarmed)
{
	*disarmed = false;
	if (key->owner != daemon || daemon->stopped)
		return -ESHUTDOWN;
	/* Another key under the same name would ruin what the first one wrote. */
	if (key->checked && crypto_memneq(key->check, check, sizeof(key->check)))
		return -EKEYREJECTED;
	memcpy(key->check, check, sizeof(key->check));
	key->checked = true;
	WRITE_ONCE(key->cookie, cookie);
	rcu_assign_pointer(key->daemon, daemon);
	list_splice_init(&key->parked, waited);
	key->expired = false;
	*disarmed = tresor_key_disarm(key);
	return 0;
}

/* The caller is an ioctl of this daemon: its queues stay until it returns. */
void tresor_key_move(struct tresor_daemon *daemon, struct list_head *waited)
{
	LIST_HEAD(left);

	tresor_queue_adopt(choose_queue(daemon), waited, &left);
	tresor_requests_place(&left);
}

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
			tresor_key_arm(key);
		} else if (!key->legacy) {
			tresor_handle_bury(key->handle);
			list_del_init(&key->node);
			list_add(&key->mine, unused);
		}
	}
}

void tresor_key_detach(struct tresor_daemon *daemon)
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
	/* Nobody is about to use the queues any more. */
	synchronize_rcu();
	synchronize_srcu(&adopting);
}
