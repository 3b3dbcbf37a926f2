/* SPDX-License-Identifier: Apache-2.0 */
#include "header_open.h"
#include "boundary.h"
#include "mem.h"
#include "request_digest.h"

static bool taken(const struct tresor_header *header, uint32_t slot)
{
	for (uint32_t i = 0; i < header->count; i++) {
		if (header->keyslots[i].slot == slot)
			return true;
	}
	return false;
}

uint32_t tresor_header_open(struct tresor_header *header, const struct tresor_asked *asked,
			    uint8_t volume_key[TRESOR_KEY_MAX], struct tresor_opened *opened)
{
	uint8_t digest[32];
	uint32_t status = tresor_luks_read_keyslots(asked->keyslots, header->count, &asked->message->context,
						    &header->keyslots);

	if (status != TRESOR_OK)
		return status;
	if ((asked->fresh && taken(header, asked->fresh->slot)) ||
	    (asked->macs != 0 && (!tresor_boundary_read(&opened->macs, asked->macs, sizeof(opened->macs)) ||
				  opened->macs.segment_present != 1)))
		return TRESOR_E_REQUEST;
	tresor_request_digest(header, asked->purpose, asked->policy, asked->macs != 0, asked->fresh, asked->successor,
			      digest);
	status = tresor_message_open(asked->message, asked->purpose, digest, &opened->secrets);
	if (status == TRESOR_OK)
		status = tresor_luks_open(header, opened->secrets.existing, opened->secrets.existing_size,
					  volume_key, &opened->opening);
	if (status != TRESOR_OK)
		return status;
	if (asked->macs != 0)
		tresor_header_compare(header, volume_key, &opened->macs, &opened->facts);
	opened->macs_missing = asked->macs == 0 && opened->opening.policy != 0;
	return TRESOR_OK;
}

uint32_t tresor_header_open_authentic(struct tresor_header *header, const struct tresor_asked *asked,
				      uint8_t volume_key[TRESOR_KEY_MAX], struct tresor_opened *opened,
				      struct tresor_outcome *outcome)
{
	uint32_t status = tresor_header_open(header, asked, volume_key, opened);

	outcome->seal_status = opened->opening.seal_status;
	outcome->needed_kib = opened->opening.needed_kib;
	if (status != TRESOR_OK)
		return status;
	outcome->macs_missing = opened->macs_missing;
	outcome->segment_changed = opened->facts.segment_changed;
	return opened->macs_missing || opened->facts.segment_changed ? TRESOR_E_HEADER : TRESOR_OK;
}
