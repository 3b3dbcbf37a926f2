// SPDX-License-Identifier: GPL-2.0
/* Handles: the names of volumes' keys, which dm-crypt holds as if they were the keys. */
#include <linux/slab.h>
#include <linux/string.h>

#include "tresor.h"

enum tresor_handle_state tresor_handle_find(const u8 *bytes, struct tresor_key **found)
{
	enum tresor_handle_state state = TRESOR_HANDLE_UNKNOWN;
	struct tresor_key *key;

	spin_lock_bh(&tresor_lock);
	key = tresor_key_find(bytes);
	if (key && tresor_key_tryget(key)) {
		key->users++;
		*found = key;
		state = TRESOR_HANDLE_LIVE;
	} else if (tresor_key_buried(bytes)) {
		state = TRESOR_HANDLE_DEAD;
	}
	spin_unlock_bh(&tresor_lock);
	return state;
}

int tresor_handle_add(struct tresor_daemon *daemon, struct tresor_key_handle *arg)
{
	struct tresor_key *key, *fresh;
	struct tresor_daemon *before;
	bool disarmed = false;
	LIST_HEAD(waited);
	int ret;

	fresh = tresor_key_make(GFP_KERNEL);
	if (!fresh)
		return -ENOMEM;

	spin_lock_bh(&tresor_lock);
	key = tresor_key_find(arg->handle);
	if (key && key->owner) {
		ret = daemon->stopped ? -ESHUTDOWN : -EEXIST;
		goto out;
	}
	if (!key) {
		key = fresh;
		memcpy(key->handle, arg->handle, sizeof(key->handle));
	}
	before = key->owner;
	key->owner = daemon;
	ret = tresor_route_serve(key, daemon, arg->cookie, arg->check, &waited, &disarmed);
	if (ret) {
		key->owner = before;
		goto out;
	}
	if (key == fresh) {
		fresh = NULL;
		tresor_key_list(key);
		/* Its daemon may give a name of its own a second life. */
		tresor_key_exhume(arg->handle);
	}
	list_add_tail(&key->mine, &daemon->keys);
	arg->users = key->users;
out:
	spin_unlock_bh(&tresor_lock);
	kfree(fresh);
	tresor_route_move(daemon, &waited);
	/* The table, and daemons, hold another one. */
	if (disarmed)
		tresor_key_put(key);
	return ret;
}

int tresor_handle_drop(struct tresor_daemon *daemon, struct tresor_key_handle *arg)
{
	struct tresor_key *key;
	bool disarmed;
	LIST_HEAD(requests);

	spin_lock_bh(&tresor_lock);
	key = tresor_key_find(arg->handle);
	if (!key || key->owner != daemon) {
		spin_unlock_bh(&tresor_lock);
		return -ENOENT;
	}
	tresor_key_bury(key->handle);
	key->dead = true;
	key->owner = NULL;
	RCU_INIT_POINTER(key->daemon, NULL);
	list_del_init(&key->mine);
	list_del_init(&key->node);
	list_splice_init(&key->parked, &requests);
	disarmed = tresor_orphan_disarm(key);
	arg->users = key->users;
	spin_unlock_bh(&tresor_lock);
	tresor_requests_fail(&requests, -ENOKEY);
	if (disarmed)
		tresor_key_put(key);
	tresor_key_put(key);
	return 0;
}
