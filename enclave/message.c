/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"
#include "boundary.h"
#include "channel_key.h"
#include "heap.h"
#include "mem.h"
#include "nonces.h"
#include "crypto/hpke.h"

#define LENGTHS	8u	/* existing_size, fresh_size */

bool tresor_message_uuid_valid(const char uuid[40])
{
	uint32_t length = 0;

	while (length < 40 && uuid[length] != 0)
		length++;
	if (length == 0 || length == 40)
		return false;
	for (uint32_t i = length; i < 40; i++) {
		if (uuid[i] != 0)
			return false;
	}
	return true;
}

static bool carries_what(uint32_t purpose, const struct tresor_secrets *secrets)
{
	switch (purpose) {
	case TRESOR_PURPOSE_CREATE:
		return secrets->existing_size == 0 && secrets->fresh_size != 0;
	case TRESOR_PURPOSE_ENROL:
		return secrets->fresh_size != 0;
	default:
		return secrets->fresh_size == 0;
	}
}

uint32_t tresor_message_open(const struct tresor_message *message, uint32_t purpose,
			     const uint8_t request[32], struct tresor_secrets *secrets)
{
	const struct tresor_context *context = &message->context;
	uint8_t *bytes, *plain;
	uint32_t lengths[2];
	uint32_t status;
	uint64_t size;

	if (message->reserved != 0 || context->reserved != 0 ||
	    (context->flags & ~(TRESOR_ADMIT_UNSEALED | TRESOR_ADMIT_DOWNGRADE)) || message->size < HPKE_OVERHEAD + LENGTHS ||
	    message->size > 2 * TRESOR_SECRET_SIZE + HPKE_OVERHEAD + LENGTHS ||
	    !tresor_message_uuid_valid(context->uuid))
		return TRESOR_E_REQUEST;
	/* First, so that no result of what follows leaves it usable. */
	status = tresor_nonces_take(context->nonce, purpose);
	if (status != TRESOR_OK)
		return status;
	if (context->version != TRESOR_ABI_VERSION || context->purpose != purpose ||
	    memcmp(context->request, request, sizeof(context->request)) != 0)
		return TRESOR_E_MESSAGE;

	bytes = tresor_heap_alloc(message->size);
	if (!bytes)
		return TRESOR_E_MEMORY;
	if (!tresor_boundary_read(bytes, message->address, message->size))
		return TRESOR_E_REQUEST;
	plain = bytes + HPKE_ENC;
	if (!tresor_channel_open(context, sizeof(*context), bytes, message->size, plain))
		return TRESOR_E_MESSAGE;

	memcpy(lengths, plain, sizeof(lengths));
	size = message->size - HPKE_OVERHEAD - LENGTHS;
	if (lengths[0] > TRESOR_SECRET_SIZE || lengths[1] > TRESOR_SECRET_SIZE ||
	    (uint64_t)lengths[0] + lengths[1] != size)
		return TRESOR_E_MESSAGE;
	secrets->existing_size = lengths[0];
	secrets->fresh_size = lengths[1];
	secrets->existing = plain + LENGTHS;
	secrets->fresh = secrets->existing + lengths[0];
	return carries_what(purpose, secrets) ? TRESOR_OK : TRESOR_E_MESSAGE;
}
