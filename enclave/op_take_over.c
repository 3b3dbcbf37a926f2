/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "channel_key.h"
#include "luks_keyslot.h"
#include "mem.h"
#include "message.h"
#include "nonces.h"
#include "state.h"
#include "volumes.h"
#include "crypto/wipe.h"

#define KEY	__builtin_offsetof(struct tresor_yielded, key)

static bool well_formed(const struct tresor_take_over *request, const struct tresor_yielded *yielded,
			const struct tresor_macs *macs)
{
	return request->reserved == 0 && yielded->version == 1 && yielded->reserved == 0 &&
	       (yielded->policy == 0 || tresor_seal_policy_valid(yielded->policy)) &&
	       yielded->key_size == request->segment.key_size && tresor_message_uuid_valid(request->uuid) &&
	       (request->macs == 0 || macs->segment_present == 1);
}

/* As UNLOCK does once it has the key. */
static uint32_t check_header(struct tresor_take_over *request, const struct tresor_macs *macs,
			     const struct tresor_yielded *yielded, const uint8_t *volume_key)
{
	const struct tresor_header header = {
		.uuid = request->uuid, .segment = &request->segment, .digest = &request->digest,
	};
	struct tresor_header_facts facts = { 0 };

	if (!tresor_luks_digest_holds(&request->digest, volume_key, yielded->key_size))
		return TRESOR_E_MESSAGE;
	if (request->macs != 0)
		tresor_header_compare(&header, volume_key, macs, &facts);
	request->macs_missing = request->macs == 0 && yielded->policy != 0;
	request->segment_changed = facts.segment_changed;
	return request->macs_missing || facts.segment_changed ? TRESOR_E_HEADER : TRESOR_OK;
}

uint32_t tresor_op_take_over(struct tresor_take_over *request)
{
	uint8_t volume_key[TRESOR_KEY_MAX];
	struct tresor_macs macs = { 0 };
	struct tresor_yielded yielded;
	uint32_t status;

	request->macs_missing = 0;
	request->segment_changed = 0;
	status = tresor_luks_check(&request->segment, &request->digest);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_boundary_read(&yielded, request->yielded, sizeof(yielded)) ||
	    (request->macs != 0 && !tresor_boundary_read(&macs, request->macs, sizeof(macs))) ||
	    !well_formed(request, &yielded, &macs))
		return TRESOR_E_REQUEST;
	/* First, so that no result of what follows leaves it usable. */
	status = tresor_nonces_take(yielded.nonce, TRESOR_PURPOSE_TAKE_OVER);
	if (status != TRESOR_OK)
		return status;
	if (memcmp(yielded.successor, tresor_identity.mrenclave, sizeof(yielded.successor)) != 0 ||
	    !tresor_channel_inherit(TRESOR_TAKEOVER, &yielded, KEY, yielded.key, sizeof(yielded.key), volume_key))
		return TRESOR_E_MESSAGE;
	status = check_header(request, &macs, &yielded, volume_key);
	if (status == TRESOR_OK)
		status = tresor_volumes_open(&request->segment, volume_key, yielded.policy, &request->handle);
	WIPE(volume_key);
	return status;
}
