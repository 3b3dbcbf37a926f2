/* SPDX-License-Identifier: Apache-2.0 */
#include "xts.h"
#include "cpu.h"
#include "mem.h"
#include "quads.h"
#include "simd.h"
#include "wipe.h"

/* Sectors that go through the units in a row; between such runs these fall idle. */
#define SECTORS	64u

void xts_expand(struct xts_key *key, const uint8_t *secret, uint32_t size)
{
	aes_expand(&key->data, secret, size / 2);
	aes_expand(&key->tweak, secret + size / 2, size / 2);
}

/*
 * t * alpha. CARRIES(t) has t's bits 127 and 63 as signs of its lanes 0 and 2;
 * each lane added to itself has those of t * alpha, and so on 24 times: 0x87,
 * added at the bottom, has not come up to a sign by then.
 */
#define CARRIES(t)	_mm_shuffle_epi32(t, 0x5f)
INLINE __m128i times_alpha(__m128i t, __m128i carries)
{
	const __m128i back = _mm_and_si128(_mm_srai_epi32(carries, 31), _mm_set_epi32(0, 1, 0, 0x87));

	return _mm_xor_si128(_mm_add_epi64(t, t), back);
}

/* Any number of blocks, one after the other. */
TARGET("aes,sse4.1")
static void run_single(const struct aes_key *key, bool decrypt, const uint8_t *in, uint8_t *out,
		       size_t blocks, __m128i *tweak)
{
	for (; blocks; blocks--, in += AES_BLOCK, out += AES_BLOCK) {
		uint8_t block[AES_BLOCK];

		STORE128(block, _mm_xor_si128(QUADS_LOAD(in), *tweak));
		if (decrypt)
			aes_decrypt(key, block, block, 1);
		else
			aes_encrypt(key, block, block, 1);
		STORE128(out, _mm_xor_si128(LOAD128(block), *tweak));
		*tweak = times_alpha(*tweak, CARRIES(*tweak));
		WIPE(block);
	}
}

/* All but the first, which is an addition, and the last. */
#define MIDDLE_ROUNDS(round) do { \
	UNROLL \
	for (int r = 1; r < 10; r++) \
		round(r); \
	if (rounds == 14) { \
		UNROLL \
		for (int r = 10; r < 14; r++) \
			round(r); \
	} \
} while (0)

/*
 * The runs below take `units` data units, each of `groups` groups of blocks,
 * which lie one after the other; tweaks[i] is the first of unit i. The last of
 * these becomes the running tweak behind it all.
 *
 * Groups of eight blocks. Eight AESENC keep two units busy for exactly as long
 * as one takes, so nothing may stand between two rounds: the tweaks of the next
 * group are made one a round, and kept with the last round key added, as
 * AESENCLAST takes them.
 */
#define NEXT_TWEAK(w) do { \
	w = _mm_xor_si128(t, last); \
	t = times_alpha(t, carries); \
	carries = _mm_add_epi32(carries, carries); \
} while (0)
/* The empty statement keeps the compiler from moving tweaks out of their round. */
#define AESNI_ROUND(r) do { \
	const __m128i k_ = LOAD128(schedule[r]); \
	UNROLL \
	for (int i = 0; i < 8; i++) \
		b[i] = decrypt ? _mm_aesdec_si128(b[i], k_) : _mm_aesenc_si128(b[i], k_); \
	if (r <= 8) \
		NEXT_TWEAK(next[r - 1]); \
	__asm__ volatile("" : "+x"(b[0]), "+x"(b[1]), "+x"(b[2]), "+x"(b[3]), \
			      "+x"(b[4]), "+x"(b[5]), "+x"(b[6]), "+x"(b[7])); \
} while (0)
TARGET("aes,sse4.1")
INLINE void groups_aesni(const uint8_t (*schedule)[AES_BLOCK], uint32_t rounds, bool decrypt, const uint8_t *in,
			 uint8_t *out, size_t units, size_t groups, __m128i *tweaks)
{
	const __m128i last = LOAD128(schedule[rounds]);
	const __m128i whiten = _mm_xor_si128(LOAD128(schedule[0]), last);
	__m128i b[8], w[2][8], t = *tweaks, after = t, carries = CARRIES(t);
	__m128i *now = w[0], *next = w[1], *swap;
	size_t left = groups;

	for (int i = 0; i < 8; i++)
		NEXT_TWEAK(now[i]);
	for (size_t all = units * groups; all; all--, in += 8 * AES_BLOCK, out += 8 * AES_BLOCK) {
		UNROLL
		for (int i = 0; i < 8; i++)
			b[i] = _mm_xor_si128(QUADS_LOAD(in + 16 * i), _mm_xor_si128(now[i], whiten));
		after = t;
		if (--left == 0 && all > 1) {
			left = groups;
			t = *++tweaks;
		}
		carries = CARRIES(t);
		MIDDLE_ROUNDS(AESNI_ROUND);
		UNROLL
		for (int i = 0; i < 8; i++) {
			b[i] = decrypt ? _mm_aesdeclast_si128(b[i], now[i]) : _mm_aesenclast_si128(b[i], now[i]);
			STORE128(out + 16 * i, b[i]);
		}
		swap = now;
		now = next;
		next = swap;
	}
	*tweaks = after;
}

TARGET("aes,sse4.1")
static void run_aesni(const struct aes_key *key, bool decrypt, const uint8_t *in, uint8_t *out, size_t units,
		      size_t groups, __m128i *tweaks)
{
	if (decrypt)
		groups_aesni(key->decrypt, key->rounds, true, in, out, units, groups, tweaks);
	else
		groups_aesni(key->encrypt, key->rounds, false, in, out, units, groups, tweaks);
}

/* POWER(t, n): lane k is t * alpha^(n + k). */
#define POLY			BROADCAST(_mm_set_epi64x(0, 0x87))

#define QUADS_LOAD256(p) \
	_mm256_inserti128_si256(_mm256_castsi128_si256(QUADS_LOAD_VEX(p)), QUADS_LOAD_VEX((p) + 16), 1)

#define RUN			run_vaes256
#define GROUPS			groups_vaes256
#define FEATURES		"vaes,vpclmulqdq,avx2"
#define LANES			2
#define V			__m256i
#define QUADS_LOAD_V		QUADS_LOAD256
#define LOAD(p)			_mm256_load_si256((const __m256i *)(const void *)(p))
#define STORE(p, v)		_mm256_storeu_si256((__m256i *)(void *)(p), v)
#define BROADCAST		_mm256_broadcastsi128_si256
#define FIRST			_mm256_castsi256_si128
#define XOR			_mm256_xor_si256
#define ENC			_mm256_aesenc_epi128
#define ENCLAST			_mm256_aesenclast_epi128
#define DEC			_mm256_aesdec_epi128
#define DECLAST			_mm256_aesdeclast_epi128
#define CLMUL			_mm256_clmulepi64_epi128
#define SHIFT_UP		_mm256_bslli_epi128
#define SHIFT_DOWN		_mm256_bsrli_epi128
#define POWER(t, n) ({ \
	const __m256i count_ = _mm256_set_epi64x((n) + 1, (n) + 1, n, n); \
	__m256i carry_ = _mm256_srlv_epi64(t, _mm256_sub_epi64(_mm256_set1_epi64x(64), count_)); \
	XOR(XOR(_mm256_sllv_epi64(t, count_), SHIFT_UP(carry_, 8)), CLMUL(carry_, POLY, 0x01)); \
})
#include "xts_lanes.h"

#define RUN			run_vaes512
#define GROUPS			groups_vaes512
#define FEATURES		"vaes,vpclmulqdq,avx512f,avx512bw,avx512vl,avx512dq"
#define LANES			4
#define V			__m512i
#define QUADS_LOAD_V(p)		_mm512_inserti64x4(_mm512_castsi256_si512(QUADS_LOAD256(p)), QUADS_LOAD256((p) + 32), 1)
#define LOAD			_mm512_load_si512
#define STORE			_mm512_storeu_si512
#define BROADCAST		_mm512_broadcast_i32x4
#define FIRST			_mm512_castsi512_si128
#define XOR			_mm512_xor_si512
#define ENC			_mm512_aesenc_epi128
#define ENCLAST			_mm512_aesenclast_epi128
#define DEC			_mm512_aesdec_epi128
#define DECLAST			_mm512_aesdeclast_epi128
#define CLMUL			_mm512_clmulepi64_epi128
#define SHIFT_UP		_mm512_bslli_epi128
#define SHIFT_DOWN		_mm512_bsrli_epi128
#define POWER(t, n) ({ \
	const __m512i count_ = _mm512_set_epi64((n) + 3, (n) + 3, (n) + 2, (n) + 2, (n) + 1, (n) + 1, n, n); \
	__m512i carry_ = _mm512_srlv_epi64(t, _mm512_sub_epi64(_mm512_set1_epi64(64), count_)); \
	XOR(XOR(_mm512_sllv_epi64(t, count_), SHIFT_UP(carry_, 8)), CLMUL(carry_, POLY, 0x01)); \
})
#include "xts_lanes.h"

/* Units of `blocks` blocks, 32 or a multiple of that unless there is only one. */
static void run(const struct aes_key *key, bool decrypt, const uint8_t *in, uint8_t *out, size_t units,
		size_t blocks, __m128i *tweaks)
{
	size_t done = 0;

	if (cpu_features & TRESOR_CPU_VAES512 && blocks >= 32) {
		run_vaes512(key, decrypt, in, out, units, blocks / 32, tweaks);
		done = blocks - blocks % 32;
	} else if (cpu_features & TRESOR_CPU_VAES256 && blocks >= 16) {
		run_vaes256(key, decrypt, in, out, units, blocks / 16, tweaks);
		done = blocks - blocks % 16;
	}
	if (blocks - done >= 8) {
		run_aesni(key, decrypt, in + done * AES_BLOCK, out + done * AES_BLOCK, units,
			  (blocks - done) / 8, tweaks);
		done = blocks - blocks % 8;
	}
	if (blocks > done)
		run_single(key, decrypt, in + done * AES_BLOCK, out + done * AES_BLOCK, blocks - done, tweaks);
}

void xts_sectors(const struct xts_key *key, bool decrypt, const void *in, void *out,
		 uint64_t sector512, size_t length, uint32_t sector_size)
{
	__m128i tweaks[SECTORS] = { 0 };
	const uint8_t *from = in;
	uint8_t *to = out;

	for (size_t left = length / sector_size; left;) {
		const size_t sectors = left < SECTORS ? left : SECTORS;

		for (size_t i = 0; i < sectors; i++, sector512 += sector_size / 512)
			tweaks[i] = _mm_set_epi64x(0, (long long)sector512);
		aes_encrypt(&key->tweak, (const uint8_t *)tweaks, (uint8_t *)tweaks, sectors);
		run(&key->data, decrypt, from, to, sectors, sector_size / AES_BLOCK, tweaks);
		from += sectors * sector_size;
		to += sectors * sector_size;
		left -= sectors;
	}
	WIPE(tweaks);
}

/* IEEE 1619 section 5.3.2: a whole block and 1..15 bytes, in place. */
static void steal(const struct xts_key *key, bool decrypt, uint8_t *bytes, size_t rest, __m128i tweak)
{
	__m128i tweaks[2] = { tweak, times_alpha(tweak, CARRIES(tweak)) };
	uint8_t whole[AES_BLOCK];

	/* Decryption takes the two tweaks in the other order. */
	run_single(&key->data, decrypt, bytes, whole, 1, &tweaks[decrypt ? 1 : 0]);
	tweaks[0] = tweak;
	tweaks[1] = times_alpha(tweak, CARRIES(tweak));
	memcpy(bytes, bytes + AES_BLOCK, rest);
	memcpy(bytes + AES_BLOCK, whole, rest);
	memcpy(bytes + rest, whole + rest, AES_BLOCK - rest);
	run_single(&key->data, decrypt, bytes, bytes, 1, &tweaks[decrypt ? 0 : 1]);
	WIPE(tweaks);
	WIPE(whole);
}

void xts_unit(const struct xts_key *key, bool decrypt, bool continued, const void *in, void *out,
	      size_t length, uint8_t iv[16])
{
	uint8_t last[2 * AES_BLOCK];
	const size_t rest = length % AES_BLOCK;
	const size_t bulk = rest ? length - AES_BLOCK - rest : length;
	const uint8_t *from = in;
	uint8_t *to = out;
	__m128i tweak;

	if (!continued)
		aes_encrypt(&key->tweak, iv, iv, 1);
	tweak = LOAD128(iv);
	run(&key->data, decrypt, from, to, 1, bulk / AES_BLOCK, &tweak);
	if (rest) {
		/* The stolen part's last quadword may reach past the end: zero there. */
		quads_move(last, from + bulk, AES_BLOCK + rest);
		steal(key, decrypt, last, rest, tweak);
		memset(last + AES_BLOCK + rest, 0, AES_BLOCK - rest);
		quads_move(to + bulk, last, AES_BLOCK + rest);
		WIPE(last);
	}
	STORE128(iv, tweak);
}
