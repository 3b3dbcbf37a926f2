/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors/own_ops.h"
#include "heap.h"
#include "seal.h"
#include "state.h"
#include "vectors/published.h"

uint32_t tresor_op_selftest(struct tresor_selftest *request)
{
	void *memory;
	bool passed;

	if (request->index >= TRESOR_TESTS)
		return TRESOR_E_REQUEST;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;
	memory = tresor_heap_alloc(VECTORS_MEMORY);
	passed = request->index == TRESOR_TEST_SEAL ? tresor_seal_power_on() :
						      memory && published_vectors_pass(request->index, memory);
	tresor_heap_give();
	request->passed = passed;
	if (passed)
		return TRESOR_OK;
	/* Said at once, so that the host ends the enclave and its keys with it. */
	tresor_state_die();
	return TRESOR_E_DEAD;
}
