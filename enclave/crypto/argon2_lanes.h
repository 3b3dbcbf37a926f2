/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Argon2's compression function G (RFC 9106 section 3.5) for one vector width.
 * No guard: argon2.c includes this three times, with FILL (name), FEATURES, V
 * (type), WORDS (64-bit words in it), its operations, and how GROUPS of rows
 * and of columns are taken from r[] into a, b, c, d and given back.
 *
 * next = G(previous, other), or next ^= that. next may be other.
 */
TARGET(FEATURES)
static void FILL(const uint64_t *previous, const uint64_t *other, uint64_t *next, bool with_old)
{
	V r[128 / WORDS], a[2], b[2], c[2], d[2];

	UNROLL
	for (int i = 0; i < 128 / WORDS; i++) {
		r[i] = XOR(LOAD(previous + WORDS * i), LOAD(other + WORDS * i));
		STORE(next + WORDS * i, with_old ? XOR(r[i], LOAD(next + WORDS * i)) : r[i]);
	}
	UNROLL
	for (int g = 0; g < GROUPS; g++) {
		TAKE_ROWS(g);
		BLAKE2_ROUND;
		GIVE_ROWS(g);
	}
	UNROLL
	for (int g = 0; g < GROUPS; g++) {
		TAKE_COLUMNS(g);
		BLAKE2_ROUND;
		GIVE_COLUMNS(g);
	}
	UNROLL
	for (int i = 0; i < 128 / WORDS; i++)
		STORE(next + WORDS * i, XOR(r[i], LOAD(next + WORDS * i)));
}

#undef FILL
#undef FEATURES
#undef V
#undef WORDS
#undef GROUPS
#undef LOAD
#undef STORE
#undef XOR
#undef ADD
#undef MULTIPLY
#undef ROR32
#undef ROR24
#undef ROR16
#undef ROR63
#undef DIAGONALS
#undef COLUMNS
#undef TAKE_ROWS
#undef GIVE_ROWS
#undef TAKE_COLUMNS
#undef GIVE_COLUMNS
