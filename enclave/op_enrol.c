/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "heap.h"
#include "luks_keyslot.h"
#include "message.h"
#include "request_digest.h"
#include "crypto/wipe.h"

static uint32_t check(const struct tresor_enrol *request)
{
	uint32_t status = tresor_luks_check(&request->segment, &request->digest);

	if (status == TRESOR_OK)
		status = tresor_luks_check_fresh(&request->fresh, &request->segment,
						 &request->message.context);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_seal_policy_valid(request->policy) ||
	    !tresor_boundary_outside(request->macs_out, sizeof(struct tresor_macs)))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

static bool taken(const struct tresor_header *header, uint32_t slot)
{
	for (uint32_t i = 0; i < header->count; i++) {
		if (header->keyslots[i].slot == slot)
			return true;
	}
	return false;
}

uint32_t tresor_op_enrol(struct tresor_enrol *request)
{
	struct tresor_header header = {
		.uuid = request->message.context.uuid, .segment = &request->segment,
		.digest = &request->digest, .count = request->count,
	};
	struct tresor_keyslot fresh = request->fresh;
	struct tresor_header_facts facts = { 0 };
	struct tresor_opening opening = { 0 };
	uint8_t volume_key[TRESOR_KEY_MAX];
	struct tresor_secrets secrets;
	struct tresor_macs macs;
	struct tresor_made made;
	uint8_t digest[32];
	uint32_t status;

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
	if (taken(&header, fresh.slot) ||
	    (request->macs != 0 && (!tresor_boundary_read(&macs, request->macs, sizeof(macs)) ||
				    macs.segment_present != 1))) {
		status = TRESOR_E_REQUEST;
		goto out;
	}
	tresor_request_digest(&header, TRESOR_PURPOSE_ENROL, request->policy, request->macs != 0, &fresh,
			      digest);
	status = tresor_message_open(&request->message, TRESOR_PURPOSE_ENROL, digest, &secrets);
	if (status == TRESOR_OK)
		status = tresor_luks_open(&header, secrets.existing, secrets.existing_size, volume_key,
					  &opening);
	request->seal_status = opening.seal_status;
	request->needed_kib = opening.needed_kib;
	if (status != TRESOR_OK)
		goto out;

	if (request->macs != 0)
		tresor_header_compare(&header, volume_key, &macs, &facts);
	else
		tresor_header_authenticate(&header, volume_key, &macs);
	request->slots_changed = facts.slots_changed;
	request->segment_changed = facts.segment_changed;
	/* A seal is made with MACs: what took them away is not vouched for here. */
	request->macs_missing = request->macs == 0 && opening.policy != 0;
	status = TRESOR_E_HEADER;
	if (facts.segment_changed || request->macs_missing)
		goto out;
	status = tresor_luks_make(&fresh, header.uuid, request->policy, secrets.fresh,
				  secrets.fresh_size, volume_key, &made, &request->needed_kib);
	if (status != TRESOR_OK)
		goto out;
	/* The others' MACs stay: a slot that was changed stays so. */
	tresor_header_authenticate_slot(&header, volume_key, &fresh, &macs);
	if (tresor_luks_write(&fresh, &made) &&
	    tresor_boundary_write(request->macs_out, &macs, sizeof(macs))) {
		request->fresh = fresh;
		request->slot = header.keyslots[opening.index].slot;
	} else {
		status = TRESOR_E_REQUEST;
	}
out:
	WIPE(volume_key);
	WIPE(opening);
	tresor_heap_give();
	return status;
}
