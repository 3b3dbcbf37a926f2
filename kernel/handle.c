// SPDX-License-Identifier: GPL-2.0
/* Handles: the names of volumes' keys, which dm-crypt holds as if they were the keys. */
#include <linux/crypto.h>
#include <crypto/algapi.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "tresor.h"

/*
 * The last ones that died. Set as a key once more they name nothing, and are
 * not for the legacy daemon, which would make a key of them. Under tresor_lock.
 */
#define GRAVES	256u
static u8 graves[GRAVES][TRESOR_HANDLE_SIZE];
static u32 buried;

/* Must hold tresor_lock. */
static struct tresor_key *find(const u8 *handle)
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

/* Must hold tresor_lock. */
void tresor_handle_bury(const u8 *handle)
{
	if (!find_grave(handle))
		memcpy(graves[buried++ % GRAVES], handle, TRESOR_HANDLE_SIZE);
}

enum tresor_handle_state tresor_handle_find(const u8 *bytes, struct tresor_key **found)
{
	enum tresor_handle_state state = TRESOR_HANDLE_UNKNOWN;
	struct tresor_key *key;

	spin_lock_bh(&tresor_lock);
	key = find(bytes);
	if (key && tresor_key_tryget(key)) {
		key->users++;
		*found = key;
		state = TRESOR_HANDLE_LIVE;
	} else if (find_grave(bytes)) {
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
	u8 *grave;
	int ret;

	fresh = tresor_key_make(GFP_KERNEL);
	if (!fresh)
		return -ENOMEM;

	spin_lock_bh(&tresor_lock);
	key = find(arg->handle);
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
	ret = tresor_key_serve(key, daemon, arg->cookie, arg->check, &waited, &disarmed);
	if (ret) {
		key->owner = before;
		goto out;
	}
	if (key == fresh) {
		fresh = NULL;
		tresor_key_list(key);
		/* Its daemon may give a name of its own a second life. */
		grave = find_grave(arg->handle);
		if (grave)
			get_random_bytes(grave, TRESOR_HANDLE_SIZE);
	}
	list_add_tail(&key->mine, &daemon->keys);
	arg->users = key->users;
out:
	spin_unlock_bh(&tresor_lock);
	kfree(fresh);
	tresor_key_move(daemon, &waited);
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
	key = find(arg->handle);
	if (!key || key->owner != daemon) {
		spin_unlock_bh(&tresor_lock);
		return -ENOENT;
	}
	tresor_handle_bury(key->handle);
	key->dead = true;
	key->owner = NULL;
	RCU_INIT_POINTER(key->daemon, NULL);
	list_del_init(&key->mine);
	list_del_init(&key->node);
	list_splice_init(&key->parked, &requests);
	disarmed = tresor_key_disarm(key);
	arg->users = key->users;
	spin_unlock_bh(&tresor_lock);
	tresor_requests_fail(&requests, -ENOKEY);
	if (disarmed)
		tresor_key_put(key);
	tresor_key_put(key);
	return 0;
}
