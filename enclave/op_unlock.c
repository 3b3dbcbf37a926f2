/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "header_open.h"
#include "heap.h"
#include "volumes.h"
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
	const struct tresor_asked asked = {
		.message = &request->message, .purpose = request->message.context.purpose,
		.keyslots = request->keyslots, .macs = request->macs,
	};
	struct tresor_opened opened = { 0 };
	const struct tresor_opening *opening = &opened.opening;
	uint8_t volume_key[TRESOR_KEY_MAX];
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

	status = tresor_header_open(&header, &asked, volume_key, &opened);
	request->seal_status = opening->seal_status;
	request->needed_kib = opening->needed_kib;
	if (status != TRESOR_OK)
		goto out;
	request->slots_changed = opened.facts.slots_changed;
	request->segment_changed = opened.facts.segment_changed;
	request->macs_missing = opened.macs_missing;
	if (asked.purpose == TRESOR_PURPOSE_UNLOCK && (opened.facts.segment_changed || opened.macs_missing)) {
		status = TRESOR_E_HEADER;
		goto out;
	}
	if (opening->stale && request->sealed_out != 0) {
		status = reseal(request, &header, opening);
		if (status != TRESOR_OK)
			goto out;
		resealed = true;
	}
	if (asked.purpose == TRESOR_PURPOSE_UNLOCK) {
		status = tresor_volumes_open(&request->segment, volume_key, opening->policy, &handle);
	} else {
		/* The passphrase vouches for the header as it is now. */
		tresor_header_authenticate(&header, volume_key, &opened.macs);
		if (!tresor_boundary_write(request->macs_out, &opened.macs, sizeof(opened.macs)))
			status = TRESOR_E_REQUEST;
	}
	if (status != TRESOR_OK)
		goto out;
	request->resealed = resealed;
	request->slot = header.keyslots[opening->index].slot;
	request->handle = handle;
	request->slots_added = opened.facts.slots_added;
	request->slots_removed = opened.facts.slots_removed;
out:
	WIPE(volume_key);
	WIPE(opened);
	tresor_heap_give();
	return status;
}
