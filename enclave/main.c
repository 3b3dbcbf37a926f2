/* SPDX-License-Identifier: Apache-2.0 */
/* Called by entry.S: copy the request in, let it be served, copy it back. */
#include "main.h"
#include "boundary.h"
#include "dispatch.h"
#include "layout.h"
#include "state.h"

/* Words that entry.S and tresor_main themselves keep above the wiped part. */
#define DEEP_STACK	(STACK_SIZE - 64)

struct tresor_exit tresor_main(uint64_t address, void *scratch)
{
	struct tresor_exit exit = { TRESOR_E_REQUEST, SHALLOW_STACK };
	union tresor_request request;
	uint32_t size;

	/* The head and the rest are read once each; no byte twice. */
	if (!tresor_boundary_read(&request.head, address, sizeof(request.head)))
		return exit;
	size = tresor_size_of(request.head.op);
	if (size == 0 || request.head.size != size || request.head.reserved != 0)
		goto out;
	if (size > sizeof(request.head) &&
	    !tresor_boundary_read(&request.head + 1, address + sizeof(request.head),
				  size - sizeof(request.head)))
		return exit;

	exit.status = tresor_state_check(request.head.op);
	if (exit.status == TRESOR_OK)
		exit.status = tresor_dispatch(&request, scratch);
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
