/* SPDX-License-Identifier: Apache-2.0 */
#include "gcm.h"
#include "aes.h"
#include "ct.h"
#include "mem.h"
#include "simd.h"
#include "wipe.h"

#define PIECE	1024u

struct gcm {
	struct aes_key aes;
	__m128i h;	/* the hash key, times x, as POLYVAL wants it */
	__m128i sum;
	uint8_t first[AES_BLOCK];	/* counter block 1, encrypted: masks the tag */
	uint8_t stream[PIECE];
};

TARGET("sse4.1,pclmul")
INLINE __m128i swap_bytes(__m128i x)
{
	return _mm_shuffle_epi8(x, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

/*
 * GHASH is POLYVAL of byte-reversed blocks under x * H (RFC 8452 appendix A);
 * POLYVAL's product a * b * x^-128 reduces in two Montgomery steps.
 */
TARGET("sse4.1,pclmul")
static __m128i multiply(__m128i a, __m128i b)
{
	const __m128i poly = _mm_set_epi64x((long long)0xc200000000000000, 1);
	__m128i low = _mm_clmulepi64_si128(a, b, 0x00);
	__m128i high = _mm_clmulepi64_si128(a, b, 0x11);
	__m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x10), _mm_clmulepi64_si128(a, b, 0x01));

	low = _mm_xor_si128(low, _mm_bslli_si128(middle, 8));
	high = _mm_xor_si128(high, _mm_bsrli_si128(middle, 8));
	low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, poly, 0x10));
	low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, poly, 0x10));
	return _mm_xor_si128(high, low);
}

/* Whole blocks, the last filled up with zeros. */
TARGET("sse4.1,pclmul")
static void absorb(struct gcm *gcm, const uint8_t *bytes, size_t size)
{
	uint8_t last[AES_BLOCK] = { 0 };

	for (; size >= AES_BLOCK; size -= AES_BLOCK, bytes += AES_BLOCK)
		gcm->sum = multiply(_mm_xor_si128(gcm->sum, swap_bytes(LOAD128(bytes))), gcm->h);
	if (size) {
		memcpy(last, bytes, size);
		gcm->sum = multiply(_mm_xor_si128(gcm->sum, swap_bytes(LOAD128(last))), gcm->h);
		WIPE(last);
	}
}

static void counter_block(uint8_t block[AES_BLOCK], const uint8_t iv[GCM_IV], uint32_t counter)
{
	counter = __builtin_bswap32(counter);
	memcpy(block, iv, GCM_IV);
	memcpy(block + GCM_IV, &counter, sizeof(counter));
}

static void start(struct gcm *gcm, const uint8_t *key, uint32_t key_size, const uint8_t iv[GCM_IV])
{
	uint64_t h[2] = { 0 };
	uint64_t low, high, carry;

	aes_expand(&gcm->aes, key, key_size);
	aes_encrypt(&gcm->aes, (const uint8_t *)h, (uint8_t *)h, 1);
	high = __builtin_bswap64(h[0]);
	low = __builtin_bswap64(h[1]);
	carry = high >> 63;
	high = high << 1 | low >> 63;
	low = low << 1 ^ carry;
	high ^= ct_mask(carry) & 0xc200000000000000;
	gcm->h = _mm_set_epi64x((long long)high, (long long)low);
	gcm->sum = _mm_setzero_si128();
	counter_block(gcm->first, iv, 1);
	aes_encrypt(&gcm->aes, gcm->first, gcm->first, 1);
	WIPE(h);
}

static void crypt(struct gcm *gcm, const uint8_t iv[GCM_IV], const uint8_t *in, uint8_t *out, size_t size)
{
	uint32_t counter = 2;

	while (size) {
		const size_t part = size < PIECE ? size : PIECE;
		const size_t blocks = (part + AES_BLOCK - 1) / AES_BLOCK;

		for (size_t i = 0; i < blocks; i++)
			counter_block(gcm->stream + AES_BLOCK * i, iv, counter++);
		aes_encrypt(&gcm->aes, gcm->stream, gcm->stream, blocks);
		for (size_t i = 0; i < part; i++)
			out[i] = in[i] ^ gcm->stream[i];
		in += part;
		out += part;
		size -= part;
	}
}

static void authenticate(struct gcm *gcm, const void *aad, size_t aad_size, const void *cipher,
			 size_t size, uint8_t tag[GCM_TAG])
{
	const uint64_t sizes[2] = { __builtin_bswap64(aad_size * 8), __builtin_bswap64(size * 8) };

	absorb(gcm, aad, aad_size);
	absorb(gcm, cipher, size);
	absorb(gcm, (const uint8_t *)sizes, sizeof(sizes));
	STORE128(tag, gcm->sum);
	for (int i = 0; i < 8; i++) {
		const uint8_t byte = tag[i];

		tag[i] = tag[15 - i] ^ gcm->first[i];
		tag[15 - i] = byte ^ gcm->first[15 - i];
	}
}

void gcm_seal(const uint8_t *key, uint32_t key_size, const uint8_t iv[GCM_IV], const void *aad,
	      size_t aad_size, const void *in, void *out, size_t size, uint8_t tag[GCM_TAG])
{
	struct gcm gcm;

	start(&gcm, key, key_size, iv);
	crypt(&gcm, iv, in, out, size);
	authenticate(&gcm, aad, aad_size, out, size, tag);
	WIPE(gcm);
}

bool gcm_open(const uint8_t *key, uint32_t key_size, const uint8_t iv[GCM_IV], const void *aad,
	      size_t aad_size, const void *in, void *out, size_t size, const uint8_t tag[GCM_TAG])
{
	uint8_t expected[GCM_TAG];
	struct gcm gcm;
	bool ok;

	start(&gcm, key, key_size, iv);
	authenticate(&gcm, aad, aad_size, in, size, expected);
	ok = ct_equal(expected, tag, GCM_TAG);
	if (ok)
		crypt(&gcm, iv, in, out, size);
	WIPE(gcm);
	WIPE(expected);
	return ok;
}
