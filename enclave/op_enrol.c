/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "header_open.h"
#include "heap.h"
#include "crypto/wipe.h"

static uint32_t check(const struct tresor_enrol *request)
{
	uint32_t status = tresor_luks_check(&request->segment, &request->digest);

	if (status == TRESOR_OK)
		status = tresor_luks_check_fresh(&request->fresh, &request->segment,
						 &request->message.context, request->policy);
	if (status == TRESOR_OK && !tresor_boundary_outside(request->macs_out, sizeof(struct tresor_macs)))
		status = TRESOR_E_REQUEST;
	return status;
}

uint32_t tresor_op_enrol(struct tresor_enrol *request)
{
	struct tresor_header header = {
		.uuid = request->message.context.uuid, .segment = &request->segment,
		.digest = &request->digest, .count = request->count,
	};
	struct tresor_keyslot fresh = request->fresh;
	const struct tresor_asked asked = {
		.message = &request->message, .purpose = TRESOR_PURPOSE_ENROL, .policy = request->policy,
		.fresh = &request->fresh, .keyslots = request->keyslots, .macs = request->macs,
	};
	struct tresor_opened opened = { 0 };
	uint8_t volume_key[TRESOR_KEY_MAX];
	struct tresor_made made;
	uint32_t status;

	request->seal_status = 0;
	request->needed_kib = 0;
	request->macs_missing = 0;
	status = check(request);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	status = tresor_header_open(&header, &asked, volume_key, &opened);
	request->seal_status = opened.opening.seal_status;
	request->needed_kib = opened.opening.needed_kib;
	if (status != TRESOR_OK)
		goto out;
	request->slots_changed = opened.facts.slots_changed;
	request->segment_changed = opened.facts.segment_changed;
	request->macs_missing = opened.macs_missing;
	status = TRESOR_E_HEADER;
	if (opened.facts.segment_changed || opened.macs_missing)
		goto out;
	if (request->macs == 0)
		tresor_header_authenticate(&header, volume_key, &opened.macs);
	status = tresor_luks_make(&fresh, header.uuid, request->policy, opened.secrets.fresh,
				  opened.secrets.fresh_size, volume_key, &made, &request->needed_kib);
	if (status != TRESOR_OK)
		goto out;
	/* The others' MACs stay: a slot that was changed stays so. */
	tresor_header_authenticate_slot(&header, volume_key, &fresh, &opened.macs);
	if (tresor_luks_write(&fresh, &made) &&
	    tresor_boundary_write(request->macs_out, &opened.macs, sizeof(opened.macs))) {
		request->fresh = fresh;
		request->slot = header.keyslots[opened.opening.index].slot;
	} else {
		status = TRESOR_E_REQUEST;
	}
out:
	WIPE(volume_key);
	WIPE(opened);
	tresor_heap_give();
	return status;
}
