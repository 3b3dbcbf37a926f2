// SPDX-License-Identifier: GPL-2.0
/* The way of a request: to a queue of the daemon that serves its key, or among those that wait. */
#include <linux/crypto.h>
#include <crypto/algapi.h>
#include <linux/smp.h>
#include <linux/srcu.h>

#include "tresor.h"

/* Slots in use from which on another queue may be the better one. */
#define PILE	4u

/* Daemons that may die, one after the other, below one request before it fails. */
#define TRIES	8u

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

/* Must hold tresor_lock, with no daemon there. */
static int submit_orphan(struct tresor_key *key, struct tresor_request *request)
{
	int ret;

	if (!request->may_backlog)
		return key->dead ? -ENOKEY : key->expired ? -EIO : -ENOSPC;
	request->owed = true;
	ret = tresor_orphan_park(key, request);
	if (!ret)
		return -EBUSY;
	request->owed = false;
	return ret;
}

int tresor_route_submit(struct tresor_request *request)
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
		ret = tresor_orphan_park(key, request);
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

int tresor_route_serve(struct tresor_key *key, struct tresor_daemon *daemon, u32 cookie,
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
	*disarmed = tresor_orphan_disarm(key);
	return 0;
}

void tresor_route_move(struct tresor_daemon *daemon, struct list_head *waited)
{
	LIST_HEAD(left);

	tresor_queue_adopt(choose_queue(daemon), waited, &left);
	tresor_requests_place(&left);
}

void tresor_route_settle(void)
{
	synchronize_rcu();
	synchronize_srcu(&adopting);
}
