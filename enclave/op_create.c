/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "heap.h"
#include "luks_keyslot.h"
#include "mem.h"
#include "message.h"
#include "request_digest.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/wipe.h"

#define DIGEST_SALT_MIN	16u

static uint32_t check(const struct tresor_create *request)
{
	const struct tresor_context *context = &request->message.context;
	uint32_t status = tresor_luks_check(&request->segment, &request->digest);

	if (status == TRESOR_OK)
		status = tresor_luks_check_fresh(&request->keyslot, &request->segment, context, request->policy);
	if (status != TRESOR_OK)
		return status;
	if (request->reserved != 0 || request->digest.salt_size < DIGEST_SALT_MIN || context->slot != TRESOR_ANY_SLOT ||
	    !tresor_boundary_outside(request->macs, sizeof(struct tresor_macs)))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

uint32_t tresor_op_create(struct tresor_create *request)
{
	struct tresor_digest digest = request->digest;
	struct tresor_keyslot keyslot = request->keyslot;
	const struct tresor_header header = {
		.uuid = request->message.context.uuid, .segment = &request->segment,
		.digest = &digest, .keyslots = &keyslot, .count = 1,
	};
	uint8_t volume_key[TRESOR_KEY_MAX];
	struct tresor_secrets secrets;
	struct tresor_macs macs;
	struct tresor_made made;
	const struct tresor_header asked = {
		.uuid = header.uuid, .segment = &request->segment, .digest = &request->digest, .count = 0,
	};
	uint8_t asked_digest[32];
	uint32_t needed_kib = 0;
	uint32_t status = check(request);

	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	tresor_request_digest(&asked, TRESOR_PURPOSE_CREATE, request->policy, false, &request->keyslot,
			      NULL, asked_digest);
	status = tresor_message_open(&request->message, TRESOR_PURPOSE_CREATE, asked_digest, &secrets);
	if (status != TRESOR_OK)
		goto out;
	status = TRESOR_E_RANDOM;
	if (!random_bytes(volume_key, sizeof(volume_key)))
		goto out;
	status = tresor_luks_make(&keyslot, header.uuid, request->policy, secrets.fresh,
				  secrets.fresh_size, volume_key, &made, &needed_kib);
	if (status == TRESOR_OK)
		status = tresor_luks_make_digest(&digest, volume_key, request->segment.key_size);
	if (status != TRESOR_OK)
		goto out;

	tresor_header_authenticate(&header, volume_key, &macs);
	if (tresor_luks_write(&keyslot, &made) &&
	    tresor_boundary_write(request->macs, &macs, sizeof(macs))) {
		request->digest = digest;
		request->keyslot = keyslot;
	} else {
		status = TRESOR_E_REQUEST;
	}
out:
	WIPE(volume_key);
	tresor_heap_give();
	return status;
}
