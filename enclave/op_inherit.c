/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "channel_key.h"
#include "kdf.h"
#include "mem.h"
#include "message.h"
#include "seal.h"
#include "state.h"
#include "crypto/wipe.h"

#define SALT	__builtin_offsetof(struct tresor_handover, salt)

/* A slot of a LUKS2 header and nothing else: a legacy record's seal has TRESOR_ANY_SLOT, see abi/enclave.h. */
static bool well_formed(const struct tresor_handover *handover)
{
	return handover->version == 1 && handover->reserved == 0 && handover->slot < TRESOR_KEYSLOTS &&
	       tresor_seal_policy_valid(handover->policy) && tresor_message_uuid_valid(handover->uuid) &&
	       tresor_kdf_check(&handover->kdf) == TRESOR_OK;
}

uint32_t tresor_op_inherit(struct tresor_inherit *request)
{
	uint8_t salt[TRESOR_SEALED_SALT_SIZE];
	struct tresor_handover handover;
	struct tresor_sealed_salt sealed;
	uint32_t status;

	if (!tresor_boundary_read(&handover, request->handover, sizeof(handover)) || !well_formed(&handover) ||
	    !tresor_boundary_outside(request->sealed_out, sizeof(sealed)))
		return TRESOR_E_REQUEST;
	if (memcmp(handover.successor, tresor_identity.mrenclave, sizeof(handover.successor)) != 0 ||
	    !tresor_channel_inherit(TRESOR_HANDOVER, &handover, SALT, handover.salt, sizeof(handover.salt), salt))
		return TRESOR_E_MESSAGE;
	status = tresor_seal_make(&sealed, salt, handover.policy, handover.uuid, handover.slot, &handover.kdf);
	WIPE(salt);
	if (status == TRESOR_OK && !tresor_boundary_write(request->sealed_out, &sealed, sizeof(sealed)))
		status = TRESOR_E_REQUEST;
	return status;
}
