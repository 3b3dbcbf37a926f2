/* SPDX-License-Identifier: Apache-2.0 */
/* Called by entry.S: copy the request in, dispatch, copy it back. */
#include "main.h"
#include "boundary.h"
#include "layout.h"
#include "ops.h"
#include "state.h"

union request {
	struct tresor_head head;
	struct tresor_hello hello;
	struct tresor_challenge challenge;
	struct tresor_report report;
	struct tresor_create create;
	struct tresor_unlock unlock;
	struct tresor_enrol enrol;
	struct tresor_sectors sectors;
	struct tresor_close close;
	struct tresor_legacy legacy;
	struct tresor_blocks blocks;
	struct tresor_selftest selftest;
	struct tresor_benchmark benchmark;
	struct tresor_assist assist;
};

/* Words that entry.S and tresor_main themselves keep above the wiped part. */
#define DEEP_STACK	(STACK_SIZE - 64)

/* 0: no such operation. */
static uint32_t size_of(uint32_t op)
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
	case TRESOR_OP_SELFTEST:	return sizeof(struct tresor_selftest);
	case TRESOR_OP_BENCHMARK:	return sizeof(struct tresor_benchmark);
	case TRESOR_OP_ASSIST:		return sizeof(struct tresor_assist);
	default:			return 0;
	}
}

static uint32_t dispatch(union request *request, void *scratch)
{
	uint32_t status = tresor_state_check(request->head.op);

	if (status != TRESOR_OK)
		return status;
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
	case TRESOR_OP_SELFTEST:	return tresor_op_selftest(&request->selftest);
	case TRESOR_OP_BENCHMARK:	return tresor_op_benchmark(&request->benchmark);
	default:			return tresor_op_assist(&request->assist);
	}
}

struct tresor_exit tresor_main(uint64_t address, void *scratch)
{
	struct tresor_exit exit = { TRESOR_E_REQUEST, SHALLOW_STACK };
	union request request;
	uint32_t size;

	/* The head and the rest are read once each; no byte twice. */
	if (!tresor_boundary_read(&request.head, address, sizeof(request.head)))
		return exit;
	size = size_of(request.head.op);
	if (size == 0 || request.head.size != size || request.head.reserved != 0)
		goto out;
	if (size > sizeof(request.head) &&
	    !tresor_boundary_read(&request.head + 1, address + sizeof(request.head),
				  size - sizeof(request.head)))
		return exit;

	exit.status = dispatch(&request, scratch);
	if (request.head.op != TRESOR_OP_SECTORS && request.head.op != TRESOR_OP_BLOCKS &&
	    request.head.op != TRESOR_OP_CLOSE)
		exit.wipe = DEEP_STACK;
	if (size > sizeof(request.head) &&
	    !tresor_boundary_write(address + sizeof(request.head), &request.head + 1,
				   size - sizeof(request.head)))
		exit.status = TRESOR_E_REQUEST;
out:
	/* Last: whoever sees the status sees the rest. */
	request.head.status = (uint32_t)exit.status;
	if (!tresor_boundary_write(address, &request.head, sizeof(request.head)))
		exit.status = TRESOR_E_REQUEST;
	return exit;
}
