/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "nonces.h"
#include "crypto/random.h"

uint32_t tresor_op_challenge(struct tresor_challenge *request)
{
	uint8_t nonce[32];
	uint32_t status;

	if (request->purpose < TRESOR_PURPOSE_CREATE || request->purpose > TRESOR_PURPOSE_TAKE_OVER ||
	    request->reserved != 0)
		return TRESOR_E_REQUEST;
	if (!random_bytes(nonce, sizeof(nonce)))
		return TRESOR_E_RANDOM;
	status = tresor_nonces_add(nonce, request->purpose);
	if (status == TRESOR_OK)
		__builtin_memcpy(request->nonce, nonce, sizeof(nonce));
	return status;
}
