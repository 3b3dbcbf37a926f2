/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "channel_key.h"
#include "heap.h"
#include "local_report.h"
#include "mem.h"
#include "state.h"
#include "volumes.h"

/* Whether an enclave of ours on this machine may have the key without the passphrase: abi/enclave.h, Takeover. */
static bool may_take_over(const struct tresor_volume *volume, const struct sgx_report *report)
{
	const struct tresor_identity *self = &tresor_identity;

	return memcmp(report->mrenclave, self->mrenclave, sizeof(self->mrenclave)) == 0 ||
	       memcmp(report->mrenclave, volume->approved, sizeof(volume->approved)) == 0 ||
	       (volume->policy == TRESOR_POLICY_MRSIGNER &&
		memcmp(report->mrsigner, self->mrsigner, sizeof(self->mrsigner)) == 0);
}

static uint32_t yield(const struct tresor_yield *request, const struct tresor_volume *volume)
{
	struct tresor_yielded yielded = { .version = 1, .policy = volume->policy, .key_size = volume->secret_size };
	struct sgx_report report;
	uint32_t status = tresor_local_report_read(request->report, request->public_key, request->nonce, &report);

	if (status != TRESOR_OK)
		return status;
	if (volume->secret_size == 0)	/* no LUKS2 volume */
		return TRESOR_E_REQUEST;
	if (!may_take_over(volume, &report))
		return TRESOR_E_APPROVAL;
	if (report.isv_svn < tresor_identity.isv_svn)
		return TRESOR_E_SEAL_VERSION;
	memcpy(yielded.successor, report.mrenclave, sizeof(yielded.successor));
	memcpy(yielded.nonce, request->nonce, sizeof(yielded.nonce));
	if (!tresor_channel_bequeath(TRESOR_TAKEOVER, request->public_key, &yielded,
				     __builtin_offsetof(struct tresor_yielded, key), volume->secret,
				     sizeof(volume->secret), yielded.key))
		return TRESOR_E_RANDOM;
	return tresor_boundary_write(request->yielded, &yielded, sizeof(yielded)) ? TRESOR_OK : TRESOR_E_REQUEST;
}

uint32_t tresor_op_yield(struct tresor_yield *request)
{
	const struct tresor_volume *volume;
	uint32_t status;

	if (request->reserved != 0 || !tresor_boundary_outside(request->yielded, sizeof(struct tresor_yielded)))
		return TRESOR_E_REQUEST;
	/* For the heap's tenant alone is what the owner approved. */
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;
	volume = tresor_volumes_get(request->handle);
	status = TRESOR_E_HANDLE;
	if (volume) {
		status = yield(request, volume);
		tresor_volumes_put(volume);
	}
	tresor_heap_give();
	return status;
}
