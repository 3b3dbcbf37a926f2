/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow of 2016: dm-crypt hands down a hash of the passphrase, or a sealed
 * request brings the passphrase itself, and KDF(that, sealed salt) is the key.
 */
#include "ops.h"
#include "boundary.h"
#include "heap.h"
#include "kdf.h"
#include "mem.h"
#include "message.h"
#include "request_digest.h"
#include "seal.h"
#include "volumes.h"
#include "crypto/hkdf.h"
#include "crypto/modes.h"
#include "crypto/random.h"
#include "crypto/wipe.h"

#define SECRET_SIZE	32u	/* what the KDF makes of the passphrase */

static uint32_t check(const struct tresor_legacy *request)
{
	const struct tresor_context *context = &request->message.context;
	uint32_t size = request->key_size;

	if (request->mode < TRESOR_XTS || request->mode > TRESOR_CBC_ESSIV ||
	    tresor_kdf_check(&request->kdf) != TRESOR_OK ||
	    (request->mode == TRESOR_XTS ? size != 32 && size != 64 : size != 16 && size != 24 && size != 32))
		return TRESOR_E_UNSUPPORTED;
	if (!tresor_message_uuid_valid(request->uuid) || request->make > 1 || request->reserved != 0 ||
	    (request->make ? !tresor_seal_policy_valid(request->policy) : request->policy != 0) ||
	    !tresor_boundary_outside(request->sealed_out, sizeof(struct tresor_sealed_salt)))
		return TRESOR_E_REQUEST;
	/* Exactly one of message and bytes. */
	if (request->bytes_size > sizeof(request->bytes) ||
	    (request->message.size == 0) == (request->bytes_size == 0))
		return TRESOR_E_REQUEST;
	if (request->message.size != 0 &&
	    (context->slot != TRESOR_ANY_SLOT || context->fresh_slot != TRESOR_ANY_SLOT ||
	     memcmp(context->uuid, request->uuid, sizeof(context->uuid)) != 0))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

/* The salt and the blob the caller shall keep: the one it has, or when that is stale, one of the same policy. */
static uint32_t find_salt(struct tresor_legacy *request, struct tresor_sealed_salt *sealed,
			  uint8_t salt[TRESOR_SEALED_SALT_SIZE])
{
	uint32_t policy = request->policy;
	bool stale = true;
	uint32_t status;

	if (request->make) {
		if (!random_bytes(salt, TRESOR_SEALED_SALT_SIZE))
			return TRESOR_E_RANDOM;
	} else {
		if (!tresor_boundary_read(sealed, request->sealed, sizeof(*sealed)))
			return TRESOR_E_REQUEST;
		status = tresor_seal_open(sealed, request->uuid, TRESOR_ANY_SLOT, &request->kdf, salt,
					  &stale);
		if (status != TRESOR_OK) {
			request->seal_status = status;
			return status;
		}
		policy = sealed->policy;
	}
	return stale ? tresor_seal_make(sealed, salt, policy, request->uuid, TRESOR_ANY_SLOT,
					&request->kdf) : TRESOR_OK;
}

/* One secret, a key for each mode and size: no handle tells anything about another's. */
static void separate(const struct tresor_legacy *request, const uint8_t secret[SECRET_SIZE], uint8_t *key)
{
	struct {
		char label[16];
		uint32_t mode, key_size;
	} info = { .label = "tresor legacy v2", .mode = request->mode, .key_size = request->key_size };

	hkdf_key(secret, SECRET_SIZE, &info, sizeof(info), key, request->key_size);
}

static uint32_t publish(const struct tresor_legacy *request, const uint8_t *key, uint32_t *handle)
{
	struct tresor_volume *volume = tresor_volumes_claim();

	if (!volume)
		return TRESOR_E_BUSY;
	memset(volume, 0, sizeof(*volume));
	volume->mode = request->mode;
	if (request->mode == TRESOR_XTS)
		xts_expand(&volume->key.xts, key, request->key_size);
	else
		aes_expand(&volume->key.aes.data, key, request->key_size);
	if (request->mode == TRESOR_CBC_ESSIV)
		modes_essiv_key(&volume->key.aes.essiv, key, request->key_size);
	*handle = tresor_volumes_publish(volume);
	return TRESOR_OK;
}

uint32_t tresor_op_legacy(struct tresor_legacy *request)
{
	uint8_t salt[TRESOR_SEALED_SALT_SIZE];
	struct tresor_sealed_salt sealed;
	struct tresor_secrets secrets;
	uint8_t secret[SECRET_SIZE];
	uint8_t key[TRESOR_KEY_MAX];
	uint8_t digest[32];
	uint32_t needed_kib = 0;
	uint32_t handle = 0;
	uint32_t status;

	request->seal_status = 0;
	status = check(request);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	secrets.existing = request->bytes;
	secrets.existing_size = request->bytes_size;
	tresor_request_digest_legacy(request, digest);
	if (request->message.size != 0)
		status = tresor_message_open(&request->message, TRESOR_PURPOSE_LEGACY, digest, &secrets);
	if (status == TRESOR_OK)
		status = find_salt(request, &sealed, salt);
	if (status == TRESOR_OK)
		status = tresor_kdf_run(&request->kdf, secrets.existing, secrets.existing_size, salt,
					sizeof(salt), secret, sizeof(secret), &needed_kib);
	if (status == TRESOR_OK && !tresor_boundary_write(request->sealed_out, &sealed, sizeof(sealed)))
		status = TRESOR_E_REQUEST;
	if (status == TRESOR_OK) {
		separate(request, secret, key);
		status = publish(request, key, &handle);
	}
	if (status == TRESOR_OK)
		request->handle = handle;
	WIPE(salt);
	WIPE(secret);
	WIPE(key);
	tresor_heap_give();
	return status;
}
