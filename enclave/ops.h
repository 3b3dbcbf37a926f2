/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_OPS_H
#define TRESOR_OPS_H

#include "enclave.h"

/*
 * One function per operation of abi/enclave.h. `request` is the enclave's copy;
 * out fields are set in it on TRESOR_OK only, unless enclave.h says otherwise.
 * `scratch` is SCRATCH_SIZE bytes of this thread, for arrays that hold nothing
 * secret. The result is enum tresor_status.
 */
uint32_t tresor_op_hello(struct tresor_hello *request);
uint32_t tresor_op_challenge(struct tresor_challenge *request);
uint32_t tresor_op_report(struct tresor_report *request);
uint32_t tresor_op_create(struct tresor_create *request);
uint32_t tresor_op_unlock(struct tresor_unlock *request);
uint32_t tresor_op_enrol(struct tresor_enrol *request);
uint32_t tresor_op_sectors(struct tresor_sectors *request, struct tresor_range *scratch);
uint32_t tresor_op_close(struct tresor_close *request);
uint32_t tresor_op_legacy(struct tresor_legacy *request);
uint32_t tresor_op_blocks(struct tresor_blocks *request, struct tresor_block *scratch);
uint32_t tresor_op_assist(struct tresor_assist *request);
uint32_t tresor_op_bequeath(struct tresor_bequeath *request);
uint32_t tresor_op_inherit(struct tresor_inherit *request);
uint32_t tresor_op_approve(struct tresor_approve *request);
uint32_t tresor_op_yield(struct tresor_yield *request);
uint32_t tresor_op_take_over(struct tresor_take_over *request);
uint32_t tresor_op_reencrypt(struct tresor_reencrypt *request);
uint32_t tresor_op_zone(struct tresor_zone *request);
uint32_t tresor_op_convert(struct tresor_convert *request, struct tresor_range *scratch);
uint32_t tresor_op_finish(struct tresor_finish *request);

#endif
