/* SPDX-License-Identifier: Apache-2.0 */
#include "seal.h"
#include "enclu.h"
#include "mem.h"
#include "state.h"
#include "crypto/ct.h"
#include "crypto/gcm.h"
#include "crypto/hkdf.h"
#include "crypto/random.h"
#include "crypto/wipe.h"

/* Intel's defaults for sealing: INIT, DEBUG, KSS-era reserved bits; no XFRM. */
#define ATTRIBUTE_MASK	0xff0000000000000bull
#define MISC_MASK	0xf0000000u

static const char magic[8] = "TRSRSEAL";
static const char label[] = "tresor seal v1";

/* Associated data: up to checksum, from key_request to kdf, reserved. */
#define PART1	__builtin_offsetof(struct tresor_sealed_salt, checksum)
#define PART2	__builtin_offsetof(struct tresor_sealed_salt, key_request)
#define PART2_END __builtin_offsetof(struct tresor_sealed_salt, iv)
#define CPU_SVN	__builtin_offsetof(struct sgx_key_request, cpu_svn)
#define AAD_SIZE (PART1 + (PART2_END - PART2) + sizeof(((struct tresor_sealed_salt *)0)->reserved))

bool tresor_seal_policy_valid(uint32_t policy)
{
	return policy == TRESOR_POLICY_MRENCLAVE || policy == TRESOR_POLICY_MRSIGNER;
}

bool tresor_seal_same_class(uint64_t attributes)
{
	return (attributes & ATTRIBUTE_MASK) == (tresor_identity.attributes & ATTRIBUTE_MASK);
}

static void associated_data(const struct tresor_sealed_salt *sealed, uint8_t aad[AAD_SIZE])
{
	memcpy(aad, sealed, PART1);
	memcpy(aad + PART1, sealed->key_request, PART2_END - PART2);
	memcpy(aad + PART1 + PART2_END - PART2, sealed->reserved, sizeof(sealed->reserved));
}

static void checksum(const struct tresor_sealed_salt *sealed, uint8_t sum[32])
{
	struct hash hash;

	hash_init(&hash, TRESOR_SHA256);
	hash_update(&hash, sealed, PART1);
	hash_update(&hash, sealed->key_request, sizeof(*sealed) - PART2);
	hash_final(&hash, sum);
}

/* RAX of EGETKEY; key is set when it is 0. */
static uint64_t get_key(const uint8_t key_request[512], uint8_t key[32])
{
	struct sgx_key_request request;
	uint8_t raw[16] __attribute__((aligned(16)));
	uint64_t refused;

	memcpy(&request, key_request, sizeof(request));
	refused = tresor_enclu(ENCLU_EGETKEY, &request, raw, NULL);
	if (refused == 0)
		hkdf_key(raw, sizeof(raw), label, sizeof(label) - 1, key, 32);
	WIPE(raw);
	return refused;
}

/*
 * The stored request goes to EGETKEY as it is, so it must be one that seal_make
 * writes: another key name or policy would yield a key others can have.
 */
static bool well_formed(const struct tresor_sealed_salt *sealed)
{
	struct sgx_key_request request, expected = { 0 };
	uint8_t sum[32];

	checksum(sealed, sum);
	if (memcmp(sealed->magic, magic, sizeof(magic)) != 0 || sealed->version != 1 ||
	    !tresor_seal_policy_valid(sealed->policy) ||
	    memcmp(sealed->checksum, sum, sizeof(sum)) != 0)
		return false;

	memcpy(&request, sealed->key_request, sizeof(request));
	expected.key_name = SGX_KEYNAME_SEAL;
	expected.key_policy = (uint16_t)sealed->policy;
	expected.isv_svn = sealed->isv_svn;
	expected.attribute_mask[0] = ATTRIBUTE_MASK;
	expected.misc_mask = MISC_MASK;
	memcpy(expected.cpu_svn, request.cpu_svn, sizeof(expected.cpu_svn));
	memcpy(expected.key_id, request.key_id, sizeof(expected.key_id));
	return memcmp(&request, &expected, sizeof(expected)) == 0;
}

uint32_t tresor_seal_open(const struct tresor_sealed_salt *sealed, const char uuid[40], uint32_t slot,
			  const struct tresor_kdf *kdf, uint8_t salt[TRESOR_SEALED_SALT_SIZE],
			  bool *stale)
{
	const struct tresor_identity *self = &tresor_identity;
	uint32_t status = TRESOR_E_SEAL_MACHINE;
	uint8_t aad[AAD_SIZE];
	uint8_t key[32];
	uint64_t refused;

	if (!well_formed(sealed) || memcmp(sealed->uuid, uuid, sizeof(sealed->uuid)) != 0 ||
	    sealed->slot != slot || memcmp(&sealed->kdf, kdf, sizeof(*kdf)) != 0)
		return TRESOR_E_SEAL_DAMAGED;
	if (!tresor_seal_same_class(sealed->attributes))
		return TRESOR_E_SEAL_BACKEND;
	/* MRSIGNER is no part of a mrenclave seal: the same image signed anew still opens it. */
	if (sealed->isv_prod_id != self->isv_prod_id ||
	    (sealed->policy == TRESOR_POLICY_MRSIGNER &&
	     memcmp(sealed->mrsigner, self->mrsigner, sizeof(self->mrsigner)) != 0))
		return TRESOR_E_SEAL_SIGNER;
	if (sealed->policy == TRESOR_POLICY_MRENCLAVE &&
	    memcmp(sealed->mrenclave, self->mrenclave, sizeof(self->mrenclave)) != 0)
		return TRESOR_E_SEAL_ENCLAVE;
	/* A CPUSVN has no order of its own; EGETKEY alone can tell. */
	if (sealed->isv_svn > self->isv_svn)
		return TRESOR_E_SEAL_VERSION;

	refused = get_key(sealed->key_request, key);
	if (refused == SGX_INVALID_CPUSVN || refused == SGX_INVALID_ISVSVN) {
		status = TRESOR_E_SEAL_VERSION;
	} else if (refused == 0) {
		associated_data(sealed, aad);
		if (gcm_open(key, sizeof(key), sealed->iv, aad, sizeof(aad), sealed->ciphertext, salt,
			     TRESOR_SEALED_SALT_SIZE, sealed->tag)) {
			*stale = sealed->isv_svn != self->isv_svn ||
				 memcmp(sealed->key_request + CPU_SVN, self->cpu_svn,
					sizeof(self->cpu_svn)) != 0;
			status = TRESOR_OK;
		}
	}
	WIPE(key);
	return status;
}

uint32_t tresor_seal_make(struct tresor_sealed_salt *sealed, const uint8_t salt[TRESOR_SEALED_SALT_SIZE],
			  uint32_t policy, const char uuid[40], uint32_t slot,
			  const struct tresor_kdf *kdf)
{
	const struct tresor_identity *self = &tresor_identity;
	struct sgx_key_request request = { 0 };
	uint8_t proof[TRESOR_SEALED_SALT_SIZE];
	uint32_t status = TRESOR_E_RANDOM;
	uint8_t aad[AAD_SIZE];
	uint8_t key[32];
	bool stale;

	memset(sealed, 0, sizeof(*sealed));
	memcpy(sealed->magic, magic, sizeof(magic));
	sealed->version = 1;
	sealed->policy = policy;
	memcpy(sealed->mrenclave, self->mrenclave, sizeof(sealed->mrenclave));
	memcpy(sealed->mrsigner, self->mrsigner, sizeof(sealed->mrsigner));
	sealed->attributes = self->attributes;
	sealed->isv_prod_id = self->isv_prod_id;
	sealed->isv_svn = self->isv_svn;
	sealed->slot = slot;
	memcpy(sealed->uuid, uuid, sizeof(sealed->uuid));
	sealed->kdf = *kdf;

	request.key_name = SGX_KEYNAME_SEAL;
	request.key_policy = (uint16_t)policy;
	request.isv_svn = self->isv_svn;
	memcpy(request.cpu_svn, self->cpu_svn, sizeof(request.cpu_svn));
	request.attribute_mask[0] = ATTRIBUTE_MASK;
	request.misc_mask = MISC_MASK;
	/* A fresh KEYID makes a fresh key, so that no IV can meet a key twice. */
	if (!random_bytes(request.key_id, sizeof(request.key_id)) ||
	    !random_bytes(sealed->iv, sizeof(sealed->iv)))
		goto out;
	memcpy(sealed->key_request, &request, sizeof(request));

	status = TRESOR_E_DEAD;
	if (get_key(sealed->key_request, key) != 0)
		goto out;
	associated_data(sealed, aad);
	gcm_seal(key, sizeof(key), sealed->iv, aad, sizeof(aad), salt, sealed->ciphertext,
		 TRESOR_SEALED_SALT_SIZE, sealed->tag);
	checksum(sealed, sealed->checksum);
	/* A fault injected above would cost the volume, or more (Plundervolt). */
	if (tresor_seal_open(sealed, uuid, slot, kdf, proof, &stale) == TRESOR_OK &&
	    ct_equal(proof, salt, sizeof(proof)))
		status = TRESOR_OK;
out:
	if (status == TRESOR_E_DEAD)
		tresor_state_die();
	WIPE(proof);
	WIPE(key);
	return status;
}

bool tresor_seal_power_on(void)
{
	static const char uuid[40] = "power-on";
	const struct tresor_kdf kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 1 };
	uint8_t salt[TRESOR_SEALED_SALT_SIZE], opened[TRESOR_SEALED_SALT_SIZE];
	struct tresor_sealed_salt sealed;
	bool passed, stale = true;

	memset(salt, 0x5a, sizeof(salt));
	passed = tresor_seal_make(&sealed, salt, TRESOR_POLICY_MRSIGNER, uuid, 0, &kdf) == TRESOR_OK &&
		 tresor_seal_open(&sealed, uuid, 0, &kdf, opened, &stale) == TRESOR_OK && !stale &&
		 memcmp(salt, opened, sizeof(salt)) == 0;	/* no secret: a constant */
	sealed.ciphertext[31] ^= 1;
	passed &= tresor_seal_open(&sealed, uuid, 0, &kdf, opened, &stale) == TRESOR_E_SEAL_DAMAGED;
	checksum(&sealed, sealed.checksum);
	passed &= tresor_seal_open(&sealed, uuid, 0, &kdf, opened, &stale) == TRESOR_E_SEAL_MACHINE;
	return passed;
}
