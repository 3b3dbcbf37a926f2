/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPKE (RFC 9180), base mode, single shot:
 * DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-GCM.
 */
#ifndef TRESOR_CRYPTO_HPKE_H
#define TRESOR_CRYPTO_HPKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPKE_ENC	32u
#define HPKE_OVERHEAD	(HPKE_ENC + 16u)
#define HPKE_AES_128_GCM	1u	/* the RFC's own vectors; never on the wire */
#define HPKE_AES_256_GCM	2u

/*
 * message: enc(32) || ciphertext || tag(16), enclave memory. out: size -
 * HPKE_OVERHEAD bytes, may be message + HPKE_ENC, untouched on failure. False for a message that is too short,
 * forged, or has an enc of small order. info_size <= 64.
 */
bool hpke_open(uint32_t aead, const uint8_t secret[32], const uint8_t public_key[32],
	       const void *info, size_t info_size, const void *aad, size_t aad_size,
	       const uint8_t *message, size_t size, uint8_t *out) __attribute__((warn_unused_result));

/*
 * To the owner of public_key. `ephemeral`: 32 random bytes that serve once. message: size + HPKE_OVERHEAD bytes.
 * False, and nothing is written, when the key is a point of small order. info_size <= 64.
 */
bool hpke_seal(uint32_t aead, const uint8_t ephemeral[32], const uint8_t public_key[32],
	       const void *info, size_t info_size, const void *aad, size_t aad_size,
	       const uint8_t *in, size_t size, uint8_t *message) __attribute__((warn_unused_result));

#endif
