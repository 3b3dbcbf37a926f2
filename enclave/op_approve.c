/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "header_open.h"
#include "heap.h"
#include "volumes.h"
#include "crypto/wipe.h"

uint32_t tresor_op_approve(struct tresor_approve *request)
{
	struct tresor_header header = {
		.uuid = request->message.context.uuid, .segment = &request->segment,
		.digest = &request->digest, .count = request->count,
	};
	const struct tresor_asked asked = {
		.message = &request->message, .purpose = TRESOR_PURPOSE_APPROVE, .successor = request->successor,
		.keyslots = request->keyslots, .macs = request->macs,
	};
	struct tresor_opened opened = { 0 };
	uint8_t volume_key[TRESOR_KEY_MAX];
	uint32_t status;

	request->seal_status = 0;
	request->needed_kib = 0;
	request->macs_missing = 0;
	request->segment_changed = 0;
	status = tresor_luks_check(&request->segment, &request->digest);
	if (status != TRESOR_OK)
		return status;
	if (request->message.context.fresh_slot != TRESOR_ANY_SLOT || request->reserved != 0)
		return TRESOR_E_REQUEST;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	status = tresor_header_open(&header, &asked, volume_key, &opened);
	request->seal_status = opened.opening.seal_status;
	request->needed_kib = opened.opening.needed_kib;
	if (status != TRESOR_OK)
		goto out;
	request->macs_missing = opened.macs_missing;
	request->segment_changed = opened.facts.segment_changed;
	if (opened.macs_missing || opened.facts.segment_changed)
		status = TRESOR_E_HEADER;
	else if (!tresor_volumes_approve(request->handle, volume_key, request->segment.key_size, request->successor))
		status = TRESOR_E_HANDLE;
	else
		request->slot = header.keyslots[opened.opening.index].slot;
out:
	WIPE(volume_key);
	WIPE(opened);
	tresor_heap_give();
	return status;
}
