/* SPDX-License-Identifier: Apache-2.0 */
/* X25519 (RFC 7748), constant time. */
#ifndef TRESOR_CRYPTO_X25519_H
#define TRESOR_CRYPTO_X25519_H

#include <stdbool.h>
#include <stdint.h>

/* False when the shared secret is all zero (a point of small order); out is then zero. */
bool x25519(uint8_t out[32], const uint8_t secret[32], const uint8_t point[32])
	__attribute__((warn_unused_result));
void x25519_public(uint8_t out[32], const uint8_t secret[32]);

#endif
