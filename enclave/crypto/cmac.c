/* SPDX-License-Identifier: Apache-2.0 */
#include "cmac.h"
#include "aes.h"
#include "wipe.h"

/* Doubling in GF(2^128), the first byte the highest. */
static void double_block(uint8_t block[AES_BLOCK])
{
	const uint8_t carry = block[0] >> 7;

	for (uint32_t i = 0; i + 1 < AES_BLOCK; i++)
		block[i] = (uint8_t)(block[i] << 1 | block[i + 1] >> 7);
	block[AES_BLOCK - 1] = (uint8_t)((uint32_t)block[AES_BLOCK - 1] << 1 ^ carry * 0x87u);
}

void cmac(const uint8_t key[16], const void *in, size_t size, uint8_t mac[16])
{
	const uint8_t *bytes = in;
	struct {
		struct aes_key key;
		uint8_t subkey[AES_BLOCK], block[AES_BLOCK];
	} s = { .subkey = { 0 }, .block = { 0 } };

	aes_expand(&s.key, key, 16);
	aes_encrypt(&s.key, s.subkey, s.subkey, 1);
	double_block(s.subkey);
	for (size_t at = 0; at < size; at += AES_BLOCK) {
		const bool last = at + AES_BLOCK == size;

		for (uint32_t i = 0; i < AES_BLOCK; i++)
			s.block[i] ^= bytes[at + i] ^ (last ? s.subkey[i] : 0);
		aes_encrypt(&s.key, s.block, s.block, 1);
	}
	for (uint32_t i = 0; i < AES_BLOCK; i++)
		mac[i] = s.block[i];
	WIPE(s);
}
