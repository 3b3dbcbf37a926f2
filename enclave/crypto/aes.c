/* SPDX-License-Identifier: Apache-2.0 */
#include "aes.h"
#include "mem.h"
#include "simd.h"
#include "wipe.h"

/* SubWord, and RotWord(SubWord): the S-box of AESKEYGENASSIST is not a table in memory. */
TARGET("aes,sse4.1")
static uint32_t sub_word(uint32_t word, bool rotate)
{
	__m128i x = _mm_aeskeygenassist_si128(_mm_set1_epi32((int)word), 0);

	return (uint32_t)(rotate ? _mm_extract_epi32(x, 1) : _mm_cvtsi128_si32(x));
}

/* FIPS 197 section 5.2. Every branch is on the position. */
TARGET("aes,sse4.1")
void aes_expand(struct aes_key *key, const uint8_t *secret, uint32_t size)
{
	uint32_t words[4 * (AES_ROUNDS_MAX + 1)];
	const uint32_t given = size / 4;
	const uint32_t total = 4 * (given + 7);
	uint32_t constant = 1;

	memcpy(words, secret, size);
	for (uint32_t i = given; i < total; i++) {
		uint32_t word = words[i - 1];

		if (i % given == 0) {
			word = sub_word(word, true) ^ constant;
			constant = constant << 1 ^ (constant >> 7) * 0x11b;
		} else if (given > 6 && i % given == 4) {
			word = sub_word(word, false);
		}
		words[i] = words[i - given] ^ word;
	}

	key->rounds = given + 6;
	memcpy(key->encrypt, words, 4 * total);
	for (uint32_t i = 0; i <= key->rounds; i++) {
		__m128i round = LOAD128(key->encrypt[key->rounds - i]);

		if (i != 0 && i != key->rounds)
			round = _mm_aesimc_si128(round);
		STORE128(key->decrypt[i], round);
	}
	WIPE(words);
}

/* Eight blocks keep both AES units busy; with one, each round waits for the last. */
#define AES_BLOCKS(width, schedule, round, last) do { \
	for (; count >= width; count -= width, in += 16 * width, out += 16 * width) { \
		__m128i b[width]; \
		UNROLL \
		for (int i = 0; i < width; i++) \
			b[i] = _mm_xor_si128(LOAD128(in + 16 * i), LOAD128(schedule[0])); \
		for (uint32_t r = 1; r < rounds; r++) { \
			__m128i k = LOAD128(schedule[r]); \
			UNROLL \
			for (int i = 0; i < width; i++) \
				b[i] = round(b[i], k); \
		} \
		UNROLL \
		for (int i = 0; i < width; i++) \
			STORE128(out + 16 * i, last(b[i], LOAD128(schedule[rounds]))); \
	} \
} while (0)

TARGET("aes,sse4.1")
void aes_encrypt(const struct aes_key *key, const uint8_t *in, uint8_t *out, uint64_t count)
{
	const uint32_t rounds = key->rounds;

	AES_BLOCKS(8, key->encrypt, _mm_aesenc_si128, _mm_aesenclast_si128);
	AES_BLOCKS(1, key->encrypt, _mm_aesenc_si128, _mm_aesenclast_si128);
}

TARGET("aes,sse4.1")
void aes_decrypt(const struct aes_key *key, const uint8_t *in, uint8_t *out, uint64_t count)
{
	const uint32_t rounds = key->rounds;

	AES_BLOCKS(8, key->decrypt, _mm_aesdec_si128, _mm_aesdeclast_si128);
	AES_BLOCKS(1, key->decrypt, _mm_aesdec_si128, _mm_aesdeclast_si128);
}
