/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "heap.h"
#include "luks_keyslot.h"
#include "message.h"
#include "request_digest.h"
#include "slots.h"
#include "crypto/wipe.h"

static uint32_t check(const struct tresor_unlock *request)
{
	uint32_t purpose = request->message.context.purpose;
	uint32_t status = tresor_luks_check(&request->segment, &request->digest);

	if (status != TRESOR_OK)
		return status;
	if ((purpose != TRESOR_PURPOSE_UNLOCK && purpose != TRESOR_PURPOSE_AUTHENTICATE) ||
	    request->message.context.fresh_slot != TRESOR_ANY_SLOT || request->reserved != 0)
		return TRESOR_E_REQUEST;
	if (purpose == TRESOR_PURPOSE_AUTHENTICATE ?
	    !tresor_boundary_outside(request->macs_out, sizeof(struct tresor_macs)) :
	    request->macs_out != 0)
		return TRESOR_E_REQUEST;
	if (request->sealed_out != 0 &&
	    !tresor_boundary_outside(request->sealed_out, sizeof(struct tresor_sealed_salt)))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

static uint32_t publish(const struct tresor_segment *segment, const uint8_t *volume_key,
			uint32_t *handle)
{
	struct tresor_volume *volume = tresor_slots_claim();

	if (!volume)
		return TRESOR_E_BUSY;
	volume->mode = TRESOR_XTS;
	volume->sector_size = segment->sector_size;
	volume->iv_tweak = segment->iv_tweak;
	volume->sectors = segment->dynamic ? UINT64_MAX : segment->size / 512;
	xts_expand(&volume->key.xts, volume_key, segment->key_size);
	*handle = tresor_slots_publish(volume);
	return TRESOR_OK;
}

/* The caller gets the salt sealed for today's enclave and microcode, under the policy it had, to write to the token. */
static uint32_t reseal(const struct tresor_unlock *request, const struct tresor_header *header,
		       const struct tresor_opening *opening)
{
	const struct tresor_keyslot *keyslot = &header->keyslots[opening->index];
	struct tresor_sealed_salt sealed;
	uint32_t status = tresor_seal_make(&sealed, opening->salt, opening->policy, header->uuid,
					   keyslot->slot, &keyslot->pass_kdf);

	if (status == TRESOR_OK && !tresor_boundary_write(request->sealed_out, &sealed, sizeof(sealed)))
		status = TRESOR_E_REQUEST;
	return status;
}

uint32_t tresor_op_unlock(struct tresor_unlock *request)
{
	struct tresor_header header = {
		.uuid = request->message.context.uuid, .segment = &request->segment,
		.digest = &request->digest, .count = request->count,
	};
	uint32_t purpose = request->message.context.purpose;
	struct tresor_header_facts facts = { 0 };
	struct tresor_opening opening = { 0 };
	uint8_t volume_key[TRESOR_KEY_MAX];
	struct tresor_secrets secrets;
	struct tresor_macs macs;
	uint8_t digest[32];
	uint32_t status, handle = 0;
	bool resealed = false;

	request->seal_status = 0;
	request->needed_kib = 0;
	request->macs_missing = 0;
	status = check(request);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	status = tresor_luks_read_keyslots(request->keyslots, request->count,
					   &request->message.context, &header.keyslots);
	if (status != TRESOR_OK)
		goto out;
	if (request->macs != 0 && (!tresor_boundary_read(&macs, request->macs, sizeof(macs)) ||
				   macs.segment_present != 1)) {
		status = TRESOR_E_REQUEST;
		goto out;
	}
	tresor_request_digest(&header, purpose, 0, request->macs != 0, NULL, digest);
	status = tresor_message_open(&request->message, purpose, digest, &secrets);
	if (status == TRESOR_OK)
		status = tresor_luks_open(&header, secrets.existing, secrets.existing_size, volume_key,
					  &opening);
	request->seal_status = opening.seal_status;
	request->needed_kib = opening.needed_kib;
	if (status != TRESOR_OK)
		goto out;

	if (request->macs != 0)
		tresor_header_compare(&header, volume_key, &macs, &facts);
	request->slots_changed = facts.slots_changed;
	request->segment_changed = facts.segment_changed;
	/* A seal is made with MACs: somebody took them away. */
	request->macs_missing = request->macs == 0 && opening.policy != 0;
	if (purpose == TRESOR_PURPOSE_UNLOCK && (facts.segment_changed || request->macs_missing)) {
		status = TRESOR_E_HEADER;
		goto out;
	}
	if (opening.stale && request->sealed_out != 0) {
		status = reseal(request, &header, &opening);
		if (status != TRESOR_OK)
			goto out;
		resealed = true;
	}
	if (purpose == TRESOR_PURPOSE_UNLOCK) {
		status = publish(&request->segment, volume_key, &handle);
	} else {
		/* The passphrase vouches for the header as it is now. */
		tresor_header_authenticate(&header, volume_key, &macs);
		if (!tresor_boundary_write(request->macs_out, &macs, sizeof(macs)))
			status = TRESOR_E_REQUEST;
	}
	if (status != TRESOR_OK)
		goto out;
	request->resealed = resealed;
	request->slot = header.keyslots[opening.index].slot;
	request->handle = handle;
	request->slots_added = facts.slots_added;
	request->slots_removed = facts.slots_removed;
out:
	WIPE(volume_key);
	WIPE(opening);
	tresor_heap_give();
	return status;
}
