/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the primitives make of one fixed input goes into a SHA-256, which has
 * to come to what test/power_on.c computes with OpenSSL and libargon2. One sum
 * tells that something is wrong and not what; nobody may ask for more than that.
 * The published vectors, one by one, are the second image's: vectors/.
 */
#include "power_on.h"

#include "af.h"
#include "argon2.h"
#include "blake2b.h"
#include "cmac.h"
#include "cpu.h"
#include "ct.h"
#include "drbg.h"
#include "gcm.h"
#include "hkdf.h"
#include "hmac.h"
#include "hpke.h"
#include "mem.h"
#include "modes.h"
#include "pbkdf2.h"
#include "random.h"
#include "x25519.h"
#include "xts.h"

#define SECTORS		4096u
#define UNIT		716u	/* blocks for the widest path, for each narrower one, one alone, and a stolen one */
#define STREAM		141u	/* eight blocks, and a part of the ninth */
#define BLOCKS		144u

struct power_on {
	uint8_t in[SECTORS];	/* byte i is i modulo 251 */
	uint8_t out[SECTORS];
	uint8_t argon2[32 << 10] __attribute__((aligned(64)));
	struct hash sum;
};
_Static_assert(sizeof(struct power_on) <= POWER_ON_MEMORY, "as power_on.h has it");

static const uint8_t expected[32] = {
	0xd8, 0xeb, 0x55, 0x05, 0x53, 0x90, 0xa7, 0x48, 0x2e, 0xe5, 0x00, 0x21, 0x54, 0xbf, 0x98, 0x41,
	0x2c, 0x85, 0x09, 0x15, 0x4d, 0xa0, 0x55, 0x80, 0x53, 0x7c, 0x91, 0x73, 0xdb, 0xe6, 0x82, 0x09,
};

static void add(struct power_on *p, const void *bytes, size_t size)
{
	hash_update(&p->sum, bytes, size);
}

static void ciphers(struct power_on *p)
{
	struct aes_key key, essiv;
	uint8_t iv[16], tag[16];
	struct xts_key xts;

	for (uint32_t run = 0; run < 6; run++) {
		const uint32_t size = 16 + 8 * (run / 2);

		aes_expand(&key, p->in, size);
		modes_essiv_key(&essiv, p->in, size);
		modes_ecb(&key, run & 1, p->in, p->out, BLOCKS);
		add(p, p->out, BLOCKS);
		memset(iv, 0xff, sizeof(iv));
		modes_cbc(&key, run & 1, p->in, p->out, BLOCKS, iv);
		add(p, p->out, BLOCKS);
		modes_cbc_essiv(&key, &essiv, run & 1, p->in, p->out, BLOCKS, iv);
		add(p, p->out, BLOCKS);
		memset(iv, 0xff, sizeof(iv));
		modes_ctr(&key, p->in, p->out, STREAM, iv);
		add(p, p->out, STREAM);
	}
	for (uint32_t run = 0; run < 4; run++) {
		xts_expand(&xts, p->in, 32 << run / 2);
		xts_sectors(&xts, run & 1, p->in, p->out, 7, SECTORS, 512);
		add(p, p->out, SECTORS);
		xts_sectors(&xts, run & 1, p->in, p->out, 7, SECTORS, 4096);
		add(p, p->out, SECTORS);
		memset(iv, 0xff, sizeof(iv));
		xts_unit(&xts, run & 1, false, p->in, p->out, BLOCKS, iv);
		xts_unit(&xts, run & 1, true, p->in + BLOCKS, p->out + BLOCKS, UNIT - BLOCKS, iv);
		add(p, p->out, UNIT);
	}
	gcm_seal(p->in, 32, p->in, p->in, STREAM, p->in, p->out, STREAM, tag);
	add(p, p->out, STREAM);
	add(p, tag, sizeof(tag));
	cmac(p->in, p->in, BLOCKS, tag);
	add(p, tag, sizeof(tag));
}

static void hashes(struct power_on *p)
{
	uint8_t digest[HASH_SIZE_MAX];
	struct hmac hmac;
	struct blake2b blake2b;

	for (uint32_t hash = TRESOR_SHA1; hash <= TRESOR_SHA512; hash++) {
		hash_once(hash, p->in, UNIT, digest);
		add(p, digest, hash_size(hash));
		hmac_init(&hmac, hash, p->in, BLOCKS);
		hmac_update(&hmac, p->in, UNIT);
		hmac_final(&hmac, digest);
		add(p, digest, hash_size(hash));
		hkdf_extract(hash, p->in, STREAM, p->in, BLOCKS, digest);
		hkdf_expand(hash, digest, p->in, STREAM, p->out, BLOCKS);
		add(p, p->out, BLOCKS);
		pbkdf2(hash, p->in, STREAM, p->in, BLOCKS, 3, p->out, BLOCKS);
		add(p, p->out, BLOCKS);
		af_merge(hash, p->out, AF_KEY_MAX, 3, p->in);
		add(p, p->out, AF_KEY_MAX);
	}
	blake2b_init(&blake2b, 64);
	blake2b_update(&blake2b, p->in, UNIT);
	blake2b_final(&blake2b, digest);
	add(p, digest, 64);
}

/*
 * The input's first 16 bytes, sealed by the npm package hpke to the key that is
 * its first 32, with 24 as info and STREAM as associated data.
 */
static const uint8_t sealed[HPKE_OVERHEAD + 16] = {
	0xf5, 0x49, 0x44, 0x61, 0xfb, 0xe6, 0xe8, 0x80, 0x90, 0x23, 0x96, 0x4d, 0x1b, 0xd0, 0xe0, 0x61,
	0x47, 0x38, 0x2d, 0xc1, 0xcb, 0x88, 0xd2, 0x47, 0xf6, 0x69, 0x51, 0x28, 0xd5, 0xe0, 0x22, 0x0f,
	0x9d, 0x65, 0xd8, 0xab, 0x13, 0xf4, 0x17, 0x4a, 0x37, 0xf1, 0x4b, 0x07, 0x4a, 0xdd, 0x86, 0x26,
	0x07, 0x86, 0xa9, 0xcf, 0xa8, 0xab, 0x06, 0xa9, 0xc5, 0x1d, 0x03, 0x79, 0x78, 0x2f, 0x65, 0x45,
};

static bool others(struct power_on *p)
{
	struct random_health health = { 0 };
	uint8_t public_key[32];
	struct drbg drbg;
	bool passed;

	passed = argon2(TRESOR_KDF_ARGON2I, p->in, BLOCKS, p->in, STREAM, 2, 32, 2, p->out, BLOCKS, p->argon2);
	add(p, p->out, BLOCKS);
	passed &= argon2(TRESOR_KDF_ARGON2ID, p->in, BLOCKS, p->in, STREAM, 2, 32, 2, p->out, BLOCKS, p->argon2);
	add(p, p->out, BLOCKS);
	x25519_public(public_key, p->in);
	add(p, public_key, sizeof(public_key));
	passed &= x25519(p->out, p->in + 32, public_key);
	add(p, p->out, 32);
	passed &= hpke_open(HPKE_AES_256_GCM, p->in, public_key, p->in, 24, p->in, STREAM, sealed, sizeof(sealed),
			    p->out);
	add(p, p->out, 16);
	drbg_init(&drbg, p->in, 48);
	drbg_generate(&drbg, p->out, STREAM);
	drbg_reseed(&drbg, p->in, 32);
	drbg_generate(&drbg, p->out, STREAM);
	add(p, p->out, STREAM);

	/* What has no fixed answer: a sealed message, random stripes, a forged tag, a source that is stuck. */
	passed &= hpke_seal(HPKE_AES_256_GCM, p->in + 64, public_key, p->in, 24, p->in, STREAM, p->in, STREAM,
			    p->argon2);
	passed &= hpke_open(HPKE_AES_256_GCM, p->in, public_key, p->in, 24, p->in, STREAM, p->argon2,
			    STREAM + HPKE_OVERHEAD, p->out);
	passed &= ct_equal(p->out, p->in, STREAM);
	passed &= af_split(TRESOR_SHA256, p->in, AF_KEY_MAX, 8, p->argon2);
	af_merge(TRESOR_SHA256, p->out, AF_KEY_MAX, 8, p->argon2);
	passed &= ct_equal(p->out, p->in, AF_KEY_MAX);
	passed &= !gcm_open(p->in, 32, p->in, p->in, 16, p->in, p->out, 16, p->in);
	passed &= random_healthy(&health, 1);
	passed &= !random_healthy(&health, 1);
	return passed;
}

bool crypto_power_on(void *memory)
{
	const uint32_t features = cpu_features;
	const uint32_t paths[] = { features, features & ~TRESOR_CPU_VAES512, features & TRESOR_CPU_RDSEED };
	struct power_on *p = memory;
	uint8_t digest[32];
	bool passed = true;

	for (uint32_t i = 0; i < sizeof(p->in); i++)
		p->in[i] = (uint8_t)(i % 251);
	for (uint32_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		cpu_features = paths[i];
		hash_init(&p->sum, TRESOR_SHA256);
		ciphers(p);
		hashes(p);
		passed &= others(p);
		hash_final(&p->sum, digest);
		passed &= ct_equal(digest, expected, sizeof(digest));
	}
	cpu_features = features;
	return passed;
}
