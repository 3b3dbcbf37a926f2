/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sizes and contents, from a fixed seed, through ours and through
 * OpenSSL's (for Argon2: libargon2's), once for each set of CPU features.
 */
#include <argon2.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/af.h"
#include "crypto/argon2.h"
#include "crypto/cmac.h"
#include "crypto/cpu.h"
#include "crypto/ct.h"
#include "crypto/drbg.h"
#include "crypto/gcm.h"
#include "crypto/hkdf.h"
#include "crypto/hmac.h"
#include "crypto/hpke.h"
#include "crypto/modes.h"
#include "crypto/pbkdf2.h"
#include "crypto/random.h"
#include "crypto/x25519.h"
#include "crypto/xts.h"
#include "host.h"


#define BIG	70000

static uint64_t seed = 0x7472657370726573;
static uint8_t in[BIG + 64], ours[BIG + 64], theirs[BIG + 64];

static uint32_t below(uint32_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % limit;
}

static void fill_random(void *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)p)[i] = (uint8_t)below(256);
}

#define CHECK(condition) do { \
	if (!(condition)) { \
		fprintf(stderr, "%s:%d: %s (features 0x%x)\n", __FILE__, __LINE__, #condition, cpu_features); \
		exit(1); \
	} \
} while (0)

static const struct {
	uint32_t algorithm;
	const char *name;
} hashes[] = {
	{ TRESOR_SHA1, "SHA1" }, { TRESOR_SHA224, "SHA224" }, { TRESOR_SHA256, "SHA256" },
	{ TRESOR_SHA384, "SHA384" }, { TRESOR_SHA512, "SHA512" },
};
#define HASHES (sizeof(hashes) / sizeof(hashes[0]))

/* Every how many of the random inputs are tried. */
static int part = 1;

static void test_hash(void)
{
	for (int i = 0; i < 2000 / part; i++) {
		const size_t h = below(HASHES), size = below(i % 10 ? 600 : 9000);
		const EVP_MD *md = EVP_get_digestbyname(hashes[h].name);
		const size_t key_size = below(300), split = size ? below((uint32_t)size + 1) : 0;
		uint8_t key[300];
		unsigned int length;
		struct hash hash;
		struct hmac hmac;

		fill_random(in, size);
		fill_random(key, key_size);
		hash_init(&hash, hashes[h].algorithm);
		hash_update(&hash, in, split);
		hash_update(&hash, in + split, size - split);
		hash_final(&hash, ours);
		EVP_Digest(in, size, theirs, &length, md, NULL);
		CHECK(length == hash_size(hashes[h].algorithm) && !memcmp(ours, theirs, length));

		hmac_init(&hmac, hashes[h].algorithm, key, key_size);
		hmac_update(&hmac, in, split);
		hmac_update(&hmac, in + split, size - split);
		hmac_final(&hmac, ours);
		HMAC(md, key, (int)key_size, in, size, theirs, &length);
		CHECK(!memcmp(ours, theirs, length));
	}
}

static void test_kdf(void)
{
	for (int i = 0; i < 300 / part; i++) {
		const size_t h = below(HASHES), pass = below(200), salt = below(100), size = 1 + below(200);
		const size_t digest = hash_size(hashes[h].algorithm);
		const EVP_MD *md = EVP_get_digestbyname(hashes[h].name);
		const uint32_t iterations = 1 + below(50);
		EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
		size_t length = size;
		uint8_t prk[64];

		fill_random(in, pass + salt);
		pbkdf2(hashes[h].algorithm, in, pass, in + pass, salt, iterations, ours, size);
		PKCS5_PBKDF2_HMAC((char *)in, (int)pass, in + pass, (int)salt, (int)iterations, md, (int)size, theirs);
		CHECK(!memcmp(ours, theirs, size));

		hkdf_extract(hashes[h].algorithm, in + pass, salt, in, pass + 1, prk);
		hkdf_expand(hashes[h].algorithm, prk, in, salt, ours, size);
		EVP_PKEY_derive_init(context);
		EVP_PKEY_CTX_set_hkdf_md(context, md);
		EVP_PKEY_CTX_set1_hkdf_salt(context, in + pass, (int)salt);
		EVP_PKEY_CTX_set1_hkdf_key(context, in, (int)pass + 1);
		EVP_PKEY_CTX_add1_hkdf_info(context, in, (int)salt);
		CHECK(EVP_PKEY_derive(context, theirs, &length) == 1);
		CHECK(digest && !memcmp(ours, theirs, size));
		EVP_PKEY_CTX_free(context);
	}
}

static void evp(const EVP_CIPHER *cipher, bool decrypt, const uint8_t *key, const uint8_t *iv,
		const uint8_t *from, uint8_t *to, size_t size)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int length;

	CHECK(EVP_CipherInit_ex(context, cipher, NULL, key, iv, !decrypt) == 1);
	EVP_CIPHER_CTX_set_padding(context, 0);
	CHECK(EVP_CipherUpdate(context, to, &length, from, (int)size) == 1);
	EVP_CIPHER_CTX_free(context);
}

static void test_modes(void)
{
	static const EVP_CIPHER *(*const ecb[])(void) = { EVP_aes_128_ecb, EVP_aes_192_ecb, EVP_aes_256_ecb };
	static const EVP_CIPHER *(*const cbc[])(void) = { EVP_aes_128_cbc, EVP_aes_192_cbc, EVP_aes_256_cbc };
	static const EVP_CIPHER *(*const ctr[])(void) = { EVP_aes_128_ctr, EVP_aes_192_ctr, EVP_aes_256_ctr };

	for (int i = 0; i < 600 / part; i++) {
		const uint32_t strength = below(3), key_size = 16 + 8 * strength;
		const size_t size = 16 * (1 + below(i % 20 ? 200 : 4096)), cut = 16 * below((uint32_t)size / 16);
		const size_t odd = size - below(16);
		const bool decrypt = below(2);
		uint8_t secret[32], iv[16], next[16], digest[32];
		struct aes_key key, essiv;

		fill_random(secret, sizeof(secret));
		fill_random(iv, sizeof(iv));
		fill_random(in, size);
		if (below(4) == 0)
			memset(iv + 4, 0xff, 12);
		aes_expand(&key, secret, key_size);

		memcpy(ours, in, size);
		modes_ecb(&key, decrypt, ours, ours, size);
		evp(ecb[strength](), decrypt, secret, NULL, in, theirs, size);
		CHECK(!memcmp(ours, theirs, size));

		memcpy(next, iv, 16);
		memcpy(ours, in, size);
		if (cut)
			modes_cbc(&key, decrypt, ours, ours, cut, next);
		modes_cbc(&key, decrypt, ours + cut, ours + cut, size - cut, next);
		evp(cbc[strength](), decrypt, secret, iv, in, theirs, size);
		CHECK(!memcmp(ours, theirs, size));
		CHECK(!memcmp(next, (decrypt ? in : theirs) + size - 16, 16));

		memcpy(next, iv, 16);
		memset(ours, 0xaa, sizeof(ours));
		if (cut)
			modes_ctr(&key, in, ours, cut, next);
		modes_ctr(&key, in + cut, ours + cut, odd - cut, next);
		evp(ctr[strength](), false, secret, iv, in, theirs, odd);
		CHECK(!memcmp(ours, theirs, odd));
		for (size_t at = odd; at < ((odd + 7) & ~7ul); at++)
			CHECK(ours[at] == 0);
		CHECK(ours[(odd + 7) & ~7ul] == 0xaa);

		/* ESSIV as dm-crypt defines it, put together from OpenSSL's parts. */
		memset(iv + 8, 0, 8);
		memcpy(next, iv, 16);
		modes_essiv_key(&essiv, secret, key_size);
		modes_cbc_essiv(&key, &essiv, decrypt, in, ours, size, next);
		EVP_Digest(secret, key_size, digest, NULL, EVP_sha256(), NULL);
		evp(EVP_aes_256_ecb(), false, digest, NULL, iv, next, 16);
		evp(cbc[strength](), decrypt, secret, next, in, theirs, size);
		CHECK(!memcmp(ours, theirs, size));
	}
}

static void test_xts(void)
{
	for (int i = 0; i < 600 / part; i++) {
		const bool decrypt = below(2), large = below(2);
		const EVP_CIPHER *cipher = large ? EVP_aes_256_xts() : EVP_aes_128_xts();
		const uint32_t sector_size = 512u << below(4);
		const size_t sectors = 1 + below(65536 / sector_size / (i % 8 ? 4 : 1));
		const size_t size = sectors * sector_size;
		const size_t odd = 16 + below(i % 8 ? 1000 : 20000);
		const uint64_t first = (uint64_t)below(1u << 31) << below(33);
		struct xts_key key;
		uint8_t secret[64], iv[16] = { 0 }, running[16];
		size_t cut;

		fill_random(secret, sizeof(secret));
		fill_random(in, size);
		xts_expand(&key, secret, large ? 64 : 32);
		memcpy(ours, in, size);
		if (below(2))
			xts_sectors(&key, decrypt, ours, ours, first, size, sector_size);
		else
			xts_sectors(&key, decrypt, in, ours, first, size, sector_size);
		for (size_t k = 0; k < sectors; k++) {
			const uint64_t number = first + k * (sector_size / 512);

			memcpy(iv, &number, 8);
			evp(cipher, decrypt, secret, iv, in + k * sector_size, theirs + k * sector_size, sector_size);
		}
		CHECK(!memcmp(ours, theirs, size));

		/* Any length, whole, then in two parts. */
		fill_random(iv, sizeof(iv));
		fill_random(in, odd);
		memset(ours, 0xaa, odd + 64);
		evp(cipher, decrypt, secret, iv, in, theirs, odd);
		memcpy(running, iv, 16);
		xts_unit(&key, decrypt, false, in, ours, odd, running);
		CHECK(!memcmp(ours, theirs, odd));
		CHECK(ours[(odd + 7) & ~7ul] == 0xaa);
		cut = odd < 48 ? 0 : 16 * (1 + below((uint32_t)odd / 16 - 2));
		memcpy(running, iv, 16);
		memcpy(ours, in, odd);
		if (cut)
			xts_unit(&key, decrypt, false, ours, ours, cut, running);
		xts_unit(&key, decrypt, cut != 0, ours + cut, ours + cut, odd - cut, running);
		CHECK(!memcmp(ours, theirs, odd));
	}
}

/* Whole blocks, from one to sixteen. */
static void test_cmac(void)
{
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, (char[]){ "AES-128-CBC" }, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
	uint8_t key[16];
	size_t length;

	for (int i = 0; i < 800 / part; i++) {
		const size_t size = 16 + 16 * (size_t)below(16);

		fill_random(key, sizeof(key));
		fill_random(in, size);
		cmac(key, in, size, ours);
		CHECK(EVP_MAC_init(context, key, sizeof(key), parameters) == 1 &&
		      EVP_MAC_update(context, in, size) == 1 &&
		      EVP_MAC_final(context, theirs, &length, 16) == 1 && length == 16);
		CHECK(memcmp(ours, theirs, 16) == 0);
	}
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
}

static void test_gcm(void)
{
	for (int i = 0; i < 500 / part; i++) {
		const uint32_t key_size = below(2) ? 32 : 16;
		const size_t size = below(i % 20 ? 600 : BIG), aad = below(200);
		EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
		uint8_t key[32], iv[12], associated[200], tag[16], expected[16];
		int length;

		fill_random(key, sizeof(key));
		fill_random(iv, sizeof(iv));
		fill_random(associated, aad);
		fill_random(in, size);
		gcm_seal(key, key_size, iv, associated, aad, in, ours, size, tag);
		EVP_EncryptInit_ex(context, key_size == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), NULL, key, iv);
		EVP_EncryptUpdate(context, NULL, &length, associated, (int)aad);
		EVP_EncryptUpdate(context, theirs, &length, in, (int)size);
		EVP_EncryptFinal_ex(context, theirs + size, &length);
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, expected);
		CHECK(!memcmp(ours, theirs, size) && !memcmp(tag, expected, 16));
		CHECK(gcm_open(key, key_size, iv, associated, aad, ours, ours, size, tag));
		CHECK(!memcmp(ours, in, size));

		/* One bit anywhere: refused, and nothing written. */
		memset(ours, 0x55, size);
		tag[below(16)] ^= (uint8_t)(1 << below(8));
		CHECK(!gcm_open(key, key_size, iv, associated, aad, theirs, ours, size, tag));
		memcpy(tag, expected, 16);
		if (size) {
			theirs[below((uint32_t)size)] ^= (uint8_t)(1 << below(8));
			CHECK(!gcm_open(key, key_size, iv, associated, aad, theirs, ours, size, tag));
		}
		for (size_t at = 0; at < size; at++)
			CHECK(ours[at] == 0x55);
		EVP_CIPHER_CTX_free(context);
	}
}

static void test_x25519(void)
{
	for (int i = 0; i < 300 / part; i++) {
		uint8_t secret[32], peer[32], public_key[32], expected[32];
		EVP_PKEY *mine, *theirs_key;
		EVP_PKEY_CTX *context;
		size_t length = 32;

		fill_random(secret, 32);
		fill_random(peer, 32);
		/* Edges of the field: values at and above p, and the ignored top bit. */
		if (i % 8 == 0)
			memset(peer, 0xff, 31);
		if (i % 16 == 0)
			peer[0] = (uint8_t)(0xec + i / 16);
		mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, 32);
		theirs_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
		x25519_public(public_key, secret);
		EVP_PKEY_get_raw_public_key(mine, expected, &length);
		CHECK(!memcmp(public_key, expected, 32));
		context = EVP_PKEY_CTX_new(mine, NULL);
		EVP_PKEY_derive_init(context);
		EVP_PKEY_derive_set_peer(context, theirs_key);
		if (EVP_PKEY_derive(context, expected, &length) == 1) {
			CHECK(x25519(public_key, secret, peer));
			CHECK(!memcmp(public_key, expected, 32));
		} else {
			CHECK(!x25519(public_key, secret, peer));
		}
		EVP_PKEY_CTX_free(context);
		EVP_PKEY_free(mine);
		EVP_PKEY_free(theirs_key);
	}
	memset(in, 0, 32);
	CHECK(!x25519(ours, in + 32, in));
}

static volatile bool helping;

static void *helper(void *unused)
{
	while (helping)
		argon2_assist();
	return unused;
}

static void test_argon2(int threads)
{
	pthread_t helpers[3];

	helping = true;
	for (int i = 0; i < threads; i++)
		pthread_create(&helpers[i], NULL, helper, NULL);
	for (int i = 0; i < 60 / part; i++) {
		const uint32_t type = below(2) ? TRESOR_KDF_ARGON2I : TRESOR_KDF_ARGON2ID;
		const uint32_t lanes = 1 + below(i % 10 ? 5 : 20), time = 1 + below(3);
		const uint32_t memory_kib = 8 * lanes + below(i % 10 ? 600 : 5000);
		const size_t pass = below(200), salt = 8 + below(56), size = 4 + below(196);
		const uint64_t needed = argon2_memory(memory_kib, lanes);
		uint8_t *memory = aligned_alloc(64, needed);

		fill_random(in, pass + salt);
		memset(memory, 0x5a, needed);
		CHECK(argon2(type, in, pass, in + pass, salt, time, memory_kib, lanes, ours, size, memory));
		CHECK(argon2_hash(time, memory_kib, lanes, in, pass, in + pass, salt, theirs, size, NULL, 0,
				  type == TRESOR_KDF_ARGON2I ? Argon2_i : Argon2_id,
				  ARGON2_VERSION_13) == ARGON2_OK);
		CHECK(!memcmp(ours, theirs, size));
		for (uint64_t at = 0; at < needed; at++)
			CHECK(memory[at] == 0);
		free(memory);
	}
	helping = false;
	for (int i = 0; i < threads; i++)
		pthread_join(helpers[i], NULL);
	CHECK(!argon2(TRESOR_KDF_ARGON2ID, in, 1, in, 8, 1, 7, 1, ours, 32, NULL));
	CHECK(!argon2(TRESOR_KDF_ARGON2ID, in, 1, in, 8, 1, 8 * 65, 65, ours, 32, NULL));
	CHECK(!argon2(TRESOR_KDF_ARGON2ID, in, 1, in, 8, 0, 8, 1, ours, 32, NULL));
	CHECK(!argon2(3 + TRESOR_KDF_ARGON2ID, in, 1, in, 8, 1, 8, 1, ours, 32, NULL));
}

/* The definition, step by step, with OpenSSL's hash. */
static void af_reference(const char *name, uint8_t *key, size_t size, uint32_t stripes, const uint8_t *area)
{
	const EVP_MD *md = EVP_get_digestbyname(name);
	const size_t step = (size_t)EVP_MD_get_size(md);
	uint8_t d[64] = { 0 }, message[4 + 64], digest[64];

	for (uint32_t s = 0; s < stripes; s++) {
		for (size_t i = 0; i < size; i++)
			d[i] ^= area[s * size + i];
		for (size_t j = 0; s + 1 < stripes && j * step < size; j++) {
			const size_t part = size - j * step < step ? size - j * step : step;

			memcpy(message, (uint8_t[]){ 0, 0, 0, (uint8_t)j }, 4);
			memcpy(message + 4, d + j * step, part);
			EVP_Digest(message, 4 + part, digest, NULL, md, NULL);
			memcpy(d + j * step, digest, part);
		}
	}
	memcpy(key, d, size);
}

static void test_af(void)
{
	for (int i = 0; i < 200 / part; i++) {
		const size_t h = below(HASHES), size = 1 + below(AF_KEY_MAX);
		const uint32_t stripes = 1 + below(i % 20 ? 20 : 1000);
		uint8_t key[64], merged[64];

		fill_random(key, size);
		CHECK(af_split(hashes[h].algorithm, key, size, stripes, ours));
		af_merge(hashes[h].algorithm, merged, size, stripes, ours);
		CHECK(!memcmp(key, merged, size));
		af_reference(hashes[h].name, merged, size, stripes, ours);
		CHECK(!memcmp(key, merged, size));
	}
}

static void test_random(void)
{
	struct random_health health = { 0 };
	uint32_t counts[256] = { 0 };

	CHECK(random_bytes(ours, 65536) && random_bytes(theirs, 65536));
	CHECK(memcmp(ours, theirs, 65536));
	/* 256 expected of each value, standard deviation 16: 10 of them. */
	for (int i = 0; i < 65536; i++)
		counts[ours[i]]++;
	for (int i = 0; i < 256; i++)
		CHECK(counts[i] > 96 && counts[i] < 416);
	CHECK(random_healthy(&health, 5) && random_healthy(&health, 6));
	CHECK(!random_healthy(&health, 6));
	CHECK(!random_healthy(&health, ~0ull));
	CHECK(!random_healthy(&health, 0));
	/* 5 opened the window: its return within 512 samples is one coincidence too many. */
	CHECK(random_healthy(&health, 7) && !random_healthy(&health, 5));
}

static void test_ct(void)
{
	for (int i = 0; i < 1000 / part; i++) {
		const size_t size = below(100);

		fill_random(ours, size);
		memcpy(theirs, ours, size);
		CHECK(ct_equal(ours, theirs, size));
		if (size) {
			theirs[below((uint32_t)size)] ^= (uint8_t)(1 << below(8));
			CHECK(!ct_equal(ours, theirs, size));
		}
	}
	CHECK(ct_mask(1) == ~0ull && ct_mask(0) == 0);
	CHECK(ct_mask_equal(1ull << 63, 1ull << 63) == ~0ull && ct_mask_equal(0, 1ull << 63) == 0);
	CHECK(ct_select(ct_mask(1), 3, 4) == 3 && ct_select(ct_mask(0), 3, 4) == 4);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		part = (int)strtol(argv[1], NULL, 10);
	const uint32_t all = host_features();
	const uint32_t sets[] = { 0, TRESOR_CPU_SHA, TRESOR_CPU_AVX2, TRESOR_CPU_AVX2 | TRESOR_CPU_VAES256, all };

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (sets[i] & ~all) {
			printf("features 0x%x: not on this CPU\n", sets[i]);
			continue;
		}
		cpu_features = sets[i];
		test_hash();
		test_kdf();
		test_modes();
		test_xts();
		test_gcm();
		test_cmac();
		test_x25519();
		test_argon2(0);
		test_argon2(2);
		test_af();
		test_random();
		test_ct();
		printf("features 0x%x: ok\n", cpu_features);
	}
	return 0;
}
