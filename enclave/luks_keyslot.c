/* SPDX-License-Identifier: Apache-2.0 */
/* LUKS2 On-Disk Format Specification 1.1.3, sections 3.2 to 3.4. */
#include "luks_keyslot.h"
#include "boundary.h"
#include "heap.h"
#include "kdf.h"
#include "mem.h"
#include "state.h"
#include "crypto/af.h"
#include "crypto/ct.h"
#include "crypto/pbkdf2.h"
#include "crypto/random.h"
#include "crypto/wipe.h"
#include "crypto/xts.h"

#define AREA_SECTOR	512u
#define SLOT_PASSPHRASE	32u	/* of a tresor slot */
#define FRESH_SALT_MIN	16u
#define LUKS1_DIGEST	20u	/* LUKS1's mk-digest, whatever its hash: kept by cryptsetup convert */

static bool is_zero(const void *bytes, size_t size)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < size; i++) {
		if (b[i] != 0)
			return false;
	}
	return true;
}

uint32_t tresor_luks_check(const struct tresor_segment *segment, const struct tresor_digest *digest)
{
	if (segment->cipher != TRESOR_AES_XTS_PLAIN64 || !hash_known(digest->hash))
		return TRESOR_E_UNSUPPORTED;
	if (segment->key_size != 32 && segment->key_size != 64)
		return TRESOR_E_UNSUPPORTED;
	if (segment->sector_size != 512 && segment->sector_size != 1024 &&
	    segment->sector_size != 2048 && segment->sector_size != 4096)
		return TRESOR_E_UNSUPPORTED;
	if (segment->dynamic > 1 || (segment->dynamic == 1) != (segment->size == 0) ||
	    segment->size % segment->sector_size != 0 || segment->offset > UINT64_MAX - segment->size)
		return TRESOR_E_REQUEST;
	/* Bytes past the sizes go into the MAC: they must not carry anything. */
	if (digest->iterations == 0 || digest->salt_size == 0 || digest->salt_size > TRESOR_SALT_SIZE ||
	    (digest->digest_size != hash_size(digest->hash) && digest->digest_size != LUKS1_DIGEST) ||
	    !is_zero(digest->salt + digest->salt_size, TRESOR_SALT_SIZE - digest->salt_size) ||
	    !is_zero(digest->digest + digest->digest_size, sizeof(digest->digest) - digest->digest_size))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

uint32_t tresor_luks_read_keyslots(uint64_t address, uint32_t count,
				   const struct tresor_context *context,
				   const struct tresor_keyslot **keyslots)
{
	struct tresor_keyslot *copy;
	uint32_t seen = 0;
	bool tried = false;

	if (count == 0 || count > TRESOR_KEYSLOTS)
		return TRESOR_E_REQUEST;
	copy = tresor_heap_alloc(count * sizeof(*copy));
	if (!copy)
		return TRESOR_E_MEMORY;
	if (!tresor_boundary_read(copy, address, count * sizeof(*copy)))
		return TRESOR_E_REQUEST;
	for (uint32_t i = 0; i < count; i++) {
		if (copy[i].slot >= TRESOR_KEYSLOTS || (seen & 1u << copy[i].slot) ||
		    (copy[i].flags & ~TRESOR_KEYSLOT_TRY))
			return TRESOR_E_REQUEST;
		seen |= 1u << copy[i].slot;
		if (!(copy[i].flags & TRESOR_KEYSLOT_TRY))
			continue;
		if (context->slot != TRESOR_ANY_SLOT && copy[i].slot != context->slot)
			return TRESOR_E_REQUEST;
		if (copy[i].sealed_size == 0 && !(context->flags & TRESOR_ADMIT_UNSEALED))
			return TRESOR_E_REQUEST;
		tried = true;
	}
	*keyslots = copy;
	return tried ? TRESOR_OK : TRESOR_E_REQUEST;
}

/* Bounds what open and make compute with. */
static uint32_t check_keyslot(const struct tresor_keyslot *keyslot, const struct tresor_segment *segment)
{
	if (keyslot->key_size != segment->key_size ||
	    (keyslot->area_key_size != 32 && keyslot->area_key_size != 64) ||
	    keyslot->af_stripes != TRESOR_STRIPES || !hash_known(keyslot->af_hash) ||
	    keyslot->salt_size == 0 || keyslot->salt_size > TRESOR_SALT_SIZE ||
	    (keyslot->sealed_size != 0 && keyslot->sealed_size != sizeof(struct tresor_sealed_salt)) ||
	    (keyslot->sealed_size != 0 && tresor_kdf_check(&keyslot->pass_kdf) != TRESOR_OK))
		return TRESOR_E_UNSUPPORTED;
	return tresor_kdf_check(&keyslot->kdf);
}

static uint32_t area_size(const struct tresor_keyslot *keyslot)
{
	return (keyslot->key_size * TRESOR_STRIPES + AREA_SECTOR - 1) & ~(AREA_SECTOR - 1);
}

/* From the passphrase, by way of the sealed salt where there is one, to the key of the area. */
static uint32_t make_area_key(const struct tresor_keyslot *keyslot, const uint8_t *sealed_salt, const uint8_t *pass,
			      uint32_t pass_size, uint8_t *area_key, uint32_t *needed_kib)
{
	uint8_t slot_passphrase[SLOT_PASSPHRASE];
	uint32_t status = TRESOR_OK;

	if (keyslot->sealed_size != 0) {
		status = tresor_kdf_run(&keyslot->pass_kdf, pass, pass_size, sealed_salt, TRESOR_SEALED_SALT_SIZE,
					slot_passphrase, sizeof(slot_passphrase), needed_kib);
		pass = slot_passphrase;
		pass_size = sizeof(slot_passphrase);
	}
	if (status == TRESOR_OK)
		status = tresor_kdf_run(&keyslot->kdf, pass, pass_size, keyslot->salt, keyslot->salt_size,
					area_key, keyslot->area_key_size, needed_kib);
	WIPE(slot_passphrase);
	return status;
}

/* Decrypts the area where it lies, and merges it. */
static void open_area(const struct tresor_keyslot *keyslot, const uint8_t *area_key, uint8_t *area,
		      uint8_t *volume_key)
{
	struct xts_key xts;

	xts_expand(&xts, area_key, keyslot->area_key_size);
	xts_sectors(&xts, true, area, area, 0, area_size(keyslot), AREA_SECTOR);
	af_merge(keyslot->af_hash, volume_key, keyslot->key_size, TRESOR_STRIPES, area);
	WIPE(xts);
}

bool tresor_luks_digest_holds(const struct tresor_digest *digest, const uint8_t *volume_key, uint32_t key_size)
{
	uint8_t computed[HASH_SIZE_MAX];
	bool same;

	pbkdf2(digest->hash, volume_key, key_size, digest->salt, digest->salt_size, digest->iterations, computed,
	       digest->digest_size);
	same = ct_equal(computed, digest->digest, digest->digest_size);
	WIPE(computed);
	return same;
}

static uint32_t try_keyslot(const struct tresor_header *header, const struct tresor_keyslot *keyslot,
			    const uint8_t *pass, uint32_t pass_size, uint8_t *volume_key,
			    struct tresor_opening *opening)
{
	struct tresor_sealed_salt sealed;
	uint8_t area_key[TRESOR_KEY_MAX];
	uint8_t *area = NULL;
	uint32_t status;

	opening->policy = 0;
	opening->stale = false;
	status = check_keyslot(keyslot, header->segment);
	if (status != TRESOR_OK)
		goto out;
	if (keyslot->sealed_size != 0) {
		status = TRESOR_E_REQUEST;
		if (!tresor_boundary_read(&sealed, keyslot->sealed, sizeof(sealed)))
			goto out;
		status = tresor_seal_open(&sealed, header->uuid, keyslot->slot, &keyslot->pass_kdf,
					  opening->salt, &opening->stale);
		if (status != TRESOR_OK)
			goto out;
		opening->policy = sealed.policy;
	}
	status = make_area_key(keyslot, opening->salt, pass, pass_size, area_key, &opening->needed_kib);
	if (status != TRESOR_OK)
		goto out;

	status = TRESOR_E_MEMORY;
	area = tresor_heap_alloc(area_size(keyslot));
	if (!area)
		goto out;
	status = TRESOR_E_REQUEST;
	if (!tresor_boundary_read(area, keyslot->area, area_size(keyslot)))
		goto out;
	open_area(keyslot, area_key, area, volume_key);

	status = tresor_luks_digest_holds(header->digest, volume_key, keyslot->key_size) ? TRESOR_OK : TRESOR_E_PASSPHRASE;
out:
	if (area)
		tresor_heap_free_from(area);
	if (status != TRESOR_OK)
		wipe(volume_key, TRESOR_KEY_MAX);
	WIPE(area_key);
	return status;
}

uint32_t tresor_luks_open(const struct tresor_header *header, const uint8_t *pass, uint32_t pass_size,
			  uint8_t *volume_key, struct tresor_opening *opening)
{
	bool wrong = false;

	memset(opening, 0, sizeof(*opening));
	for (uint32_t i = 0; i < header->count; i++) {
		uint32_t status;

		if (!(header->keyslots[i].flags & TRESOR_KEYSLOT_TRY))
			continue;
		status = try_keyslot(header, &header->keyslots[i], pass, pass_size, volume_key, opening);
		switch (status) {
		case TRESOR_OK:
			opening->index = i;
			return TRESOR_OK;
		case TRESOR_E_PASSPHRASE:
			wrong = true;
			break;
		case TRESOR_E_MEMORY:	/* needed_kib says so */
		case TRESOR_E_UNSUPPORTED:
			break;
		case TRESOR_E_REQUEST:
		case TRESOR_E_BUSY:
			return status;
		default:		/* E_SEAL_* */
			if (opening->seal_status == 0)
				opening->seal_status = status;
			break;
		}
	}
	if (wrong)
		return TRESOR_E_PASSPHRASE;
	if (opening->seal_status != 0)
		return opening->seal_status;
	return opening->needed_kib != 0 ? TRESOR_E_MEMORY : TRESOR_E_UNSUPPORTED;
}

uint32_t tresor_luks_check_fresh(const struct tresor_keyslot *keyslot,
				 const struct tresor_segment *segment,
				 const struct tresor_context *context, uint32_t policy)
{
	uint32_t status = check_keyslot(keyslot, segment);

	if (status != TRESOR_OK)
		return status;
	if (!tresor_kdf_above_floor(&keyslot->kdf) ||
	    (keyslot->sealed_size != 0 && !tresor_kdf_above_floor(&keyslot->pass_kdf)))
		return TRESOR_E_UNSUPPORTED;
	if (keyslot->slot >= TRESOR_KEYSLOTS || keyslot->flags != 0 ||
	    keyslot->slot != context->fresh_slot || !tresor_seal_policy_valid(policy) ||
	    (keyslot->sealed_size == 0 && !(context->flags & TRESOR_ADMIT_UNSEALED)) ||
	    keyslot->salt_size < FRESH_SALT_MIN ||
	    !tresor_boundary_outside(keyslot->area, area_size(keyslot)) ||
	    (keyslot->sealed_size != 0 &&
	     !tresor_boundary_outside(keyslot->sealed, sizeof(struct tresor_sealed_salt))))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

uint32_t tresor_luks_make(struct tresor_keyslot *keyslot, const char uuid[40], uint32_t policy,
			  const uint8_t *pass, uint32_t pass_size, const uint8_t *volume_key,
			  struct tresor_made *made, uint32_t *needed_kib)
{
	uint8_t sealed_salt[TRESOR_SEALED_SALT_SIZE];
	uint8_t area_key[TRESOR_KEY_MAX];
	uint8_t proof[TRESOR_KEY_MAX];
	struct xts_key xts;
	uint8_t *copy = NULL;
	uint32_t status;

	memset(keyslot->salt, 0, sizeof(keyslot->salt));
	memset(made, 0, sizeof(*made));
	status = TRESOR_E_RANDOM;
	if (!random_bytes(keyslot->salt, keyslot->salt_size))
		goto out;
	if (keyslot->sealed_size != 0) {
		if (!random_bytes(sealed_salt, sizeof(sealed_salt)))
			goto out;
		status = TRESOR_E_MEMORY;
		made->sealed = tresor_heap_alloc(sizeof(*made->sealed));
		if (!made->sealed)
			goto out;
		status = tresor_seal_make(made->sealed, sealed_salt, policy, uuid, keyslot->slot,
					  &keyslot->pass_kdf);
		if (status != TRESOR_OK)
			goto out;
	}
	status = make_area_key(keyslot, sealed_salt, pass, pass_size, area_key, needed_kib);
	if (status != TRESOR_OK)
		goto out;

	status = TRESOR_E_MEMORY;
	made->area_size = area_size(keyslot);
	made->area = tresor_heap_alloc(made->area_size);
	copy = tresor_heap_alloc(made->area_size);
	if (!made->area || !copy)
		goto out;
	status = TRESOR_E_RANDOM;
	memset(made->area, 0, made->area_size);
	if (!af_split(keyslot->af_hash, volume_key, keyslot->key_size, TRESOR_STRIPES, made->area))
		goto out;
	xts_expand(&xts, area_key, keyslot->area_key_size);
	xts_sectors(&xts, false, made->area, made->area, 0, made->area_size, AREA_SECTOR);

	/* A keyslot that does not open, or holds a faulted key, must not be written. */
	memcpy(copy, made->area, made->area_size);
	open_area(keyslot, area_key, copy, proof);
	status = TRESOR_OK;
	if (!ct_equal(proof, volume_key, keyslot->key_size)) {
		tresor_state_die();
		status = TRESOR_E_DEAD;
	}
out:
	WIPE(sealed_salt);
	WIPE(area_key);
	WIPE(proof);
	WIPE(xts);
	return status;
}

bool tresor_luks_write(const struct tresor_keyslot *keyslot, const struct tresor_made *made)
{
	return tresor_boundary_write(keyslot->area, made->area, made->area_size) &&
	       (!made->sealed || tresor_boundary_write(keyslot->sealed, made->sealed,
						       sizeof(*made->sealed)));
}

uint32_t tresor_luks_make_digest(struct tresor_digest *digest, const uint8_t *volume_key,
				 uint32_t key_size)
{
	memset(digest->salt, 0, sizeof(digest->salt));
	memset(digest->digest, 0, sizeof(digest->digest));
	if (!random_bytes(digest->salt, digest->salt_size))
		return TRESOR_E_RANDOM;
	pbkdf2(digest->hash, volume_key, key_size, digest->salt, digest->salt_size,
	       digest->iterations, digest->digest, digest->digest_size);
	return TRESOR_OK;
}
