/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loop of XTS for one width of VAES. No guard: xts.c includes this
 * twice, with RUN and GROUPS (names), FEATURES, LANES (blocks in a vector), V
 * (type) and its operations. A group is eight vectors.
 *
 * Doubling in GF(2^128), little endian: the bits that leave at the top come
 * back times 0x87.
 *
 * AES keeps its units busy when nothing else wants them, and merging quadwords
 * into vectors does, as making tweaks in a row does. So while a group is under
 * way, general registers bring the next one into memory of the enclave, whence
 * it is loaded whole, and its tweaks are made one vector a round.
 */
#define GROUP_BYTES	(8 * LANES * AES_BLOCK)
/* The empty statement keeps the compiler from moving tweaks out of their round. */
#define LANES_ROUND(r) do { \
	const V k_ = BROADCAST(LOAD128(schedule[r])); \
	UNROLL \
	for (int i = 0; i < 8; i++) \
		b[i] = decrypt ? DEC(b[i], k_) : ENC(b[i], k_); \
	if (r <= 8) { \
		UNROLL \
		for (size_t i = (size_t)(r - 1) * GROUP_BYTES / 8; i < (size_t)r * GROUP_BYTES / 8; i += 8) \
			QUAD_MOVE(stage + i, from + i); \
		next[r - 1] = XOR(POWER(first, (r - 1) * LANES), last); \
	} \
	__asm__ volatile("" : "+x"(b[0]), "+x"(b[1]), "+x"(b[2]), "+x"(b[3]), \
			      "+x"(b[4]), "+x"(b[5]), "+x"(b[6]), "+x"(b[7])); \
} while (0)

TARGET(FEATURES)
INLINE void GROUPS(const uint8_t (*schedule)[AES_BLOCK], uint32_t rounds, bool decrypt, const uint8_t *in,
		   uint8_t *out, size_t units, size_t groups, __m128i *tweaks)
{
	uint8_t stage[GROUP_BYTES] __attribute__((aligned(64)));
	const V last = BROADCAST(LOAD128(schedule[rounds]));
	const V whiten = XOR(BROADCAST(LOAD128(schedule[0])), last);
	V b[8], w[2][8], *now = w[0], *next = w[1], *swap;
	V first = BROADCAST(*tweaks), after = first;
	size_t left = groups;

	UNROLL
	for (int i = 0; i < 8; i++) {
		now[i] = XOR(POWER(first, i * LANES), last);
		b[i] = XOR(QUADS_LOAD_V(in + 16 * LANES * i), XOR(now[i], whiten));
	}
	for (size_t all = units * groups; all; all--, out += GROUP_BYTES) {
		/* Behind the last group there is nothing to bring. */
		const uint8_t *const from = all > 1 ? in += GROUP_BYTES : stage;

		after = XOR(SHIFT_UP(first, LANES), CLMUL(SHIFT_DOWN(first, 16 - LANES), POLY, 0x00));
		first = after;
		if (--left == 0 && all > 1) {
			left = groups;
			first = BROADCAST(*++tweaks);
		}
		MIDDLE_ROUNDS(LANES_ROUND);
		UNROLL
		for (int i = 0; i < 8; i++)
			STORE(out + 16 * LANES * i, decrypt ? DECLAST(b[i], now[i]) : ENCLAST(b[i], now[i]));
		swap = now;
		now = next;
		next = swap;
		UNROLL
		for (int i = 0; i < 8; i++)
			b[i] = XOR(LOAD(stage + 16 * LANES * i), XOR(now[i], whiten));
	}
	*tweaks = FIRST(after);
}

TARGET(FEATURES)
static void RUN(const struct aes_key *key, bool decrypt, const uint8_t *in, uint8_t *out, size_t units,
		size_t groups, __m128i *tweaks)
{
	if (decrypt)
		GROUPS(key->decrypt, key->rounds, true, in, out, units, groups, tweaks);
	else
		GROUPS(key->encrypt, key->rounds, false, in, out, units, groups, tweaks);
}

#undef GROUP_BYTES
#undef LANES_ROUND
#undef RUN
#undef GROUPS
#undef FEATURES
#undef LANES
#undef V
#undef LOAD
#undef QUADS_LOAD_V
#undef STORE
#undef BROADCAST
#undef FIRST
#undef XOR
#undef ENC
#undef ENCLAST
#undef DEC
#undef DECLAST
#undef CLMUL
#undef SHIFT_UP
#undef SHIFT_DOWN
#undef POWER
