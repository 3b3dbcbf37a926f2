/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "channel_key.h"
#include "header_open.h"
#include "heap.h"
#include "local_report.h"
#include "mem.h"
#include "state.h"
#include "crypto/wipe.h"

static uint32_t check(const struct tresor_bequeath *request)
{
	uint32_t status = tresor_luks_check(&request->segment, &request->digest);

	if (status != TRESOR_OK)
		return status;
	if (request->message.context.fresh_slot != TRESOR_ANY_SLOT || request->reserved != 0 ||
	    !tresor_seal_policy_valid(request->policy) ||
	    !tresor_boundary_outside(request->handover, sizeof(struct tresor_handover)))
		return TRESOR_E_REQUEST;
	return TRESOR_OK;
}

/* Whether the enclave with this public key is what the user named, here and now. */
static uint32_t check_successor(const struct tresor_bequeath *request)
{
	struct sgx_report report;
	uint32_t status = tresor_local_report_read(request->report, request->public_key, request->nonce, &report);

	if (status != TRESOR_OK)
		return status;
	if (memcmp(report.mrenclave, request->successor, sizeof(report.mrenclave)) != 0)
		return TRESOR_E_SUCCESSOR;
	if (report.isv_svn < tresor_identity.isv_svn && !(request->message.context.flags & TRESOR_ADMIT_DOWNGRADE))
		return TRESOR_E_SEAL_VERSION;
	return TRESOR_OK;
}

static uint32_t hand_over(const struct tresor_bequeath *request, const struct tresor_header *header,
			  const struct tresor_opening *opening)
{
	const struct tresor_keyslot *keyslot = &header->keyslots[opening->index];
	struct tresor_handover handover = { .version = 1, .policy = request->policy, .slot = keyslot->slot,
					    .kdf = keyslot->pass_kdf };

	memcpy(handover.uuid, header->uuid, sizeof(handover.uuid));
	memcpy(handover.successor, request->successor, sizeof(handover.successor));
	if (!tresor_channel_bequeath(TRESOR_HANDOVER, request->public_key, &handover, __builtin_offsetof(struct tresor_handover, salt),
				     opening->salt, sizeof(opening->salt), handover.salt))
		return TRESOR_E_RANDOM;
	return tresor_boundary_write(request->handover, &handover, sizeof(handover)) ? TRESOR_OK : TRESOR_E_REQUEST;
}

uint32_t tresor_op_bequeath(struct tresor_bequeath *request)
{
	struct tresor_header header = {
		.uuid = request->message.context.uuid, .segment = &request->segment,
		.digest = &request->digest, .count = request->count,
	};
	const struct tresor_asked asked = {
		.message = &request->message, .purpose = TRESOR_PURPOSE_SUCCEED, .policy = request->policy,
		.successor = request->successor, .keyslots = request->keyslots, .macs = request->macs,
	};
	struct tresor_opened opened = { 0 };
	uint8_t volume_key[TRESOR_KEY_MAX];
	uint32_t status;

	request->outcome = (struct tresor_outcome){ 0 };
	status = check(request);
	if (status == TRESOR_OK)
		status = check_successor(request);
	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;

	status = tresor_header_open_authentic(&header, &asked, volume_key, &opened, &request->outcome);
	if (status == TRESOR_OK && opened.opening.policy == 0)	/* not sealed: nothing to leave */
		status = TRESOR_E_REQUEST;
	if (status == TRESOR_OK)
		status = hand_over(request, &header, &opened.opening);
	if (status == TRESOR_OK)
		request->outcome.slot = header.keyslots[opened.opening.index].slot;
	WIPE(volume_key);
	WIPE(opened);
	tresor_heap_give();
	return status;
}
