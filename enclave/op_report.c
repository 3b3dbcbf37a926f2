/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "channel_key.h"
#include "enclu.h"
#include "local_report.h"

/* EREPORT faults on reserved bytes that are set, which would be the end of the enclave. */
static bool target_valid(const struct sgx_target_info *target)
{
	uint8_t set = target->reserved1;

	for (size_t i = 0; i < sizeof(target->reserved2); i++)
		set |= target->reserved2[i];
	for (size_t i = 0; i < sizeof(target->reserved3); i++)
		set |= target->reserved3[i];
	return set == 0;
}

uint32_t tresor_op_report(struct tresor_report *request)
{
	struct sgx_target_info target;
	struct sgx_report_data data;
	struct sgx_report report __attribute__((aligned(512)));

	if (!tresor_boundary_read(&target, request->target_info, sizeof(target)) ||
	    !target_valid(&target) || !tresor_boundary_outside(request->report, sizeof(report)))
		return TRESOR_E_REQUEST;
	tresor_local_report_data(tresor_channel_public(), request->nonce, &data);
	tresor_enclu(ENCLU_EREPORT, &target, &data, &report);
	return tresor_boundary_write(request->report, &report, sizeof(report)) ? TRESOR_OK : TRESOR_E_REQUEST;
}
