/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-XTS (IEEE 1619), as AES-NI, 256-bit or 512-bit VAES by cpu_features.
 *
 * in and out may be host memory under modes.h's conditions: each block is read
 * once and nothing but results is written, because block ^ tweak in the host's
 * hands would tell it the tweak. in == out allowed, other overlap is not.
 */
#ifndef TRESOR_CRYPTO_XTS_H
#define TRESOR_CRYPTO_XTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aes.h"

struct xts_key {
	struct aes_key data;
	struct aes_key tweak;
};

/* size: 32 or 64 bytes, data key first. */
void xts_expand(struct xts_key *key, const uint8_t *secret, uint32_t size);

/*
 * length: a multiple of sector_size, which is 512, 1024, 2048 or 4096. The
 * tweak of the k-th sector is plain64 of sector512 + k * sector_size / 512.
 */
void xts_sectors(const struct xts_key *key, bool decrypt, const void *in, void *out,
		 uint64_t sector512, size_t length, uint32_t sector_size);

/*
 * One data unit, or a part of one. length >= 16; unless it is a multiple of 16
 * the last two blocks are stolen from, which ends the data unit. iv: the tweak
 * before encryption, or with continued the running tweak; on return the running
 * tweak for the part that follows.
 */
void xts_unit(const struct xts_key *key, bool decrypt, bool continued, const void *in, void *out,
	      size_t length, uint8_t iv[16]);

#endif
