/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field elements modulo 2^255 - 19 are five limbs of 51 bits. "Loose" means
 * every limb below 2^54: products then stay below 5 * 19 * 2^108 < 2^115, and
 * what multiply and carry return is below 2^51 + 2^15 ("tight").
 */
#include "x25519.h"
#include "ct.h"
#include "mem.h"
#include "wipe.h"

#define LIMB	((1ull << 51) - 1)

typedef uint64_t field[5];
typedef unsigned __int128 wide;

/* Tight + tight is loose. */
static void add(field out, const field a, const field b)
{
	for (int i = 0; i < 5; i++)
		out[i] = a[i] + b[i];
}

/* a - b + 4p for tight b: no limb goes below zero; loose for tight a. */
static void subtract(field out, const field a, const field b)
{
	out[0] = a[0] + 0x1fffffffffffb4 - b[0];
	for (int i = 1; i < 5; i++)
		out[i] = a[i] + 0x1ffffffffffffc - b[i];
}

/* Sums below 2^115 to tight limbs. The carry out of the top, below 2^64, comes back times 19. */
static void reduce(field out, wide s[5])
{
	for (int i = 0; i < 4; i++) {
		s[i + 1] += (uint64_t)(s[i] >> 51);
		out[i] = (uint64_t)s[i] & LIMB;
	}
	out[4] = (uint64_t)s[4] & LIMB;
	s[0] = (wide)out[0] + (s[4] >> 51) * 19;
	out[0] = (uint64_t)s[0] & LIMB;
	out[1] += (uint64_t)(s[0] >> 51);
}

static void multiply(field out, const field a, const field b)
{
	const uint64_t b1 = b[1] * 19, b2 = b[2] * 19, b3 = b[3] * 19, b4 = b[4] * 19;
	wide s[5] = {
		(wide)a[0] * b[0] + (wide)a[1] * b4 + (wide)a[2] * b3 + (wide)a[3] * b2 + (wide)a[4] * b1,
		(wide)a[0] * b[1] + (wide)a[1] * b[0] + (wide)a[2] * b4 + (wide)a[3] * b3 + (wide)a[4] * b2,
		(wide)a[0] * b[2] + (wide)a[1] * b[1] + (wide)a[2] * b[0] + (wide)a[3] * b4 + (wide)a[4] * b3,
		(wide)a[0] * b[3] + (wide)a[1] * b[2] + (wide)a[2] * b[1] + (wide)a[3] * b[0] + (wide)a[4] * b4,
		(wide)a[0] * b[4] + (wide)a[1] * b[3] + (wide)a[2] * b[2] + (wide)a[3] * b[1] + (wide)a[4] * b[0],
	};

	reduce(out, s);
	WIPE(s);
}

static void square_times(field out, const field a, int times)
{
	multiply(out, a, a);
	while (--times)
		multiply(out, out, out);
}

/* a^(p - 2). */
static void invert(field out, const field a)
{
	field a2, a11, x5, x10, x20, x50, x100, t;

	square_times(a2, a, 1);
	square_times(t, a2, 2);
	multiply(t, t, a);		/* a^9 */
	multiply(a11, t, a2);
	square_times(x5, a11, 1);
	multiply(x5, x5, t);		/* a^(2^5 - 1) */
	square_times(t, x5, 5);
	multiply(x10, t, x5);
	square_times(t, x10, 10);
	multiply(x20, t, x10);
	square_times(t, x20, 20);
	multiply(t, t, x20);
	square_times(t, t, 10);
	multiply(x50, t, x10);
	square_times(t, x50, 50);
	multiply(x100, t, x50);
	square_times(t, x100, 100);
	multiply(t, t, x100);
	square_times(t, t, 50);
	multiply(t, t, x50);		/* a^(2^250 - 1) */
	square_times(t, t, 5);
	multiply(out, t, a11);
	WIPE(a2);
	WIPE(a11);
	WIPE(x5);
	WIPE(x10);
	WIPE(x20);
	WIPE(x50);
	WIPE(x100);
	WIPE(t);
}

static void swap(field a, field b, uint64_t bit)
{
	const uint64_t mask = ct_mask(bit);

	for (int i = 0; i < 5; i++) {
		const uint64_t x = mask & (a[i] ^ b[i]);

		a[i] ^= x;
		b[i] ^= x;
	}
}

static void decode(field out, const uint8_t bytes[32])
{
	uint64_t w[4];

	memcpy(w, bytes, sizeof(w));
	out[0] = w[0] & LIMB;
	out[1] = (w[0] >> 51 | w[1] << 13) & LIMB;
	out[2] = (w[1] >> 38 | w[2] << 26) & LIMB;
	out[3] = (w[2] >> 25 | w[3] << 39) & LIMB;
	out[4] = w[3] >> 12 & LIMB;
}

static void encode(uint8_t bytes[32], const field in)
{
	uint64_t f[5], w[4], carry;

	memcpy(f, in, sizeof(f));
	/* Below 2^255 + 2^66, so below 2p + 19: q is 1 exactly when f + 19 reaches 2^255. */
	for (int pass = 0; pass < 2; pass++) {
		carry = 0;
		for (int i = 0; i < 5; i++) {
			f[i] += carry;
			carry = f[i] >> 51;
			f[i] &= LIMB;
		}
		f[0] += carry * 19;
	}
	carry = (f[0] + 19) >> 51;
	for (int i = 1; i < 5; i++)
		carry = (f[i] + carry) >> 51;
	f[0] += carry * 19;
	for (int i = 0; i < 4; i++) {
		f[i + 1] += f[i] >> 51;
		f[i] &= LIMB;
	}
	w[0] = f[0] | f[1] << 51;
	w[1] = f[1] >> 13 | f[2] << 38;
	w[2] = f[2] >> 26 | f[3] << 25;
	w[3] = f[3] >> 39 | (f[4] & LIMB) << 12;
	memcpy(bytes, w, sizeof(w));
	WIPE(f);
	WIPE(w);
}

/* RFC 7748 section 5: the Montgomery ladder, 255 steps whatever the scalar. */
bool x25519(uint8_t out[32], const uint8_t secret[32], const uint8_t point[32])
{
	static const uint8_t zero[32];
	static const field a24 = { 121665 };
	struct {
		field x1, x2, z2, x3, z3, a, b, c, d, aa, bb;
		uint8_t scalar[32];
	} s = { .x2 = { 1 }, .z3 = { 1 } };
	uint64_t previous = 0;

	memcpy(s.scalar, secret, 32);
	s.scalar[0] &= 248;
	s.scalar[31] = (s.scalar[31] & 127) | 64;
	decode(s.x1, point);
	memcpy(s.x3, s.x1, sizeof(s.x3));
	for (int i = 254; i >= 0; i--) {
		const uint64_t bit = s.scalar[i / 8] >> (i % 8) & 1;

		swap(s.x2, s.x3, previous ^ bit);
		swap(s.z2, s.z3, previous ^ bit);
		previous = bit;
		add(s.a, s.x2, s.z2);
		subtract(s.b, s.x2, s.z2);
		add(s.c, s.x3, s.z3);
		subtract(s.d, s.x3, s.z3);
		multiply(s.d, s.d, s.a);
		multiply(s.c, s.c, s.b);
		multiply(s.aa, s.a, s.a);
		multiply(s.bb, s.b, s.b);
		add(s.x3, s.d, s.c);
		multiply(s.x3, s.x3, s.x3);
		subtract(s.z3, s.d, s.c);
		multiply(s.z3, s.z3, s.z3);
		multiply(s.z3, s.z3, s.x1);
		multiply(s.x2, s.aa, s.bb);
		subtract(s.b, s.aa, s.bb);
		multiply(s.a, s.b, a24);
		add(s.a, s.a, s.aa);
		multiply(s.z2, s.b, s.a);
	}
	swap(s.x2, s.x3, previous);
	swap(s.z2, s.z3, previous);
	invert(s.z2, s.z2);
	multiply(s.x2, s.x2, s.z2);
	encode(out, s.x2);
	WIPE(s);
	return !ct_equal(out, zero, sizeof(zero));
}

void x25519_public(uint8_t out[32], const uint8_t secret[32])
{
	static const uint8_t base[32] = { 9 };

	/* Never of small order: the scalar is clamped and the base point's order is prime. */
	(void)!x25519(out, secret, base);
}
