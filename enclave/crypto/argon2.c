/* SPDX-License-Identifier: Apache-2.0 */
#include "argon2.h"
#include "blake2b.h"
#include "cpu.h"
#include "mem.h"
#include "simd.h"
#include "wipe.h"

#define VERSION		0x13u
#define WORDS_IN_BLOCK	128u
#define BLOCK_SIZE	1024u
#define SLICES		4u

/* a + b + 2 * low(a) * low(b) */
#define MIX(a, b)	ADD(ADD(a, b), MULTIPLY_TWICE(a, b))
#define MULTIPLY_TWICE(a, b) ({ V product_ = MULTIPLY(a, b); ADD(product_, product_); })
/* i: two independent rounds, or with 128 bits the halves of one. */
#define HALF(ror_d, ror_b) do { \
	UNROLL \
	for (int i = 0; i < 2; i++) \
		a[i] = MIX(a[i], b[i]); \
	UNROLL \
	for (int i = 0; i < 2; i++) \
		d[i] = ror_d(XOR(d[i], a[i])); \
	UNROLL \
	for (int i = 0; i < 2; i++) \
		c[i] = MIX(c[i], d[i]); \
	UNROLL \
	for (int i = 0; i < 2; i++) \
		b[i] = ror_b(XOR(b[i], c[i])); \
} while (0)
#define BLAKE2_ROUND do { \
	HALF(ROR32, ROR24); \
	HALF(ROR16, ROR63); \
	DIAGONALS; \
	HALF(ROR32, ROR24); \
	HALF(ROR16, ROR63); \
	COLUMNS; \
} while (0)
/* Byte shuffles that rotate 64-bit words to the right by 24 and by 16 bits. */
#define BYTES24		0x0a09080f0e0d0c0b, 0x0201000706050403
#define BYTES16		0x09080f0e0d0c0b0a, 0x0100070605040302

#define FILL		fill_sse
#define FEATURES	"sse4.1"
#define V		__m128i
#define WORDS		2
#define GROUPS		8
#define LOAD		LOAD128
#define STORE		STORE128
#define XOR		_mm_xor_si128
#define ADD		_mm_add_epi64
#define MULTIPLY	_mm_mul_epu32
#define ROR32(x)	_mm_shuffle_epi32(x, 0xb1)
#define ROR24(x)	_mm_shuffle_epi8(x, _mm_set_epi64x(BYTES24))
#define ROR16(x)	_mm_shuffle_epi8(x, _mm_set_epi64x(BYTES16))
#define ROR63(x)	({ V x_ = x; XOR(_mm_srli_epi64(x_, 63), ADD(x_, x_)); })
#define TURN(b, c, d) do { \
	V b_ = b[0], c_ = c[0], d_ = d[0]; \
	b[0] = _mm_alignr_epi8(b[1], b_, 8); \
	b[1] = _mm_alignr_epi8(b_, b[1], 8); \
	c[0] = c[1]; \
	c[1] = c_; \
	d[0] = _mm_alignr_epi8(d_, d[1], 8); \
	d[1] = _mm_alignr_epi8(d[1], d_, 8); \
} while (0)
#define DIAGONALS	TURN(b, c, d)
#define COLUMNS		TURN(d, c, b)
#define TAKE(i, s, o)	(a[i] = r[(s) * (i) + (o)], b[i] = r[(s) * ((i) + 2) + (o)], \
			 c[i] = r[(s) * ((i) + 4) + (o)], d[i] = r[(s) * ((i) + 6) + (o)])
#define GIVE(i, s, o)	(r[(s) * (i) + (o)] = a[i], r[(s) * ((i) + 2) + (o)] = b[i], \
			 r[(s) * ((i) + 4) + (o)] = c[i], r[(s) * ((i) + 6) + (o)] = d[i])
#define TAKE_ROWS(g)	(TAKE(0, 1, 8 * g), TAKE(1, 1, 8 * g))
#define GIVE_ROWS(g)	(GIVE(0, 1, 8 * g), GIVE(1, 1, 8 * g))
#define TAKE_COLUMNS(g)	(TAKE(0, 8, g), TAKE(1, 8, g))
#define GIVE_COLUMNS(g)	(GIVE(0, 8, g), GIVE(1, 8, g))
#include "argon2_lanes.h"
#undef TURN
#undef TAKE
#undef GIVE

#define FILL		fill_avx2
#define FEATURES	"avx2"
#define V		__m256i
#define WORDS		4
#define GROUPS		4
#define LOAD(p)		_mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, v)	_mm256_storeu_si256((__m256i *)(void *)(p), v)
#define XOR		_mm256_xor_si256
#define ADD		_mm256_add_epi64
#define MULTIPLY	_mm256_mul_epu32
#define ROR32(x)	_mm256_shuffle_epi32(x, 0xb1)
#define ROR24(x)	_mm256_shuffle_epi8(x, _mm256_set_epi64x(BYTES24, BYTES24))
#define ROR16(x)	_mm256_shuffle_epi8(x, _mm256_set_epi64x(BYTES16, BYTES16))
#define ROR63(x)	({ V x_ = x; XOR(_mm256_srli_epi64(x_, 63), ADD(x_, x_)); })
#define TURN(x, by) do { \
	x[0] = _mm256_permute4x64_epi64(x[0], by); \
	x[1] = _mm256_permute4x64_epi64(x[1], by); \
} while (0)
#define DIAGONALS	do { TURN(b, 0x39); TURN(c, 0x4e); TURN(d, 0x93); } while (0)
#define COLUMNS		do { TURN(b, 0x93); TURN(c, 0x4e); TURN(d, 0x39); } while (0)
/* Lower halves of both, upper halves of both; its own inverse. */
#define SPLIT(x0, x1, y0, y1) do { \
	V y0_ = y0, y1_ = y1; \
	x0 = _mm256_permute2x128_si256(y0_, y1_, 0x20); \
	x1 = _mm256_permute2x128_si256(y0_, y1_, 0x31); \
} while (0)
#define TAKE_ROWS(g) do { \
	UNROLL \
	for (int i = 0; i < 2; i++) { \
		a[i] = r[8 * g + 4 * i]; \
		b[i] = r[8 * g + 4 * i + 1]; \
		c[i] = r[8 * g + 4 * i + 2]; \
		d[i] = r[8 * g + 4 * i + 3]; \
	} \
} while (0)
#define GIVE_ROWS(g) do { \
	UNROLL \
	for (int i = 0; i < 2; i++) { \
		r[8 * g + 4 * i] = a[i]; \
		r[8 * g + 4 * i + 1] = b[i]; \
		r[8 * g + 4 * i + 2] = c[i]; \
		r[8 * g + 4 * i + 3] = d[i]; \
	} \
} while (0)
#define TAKE_COLUMNS(g) do { \
	SPLIT(a[0], a[1], r[g], r[g + 4]); \
	SPLIT(b[0], b[1], r[g + 8], r[g + 12]); \
	SPLIT(c[0], c[1], r[g + 16], r[g + 20]); \
	SPLIT(d[0], d[1], r[g + 24], r[g + 28]); \
} while (0)
#define GIVE_COLUMNS(g) do { \
	SPLIT(r[g], r[g + 4], a[0], a[1]); \
	SPLIT(r[g + 8], r[g + 12], b[0], b[1]); \
	SPLIT(r[g + 16], r[g + 20], c[0], c[1]); \
	SPLIT(r[g + 24], r[g + 28], d[0], d[1]); \
} while (0)
#include "argon2_lanes.h"
#undef TURN
#undef SPLIT

#define FILL		fill_avx512
#define FEATURES	"avx512f,avx512bw,avx512vl,avx512dq"
#define V		__m512i
#define WORDS		8
#define GROUPS		2
#define LOAD		_mm512_loadu_si512
#define STORE		_mm512_storeu_si512
#define XOR		_mm512_xor_si512
#define ADD		_mm512_add_epi64
#define MULTIPLY	_mm512_mul_epu32
#define ROR32(x)	_mm512_ror_epi64(x, 32)
#define ROR24(x)	_mm512_ror_epi64(x, 24)
#define ROR16(x)	_mm512_ror_epi64(x, 16)
#define ROR63(x)	_mm512_ror_epi64(x, 63)
#define TURN(x, by) do { \
	x[0] = _mm512_permutex_epi64(x[0], by); \
	x[1] = _mm512_permutex_epi64(x[1], by); \
} while (0)
#define DIAGONALS	do { TURN(b, 0x39); TURN(c, 0x4e); TURN(d, 0x93); } while (0)
#define COLUMNS		do { TURN(b, 0x93); TURN(c, 0x4e); TURN(d, 0x39); } while (0)
#define SPLIT(x0, x1, y0, y1) do { \
	V y0_ = y0, y1_ = y1; \
	x0 = _mm512_shuffle_i64x2(y0_, y1_, 0x44); \
	x1 = _mm512_shuffle_i64x2(y0_, y1_, 0xee); \
} while (0)
/* Two rows' quarters side by side, then the way back. */
#define ZIP(x0, x1, y0, y1) do { \
	V y0_ = y0, y1_ = y1; \
	x0 = _mm512_permutex2var_epi64(y0_, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), y1_); \
	x1 = _mm512_permutex2var_epi64(y0_, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), y1_); \
} while (0)
#define UNZIP(x0, x1, y0, y1) do { \
	V y0_ = y0, y1_ = y1; \
	x0 = _mm512_permutex2var_epi64(y0_, _mm512_set_epi64(13, 12, 9, 8, 5, 4, 1, 0), y1_); \
	x1 = _mm512_permutex2var_epi64(y0_, _mm512_set_epi64(15, 14, 11, 10, 7, 6, 3, 2), y1_); \
} while (0)
#define TAKE_ROWS(g) do { \
	UNROLL \
	for (int i = 0; i < 2; i++) { \
		SPLIT(a[i], b[i], r[8 * g + 4 * i], r[8 * g + 4 * i + 2]); \
		SPLIT(c[i], d[i], r[8 * g + 4 * i + 1], r[8 * g + 4 * i + 3]); \
	} \
} while (0)
#define GIVE_ROWS(g) do { \
	UNROLL \
	for (int i = 0; i < 2; i++) { \
		SPLIT(r[8 * g + 4 * i], r[8 * g + 4 * i + 2], a[i], b[i]); \
		SPLIT(r[8 * g + 4 * i + 1], r[8 * g + 4 * i + 3], c[i], d[i]); \
	} \
} while (0)
#define TAKE_COLUMNS(g) do { \
	ZIP(a[0], a[1], r[g], r[g + 2]); \
	ZIP(b[0], b[1], r[g + 4], r[g + 6]); \
	ZIP(c[0], c[1], r[g + 8], r[g + 10]); \
	ZIP(d[0], d[1], r[g + 12], r[g + 14]); \
} while (0)
#define GIVE_COLUMNS(g) do { \
	UNZIP(r[g], r[g + 2], a[0], a[1]); \
	UNZIP(r[g + 4], r[g + 6], b[0], b[1]); \
	UNZIP(r[g + 8], r[g + 10], c[0], c[1]); \
	UNZIP(r[g + 12], r[g + 14], d[0], d[1]); \
} while (0)
#include "argon2_lanes.h"
#undef TURN
#undef SPLIT
#undef ZIP
#undef UNZIP

static void fill(const uint64_t *previous, const uint64_t *other, uint64_t *next, bool with_old)
{
	if (cpu_features & TRESOR_CPU_VAES512)
		fill_avx512(previous, other, next, with_old);
	else if (cpu_features & TRESOR_CPU_AVX2)
		fill_avx2(previous, other, next, with_old);
	else
		fill_sse(previous, other, next, with_old);
}

/*
 * The one Argon2 that may run. Everything but busy, ticket, done and running
 * is written by its owner while no lane is on offer, and read by others only
 * after they took one.
 */
static struct {
	uint32_t busy;		/* taken by argon2() */
	uint32_t running;	/* odd while helpers are welcome; another number for each job */
	uint64_t ticket;	/* slices begun so far << 16 | lanes << 8 | next lane */
	uint32_t done;		/* lanes of this slice */
	uint32_t type;
	uint32_t lanes;
	uint32_t time;
	uint32_t pass;
	uint32_t slice;
	uint32_t segment;	/* blocks of one lane in one slice */
	uint32_t column;	/* blocks of one lane */
	uint64_t (*memory)[WORDS_IN_BLOCK];
} job;

/* Section 3.4.2; index: position in the segment. */
static uint64_t reference(uint32_t lane, uint32_t index, uint64_t random)
{
	const bool first_slice = job.pass == 0 && job.slice == 0;
	const uint32_t other = first_slice ? lane : (uint32_t)(random >> 32) % job.lanes;
	const uint64_t low = (uint32_t)random;
	uint64_t area, start, position;

	area = job.pass == 0 ? job.slice * job.segment : job.column - job.segment;
	if (other == lane)
		area += index;
	/* All but the block before this one; of other lanes, all that is complete. */
	if (other == lane || index == 0)
		area--;
	start = job.pass == 0 || job.slice == SLICES - 1 ? 0 : (job.slice + 1) * job.segment;
	position = start + area - 1 - (area * (low * low >> 32) >> 32);
	return (uint64_t)other * job.column + position % job.column;
}

static void fill_segment(uint32_t lane)
{
	static const uint64_t zero[WORDS_IN_BLOCK];
	const bool independent = job.type == TRESOR_KDF_ARGON2I || (job.pass == 0 && job.slice < 2);
	uint64_t input[WORDS_IN_BLOCK] = { job.pass, lane, job.slice, (uint64_t)job.column * job.lanes,
					   job.time, job.type == TRESOR_KDF_ARGON2I ? 1 : 2 };
	uint64_t addresses[WORDS_IN_BLOCK];
	uint64_t (*const row)[WORDS_IN_BLOCK] = job.memory + (uint64_t)lane * job.column;

	for (uint32_t i = 0; i < job.segment; i++) {
		const uint32_t at = job.slice * job.segment + i;
		const uint64_t *previous = row[at ? at - 1 : job.column - 1];
		uint64_t random;

		if (independent && i % WORDS_IN_BLOCK == 0) {
			input[6]++;
			fill(zero, input, addresses, false);
			fill(zero, addresses, addresses, false);
		}
		/* The first two blocks of a lane come from the passphrase. */
		if (job.pass == 0 && at < 2)
			continue;
		random = independent ? addresses[i % WORDS_IN_BLOCK] : previous[0];
		fill(previous, job.memory[reference(lane, i, random)], row[at], job.pass != 0);
	}
}

/* Takes lanes of the slice on offer until none is left. */
static void take_lanes(void)
{
	uint64_t ticket = __atomic_load_n(&job.ticket, __ATOMIC_ACQUIRE);

	while ((ticket & 0xff) < (ticket >> 8 & 0xff)) {
		if (__atomic_compare_exchange_n(&job.ticket, &ticket, ticket + 1, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			fill_segment((uint32_t)ticket & 0xff);
			/* From here on the owner may go on: nothing of this slice is touched any more. */
			__atomic_fetch_add(&job.done, 1, __ATOMIC_RELEASE);
			ticket = __atomic_load_n(&job.ticket, __ATOMIC_ACQUIRE);
		}
	}
}

void argon2_assist(void)
{
	const uint32_t running = __atomic_load_n(&job.running, __ATOMIC_ACQUIRE);

	while (running % 2 && __atomic_load_n(&job.running, __ATOMIC_ACQUIRE) == running) {
		take_lanes();
		_mm_pause();
	}
}

static void run_slice(uint32_t pass, uint32_t slice)
{
	const uint64_t begun = (job.ticket >> 16) + 1;

	job.pass = pass;
	job.slice = slice;
	__atomic_store_n(&job.done, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&job.ticket, begun << 16 | job.lanes << 8, __ATOMIC_RELEASE);
	take_lanes();
	while (__atomic_load_n(&job.done, __ATOMIC_ACQUIRE) != job.lanes)
		_mm_pause();
}

static void put32(struct blake2b *hash, uint32_t value)
{
	blake2b_update(hash, &value, sizeof(value));
}

/* The variable-length hash H' (section 3.3). */
static void long_hash(uint8_t *out, uint32_t out_size, const uint8_t *in, size_t in_size)
{
	struct blake2b hash;
	uint8_t v[64];

	blake2b_init(&hash, out_size < 64 ? out_size : 64);
	put32(&hash, out_size);
	blake2b_update(&hash, in, in_size);
	blake2b_final(&hash, v);
	while (out_size > 64) {
		memcpy(out, v, 32);
		out += 32;
		out_size -= 32;
		blake2b_init(&hash, out_size < 64 ? out_size : 64);
		blake2b_update(&hash, v, sizeof(v));
		blake2b_final(&hash, v);
	}
	memcpy(out, v, out_size);
	WIPE(v);
}

static uint32_t segment_blocks(uint32_t memory_kib, uint32_t lanes)
{
	return memory_kib / (SLICES * lanes);
}

uint64_t argon2_memory(uint32_t memory_kib, uint32_t lanes)
{
	return (uint64_t)segment_blocks(memory_kib, lanes) * SLICES * lanes * BLOCK_SIZE;
}

bool argon2(uint32_t type, const void *pass, size_t pass_size, const void *salt, size_t salt_size,
	    uint32_t time, uint32_t memory_kib, uint32_t lanes, uint8_t *out, size_t out_size,
	    void *memory)
{
	static const struct argon2_associated nothing;

	return argon2_with(type, pass, pass_size, salt, salt_size, &nothing, time, memory_kib, lanes, out,
			   out_size, memory);
}

bool argon2_with(uint32_t type, const void *pass, size_t pass_size, const void *salt, size_t salt_size,
		 const struct argon2_associated *associated, uint32_t time, uint32_t memory_kib,
		 uint32_t lanes, uint8_t *out, size_t out_size, void *memory)
{
	uint8_t seed[64 + 8];
	uint8_t last[BLOCK_SIZE];
	struct blake2b hash;

	if ((type != TRESOR_KDF_ARGON2I && type != TRESOR_KDF_ARGON2ID) || time == 0 || lanes == 0 ||
	    lanes > ARGON2_LANES_MAX || memory_kib < 2 * SLICES * lanes || out_size < 4 ||
	    out_size > UINT32_MAX || pass_size > UINT32_MAX || salt_size > UINT32_MAX)
		return false;
	if (__atomic_exchange_n(&job.busy, 1, __ATOMIC_ACQUIRE))
		return false;

	job.type = type;
	job.lanes = lanes;
	job.time = time;
	job.segment = segment_blocks(memory_kib, lanes);
	job.column = job.segment * SLICES;
	job.memory = memory;

	/* H0 (section 3.2), then the first two blocks of each lane. */
	blake2b_init(&hash, 64);
	put32(&hash, lanes);
	put32(&hash, (uint32_t)out_size);
	put32(&hash, memory_kib);
	put32(&hash, time);
	put32(&hash, VERSION);
	put32(&hash, type == TRESOR_KDF_ARGON2I ? 1 : 2);
	put32(&hash, (uint32_t)pass_size);
	blake2b_update(&hash, pass, pass_size);
	put32(&hash, (uint32_t)salt_size);
	blake2b_update(&hash, salt, salt_size);
	put32(&hash, (uint32_t)associated->secret_size);
	blake2b_update(&hash, associated->secret, associated->secret_size);
	put32(&hash, (uint32_t)associated->data_size);
	blake2b_update(&hash, associated->data, associated->data_size);
	blake2b_final(&hash, seed);
	for (uint32_t lane = 0; lane < lanes; lane++) {
		for (uint32_t i = 0; i < 2; i++) {
			memcpy(seed + 64, &i, 4);
			memcpy(seed + 68, &lane, 4);
			long_hash((uint8_t *)job.memory[(uint64_t)lane * job.column + i], BLOCK_SIZE, seed,
				  sizeof(seed));
		}
	}

	__atomic_add_fetch(&job.running, 1, __ATOMIC_RELEASE);
	for (uint32_t pass_number = 0; pass_number < time; pass_number++) {
		for (uint32_t slice = 0; slice < SLICES; slice++)
			run_slice(pass_number, slice);
	}
	__atomic_add_fetch(&job.running, 1, __ATOMIC_RELEASE);

	memcpy(last, job.memory[job.column - 1], BLOCK_SIZE);
	for (uint32_t lane = 1; lane < lanes; lane++) {
		const uint8_t *block = (const uint8_t *)job.memory[(uint64_t)lane * job.column + job.column - 1];

		for (uint32_t i = 0; i < BLOCK_SIZE; i++)
			last[i] ^= block[i];
	}
	long_hash(out, (uint32_t)out_size, last, BLOCK_SIZE);
	WIPE(seed);
	WIPE(last);
	wipe(memory, argon2_memory(memory_kib, lanes));
	__atomic_store_n(&job.busy, 0, __ATOMIC_RELEASE);
	return true;
}
