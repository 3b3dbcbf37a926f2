// SPDX-License-Identifier: GPL-2.0
/*
 * Keys as the kernel knows them: their lives and names, and who is told when
 * their requests are done.
 */
#include <linux/crypto.h>
#include <crypto/algapi.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "compat.h"
#include "tresor.h"

DEFINE_SPINLOCK(tresor_lock);
LIST_HEAD(tresor_daemons);
LIST_HEAD(tresor_keys);

/* Callbacks of dm-crypt's, which may wait for one another. */
static struct workqueue_struct *completions;
static u64 last_id;

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

/* ---- names ---- */

/*
 * The last handles that died. Set as a key once more they name nothing, and are
 * not for the legacy daemon, which would make a key of them. Under tresor_lock.
 */
#define GRAVES	256u
static u8 graves[GRAVES][TRESOR_HANDLE_SIZE];
static u32 buried;

struct tresor_key *tresor_key_find(const u8 *handle)
{
	struct tresor_key *key;

	list_for_each_entry(key, &tresor_keys, node)
		if (!key->legacy && !crypto_memneq(key->handle, handle, sizeof(key->handle)))
			return key;
	return NULL;
}

/* Must hold tresor_lock. NULL: it is in none. */
static u8 *find_grave(const u8 *handle)
{
	u32 i;

	for (i = 0; i < min(buried, GRAVES); i++)
		if (!crypto_memneq(graves[i], handle, sizeof(graves[i])))
			return graves[i];
	return NULL;
}

bool tresor_key_buried(const u8 *handle)
{
	return find_grave(handle);
}

void tresor_key_exhume(const u8 *handle)
{
	u8 *grave = find_grave(handle);

	if (grave)
		get_random_bytes(grave, TRESOR_HANDLE_SIZE);
}

void tresor_key_bury(const u8 *handle)
{
	if (!find_grave(handle))
		memcpy(graves[buried++ % GRAVES], handle, TRESOR_HANDLE_SIZE);
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
		/* The request's, which may be gone when its caller knows; ours stays. */
		tresor_key_put(key);
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
	if (queue_work(completions, &key->tell))
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

/* ---- making ---- */

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

void tresor_key_list(struct tresor_key *key)
{
	key->id = ++last_id;
	list_add_tail(&key->node, &tresor_keys);
}

u32 tresor_key_cookie(const struct tresor_key *key)
{
	return READ_ONCE(key->cookie);
}

int tresor_keys_init(void)
{
	/* Writeback may wait for it. Bound: the daemon's CPU has the data, and soon sleeps. */
	completions = alloc_workqueue("tresor", WQ_MEM_RECLAIM | WQ_HIGHPRI | TRESOR_WQ_BOUND, 0);
	return completions ? 0 : -ENOMEM;
}

void tresor_keys_exit(void)
{
	destroy_workqueue(completions);
}
