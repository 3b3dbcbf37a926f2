/* SPDX-License-Identifier: Apache-2.0 */
#include "local_report.h"
#include "boundary.h"
#include "enclave.h"
#include "enclu.h"
#include "mem.h"
#include "seal.h"
#include "state.h"
#include "crypto/cmac.h"
#include "crypto/ct.h"
#include "crypto/hash.h"
#include "crypto/wipe.h"

#define MACED	__builtin_offsetof(struct sgx_report, key_id)

static const char label[] = "tresor report v1";

void tresor_local_report_data(const uint8_t public_key[32], const uint8_t nonce[32], struct sgx_report_data *data)
{
	struct hash hash;

	memset(data, 0, sizeof(*data));
	hash_init(&hash, TRESOR_SHA256);
	hash_update(&hash, label, sizeof(label) - 1);
	hash_update(&hash, public_key, 32);
	hash_update(&hash, nonce, 32);
	hash_final(&hash, data->bytes);
}

bool tresor_local_report_genuine(const struct sgx_report *report)
{
	struct sgx_key_request request = { .key_name = SGX_KEYNAME_REPORT };
	uint8_t key[16] __attribute__((aligned(16)));
	uint8_t mac[16];
	bool genuine = false;

	memcpy(request.key_id, report->key_id, sizeof(request.key_id));
	if (tresor_enclu(ENCLU_EGETKEY, &request, key, NULL) == 0) {
		cmac(key, report, MACED, mac);
		genuine = ct_equal(mac, report->mac, sizeof(mac));
	}
	WIPE(key);
	WIPE(mac);
	return genuine;
}

uint32_t tresor_local_report_read(uint64_t address, const uint8_t public_key[32], const uint8_t nonce[32],
				  struct sgx_report *report)
{
	struct sgx_report_data data;

	if (!tresor_boundary_read(report, address, sizeof(*report)))
		return TRESOR_E_REQUEST;
	tresor_local_report_data(public_key, nonce, &data);
	if (!tresor_local_report_genuine(report) ||
	    memcmp(report->report_data, data.bytes, sizeof(data.bytes)) != 0 ||
	    report->isv_prod_id != tresor_identity.isv_prod_id || !tresor_seal_same_class(report->attributes[0]))
		return TRESOR_E_SUCCESSOR;
	return TRESOR_OK;
}
