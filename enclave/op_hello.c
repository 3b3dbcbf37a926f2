/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "channel_key.h"
#include "enclu.h"
#include "heap.h"
#include "mem.h"
#include "seal.h"
#include "state.h"
#include "crypto/cpu.h"
#include "crypto/power_on.h"
#include "crypto/random.h"
#include "crypto/wipe.h"

/*
 * The report key: what RDRAND alone would not know. A CPU makes it from its fuses
 * and a KEYID of its own for every start; the software backend from the machine
 * secret and a fresh KEYID, both getrandom(2)'s, so that a broken RDRAND does not
 * decide there by itself. KEYID is in every report, the key never leaves.
 */
static void personalise(const uint8_t key_id[32])
{
	struct sgx_key_request request = { .key_name = SGX_KEYNAME_REPORT };
	struct {
		uint8_t key[16];
		uint8_t key_id[32];
	} personal __attribute__((aligned(16)));
	_Static_assert(sizeof(personal) == RANDOM_PERSONAL, "as random.h has it");

	memcpy(request.key_id, key_id, sizeof(request.key_id));
	memcpy(personal.key_id, key_id, sizeof(personal.key_id));
	/* Not refused: EGETKEY gives every enclave its report key, whatever its attributes. */
	if (tresor_enclu(ENCLU_EGETKEY, &request, personal.key, NULL) != 0)
		memset(personal.key, 0, sizeof(personal.key));
	random_personalise((const uint8_t *)&personal);
	WIPE(personal);
}

static void identify(void)
{
	static const struct sgx_target_info nobody;
	struct sgx_report_data data = { { 0 } };
	struct sgx_report report __attribute__((aligned(512)));

	tresor_enclu(ENCLU_EREPORT, &nobody, &data, &report);
	memcpy(tresor_identity.mrenclave, report.mrenclave, sizeof(report.mrenclave));
	memcpy(tresor_identity.mrsigner, report.mrsigner, sizeof(report.mrsigner));
	memcpy(tresor_identity.cpu_svn, report.cpu_svn, sizeof(report.cpu_svn));
	tresor_identity.attributes = report.attributes[0];
	tresor_identity.xfrm = report.attributes[1];
	tresor_identity.isv_prod_id = report.isv_prod_id;
	tresor_identity.isv_svn = report.isv_svn;
	personalise(report.key_id);
}

/* A feature whose registers XFRM does not have would be #UD; one wider implies the narrower. */
static uint32_t usable_features(uint32_t hint, uint64_t xfrm)
{
	uint32_t usable = hint & (TRESOR_CPU_SHA | TRESOR_CPU_RDSEED);

	if ((xfrm & SGX_XFRM_AVX) && (hint & TRESOR_CPU_AVX2)) {
		usable |= TRESOR_CPU_AVX2 | (hint & TRESOR_CPU_VAES256);
		if ((usable & TRESOR_CPU_VAES256) && (xfrm & SGX_XFRM_AVX512) == SGX_XFRM_AVX512)
			usable |= hint & TRESOR_CPU_VAES512;
	}
	return usable;
}

static bool power_on_tests_pass(void)
{
	bool passed;
	void *memory;

	if (!tresor_heap_take())
		return false;
	memory = tresor_heap_alloc(POWER_ON_MEMORY);
	passed = memory && crypto_power_on(memory) && tresor_seal_power_on();
	tresor_heap_give();
	return passed;
}

uint32_t tresor_op_hello(struct tresor_hello *request)
{
	const struct tresor_identity *self = &tresor_identity;

	if (request->abi_version != TRESOR_ABI_VERSION || request->reserved != 0) {
		tresor_state_hello_done(false);
		return TRESOR_E_REQUEST;
	}
	identify();
	cpu_features = usable_features(request->cpu, self->xfrm);
	tresor_heap_init(request->dynamic_size);
	if (!tresor_channel_make()) {
		tresor_state_die();
		return TRESOR_E_RANDOM;
	}
	if (!power_on_tests_pass()) {
		tresor_channel_forget();
		tresor_state_die();
		return TRESOR_E_DEAD;
	}

	request->abi_version = TRESOR_ABI_VERSION;
	request->cpu = cpu_features;
	request->heap_size = tresor_heap_size();
	memcpy(request->public_key, tresor_channel_public(), sizeof(request->public_key));
	memcpy(request->mrenclave, self->mrenclave, sizeof(request->mrenclave));
	memcpy(request->mrsigner, self->mrsigner, sizeof(request->mrsigner));
	memcpy(request->cpu_svn, self->cpu_svn, sizeof(request->cpu_svn));
	request->attributes = self->attributes;
	request->xfrm = self->xfrm;
	request->isv_prod_id = self->isv_prod_id;
	request->isv_svn = self->isv_svn;
	tresor_state_hello_done(true);
	return TRESOR_OK;
}
