/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors/own_ops.h"
#include "heap.h"
#include "kdf.h"

uint32_t tresor_op_benchmark(struct tresor_benchmark *request)
{
	static const char pass[] = "benchmark";
	static const uint8_t salt[32] = { 1 };
	uint8_t out[TRESOR_KEY_MAX];	/* of public input: no secret */
	uint32_t needed_kib = 0;
	uint32_t status = tresor_kdf_check(&request->kdf);

	if (request->key_size < 16 || request->key_size > TRESOR_KEY_MAX)
		return TRESOR_E_REQUEST;
	if (status != TRESOR_OK)
		return status;
	if (!tresor_heap_take())
		return TRESOR_E_BUSY;
	status = tresor_kdf_run(&request->kdf, pass, sizeof(pass) - 1, salt, sizeof(salt), out,
				request->key_size, &needed_kib);
	tresor_heap_give();
	request->needed_kib = needed_kib;
	return status;
}
