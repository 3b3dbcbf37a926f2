/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "heap.h"
#include "luks_keyslot.h"
#include "mem.h"
#include "message.h"
#include "request_digest.h"
#include "volumes.h"
#include "crypto/ct.h"
#include "crypto/hkdf.h"
#include "crypto/hmac.h"
#include "crypto/pbkdf2.h"
#include "crypto/wipe.h"

static const char label[] = "tresor reencrypt v1";
#define LABEL_SIZE	(sizeof(label) - 1)

/* Old and new key one after the other, as both KDFs below want them; in modes with plaintext there is one. */
struct keys {
	uint8_t bytes[2 * TRESOR_KEY_MAX];
	uint32_t size;
};

static bool is_plain(const struct tresor_segment *segment)
{
	return segment->cipher == TRESOR_LINEAR;
}

/* A decryption that fills the place of a header in front: what was moved there to begin with is converted last. */
static bool moves_down(const struct tresor_pass *pass)
{
	return pass->mode == TRESOR_DECRYPT && pass->shift != 0;
}

/* Encryption makes room from the end on, and decryption is its reverse. */
static bool is_backward(const struct tresor_pass *pass)
{
	return (pass->mode == TRESOR_DECRYPT) != (pass->shift != 0);
}

static uint32_t check_side(const struct tresor_segment *segment, const struct tresor_digest *digest, bool plain)
{
	if (!plain)
		return tresor_luks_check(segment, digest);
	return is_plain(segment) && segment->sector_size == 512 && segment->key_size == 0 && segment->dynamic <= 1 ?
		       TRESOR_OK :
		       TRESOR_E_UNSUPPORTED;
}

/* What is on disk so that a zone can be converted again. */
static bool resilience_valid(const struct tresor_pass *pass, uint32_t sector)
{
	const struct tresor_segment *moved = &pass->moved, *old = &pass->previous;
	bool in_place = pass->shift == 0;

	if (moves_down(pass))
		in_place = moved->cipher == old->cipher && moved->sector_size == old->sector_size &&
			   moved->key_size == old->key_size && moved->offset == pass->final.offset &&
			   moved->iv_tweak == 0 && !moved->dynamic && moved->size != 0 &&
			   moved->size % sector == 0 && moved->size <= pass->shift;
	switch (pass->resilience) {
	case TRESOR_CHECKSUM:
		return in_place && pass->block >= sector && pass->block % sector == 0;
	case TRESOR_JOURNAL:
		return in_place && pass->block == 0;
	case TRESOR_DATASHIFT:
		return pass->mode == TRESOR_ENCRYPT && pass->block == 0 && pass->shift != 0 &&
		       pass->shift % sector == 0 && is_plain(moved) && !moved->dynamic;
	}
	return false;
}

static bool progress_valid(const struct tresor_reencrypt *request, const struct tresor_pass *pass, uint32_t sector)
{
	const struct tresor_progress *progress = &request->progress;
	uint64_t size = pass->previous.dynamic ? UINT64_MAX : pass->previous.size;
	uint64_t first = moves_down(pass) ? pass->moved.size : 0;

	if (progress->position % sector != 0 || progress->hot % sector != 0 || progress->position > size ||
	    progress->hot > (is_backward(pass) ? progress->position : size - progress->position))
		return false;
	if (first > progress->position && (progress->position != 0 || progress->hot != first))
		return false;
	if (!request->start)
		return true;
	return progress->hot == 0 &&
	       (is_backward(pass) ? pass->previous.dynamic || progress->position == size :
				    progress->position == first);
}

static uint32_t check(const struct tresor_reencrypt *request, const struct tresor_pass *pass)
{
	const struct tresor_segment *old = &pass->previous, *new = &pass->final;
	const struct tresor_context *context = &request->message.context;
	uint32_t sector = old->sector_size > new->sector_size ? old->sector_size : new->sector_size;
	uint32_t status;

	if (pass->mode < TRESOR_REENCRYPT || pass->mode > TRESOR_DECRYPT || pass->reserved != 0)
		return TRESOR_E_REQUEST;
	status = check_side(old, &pass->old_digest, pass->mode == TRESOR_ENCRYPT);
	if (status == TRESOR_OK)
		status = check_side(new, &pass->new_digest, pass->mode == TRESOR_DECRYPT);
	if (status == TRESOR_OK)
		status = tresor_luks_check(is_plain(new) ? old : new, &request->verification);
	if (status != TRESOR_OK)
		return status;
	if ((is_plain(new) ? old->offset - new->offset : new->offset - old->offset) != pass->shift ||
	    old->iv_tweak != 0 || new->iv_tweak != 0 ||
	    (pass->resilience != TRESOR_DATASHIFT && old->size != new->size) || !resilience_valid(pass, sector) ||
	    (pass->mode != TRESOR_REENCRYPT && (request->use & TRESOR_PASS_SECTORS)))
		return TRESOR_E_UNSUPPORTED;
	if (request->reserved != 0 || request->use == 0 || request->use > (TRESOR_PASS_ZONES | TRESOR_PASS_SECTORS) ||
	    request->start > 1 || request->vouched > 1 || request->start + request->vouched > 1 ||
	    context->slot != TRESOR_ANY_SLOT || context->fresh_slot != TRESOR_ANY_SLOT ||
	    memcmp(pass->uuid, context->uuid, sizeof(pass->uuid)) != 0 || !progress_valid(request, pass, sector))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *put_number(uint8_t *at, uint64_t value, uint32_t size)
{
	for (uint32_t i = size; i > 0; i--)
		*at++ = (uint8_t)(value >> 8 * (i - 1));
	return at;
}

#define TEXT(at, text)	put(at, text, sizeof(text) - 1)

static uint8_t *put_segment(uint8_t *at, const struct tresor_segment *segment)
{
	at = is_plain(segment) ? TEXT(at, "linear") : TEXT(at, "crypt");
	at = put_number(at, segment->offset, 8);
	at = segment->dynamic ? TEXT(at, "dynamic") : put_number(at, segment->size, 8);
	if (is_plain(segment))
		return at;
	at = TEXT(put_number(at, segment->iv_tweak, 8), "aes-xts-plain64");
	return put_number(at, segment->sector_size, 4);
}

/*
 * LUKS2's verification digest (cryptsetup, lib/luks2/luks2_reencrypt_digest.c: the fields and their order). It is of
 * the mode that the client's sealed request names, and of its direction: nothing made here lets another program
 * decrypt a volume in place whose owner did not ask for that.
 */
static uint32_t verification(const struct tresor_pass *pass, const struct keys *keys,
			     struct tresor_digest *digest, bool make)
{
	uint8_t input[2 + sizeof(keys->bytes) + 224];
	uint8_t computed[HASH_SIZE_MAX];
	uint8_t *at = put(moves_down(pass) ? TEXT(input, "v3") : TEXT(input, "v2"), keys->bytes, keys->size);
	uint32_t status = TRESOR_OK;

	at = pass->mode == TRESOR_REENCRYPT ? TEXT(at, "reencrypt") :
	     pass->mode == TRESOR_ENCRYPT   ? TEXT(at, "encrypt") :
					      TEXT(at, "decrypt");
	at = is_backward(pass) ? TEXT(at, "backward") : TEXT(at, "forward");
	if (pass->shift)
		at = moves_down(pass) ? TEXT(at, "datashift-") : TEXT(at, "datashift");
	if (pass->resilience != TRESOR_DATASHIFT)
		at = pass->block ? TEXT(at, "checksum") : TEXT(at, "journal");
	at = put_number(put_number(at, pass->area_offset, 8), pass->area_size, 8);
	if (pass->block)
		at = put_number(TEXT(at, "sha256"), pass->block, 4);
	if (pass->shift)
		at = put_number(at, pass->shift, 8);
	at = put_segment(put_segment(at, &pass->previous), &pass->final);
	if (pass->shift)
		at = put_segment(at, &pass->moved);
	if (make) {
		status = tresor_luks_make_digest(digest, input, (uint32_t)(at - input));
	} else {
		pbkdf2(digest->hash, input, (size_t)(at - input), digest->salt, digest->salt_size,
		       digest->iterations, computed, digest->digest_size);
		if (!ct_equal(computed, digest->digest, digest->digest_size))
			status = TRESOR_E_HEADER;
	}
	WIPE(input);
	WIPE(computed);
	return status;
}

/* policy: of the seal of the new key's keyslot. */
static uint32_t publish(const struct tresor_pass *asked, const struct tresor_reencrypt *request,
			const struct keys *keys, uint32_t policy, const uint8_t mac_key[32], uint32_t *handle)
{
	struct tresor_volume *volume = tresor_volumes_claim();
	struct tresor_pass_keys *pass;

	if (!volume)
		return TRESOR_E_BUSY;
	pass = &volume->key.pass;
	volume->mode = TRESOR_PASS;
	/* key_size of plaintext is 0 */
	if (asked->mode != TRESOR_ENCRYPT)
		xts_expand(&pass->old, keys->bytes, asked->previous.key_size);
	if (asked->mode != TRESOR_DECRYPT)
		xts_expand(&pass->fresh, keys->bytes + asked->previous.key_size, asked->final.key_size);
	pass->mode = asked->mode;
	pass->backward = is_backward(asked);
	pass->old_sector = asked->previous.sector_size;
	pass->new_sector = asked->final.sector_size;
	memcpy(pass->mac_key, mac_key, sizeof(pass->mac_key));
	pass->size = asked->final.dynamic ? UINT64_MAX : asked->final.size;
	pass->moved = moves_down(asked) ? asked->moved.size : 0;
	if (request->progress.position < pass->moved) {
		pass->size = pass->moved;
		pass->moved = 0;
	}
	pass->use = request->use;
	pass->start = request->progress.position - (pass->backward ? request->progress.hot : 0);
	pass->end = pass->start + request->progress.hot;
	pass->next = pass->start;
	if (pass->use & TRESOR_PASS_SECTORS) {
		volume->sector_size = pass->old_sector > pass->new_sector ? pass->old_sector : pass->new_sector;
		volume->sectors = pass->size / 512;
		/* For FINISH; its size stays 0, so that nothing takes it for the key of this handle. */
		volume->policy = policy;
		pass->key_size = asked->final.key_size;
		memcpy(volume->secret, keys->bytes + asked->previous.key_size, pass->key_size);
	}
	*handle = tresor_volumes_publish(volume);
	return TRESOR_OK;
}

/* The pass as it is now, by keys that are proved. Sets verification and mac of the request. */
static uint32_t begin(struct tresor_reencrypt *request, const struct tresor_pass *pass, const struct keys *keys,
		      uint32_t policy)
{
	uint8_t info[LABEL_SIZE + sizeof(*pass)];
	struct tresor_digest digest = request->verification;
	uint8_t mac_key[32], mac[32];
	uint32_t status = verification(pass, keys, &digest, request->start);

	put(put(info, label, LABEL_SIZE), pass, sizeof(*pass));
	hkdf_key(keys->bytes, keys->size, info, sizeof(info), mac_key, sizeof(mac_key));
	tresor_pass_mac(mac_key, &request->progress, mac);
	if (status == TRESOR_OK && !request->start && !request->vouched && !ct_equal(mac, request->mac, sizeof(mac)))
		status = TRESOR_E_HEADER;
	if (status == TRESOR_E_HEADER)
		request->changed |= TRESOR_CHANGED_PASS;
	if (status == TRESOR_OK)
		status = publish(pass, request, keys, policy, mac_key, &request->handle);
	if (status == TRESOR_OK) {
		request->verification = digest;
		memcpy(request->mac, mac, sizeof(mac));
	}
	WIPE(mac_key);
	WIPE(mac);
	return status;
}

uint32_t tresor_op_reencrypt(struct tresor_reencrypt *request)
{
	struct tresor_pass pass;
	struct tresor_header headers[2] = {
		{ .segment = &pass.previous, .digest = &pass.old_digest, .count = request->old_count },
		{ .segment = &pass.final, .digest = &pass.new_digest, .count = request->new_count },
	};
	const uint64_t keyslots[2] = { request->old_keyslots, request->new_keyslots };
	const uint64_t macs[2] = { request->old_macs, request->new_macs };
	struct tresor_macs given[2];
	struct tresor_opening opening = { 0 };
	struct tresor_header_facts facts = { 0 };
	struct tresor_secrets secrets;
	uint8_t key[TRESOR_KEY_MAX];
	struct keys keys = { 0 };
	uint8_t digest[32];
	struct hash hash;
	uint32_t status;

	request->seal_status = 0;
	request->needed_kib = 0;
	request->changed = 0;
	request->slot = 0;
	status = TRESOR_E_REQUEST;
	if (tresor_boundary_read(&pass, request->pass, sizeof(pass)))
		status = check(request, &pass);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	hash_init(&hash, TRESOR_SHA256);
	hash_update(&hash, label, LABEL_SIZE);
	for (uint32_t i = 0; i < 2; i++) {
		status = TRESOR_E_REQUEST;
		if (is_plain(headers[i].segment)) {
			if (headers[i].count != 0 || macs[i] != 0)
				goto out;
			continue;
		}
		headers[i].uuid = pass.uuid;
		status = tresor_luks_read_keyslots(keyslots[i], headers[i].count, &request->message.context,
						   &headers[i].keyslots);
		if (status != TRESOR_OK)
			goto out;
		status = TRESOR_E_REQUEST;
		if (macs[i] != 0 && (!tresor_boundary_read(&given[i], macs[i], sizeof(given[i])) ||
				     given[i].segment_present != 1))
			goto out;
		tresor_request_digest(&headers[i], TRESOR_PURPOSE_REENCRYPT, 0, macs[i] != 0, NULL, NULL, digest);
		hash_update(&hash, digest, sizeof(digest));
	}
	hash_update(&hash, &pass, sizeof(pass));
	hash_update(&hash, &request->progress, sizeof(request->progress));
	hash_update(&hash, &request->start, sizeof(request->start));
	hash_update(&hash, &request->vouched, sizeof(request->vouched));
	hash_update(&hash, &request->use, sizeof(request->use));
	hash_final(&hash, digest);
	status = tresor_message_open(&request->message, TRESOR_PURPOSE_REENCRYPT, digest, &secrets);
	for (uint32_t i = 0; status == TRESOR_OK && i < 2; i++) {
		if (is_plain(headers[i].segment))
			continue;
		status = tresor_luks_open(&headers[i], secrets.existing, secrets.existing_size, key, &opening);
		request->seal_status = opening.seal_status;
		request->needed_kib = opening.needed_kib;
		if (status != TRESOR_OK)
			break;
		request->slot = headers[i].keyslots[opening.index].slot;
		facts = (struct tresor_header_facts){ .segment_changed = macs[i] == 0 && opening.policy != 0 };
		if (macs[i] != 0)
			tresor_header_compare(&headers[i], key, &given[i], &facts);
		if (facts.segment_changed)
			request->changed |= i == 0 ? TRESOR_CHANGED_OLD : TRESOR_CHANGED_NEW;
		memcpy(keys.bytes + keys.size, key, headers[i].segment->key_size);
		keys.size += headers[i].segment->key_size;
	}
	if (status != TRESOR_OK)
		goto out;
	status = TRESOR_E_HEADER;
	if (request->changed != 0)
		goto out;
	/* Every sector would be what it was, or, in sectors of another size, share its tweaks with it. */
	status = TRESOR_E_UNSUPPORTED;
	if (pass.mode == TRESOR_REENCRYPT && pass.previous.key_size == pass.final.key_size &&
	    ct_equal(keys.bytes, keys.bytes + pass.previous.key_size, pass.final.key_size))
		goto out;
	status = begin(request, &pass, &keys, opening.policy);
	if (status != TRESOR_OK)
		goto out;
	request->slots_changed = facts.slots_changed;
	request->slots_added = facts.slots_added;
	request->slots_removed = facts.slots_removed;
out:
	WIPE(key);
	WIPE(keys);
	WIPE(opening);
	tresor_heap_give();
	return status;
}
