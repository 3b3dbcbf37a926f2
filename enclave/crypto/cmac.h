/* SPDX-License-Identifier: Apache-2.0 */
/* AES-128-CMAC (SP 800-38B, RFC 4493) over whole blocks: a REPORT's. */
#ifndef TRESOR_CRYPTO_CMAC_H
#define TRESOR_CRYPTO_CMAC_H

#include <stddef.h>
#include <stdint.h>

/* size: a positive multiple of 16, so that the last block is never padded and one subkey serves. */
void cmac(const uint8_t key[16], const void *in, size_t size, uint8_t mac[16]);

#endif
