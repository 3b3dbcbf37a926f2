/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loop of XTS for one width of VAES. No guard: xts.c includes this
 * twice, with RUN (name), FEATURES, LANES (blocks in a vector), V (type) and
 * its operations. Less than eight vectors are left to AES-NI.
 *
 * Doubling in GF(2^128), little endian: the bits that leave at the top come
 * back times 0x87. Eight vectors of tweaks are kept. The additions of the tweak
 * ride on the first and the last round key.
 */
TARGET(FEATURES)
static void RUN(const struct xts_key *key, bool decrypt, const uint8_t *in, uint8_t *out,
		size_t blocks, __m128i *tweak)
{
	const uint8_t (*const schedule)[AES_BLOCK] = decrypt ? key->data.decrypt : key->data.encrypt;
	const uint32_t rounds = key->data.rounds;
	const V first = BROADCAST(LOAD128(schedule[0]));
	const V last = BROADCAST(LOAD128(schedule[rounds]));
	V t, b[8], w[8];

	if (blocks >= 8 * LANES) {
		TWEAKS(w, *tweak);
		for (; blocks >= 8 * LANES; blocks -= 8 * LANES) {
			UNROLL
			for (int i = 0; i < 8; i++) {
				t = XOR(w[i], first);
				b[i] = XOR(LOAD(in + 16 * LANES * i), t);
			}
			/* Unrolled: as a loop, gcc copies all eight registers in each round. */
			if (decrypt) {
				UNROLL
				for (int r = 1; r < 10; r++)
					XTS_ROUND(DEC, r);
				if (rounds == 14) {
					UNROLL
					for (int r = 10; r < 14; r++)
						XTS_ROUND(DEC, r);
				}
			} else {
				UNROLL
				for (int r = 1; r < 10; r++)
					XTS_ROUND(ENC, r);
				if (rounds == 14) {
					UNROLL
					for (int r = 10; r < 14; r++)
						XTS_ROUND(ENC, r);
				}
			}
			UNROLL
			for (int i = 0; i < 8; i++) {
				t = XOR(w[i], last);
				STORE(out + 16 * LANES * i, decrypt ? DECLAST(b[i], t) : ENCLAST(b[i], t));
			}
			NEXT_TWEAKS(w);
			in += 128 * LANES;
			out += 128 * LANES;
		}
		*tweak = FIRST(w[0]);
	}
	if (blocks)
		run_aesni(key, decrypt, in, out, blocks, tweak);
}

#undef RUN
#undef FEATURES
#undef LANES
#undef V
#undef LOAD
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
