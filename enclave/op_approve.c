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

	request->outcome = (struct tresor_outcome){ 0 };
	status = tresor_luks_check(&request->segment, &request->digest);
	if (status != TRESOR_OK)
		return status;
	if (request->message.context.fresh_slot != TRESOR_ANY_SLOT || request->reserved != 0)
		return TRESOR_E_REQUEST;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	status = tresor_header_open_authentic(&header, &asked, volume_key, &opened, &request->outcome);
	if (status == TRESOR_OK &&
	    !tresor_volumes_approve(request->handle, volume_key, request->segment.key_size, request->successor))
		status = TRESOR_E_HANDLE;
	if (status == TRESOR_OK)
		request->outcome.slot = header.keyslots[opened.opening.index].slot;
	WIPE(volume_key);
	WIPE(opened);
	tresor_heap_give();
	return status;
}
