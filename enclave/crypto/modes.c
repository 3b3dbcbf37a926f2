/* SPDX-License-Identifier: Apache-2.0 */
#include "modes.h"
#include "hash.h"
#include "mem.h"
#include "quads.h"
#include "simd.h"
#include "wipe.h"

/* Everything is done in place in a piece of enclave memory; the host sees whole results. */
#define PIECE	1024u

static void xor_block(uint8_t *to, const uint8_t *with)
{
	STORE128(to, _mm_xor_si128(LOAD128(to), LOAD128(with)));
}

void modes_ecb(const struct aes_key *key, bool decrypt, const void *in, void *out, size_t size)
{
	uint8_t piece[PIECE];

	for (size_t at = 0; at < size; at += PIECE) {
		const size_t part = size - at < PIECE ? size - at : PIECE;

		quads_move(piece, (const uint8_t *)in + at, part);
		if (decrypt)
			aes_decrypt(key, piece, piece, part / AES_BLOCK);
		else
			aes_encrypt(key, piece, piece, part / AES_BLOCK);
		quads_move((uint8_t *)out + at, piece, part);
	}
	WIPE(piece);
}

void modes_cbc(const struct aes_key *key, bool decrypt, const void *in, void *out, size_t size,
	       uint8_t iv[16])
{
	/* cipher[0] is the block before the piece. */
	uint8_t cipher[AES_BLOCK + PIECE];
	uint8_t plain[PIECE];

	memcpy(cipher, iv, AES_BLOCK);
	for (size_t at = 0; at < size; at += PIECE) {
		const size_t part = size - at < PIECE ? size - at : PIECE;

		if (decrypt) {
			quads_move(cipher + AES_BLOCK, (const uint8_t *)in + at, part);
			aes_decrypt(key, cipher + AES_BLOCK, plain, part / AES_BLOCK);
			for (size_t i = 0; i < part; i += AES_BLOCK)
				xor_block(plain + i, cipher + i);
			quads_move((uint8_t *)out + at, plain, part);
		} else {
			quads_move(plain, (const uint8_t *)in + at, part);
			for (size_t i = 0; i < part; i += AES_BLOCK) {
				xor_block(plain + i, cipher + i);
				aes_encrypt(key, plain + i, cipher + AES_BLOCK + i, 1);
			}
			quads_move((uint8_t *)out + at, cipher + AES_BLOCK, part);
		}
		memcpy(cipher, cipher + part, AES_BLOCK);
	}
	memcpy(iv, cipher, AES_BLOCK);
	WIPE(plain);
}

void modes_ctr(const struct aes_key *key, const void *in, void *out, size_t size, uint8_t iv[16])
{
	uint8_t stream[PIECE];
	uint8_t piece[PIECE];
	uint64_t high, low;

	memcpy(&high, iv, 8);
	memcpy(&low, iv + 8, 8);
	high = __builtin_bswap64(high);
	low = __builtin_bswap64(low);
	for (size_t at = 0; at < size; at += PIECE) {
		const size_t part = size - at < PIECE ? size - at : PIECE;
		const size_t blocks = (part + AES_BLOCK - 1) / AES_BLOCK;

		for (size_t i = 0; i < blocks; i++) {
			const uint64_t counter[2] = { __builtin_bswap64(high), __builtin_bswap64(low) };

			memcpy(stream + AES_BLOCK * i, counter, AES_BLOCK);
			low++;
			high += low == 0;
		}
		aes_encrypt(key, stream, stream, blocks);
		quads_move(piece, (const uint8_t *)in + at, part);
		for (size_t i = 0; i < blocks; i++)
			xor_block(stream + AES_BLOCK * i, piece + AES_BLOCK * i);
		/* Past the end lies keystream: the last quadword must not carry it out. */
		memset(stream + part, 0, (0 - part) % AES_BLOCK);
		quads_move((uint8_t *)out + at, stream, part);
	}
	high = __builtin_bswap64(high);
	low = __builtin_bswap64(low);
	memcpy(iv, &high, 8);
	memcpy(iv + 8, &low, 8);
	WIPE(stream);
	WIPE(piece);
}

void modes_essiv_key(struct aes_key *essiv, const uint8_t *secret, size_t size)
{
	uint8_t digest[32];

	hash_once(TRESOR_SHA256, secret, size, digest);
	aes_expand(essiv, digest, sizeof(digest));
	WIPE(digest);
}

void modes_cbc_essiv(const struct aes_key *key, const struct aes_key *essiv, bool decrypt,
		     const void *in, void *out, size_t size, uint8_t iv[16])
{
	aes_encrypt(essiv, iv, iv, 1);
	modes_cbc(key, decrypt, in, out, size, iv);
}
