/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4). Written apart from what src/enclave/image signs with: the two check each other. */
#include "addon/sgx/sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void compress_plain(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	for (; blocks > 0; blocks--, data += 64) {
		uint32_t w[64], s[8];

		for (int i = 0; i < 16; i++) {
			memcpy(&w[i], data + 4 * i, 4);
			w[i] = __builtin_bswap32(w[i]);
		}
		for (int i = 16; i < 64; i++) {
			uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
			uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;

			w[i] = w[i - 16] + s0 + w[i - 7] + s1;
		}
		memcpy(s, state, sizeof(s));
		for (int i = 0; i < 64; i++) {
			uint32_t e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
			uint32_t a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
			uint32_t t1 = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_constants[i] + w[i];
			uint32_t t2 = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

			memmove(s + 1, s, 7 * sizeof(s[0]));
			s[4] += t1;
			s[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++)
			state[i] += s[i];
		explicit_bzero(w, sizeof(w));
		explicit_bzero(s, sizeof(s));
	}
}

#define SHA_NI	__attribute__((target("sha,ssse3,sse4.1")))
#define LANES	2

/* One or two ranges of as many blocks: a round waits for the one before, and the other lane's runs meanwhile. */
SHA_NI __attribute__((always_inline)) static inline void
compress_lanes(uint32_t (*state)[8], const uint8_t *const *data, size_t blocks, const int lanes)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i abef[LANES], cdgh[LANES];

#pragma GCC unroll 2
	for (int n = 0; n < lanes; n++) {
		const __m128i low = _mm_loadu_si128((const __m128i *)state[n]);		/* d c b a */
		const __m128i high = _mm_loadu_si128((const __m128i *)(state[n] + 4));	/* h g f e */

		cdgh[n] = _mm_shuffle_epi32(high, 0x1b);
		abef[n] = _mm_alignr_epi8(_mm_shuffle_epi32(low, 0xb1), cdgh[n], 8);
		cdgh[n] = _mm_blend_epi16(cdgh[n], _mm_shuffle_epi32(low, 0xb1), 0xf0);
	}
	for (size_t at = 0; at < 64 * blocks; at += 64) {
		__m128i abef_before[LANES], cdgh_before[LANES], w[LANES][4];

#pragma GCC unroll 2
		for (int n = 0; n < lanes; n++) {
			abef_before[n] = abef[n];
			cdgh_before[n] = cdgh[n];
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				w[n][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data[n] + at) + i), swap);
		}
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			const __m128i constants = _mm_load_si128((const __m128i *)(round_constants + 4 * i));

#pragma GCC unroll 2
			for (int n = 0; n < lanes; n++) {
				__m128i *now = &w[n][i % 4];
				const __m128i sum = _mm_add_epi32(*now, constants);

				cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], sum);
				abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], _mm_shuffle_epi32(sum, 0x0e));
				if (i >= 12)
					continue;
				*now = _mm_sha256msg1_epu32(*now, w[n][(i + 1) % 4]);
				*now = _mm_add_epi32(*now, _mm_alignr_epi8(w[n][(i + 3) % 4], w[n][(i + 2) % 4], 4));
				*now = _mm_sha256msg2_epu32(*now, w[n][(i + 3) % 4]);
			}
		}
#pragma GCC unroll 2
		for (int n = 0; n < lanes; n++) {
			abef[n] = _mm_add_epi32(abef[n], abef_before[n]);
			cdgh[n] = _mm_add_epi32(cdgh[n], cdgh_before[n]);
		}
	}
#pragma GCC unroll 2
	for (int n = 0; n < lanes; n++) {
		const __m128i low = _mm_shuffle_epi32(abef[n], 0x1b), high = _mm_shuffle_epi32(cdgh[n], 0xb1);

		_mm_storeu_si128((__m128i *)state[n], _mm_blend_epi16(low, high, 0xf0));
		_mm_storeu_si128((__m128i *)(state[n] + 4), _mm_alignr_epi8(high, low, 8));
	}
}

SHA_NI static void compress_sha_ni(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	compress_lanes((uint32_t(*)[8])state, &data, blocks, 1);
}

SHA_NI static void compress_pair(uint32_t (*state)[8], const uint8_t *const *data, size_t blocks)
{
	compress_lanes(state, data, blocks, LANES);
}

static bool has_sha_ni(void)
{
	unsigned int a, b, c, d;
	bool sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) != 0;

	return sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

static bool knows_sha_ni(void)
{
	static int known; /* 0: not yet asked; CPUID traps in virtual machines */
	int which = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (which == 0) {
		which = has_sha_ni() ? 2 : 1;
		__atomic_store_n(&known, which, __ATOMIC_RELAXED);
	}
	return which == 2;
}

static void compress(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	if (knows_sha_ni())
		compress_sha_ni(state, data, blocks);
	else
		compress_plain(state, data, blocks);
}

static const uint32_t initial[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static void store(const uint32_t state[8], uint8_t digest[32])
{
	for (int i = 0; i < 8; i++) {
		const uint32_t word = __builtin_bswap32(state[i]);

		memcpy(digest + 4 * i, &word, sizeof(word));
	}
}

void tresor_sha256_init(struct tresor_sha256 *hash)
{
	memcpy(hash->state, initial, sizeof(initial));
	hash->length = 0;
}

void tresor_sha256_update(struct tresor_sha256 *hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	size_t filled = hash->length % 64;

	hash->length += size;
	if (filled != 0) {
		size_t n = size < 64 - filled ? size : 64 - filled;

		memcpy(hash->block + filled, bytes, n);
		bytes += n;
		size -= n;
		if (filled + n < 64)
			return;
		compress(hash->state, hash->block, 1);
	}
	compress(hash->state, bytes, size / 64);
	memcpy(hash->block, bytes + size / 64 * 64, size % 64);
}

void tresor_sha256_final(struct tresor_sha256 *hash, uint8_t digest[32])
{
	uint64_t bits = __builtin_bswap64(hash->length * 8);
	size_t filled = hash->length % 64;

	hash->block[filled++] = 0x80;
	if (filled > 56) {
		memset(hash->block + filled, 0, 64 - filled);
		compress(hash->state, hash->block, 1);
		filled = 0;
	}
	memset(hash->block + filled, 0, 56 - filled);
	memcpy(hash->block + 56, &bits, 8);
	compress(hash->state, hash->block, 1);
	store(hash->state, digest);
	explicit_bzero(hash, sizeof(*hash));
}

bool tresor_sha256_pair(const uint8_t *const data[2], size_t size, uint8_t digests[2][32])
{
	const uint64_t bits = __builtin_bswap64((uint64_t)size * 8);
	const uint8_t padding[56] = { 0x80 };
	uint8_t end[64];
	const uint8_t *const ends[LANES] = { end, end };
	uint32_t state[LANES][8];

	if (!knows_sha_ni())
		return false;
	memcpy(end, padding, sizeof(padding));
	memcpy(end + sizeof(padding), &bits, sizeof(bits));
	for (int n = 0; n < LANES; n++)
		memcpy(state[n], initial, sizeof(initial));
	compress_pair(state, data, size / 64);
	compress_pair(state, ends, 1);
	for (int n = 0; n < LANES; n++)
		store(state[n], digests[n]);
	return true;
}
