/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_SEAL_H
#define TRESOR_SEAL_H

#include <stdbool.h>
#include "enclave.h"

#define TRESOR_SEALED_SALT_SIZE	32u

bool tresor_seal_policy_valid(uint32_t policy);
/* Enclaves with these FLAGS and ours seal alike: both debuggable or neither. */
bool tresor_seal_same_class(uint64_t attributes);
/* Seals and, before anything leaves, unseals: E_DEAD when that does not agree, E_RANDOM. */
uint32_t tresor_seal_make(struct tresor_sealed_salt *sealed, const uint8_t salt[TRESOR_SEALED_SALT_SIZE],
			  uint32_t policy, const char uuid[40], uint32_t slot,
			  const struct tresor_kdf *kdf);
/*
 * sealed: enclave memory. OK or the E_SEAL_* that applies first, in the order
 * damaged, backend, signer, enclave, version, machine. A blob sealed for
 * another uuid, slot or KDF counts as damaged. *stale: sealed by an older
 * enclave or microcode.
 */
uint32_t tresor_seal_open(const struct tresor_sealed_salt *sealed, const char uuid[40], uint32_t slot,
			  const struct tresor_kdf *kdf, uint8_t salt[TRESOR_SEALED_SALT_SIZE],
			  bool *stale);
/* Seal, unseal, one flipped bit refused: on every start, and TRESOR_TEST_SEAL. */
bool tresor_seal_power_on(void);

#endif
