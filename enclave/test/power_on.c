/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power-on checks of the product: that their sum is what OpenSSL and
 * libargon2 make of the same input, and that a fault in any primitive, on any
 * path, is found. The Makefile wraps every primitive that power_on.c calls.
 */
#include <argon2.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For its statics. */
#include "../crypto/power_on.c"
#include "host.h"


#define CHECK(condition) do { \
	if (!(condition)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
		exit(1); \
	} \
} while (0)

/* ---- the same sum, by others ---- */

static uint8_t in[SECTORS], out[SECTORS];
static EVP_MD_CTX *sum;

static void put(const void *bytes, size_t size)
{
	CHECK(EVP_DigestUpdate(sum, bytes, size) == 1);
}

static void cipher(const char *name, bool decrypt, const uint8_t *key, const uint8_t *iv, const uint8_t *from,
		   uint8_t *to, size_t size)
{
	EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, name, NULL);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int length;

	CHECK(fetched && EVP_CipherInit_ex(context, fetched, NULL, key, iv, !decrypt) == 1);
	EVP_CIPHER_CTX_set_padding(context, 0);
	CHECK(EVP_CipherUpdate(context, to, &length, from, (int)size) == 1 && length == (int)size);
	EVP_CIPHER_CTX_free(context);
	EVP_CIPHER_free(fetched);
}

static void their_ciphers(void)
{
	uint8_t ones[16], iv[16], digest[32], tag[16];
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	char name[32];
	int length;

	memset(ones, 0xff, sizeof(ones));
	for (int run = 0; run < 6; run++) {
		const int bits = 128 + 64 * (run / 2), decrypt = run & 1;

		snprintf(name, sizeof(name), "AES-%d-ECB", bits);
		cipher(name, decrypt, in, NULL, in, out, BLOCKS);
		put(out, BLOCKS);
		snprintf(name, sizeof(name), "AES-%d-CBC", bits);
		cipher(name, decrypt, in, ones, in, out, BLOCKS);
		put(out, BLOCKS);
		/* ESSIV's sector number is what CBC left: its last ciphertext block. */
		EVP_Digest(in, (size_t)bits / 8, digest, NULL, EVP_sha256(), NULL);
		cipher("AES-256-ECB", false, digest, NULL, (decrypt ? in : out) + BLOCKS - 16, iv, 16);
		cipher(name, decrypt, in, iv, in, out, BLOCKS);
		put(out, BLOCKS);
		snprintf(name, sizeof(name), "AES-%d-CTR", bits);
		cipher(name, false, in, ones, in, out, STREAM);
		put(out, STREAM);
	}
	for (int run = 0; run < 4; run++) {
		snprintf(name, sizeof(name), "AES-%d-XTS", 128 << run / 2);
		for (uint32_t size = 512; size <= 4096; size *= 8) {
			for (uint32_t at = 0; at < SECTORS; at += size) {
				memset(iv, 0, sizeof(iv));
				iv[0] = (uint8_t)(7 + at / 512);
				cipher(name, run & 1, in, iv, in + at, out + at, size);
			}
			put(out, SECTORS);
		}
		cipher(name, run & 1, in, ones, in, out, UNIT);
		put(out, UNIT);
	}
	EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, in, in);
	EVP_EncryptUpdate(context, NULL, &length, in, STREAM);
	EVP_EncryptUpdate(context, out, &length, in, STREAM);
	EVP_EncryptFinal_ex(context, out + STREAM, &length);
	EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag);
	put(out, STREAM);
	put(tag, sizeof(tag));
	EVP_CIPHER_CTX_free(context);
	{
		EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
		EVP_MAC_CTX *cmac_context = EVP_MAC_CTX_new(mac);
		OSSL_PARAM parameters[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, (char[]){ "AES-128-CBC" }, 0),
			OSSL_PARAM_construct_end(),
		};
		size_t size;

		CHECK(EVP_MAC_init(cmac_context, in, 16, parameters) == 1 &&
		      EVP_MAC_update(cmac_context, in, BLOCKS) == 1 &&
		      EVP_MAC_final(cmac_context, tag, &size, sizeof(tag)) == 1 && size == 16);
		EVP_MAC_CTX_free(cmac_context);
		EVP_MAC_free(mac);
	}
	put(tag, sizeof(tag));
}

static void their_merge(const EVP_MD *md, size_t step)
{
	uint8_t key[AF_KEY_MAX] = { 0 }, message[4 + 64], digest[64];

	for (uint32_t stripe = 0; stripe < 3; stripe++) {
		for (size_t i = 0; i < AF_KEY_MAX; i++)
			key[i] ^= in[stripe * AF_KEY_MAX + i];
		for (size_t j = 0; stripe < 2 && j * step < AF_KEY_MAX; j++) {
			const size_t part = AF_KEY_MAX - j * step < step ? AF_KEY_MAX - j * step : step;

			memcpy(message, (uint8_t[]){ 0, 0, 0, (uint8_t)j }, 4);
			memcpy(message + 4, key + j * step, part);
			EVP_Digest(message, 4 + part, digest, NULL, md, NULL);
			memcpy(key + j * step, digest, part);
		}
	}
	put(key, sizeof(key));
}

static void their_hashes(void)
{
	static const char *const names[] = { "SHA1", "SHA224", "SHA256", "SHA384", "SHA512" };
	uint8_t digest[64];
	unsigned int size;

	for (int i = 0; i < 5; i++) {
		const EVP_MD *md = EVP_get_digestbyname(names[i]);
		EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
		size_t length = BLOCKS;

		EVP_Digest(in, UNIT, digest, &size, md, NULL);
		put(digest, size);
		HMAC(md, in, BLOCKS, in, UNIT, digest, &size);
		put(digest, size);
		EVP_PKEY_derive_init(context);
		EVP_PKEY_CTX_set_hkdf_md(context, md);
		EVP_PKEY_CTX_set1_hkdf_salt(context, in, STREAM);
		EVP_PKEY_CTX_set1_hkdf_key(context, in, BLOCKS);
		EVP_PKEY_CTX_add1_hkdf_info(context, in, STREAM);
		CHECK(EVP_PKEY_derive(context, out, &length) == 1);
		put(out, BLOCKS);
		EVP_PKEY_CTX_free(context);
		PKCS5_PBKDF2_HMAC((char *)in, STREAM, in, BLOCKS, 3, md, BLOCKS, out);
		put(out, BLOCKS);
		their_merge(md, size);
	}
	EVP_Digest(in, UNIT, digest, &size, EVP_blake2b512(), NULL);
	put(digest, size);
}

/* HMAC_DRBG over a source that gives what it is told. */
static void their_drbg(void)
{
	EVP_RAND *source = EVP_RAND_fetch(NULL, "TEST-RAND", NULL), *drbg = EVP_RAND_fetch(NULL, "HMAC-DRBG", NULL);
	EVP_RAND_CTX *parent = EVP_RAND_CTX_new(source, NULL), *context = EVP_RAND_CTX_new(drbg, parent);
	unsigned int strength = 256;
	OSSL_PARAM test[] = {
		OSSL_PARAM_construct_uint(OSSL_RAND_PARAM_STRENGTH, &strength),
		OSSL_PARAM_construct_octet_string(OSSL_RAND_PARAM_TEST_ENTROPY, in, 32),
		OSSL_PARAM_construct_octet_string(OSSL_RAND_PARAM_TEST_NONCE, in + 32, 16),
		OSSL_PARAM_construct_end(),
	};
	OSSL_PARAM kind[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_DRBG_PARAM_MAC, (char *)"HMAC", 0),
		OSSL_PARAM_construct_utf8_string(OSSL_DRBG_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	CHECK(EVP_RAND_instantiate(parent, 256, 0, NULL, 0, test) == 1);
	/* Not NULL, which stands for a personalisation of OpenSSL's own. */
	CHECK(EVP_RAND_instantiate(context, 256, 0, (const uint8_t *)"", 0, kind) == 1);
	CHECK(EVP_RAND_generate(context, out, STREAM, 256, 0, NULL, 0) == 1);
	CHECK(EVP_RAND_CTX_set_params(parent, test) == 1);
	CHECK(EVP_RAND_reseed(context, 0, NULL, 0, NULL, 0) == 1);
	CHECK(EVP_RAND_generate(context, out, STREAM, 256, 0, NULL, 0) == 1);
	put(out, STREAM);
	EVP_RAND_CTX_free(context);
	EVP_RAND_CTX_free(parent);
	EVP_RAND_free(drbg);
	EVP_RAND_free(source);
}

static void their_others(void)
{
	EVP_PKEY *first = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, in, 32);
	EVP_PKEY *second = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, in + 32, 32);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(second, NULL);
	size_t length = 32;

	CHECK(argon2_hash(2, 32, 2, in, BLOCKS, in, STREAM, out, BLOCKS, NULL, 0, Argon2_i, ARGON2_VERSION_13) == 0);
	put(out, BLOCKS);
	CHECK(argon2_hash(2, 32, 2, in, BLOCKS, in, STREAM, out, BLOCKS, NULL, 0, Argon2_id, ARGON2_VERSION_13) == 0);
	put(out, BLOCKS);
	EVP_PKEY_get_raw_public_key(first, out, &length);
	put(out, 32);
	EVP_PKEY_derive_init(context);
	EVP_PKEY_derive_set_peer(context, first);
	CHECK(EVP_PKEY_derive(context, out, &length) == 1);
	put(out, 32);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(first);
	EVP_PKEY_free(second);
	put(in, 16);	/* what is sealed */
	their_drbg();
}

static void compare_sums(void)
{
	uint8_t digest[32];

	for (uint32_t i = 0; i < SECTORS; i++)
		in[i] = (uint8_t)(i % 251);
	sum = EVP_MD_CTX_new();
	EVP_DigestInit_ex(sum, EVP_sha256(), NULL);
	their_ciphers();
	their_hashes();
	their_others();
	EVP_DigestFinal_ex(sum, digest, NULL);
	EVP_MD_CTX_free(sum);
	if (memcmp(digest, expected, sizeof(digest)) != 0) {
		fprintf(stderr, "not ok - power_on.c expects another sum than:");
		for (int i = 0; i < 32; i++)
			fprintf(stderr, "%s0x%02x,", i % 16 ? " " : "\n\t", digest[i]);
		fprintf(stderr, "\n");
		exit(1);
	}
}

/* ---- faults ---- */

enum { ANY_PATH = 0xffffffff };

static int broken = -1;
static uint32_t broken_on;
static uint32_t seen[64][3];	/* paths each primitive was called on */

static bool is_broken(int which)
{
	int i = 0;

	while (i < 2 && seen[which][i] != 0 && seen[which][i] != cpu_features + 1)
		i++;
	seen[which][i] = cpu_features + 1;
	return broken == which && cpu_features == broken_on;
}

/* A primitive whose first byte of output goes wrong, and one whose verdict does. */
#define FAULT(name, parameters, arguments, output) \
	enum { name##_is = __COUNTER__ }; \
	void __real_##name parameters; \
	void __wrap_##name parameters; \
	void __wrap_##name parameters \
	{ \
		__real_##name arguments; \
		if (is_broken(name##_is)) \
			((uint8_t *)(output))[0] ^= 1; \
	}
#define VERDICT(name, parameters, arguments) \
	enum { name##_is = __COUNTER__ }; \
	bool __real_##name parameters; \
	bool __wrap_##name parameters; \
	bool __wrap_##name parameters \
	{ \
		return __real_##name arguments ^ is_broken(name##_is); \
	}

FAULT(aes_expand, (struct aes_key *key, const uint8_t *secret, uint32_t size), (key, secret, size), key->encrypt)
FAULT(modes_essiv_key, (struct aes_key *key, const uint8_t *secret, size_t size), (key, secret, size), key->encrypt)
FAULT(modes_ecb, (const struct aes_key *k, bool d, const void *i, void *o, size_t n), (k, d, i, o, n), o)
FAULT(modes_cbc, (const struct aes_key *k, bool d, const void *i, void *o, size_t n, uint8_t *v), (k, d, i, o, n, v), o)
FAULT(modes_cbc_essiv, (const struct aes_key *k, const struct aes_key *e, bool d, const void *i, void *o, size_t n,
			uint8_t *v), (k, e, d, i, o, n, v), o)
FAULT(modes_ctr, (const struct aes_key *k, const void *i, void *o, size_t n, uint8_t *v), (k, i, o, n, v), o)
FAULT(xts_expand, (struct xts_key *key, const uint8_t *secret, uint32_t size), (key, secret, size), key->tweak.encrypt)
FAULT(xts_sectors, (const struct xts_key *k, bool d, const void *i, void *o, uint64_t s, size_t n, uint32_t z),
      (k, d, i, o, s, n, z), o)
FAULT(xts_unit, (const struct xts_key *k, bool d, bool c, const void *i, void *o, size_t n, uint8_t *v),
      (k, d, c, i, o, n, v), o)
FAULT(gcm_seal, (const uint8_t *k, uint32_t s, const uint8_t *v, const void *a, size_t m, const void *i, void *o,
		 size_t n, uint8_t *t), (k, s, v, a, m, i, o, n, t), t)
VERDICT(gcm_open, (const uint8_t *k, uint32_t s, const uint8_t *v, const void *a, size_t m, const void *i, void *o,
		   size_t n, const uint8_t *t), (k, s, v, a, m, i, o, n, t))
FAULT(hash_once, (uint32_t a, const void *d, size_t n, uint8_t *o), (a, d, n, o), o)
FAULT(hmac_final, (struct hmac *h, uint8_t *o), (h, o), o)
FAULT(hkdf_extract, (uint32_t a, const void *s, size_t m, const void *i, size_t n, uint8_t *o), (a, s, m, i, n, o), o)
FAULT(hkdf_expand, (uint32_t a, const uint8_t *p, const void *i, size_t m, uint8_t *o, size_t n), (a, p, i, m, o, n), o)
FAULT(pbkdf2, (uint32_t a, const void *p, size_t m, const void *s, size_t l, uint32_t t, uint8_t *o, size_t n),
      (a, p, m, s, l, t, o, n), o)
FAULT(af_merge, (uint32_t h, uint8_t *k, size_t n, uint32_t s, const uint8_t *a), (h, k, n, s, a), k)
VERDICT(af_split, (uint32_t h, const uint8_t *k, size_t n, uint32_t s, uint8_t *a), (h, k, n, s, a))
FAULT(blake2b_final, (struct blake2b *h, uint8_t *o), (h, o), o)
VERDICT(argon2, (uint32_t y, const void *p, size_t m, const void *s, size_t l, uint32_t t, uint32_t k, uint32_t q,
		 uint8_t *o, size_t n, void *w), (y, p, m, s, l, t, k, q, o, n, w))
FAULT(x25519_public, (uint8_t *o, const uint8_t *s), (o, s), o)
VERDICT(x25519, (uint8_t *o, const uint8_t *s, const uint8_t *p), (o, s, p))
VERDICT(hpke_seal, (uint32_t e, const uint8_t *s, const uint8_t *p, const void *i, size_t m, const void *a, size_t l,
		    const uint8_t *g, size_t n, uint8_t *o), (e, s, p, i, m, a, l, g, n, o))
FAULT(cmac, (const uint8_t *k, const void *d, size_t n, uint8_t *o), (k, d, n, o), o)
VERDICT(hpke_open, (uint32_t e, const uint8_t *s, const uint8_t *p, const void *i, size_t m, const void *a, size_t l,
		    const uint8_t *g, size_t n, uint8_t *o), (e, s, p, i, m, a, l, g, n, o))
FAULT(drbg_init, (struct drbg *d, const void *s, size_t n), (d, s, n), d)
FAULT(drbg_reseed, (struct drbg *d, const void *s, size_t n), (d, s, n), d)
FAULT(drbg_generate, (struct drbg *d, uint8_t *o, size_t n), (d, o, n), o)
VERDICT(random_healthy, (struct random_health *h, uint64_t s), (h, s))
enum { PRIMITIVES = __COUNTER__ };

int main(void)
{
	static uint8_t memory[POWER_ON_MEMORY] __attribute__((aligned(64)));
	const uint32_t all = host_features();
	const int paths = all & TRESOR_CPU_VAES512 ? 3 : all & ~TRESOR_CPU_RDSEED ? 2 : 1;

	compare_sums();
	printf("ok - the power-on sum is OpenSSL's and libargon2's\n");
	cpu_features = all;
	CHECK(crypto_power_on(memory) && cpu_features == all);
	for (broken = 0; broken < PRIMITIVES; broken++) {
		for (int path = 0; path < paths; path++) {
			CHECK(seen[broken][path] != 0);
			broken_on = seen[broken][path] - 1;
			if (crypto_power_on(memory)) {
				fprintf(stderr, "not ok - primitive %d, broken on features 0x%x, passes\n", broken, broken_on);
				return 1;
			}
		}
	}
	broken = -1;
	CHECK(crypto_power_on(memory));
	printf("ok - %d primitives, each broken on each of %d paths, do not power on\n", PRIMITIVES, paths);
	return 0;
}
