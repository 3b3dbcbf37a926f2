// SPDX-License-Identifier: GPL-2.0
/*
 * Keys as the kernel knows them: which daemon serves which handle, and where
 * requests wait while none does.
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

/* Protects tresor_daemons, tresor_keys and what tresor.h says of their members. */
DEFINE_SPINLOCK(tresor_lock);
LIST_HEAD(tresor_daemons);
LIST_HEAD(tresor_keys);

/* Slots in use from which on another queue may be the better one. */
#define PILE	4u

static u64 last_id;

/* Holds a daemon's queues where completions, which may sleep, run meanwhile. */
DEFINE_STATIC_SRCU(adopting);

/* A setkey that waits for a legacy daemon; lives on the caller's stack. */
struct tresor_key_ask {
	struct completion done;
	int status;
	u8 bytes[TRESOR_BYTES_MAX];
};

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

static void fail_request(struct tresor_request *request, int error)
{
	tresor_request_progress(request);
	tresor_request_complete(request, error);
}

static void fail_requests(struct list_head *requests, int error)
{
	struct tresor_request *request, *next;

	list_for_each_entry_safe(request, next, requests, node) {
		list_del_init(&request->node);
		fail_request(request, error);
	}
}

static void count_and_fail(struct list_head *requests)
{
	struct tresor_request *request;
	u64 count = 0;

	list_for_each_entry(request, requests, node)
		count++;
	tresor_count(TRESOR_COUNT_EXPIRED, count);
	fail_requests(requests, -EIO);
}

static void expire(struct work_struct *work)
{
	struct tresor_key *key = container_of(to_delayed_work(work), struct tresor_key, expiry);
	LIST_HEAD(requests);

	spin_lock_bh(&tresor_lock);
	if (!rcu_access_pointer(key->daemon)) {
		key->expired = true;
		list_splice_init(&key->parked, &requests);
	}
	spin_unlock_bh(&tresor_lock);
	if (!list_empty(&requests))
		pr_warn("no daemon took over key %llu within %u s, its requests fail\n", key->id,
			tresor_grace_seconds);
	count_and_fail(&requests);
	tresor_key_put(key);
}

/* Must hold tresor_lock. The deadline of an orphan that somebody may wait for. */
static void arm_expiry(struct tresor_key *key)
{
	if (key->expired)
		return;
	refcount_inc(&key->refs);
	if (!queue_delayed_work(tresor_workqueue, &key->expiry, tresor_grace_seconds * HZ))
		refcount_dec(&key->refs);
}

/* Must hold tresor_lock. Returns true when the caller has to put a reference. */
static bool __must_check disarm_expiry(struct tresor_key *key)
{
	key->expired = false;
	return cancel_delayed_work(&key->expiry);
}

static struct tresor_key *make_key(gfp_t flags)
{
	struct tresor_key *key = kzalloc(sizeof(*key), flags);

	if (!key)
		return NULL;
	refcount_set(&key->refs, 1);
	INIT_LIST_HEAD(&key->node);
	INIT_LIST_HEAD(&key->mine);
	INIT_LIST_HEAD(&key->event_node);
	INIT_LIST_HEAD(&key->parked);
	INIT_DELAYED_WORK(&key->expiry, expire);
	return key;
}

/* ---- requests ---- */

u32 tresor_key_cookie(const struct tresor_key *key)
{
	return READ_ONCE(key->cookie);
}

/*
 * Must hold tresor_lock. 0: parked. Else what became of the key.
 */
static int park(struct tresor_key *key, struct tresor_request *request)
{
	if (key->dead)
		return -ENOKEY;
	if (key->expired)
		return -EIO;
	list_add_tail(&request->node, &key->parked);
	arm_expiry(key);
	tresor_count(TRESOR_COUNT_PARKED, 1);
	return 0;
}

int tresor_key_submit(struct tresor_request *request)
{
	struct tresor_key *key = request->key;
	struct tresor_daemon *daemon;
	int ret;

again:
	ret = -ESHUTDOWN;
	rcu_read_lock();
	daemon = rcu_dereference(key->daemon);
	if (daemon)
		ret = tresor_queue_submit(choose_queue(daemon), request);
	rcu_read_unlock();
	if (ret != -ESHUTDOWN)
		return ret;

	spin_lock_bh(&tresor_lock);
	/* A queue dies after its keys were detached: another daemon took over since. */
	if (rcu_access_pointer(key->daemon)) {
		spin_unlock_bh(&tresor_lock);
		goto again;
	}
	if (!request->may_backlog) {
		ret = key->dead ? -ENOKEY : key->expired ? -EIO : -ENOSPC;
	} else {
		request->owed = true;
		ret = park(key, request);
		if (ret)
			request->owed = false;
		else
			ret = -EBUSY;
	}
	spin_unlock_bh(&tresor_lock);
	return ret;
}

void tresor_request_orphan(struct tresor_request *request)
{
	struct tresor_key *key = request->key;
	struct tresor_daemon *daemon;
	LIST_HEAD(one);
	int ret = 0, index;

	index = srcu_read_lock(&adopting);
	spin_lock_bh(&tresor_lock);
	daemon = rcu_dereference_protected(key->daemon, lockdep_is_held(&tresor_lock));
	if (daemon)
		list_add(&request->node, &one);
	else
		ret = park(key, request);
	spin_unlock_bh(&tresor_lock);
	if (daemon)
		tresor_queue_adopt(choose_queue(daemon), &one);
	srcu_read_unlock(&adopting, index);
	if (ret)
		fail_request(request, ret);
}

/* ---- ciphers ---- */

/* Must hold tresor_lock. */
static struct tresor_key *find_handle(const u8 *handle)
{
	struct tresor_key *key;

	list_for_each_entry(key, &tresor_keys, node)
		if (!key->legacy && !crypto_memneq(key->handle, handle, sizeof(key->handle)))
			return key;
	return NULL;
}

/* Must hold tresor_lock. */
static struct tresor_daemon *find_legacy_daemon(void)
{
	struct tresor_daemon *daemon;

	list_for_each_entry(daemon, &tresor_daemons, node)
		if (daemon->legacy && !daemon->stopped)
			return daemon;
	return NULL;
}

static struct tresor_key *ask_legacy_daemon(const u8 *bytes, u32 size, u8 mode)
{
	struct tresor_key_ask ask = { .status = -ETIMEDOUT };
	struct tresor_daemon *daemon;
	struct tresor_key *key;
	long left;

	/* A wipe comes while the device above is suspended: no writeback from here. */
	key = make_key(GFP_NOIO);
	if (!key)
		return ERR_PTR(-ENOMEM);
	init_completion(&ask.done);
	memcpy(ask.bytes, bytes, size);
	key->legacy = true;
	key->mode = mode;
	key->size = size;
	key->users = 1;

	spin_lock_bh(&tresor_lock);
	daemon = find_legacy_daemon();
	if (daemon) {
		key->id = ++last_id;
		key->owner = daemon;
		key->ask = &ask;
		key->event = TRESOR_KEY_ASK;
		list_add_tail(&key->node, &tresor_keys);
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

	left = wait_for_completion_killable_timeout(&ask.done, tresor_setkey_seconds * HZ);
	spin_lock_bh(&tresor_lock);
	/* An answer from here on finds nobody; one just given makes a FORGET. */
	key->ask = NULL;
	if (left < 0)
		ask.status = -EINTR;
	if (ask.status)
		key->users = 0;
	spin_unlock_bh(&tresor_lock);
	memzero_explicit(ask.bytes, sizeof(ask.bytes));
	if (ask.status) {
		tresor_key_put(key);
		return ERR_PTR(ask.status);
	}
	return key;
}

struct tresor_key *tresor_key_find(const u8 *bytes, u32 size, u8 mode)
{
	struct tresor_key *key = NULL;

	if (size == TRESOR_HANDLE_SIZE) {
		spin_lock_bh(&tresor_lock);
		key = find_handle(bytes);
		if (key && tresor_key_tryget(key))
			key->users++;
		else
			key = NULL;
		spin_unlock_bh(&tresor_lock);
	}
	return key ? key : ask_legacy_daemon(bytes, size, mode);
}

void tresor_key_release(struct tresor_key *key)
{
	bool unlist, disarmed = false;

	spin_lock_bh(&tresor_lock);
	key->users--;
	/* A handle that no daemon serves and no cipher holds can not come back. */
	unlist = !key->users && !key->owner && !key->legacy && !list_empty(&key->node);
	if (unlist)
		list_del_init(&key->node);
	if (!key->users && !key->owner && list_empty(&key->parked))
		disarmed = cancel_delayed_work(&key->expiry);
	spin_unlock_bh(&tresor_lock);
	if (disarmed)
		tresor_key_put(key);
	if (unlist)
		tresor_key_put(key);
	tresor_key_put(key);
}

/* ---- daemons ---- */

/* Requests flow again. The caller holds a reference. */
static int serve(struct tresor_key *key, struct tresor_daemon *daemon, u32 cookie)
{
	LIST_HEAD(requests);
	bool disarmed;

	spin_lock_bh(&tresor_lock);
	/* Declared dead, or dropped, since its caller looked. */
	if (key->owner != daemon) {
		spin_unlock_bh(&tresor_lock);
		return -ESHUTDOWN;
	}
	WRITE_ONCE(key->cookie, cookie);
	rcu_assign_pointer(key->daemon, daemon);
	list_splice_init(&key->parked, &requests);
	disarmed = disarm_expiry(key);
	spin_unlock_bh(&tresor_lock);
	if (disarmed)
		tresor_key_put(key);
	/* The caller is an ioctl of this daemon: its queues stay until it returns. */
	tresor_queue_adopt(choose_queue(daemon), &requests);
	return 0;
}

int tresor_key_add(struct tresor_daemon *daemon, struct tresor_key_handle *arg)
{
	struct tresor_key *key, *fresh;
	int ret = 0;

	fresh = make_key(GFP_KERNEL);
	if (!fresh)
		return -ENOMEM;

	spin_lock_bh(&tresor_lock);
	key = find_handle(arg->handle);
	if (daemon->stopped) {
		ret = -ESHUTDOWN;
	} else if (!key) {
		key = fresh;
		fresh = NULL;
		memcpy(key->handle, arg->handle, sizeof(key->handle));
		key->id = ++last_id;
		list_add_tail(&key->node, &tresor_keys);
	} else if (key->owner) {
		ret = -EEXIST;
	}
	if (!ret) {
		key->owner = daemon;
		list_add_tail(&key->mine, &daemon->keys);
		arg->users = key->users;
		refcount_inc(&key->refs);
	}
	spin_unlock_bh(&tresor_lock);
	kfree(fresh);
	if (ret)
		return ret;
	ret = serve(key, daemon, arg->cookie);
	tresor_key_put(key);
	return ret;
}

int tresor_key_drop(struct tresor_daemon *daemon, struct tresor_key_handle *arg)
{
	struct tresor_key *key;
	LIST_HEAD(requests);

	spin_lock_bh(&tresor_lock);
	key = find_handle(arg->handle);
	if (!key || key->owner != daemon) {
		spin_unlock_bh(&tresor_lock);
		return -ENOENT;
	}
	key->dead = true;
	key->owner = NULL;
	RCU_INIT_POINTER(key->daemon, NULL);
	list_del_init(&key->mine);
	list_del_init(&key->node);
	list_splice_init(&key->parked, &requests);
	arg->users = key->users;
	spin_unlock_bh(&tresor_lock);
	fail_requests(&requests, -ENOKEY);
	tresor_key_put(key);
	return 0;
}

bool tresor_key_next_event(struct tresor_daemon *daemon, struct tresor_event *event)
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

int tresor_key_answer(struct tresor_daemon *daemon, const struct tresor_answer *answer)
{
	struct tresor_key *key = get_legacy(daemon, answer->id);
	int ret = 0;

	if (!key)
		return -ENOENT;
	spin_lock_bh(&tresor_lock);
	/* Not a second time, and not for a setkey that gave up. */
	if (key->event != TRESOR_KEY_ASKED || !key->users) {
		ret = -ENOENT;
	} else if (answer->status < 0) {
		/* Refused; an orphan offered again keeps its deadline. */
		key->owner = NULL;
		list_del_init(&key->mine);
	} else {
		key->event = TRESOR_KEY_QUIET;
		if (answer->status == TRESOR_ANSWER_HELD)
			arm_expiry(key);
	}
	spin_unlock_bh(&tresor_lock);

	if (!ret && !answer->status)
		ret = serve(key, daemon, answer->cookie);
	if (!ret) {
		spin_lock_bh(&tresor_lock);
		if (key->ask) {
			key->ask->status = min(answer->status, 0);
			complete(&key->ask->done);
			key->ask = NULL;
		}
		spin_unlock_bh(&tresor_lock);
	}
	tresor_key_put(key);
	return ret;
}

int tresor_key_serve_held(struct tresor_daemon *daemon, const struct tresor_answer *answer)
{
	struct tresor_key *key = get_legacy(daemon, answer->id);
	int ret = 0;

	if (!key)
		return -ENOENT;
	spin_lock_bh(&tresor_lock);
	if (key->event != TRESOR_KEY_QUIET || rcu_access_pointer(key->daemon))
		ret = -ENOENT;
	spin_unlock_bh(&tresor_lock);
	if (!ret)
		ret = serve(key, daemon, answer->cookie);
	tresor_key_put(key);
	return ret;
}

void tresor_key_offer_orphans(struct tresor_daemon *daemon)
{
	struct tresor_key *key;

	spin_lock_bh(&tresor_lock);
	list_for_each_entry(key, &tresor_keys, node) {
		if (!key->legacy || key->owner || !key->users)
			continue;
		key->owner = daemon;
		key->event = TRESOR_KEY_ASK;
		list_add_tail(&key->mine, &daemon->keys);
		list_add_tail(&key->event_node, &daemon->events);
	}
	spin_unlock_bh(&tresor_lock);
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
		if (key->ask) {
			key->ask->status = -ESHUTDOWN;
			complete(&key->ask->done);
			key->ask = NULL;
		}
		if (key->users || !list_empty(&key->parked))
			arm_expiry(key);
		else if (!key->legacy)
			list_move(&key->node, unused);
	}
}

void tresor_key_detach(struct tresor_daemon *daemon)
{
	struct tresor_request *request, *next_request;
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
	list_for_each_entry_safe(request, next_request, &requests, node) {
		list_del_init(&request->node);
		tresor_request_orphan(request);
	}
	list_for_each_entry_safe(key, next, &forgotten, event_node)
		kfree_rcu(key, rcu);
	list_for_each_entry_safe(key, next, &unused, node) {
		list_del_init(&key->node);
		tresor_key_put(key);
	}
	/* Nobody is about to use the queues any more. */
	synchronize_rcu();
	synchronize_srcu(&adopting);
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
