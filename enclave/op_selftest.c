/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "heap.h"
#include "seal.h"
#include "state.h"
#include "crypto/selftest.h"

uint32_t tresor_op_selftest(struct tresor_selftest *request)
{
	void *memory;
	bool passed;

	if (request->index >= TRESOR_TESTS)
		return TRESOR_E_REQUEST;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;
	memory = tresor_heap_alloc(SELFTEST_MEMORY);
	passed = request->index == TRESOR_TEST_SEAL ? tresor_seal_selftest() :
						      memory && crypto_selftest(request->index, memory);
	tresor_heap_give();
	request->passed = passed;
	if (passed)
		return TRESOR_OK;
	/* Said at once, so that the host ends the enclave and its keys with it. */
	tresor_state_die();
	return TRESOR_E_DEAD;
}
