/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/key.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct volume_key {
	unsigned references;
	pthread_mutex_t lock;
	/* Under the lock. */
	struct tresor_enclave *enclave;	/* a reference; NULL: there is no key */
	uint32_t handle;
};

struct volume_key *volume_key_new(void)
{
	struct volume_key *key = calloc(1, sizeof(*key));

	if (key == NULL)
		return NULL;
	key->references = 1;
	pthread_mutex_init(&key->lock, NULL);
	return key;
}

struct volume_key *volume_key_ref(struct volume_key *key)
{
	__atomic_fetch_add(&key->references, 1, __ATOMIC_RELAXED);
	return key;
}

void volume_key_unref(struct volume_key *key)
{
	if (__atomic_fetch_sub(&key->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	if (key->enclave != NULL)
		tresor_enclave_unref(key->enclave);
	pthread_mutex_destroy(&key->lock);
	free(key);
}

static void replace(struct volume_key *key, struct tresor_enclave *enclave, uint32_t handle)
{
	struct tresor_enclave *before;

	pthread_mutex_lock(&key->lock);
	before = key->enclave;
	key->enclave = enclave;
	key->handle = handle;
	pthread_mutex_unlock(&key->lock);
	if (before != NULL)
		tresor_enclave_unref(before);
}

void volume_key_set(struct volume_key *key, struct tresor_enclave *enclave, uint32_t handle)
{
	replace(key, tresor_enclave_ref(enclave), handle);
}

void volume_key_clear(struct volume_key *key)
{
	replace(key, NULL, 0);
}

int volume_key_crypt(struct volume_key *key, bool decrypt, const struct tresor_range *ranges, uint32_t count)
{
	struct tresor_sectors request = {
		.head = { .op = TRESOR_OP_SECTORS, .size = sizeof(request) },
		.decrypt = decrypt,
		.count = count,
		.ranges = (uintptr_t)ranges,
	};
	struct tresor_enclave *enclave;
	uint32_t status;

	pthread_mutex_lock(&key->lock);
	enclave = key->enclave == NULL ? NULL : tresor_enclave_ref(key->enclave);
	request.handle = key->handle;
	pthread_mutex_unlock(&key->lock);
	if (enclave == NULL)
		return ENOKEY;
	/* Lost before is not lost while it was at it. */
	status = tresor_enclave_alive(enclave) ? tresor_enclave_enter(enclave, &request) : TRESOR_E_DEAD;
	tresor_enclave_unref(enclave);
	switch (status) {
	case TRESOR_OK:
		return 0;
	case TRESOR_E_HANDLE:
	case TRESOR_E_DEAD:
		return ENOKEY;
	case TRESOR_ENTER_LOST:
		return EOWNERDEAD;
	default:
		return EIO;
	}
}
