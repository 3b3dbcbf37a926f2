/* SPDX-License-Identifier: Apache-2.0 */
/* The anti-forensic splitter of LUKS (LUKS1 specification section 2.4), any hash. */
#ifndef TRESOR_CRYPTO_AF_H
#define TRESOR_CRYPTO_AF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AF_KEY_MAX	64u

/* key: 1..AF_KEY_MAX bytes; area: size * stripes bytes, enclave memory. False without random numbers. */
bool af_split(uint32_t hash, const uint8_t *key, size_t size, uint32_t stripes, uint8_t *area)
	__attribute__((warn_unused_result));
void af_merge(uint32_t hash, uint8_t *key, size_t size, uint32_t stripes, const uint8_t *area);

#endif
