/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"
#include "cpu.h"
#include "mem.h"
#include "simd.h"
#include "wipe.h"

/* FIPS 180-4 section 4.2.3. SHA-256's constants are the upper halves of the first 64. */
static const uint64_t k512[80] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
	0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
	0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
	0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
	0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
	0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
	0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
	0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
	0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
	0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
	0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
	0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
	0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
	0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
	0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
	0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
	0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
	0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
	0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static const union hash_state initial[] = {
	[TRESOR_SHA1] = { .w32 = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 } },
	[TRESOR_SHA224] = { .w32 = { 0xc1059ed8, 0x367cd507, 0x3070dd17, 0xf70e5939,
				     0xffc00b31, 0x68581511, 0x64f98fa7, 0xbefa4fa4 } },
	[TRESOR_SHA256] = { .w32 = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 } },
	[TRESOR_SHA384] = { .w64 = { 0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17,
				     0x152fecd8f70e5939, 0x67332667ffc00b31, 0x8eb44a8768581511,
				     0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4 } },
	[TRESOR_SHA512] = { .w64 = { 0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
				     0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
				     0x1f83d9abfb41bd6b, 0x5be0cd19137e2179 } },
};

#define ROR32(x, n)	((x) >> (n) | (x) << (32 - (n)))
#define ROR64(x, n)	((x) >> (n) | (x) << (64 - (n)))

/*
 * SHA-2 over 32- or 64-bit words. The message schedule is a ring of 16 words,
 * and the eight working variables move by renaming, not by copying.
 */
#define SHA2_STEP(a, b, c, d, e, f, g, h, i) do { \
	if (r) \
		w[i] += SMALL1(w[(i + 14) & 15]) + w[(i + 9) & 15] + SMALL0(w[(i + 1) & 15]); \
	h += w[i] + CONSTANT(r + i) + BIG1(e) + ((e & f) ^ (~e & g)); \
	d += h; \
	h += BIG0(a) + ((a & b) ^ (c & (a ^ b))); \
} while (0)

#define SHA2_EIGHT(i) do { \
	SHA2_STEP(a, b, c, d, e, f, g, h, i + 0); SHA2_STEP(h, a, b, c, d, e, f, g, i + 1); \
	SHA2_STEP(g, h, a, b, c, d, e, f, i + 2); SHA2_STEP(f, g, h, a, b, c, d, e, i + 3); \
	SHA2_STEP(e, f, g, h, a, b, c, d, i + 4); SHA2_STEP(d, e, f, g, h, a, b, c, i + 5); \
	SHA2_STEP(c, d, e, f, g, h, a, b, i + 6); SHA2_STEP(b, c, d, e, f, g, h, a, i + 7); \
} while (0)

#define SHA2_BLOCKS(word, swap, rounds) do { \
	word w[16]; \
	for (; count; count--, data += sizeof(w)) { \
		word a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7]; \
		memcpy(w, data, sizeof(w)); \
		for (uint32_t i = 0; i < 16; i++) \
			w[i] = swap(w[i]); \
		for (uint32_t r = 0; r < rounds; r += 16) { \
			SHA2_EIGHT(0); \
			SHA2_EIGHT(8); \
		} \
		s[0] += a; s[1] += b; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h; \
	} \
	WIPE(w); \
} while (0)

#define SMALL0(x)	(ROR32(x, 7) ^ ROR32(x, 18) ^ (x) >> 3)
#define SMALL1(x)	(ROR32(x, 17) ^ ROR32(x, 19) ^ (x) >> 10)
#define BIG0(x)		(ROR32(x, 2) ^ ROR32(x, 13) ^ ROR32(x, 22))
#define BIG1(x)		(ROR32(x, 6) ^ ROR32(x, 11) ^ ROR32(x, 25))
#define CONSTANT(i)	((uint32_t)(k512[i] >> 32))
static void sha256_blocks(uint32_t s[8], const uint8_t *data, size_t count)
{
	SHA2_BLOCKS(uint32_t, __builtin_bswap32, 64);
}
#undef SMALL0
#undef SMALL1
#undef BIG0
#undef BIG1
#undef CONSTANT

#define SMALL0(x)	(ROR64(x, 1) ^ ROR64(x, 8) ^ (x) >> 7)
#define SMALL1(x)	(ROR64(x, 19) ^ ROR64(x, 61) ^ (x) >> 6)
#define BIG0(x)		(ROR64(x, 28) ^ ROR64(x, 34) ^ ROR64(x, 39))
#define BIG1(x)		(ROR64(x, 14) ^ ROR64(x, 18) ^ ROR64(x, 41))
#define CONSTANT(i)	k512[i]
INLINE void sha512_any(uint64_t s[8], const uint8_t *data, size_t count)
{
	SHA2_BLOCKS(uint64_t, __builtin_bswap64, 80);
}

static void sha512_blocks(uint64_t s[8], const uint8_t *data, size_t count)
{
	sha512_any(s, data, count);
}

/* RORX and ANDN: two thirds of the instructions. Both exist wherever AVX2 does. */
TARGET("bmi,bmi2")
static void sha512_bmi2(uint64_t s[8], const uint8_t *data, size_t count)
{
	sha512_any(s, data, count);
}

static void sha1_blocks(uint32_t s[5], const uint8_t *data, size_t count)
{
	uint32_t w[16];

	for (; count; count--, data += sizeof(w)) {
		uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4];

		memcpy(w, data, sizeof(w));
		for (uint32_t i = 0; i < 80; i++) {
			uint32_t x, f, k;

			if (i < 16) {
				x = w[i] = __builtin_bswap32(w[i]);
			} else {
				x = w[(i + 13) & 15] ^ w[(i + 8) & 15] ^ w[(i + 2) & 15] ^ w[i & 15];
				x = w[i & 15] = ROR32(x, 31);
			}
			if (i < 20) {
				f = (b & c) ^ (~b & d);
				k = 0x5a827999;
			} else if (i < 40 || i >= 60) {
				f = b ^ c ^ d;
				k = i < 40 ? 0x6ed9eba1 : 0xca62c1d6;
			} else {
				f = (b & c) ^ (d & (b ^ c));
				k = 0x8f1bbcdc;
			}
			x += ROR32(a, 27) + f + e + k;
			e = d;
			d = c;
			c = ROR32(b, 2);
			b = a;
			a = x;
		}
		s[0] += a;
		s[1] += b;
		s[2] += c;
		s[3] += d;
		s[4] += e;
	}
	WIPE(w);
}

/* Four rounds of function f; the first 16 words come from the message. */
#define SHA1_FOUR(i, f) do { \
	if ((i) >= 4) \
		m[(i) & 3] = _mm_sha1msg2_epu32(_mm_xor_si128( \
			_mm_sha1msg1_epu32(m[(i) & 3], m[((i) + 1) & 3]), m[((i) + 2) & 3]), m[((i) + 3) & 3]); \
	e = (i) ? _mm_sha1nexte_epu32(e, m[(i) & 3]) : _mm_add_epi32(e, m[0]); \
	old = abcd; \
	abcd = _mm_sha1rnds4_epu32(abcd, e, f); \
	e = old; \
} while (0)
#define SHA1_TWENTY(f) do { \
	SHA1_FOUR(5 * f, f); SHA1_FOUR(5 * f + 1, f); SHA1_FOUR(5 * f + 2, f); \
	SHA1_FOUR(5 * f + 3, f); SHA1_FOUR(5 * f + 4, f); \
} while (0)

TARGET("sha,sse4.1")
static void sha1_ni(uint32_t s[5], const uint8_t *data, size_t count)
{
	const __m128i reverse = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
	__m128i abcd = _mm_shuffle_epi32(LOAD128(s), 0x1b);
	__m128i e = _mm_set_epi32((int)s[4], 0, 0, 0);
	__m128i m[4], old;

	for (; count; count--, data += 64) {
		const __m128i abcd_in = abcd;
		const __m128i e_in = e;

		UNROLL
		for (uint32_t i = 0; i < 4; i++)
			m[i] = _mm_shuffle_epi8(LOAD128(data + 16 * i), reverse);
		SHA1_TWENTY(0);
		SHA1_TWENTY(1);
		SHA1_TWENTY(2);
		SHA1_TWENTY(3);
		e = _mm_sha1nexte_epu32(e, e_in);
		abcd = _mm_add_epi32(abcd, abcd_in);
	}
	STORE128(s, _mm_shuffle_epi32(abcd, 0x1b));
	s[4] = (uint32_t)_mm_extract_epi32(e, 3);
}

/* Sixteen rounds; the schedule of the next sixteen unless last. */
#define SHA256_FOUR(i, next) do { \
	__m128i k = _mm_add_epi32(m[i], K256(r + 4 * i)); \
	cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k); \
	if (next) \
		m[i] = _mm_sha256msg2_epu32(_mm_add_epi32( \
			_mm_sha256msg1_epu32(m[i], m[(i + 1) & 3]), \
			_mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4)), m[(i + 3) & 3]); \
	abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0e)); \
} while (0)
/* Four upper halves of k512. */
#define K256(i) _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(LOAD128(k512 + (i))), \
	_mm_castsi128_ps(LOAD128(k512 + (i) + 2)), 0xdd))

TARGET("sha,sse4.1")
static void sha256_ni(uint32_t s[8], const uint8_t *data, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	const __m128i cdab = _mm_shuffle_epi32(LOAD128(s), 0xb1);
	const __m128i efgh = _mm_shuffle_epi32(LOAD128(s + 4), 0x1b);
	__m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
	__m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
	__m128i m[4], feba, dchg;

	for (; count; count--, data += 64) {
		const __m128i abef_in = abef;
		const __m128i cdgh_in = cdgh;

		UNROLL
		for (uint32_t i = 0; i < 4; i++)
			m[i] = _mm_shuffle_epi8(LOAD128(data + 16 * i), swap);
		UNROLL
		for (uint32_t r = 0; r < 64; r += 16) {
			SHA256_FOUR(0, r < 48);
			SHA256_FOUR(1, r < 48);
			SHA256_FOUR(2, r < 48);
			SHA256_FOUR(3, r < 48);
		}
		abef = _mm_add_epi32(abef, abef_in);
		cdgh = _mm_add_epi32(cdgh, cdgh_in);
	}
	feba = _mm_shuffle_epi32(abef, 0x1b);
	dchg = _mm_shuffle_epi32(cdgh, 0xb1);
	STORE128(s, _mm_blend_epi16(feba, dchg, 0xf0));
	STORE128(s + 4, _mm_alignr_epi8(dchg, feba, 8));
}

bool hash_known(uint32_t algorithm)
{
	return hash_size(algorithm) != 0;
}

size_t hash_size(uint32_t algorithm)
{
	switch (algorithm) {
	case TRESOR_SHA1:
		return 20;
	case TRESOR_SHA224:
		return 28;
	case TRESOR_SHA256:
		return 32;
	case TRESOR_SHA384:
		return 48;
	case TRESOR_SHA512:
		return 64;
	default:
		return 0;
	}
}

size_t hash_block_size(uint32_t algorithm)
{
	return algorithm >= TRESOR_SHA384 ? 128 : 64;
}

void hash_compress(uint32_t algorithm, union hash_state *state, const uint8_t *blocks, size_t count)
{
	if (algorithm >= TRESOR_SHA384) {
		if (cpu_features & TRESOR_CPU_AVX2)
			sha512_bmi2(state->w64, blocks, count);
		else
			sha512_blocks(state->w64, blocks, count);
	} else if (algorithm == TRESOR_SHA1) {
		if (cpu_features & TRESOR_CPU_SHA)
			sha1_ni(state->w32, blocks, count);
		else
			sha1_blocks(state->w32, blocks, count);
	} else {
		if (cpu_features & TRESOR_CPU_SHA)
			sha256_ni(state->w32, blocks, count);
		else
			sha256_blocks(state->w32, blocks, count);
	}
}

void hash_store(uint32_t algorithm, const union hash_state *state, uint8_t *digest)
{
	const size_t size = hash_size(algorithm);

	if (algorithm >= TRESOR_SHA384) {
		for (size_t i = 0; i < size / 8; i++) {
			uint64_t word = __builtin_bswap64(state->w64[i]);

			__builtin_memcpy(digest + 8 * i, &word, 8);
		}
	} else {
		for (size_t i = 0; i < size / 4; i++) {
			uint32_t word = __builtin_bswap32(state->w32[i]);

			__builtin_memcpy(digest + 4 * i, &word, 4);
		}
	}
}

void hash_init(struct hash *hash, uint32_t algorithm)
{
	hash->state = initial[algorithm];
	hash->size = 0;
	hash->algorithm = algorithm;
}

void hash_update(struct hash *hash, const void *data, size_t size)
{
	const size_t block = hash_block_size(hash->algorithm);
	const uint8_t *bytes = data;
	size_t held = hash->size % block;

	hash->size += size;
	if (held && size >= block - held) {
		memcpy(hash->block + held, bytes, block - held);
		hash_compress(hash->algorithm, &hash->state, hash->block, 1);
		bytes += block - held;
		size -= block - held;
		held = 0;
	}
	if (size >= block) {
		hash_compress(hash->algorithm, &hash->state, bytes, size / block);
		bytes += size - size % block;
		size %= block;
	}
	memcpy(hash->block + held, bytes, size);
}

void hash_final(struct hash *hash, uint8_t *digest)
{
	const size_t block = hash_block_size(hash->algorithm);
	const uint64_t bits = __builtin_bswap64(hash->size * 8);
	size_t held = hash->size % block;

	hash->block[held++] = 0x80;
	/* The length takes an eighth of a block; its upper half is always zero for 64-bit words. */
	if (held > block - block / 8) {
		memset(hash->block + held, 0, block - held);
		hash_compress(hash->algorithm, &hash->state, hash->block, 1);
		held = 0;
	}
	memset(hash->block + held, 0, block - 8 - held);
	memcpy(hash->block + block - 8, &bits, 8);
	hash_compress(hash->algorithm, &hash->state, hash->block, 1);
	hash_store(hash->algorithm, &hash->state, digest);
	WIPE(*hash);
}

void hash_once(uint32_t algorithm, const void *data, size_t size, uint8_t *digest)
{
	struct hash hash;

	hash_init(&hash, algorithm);
	hash_update(&hash, data, size);
	hash_final(&hash, digest);
}
