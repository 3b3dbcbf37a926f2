/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch.h"
#include "ops.h"

uint32_t tresor_size_of(uint32_t op)
{
	switch (op) {
	case TRESOR_OP_HELLO:		return sizeof(struct tresor_hello);
	case TRESOR_OP_CHALLENGE:	return sizeof(struct tresor_challenge);
	case TRESOR_OP_REPORT:		return sizeof(struct tresor_report);
	case TRESOR_OP_CREATE:		return sizeof(struct tresor_create);
	case TRESOR_OP_UNLOCK:		return sizeof(struct tresor_unlock);
	case TRESOR_OP_ENROL:		return sizeof(struct tresor_enrol);
	case TRESOR_OP_SECTORS:		return sizeof(struct tresor_sectors);
	case TRESOR_OP_CLOSE:		return sizeof(struct tresor_close);
	case TRESOR_OP_LEGACY:		return sizeof(struct tresor_legacy);
	case TRESOR_OP_BLOCKS:		return sizeof(struct tresor_blocks);
	case TRESOR_OP_ASSIST:		return sizeof(struct tresor_assist);
	case TRESOR_OP_BEQUEATH:	return sizeof(struct tresor_bequeath);
	case TRESOR_OP_INHERIT:		return sizeof(struct tresor_inherit);
	case TRESOR_OP_REENCRYPT:	return sizeof(struct tresor_reencrypt);
	case TRESOR_OP_ZONE:		return sizeof(struct tresor_zone);
	case TRESOR_OP_CONVERT:		return sizeof(struct tresor_convert);
	case TRESOR_OP_APPROVE:		return sizeof(struct tresor_approve);
	case TRESOR_OP_YIELD:		return sizeof(struct tresor_yield);
	case TRESOR_OP_TAKE_OVER:	return sizeof(struct tresor_take_over);
	case TRESOR_OP_FINISH:		return sizeof(struct tresor_finish);
	default:			return 0;
	}
}

uint32_t tresor_dispatch(union tresor_request *request, void *scratch)
{
	switch (request->head.op) {
	case TRESOR_OP_HELLO:		return tresor_op_hello(&request->hello);
	case TRESOR_OP_CHALLENGE:	return tresor_op_challenge(&request->challenge);
	case TRESOR_OP_REPORT:		return tresor_op_report(&request->report);
	case TRESOR_OP_CREATE:		return tresor_op_create(&request->create);
	case TRESOR_OP_UNLOCK:		return tresor_op_unlock(&request->unlock);
	case TRESOR_OP_ENROL:		return tresor_op_enrol(&request->enrol);
	case TRESOR_OP_SECTORS:		return tresor_op_sectors(&request->sectors, scratch);
	case TRESOR_OP_CLOSE:		return tresor_op_close(&request->close);
	case TRESOR_OP_LEGACY:		return tresor_op_legacy(&request->legacy);
	case TRESOR_OP_BLOCKS:		return tresor_op_blocks(&request->blocks, scratch);
	case TRESOR_OP_BEQUEATH:	return tresor_op_bequeath(&request->bequeath);
	case TRESOR_OP_INHERIT:		return tresor_op_inherit(&request->inherit);
	case TRESOR_OP_REENCRYPT:	return tresor_op_reencrypt(&request->reencrypt);
	case TRESOR_OP_ZONE:		return tresor_op_zone(&request->zone);
	case TRESOR_OP_CONVERT:		return tresor_op_convert(&request->convert, scratch);
	case TRESOR_OP_APPROVE:		return tresor_op_approve(&request->approve);
	case TRESOR_OP_YIELD:		return tresor_op_yield(&request->yield);
	case TRESOR_OP_TAKE_OVER:	return tresor_op_take_over(&request->take_over);
	case TRESOR_OP_FINISH:		return tresor_op_finish(&request->finish);
	default:			return tresor_op_assist(&request->assist);
	}
}
