/* SPDX-License-Identifier: Apache-2.0 */
/* The flow of 2016 and the kernel ring, checked with OpenSSL. */
#include "seal.h"
#include "volume.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

void test_legacy(void)
{
	struct tresor_legacy make = { .head = HEAD(tresor_legacy, LEGACY), .uuid = "legacy", .make = 1,
				      .policy = TRESOR_POLICY_MRSIGNER, .key_size = 16, .mode = TRESOR_CBC,
				      .kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 5 },
				      .sealed_out = (uint64_t)sealed_of(0), .bytes_size = 16 }, again;
	struct tresor_block *block = (void *)(arena + (5 << 20));
	struct tresor_blocks blocks = { .head = HEAD(tresor_blocks, BLOCKS), .count = 2,
					.blocks = (uint64_t)block };
	uint8_t *data = arena + (3 << 20);

	memset(make.bytes, 0x42, 16);
	again = make;
	ASSERT(enter(&make) == TRESOR_OK && make.handle != 0);
	again.make = 0;
	again.policy = 0;
	again.sealed = (uint64_t)sealed_of(0);
	again.sealed_out = (uint64_t)sealed_of(1);
	ASSERT(enter(&again) == TRESOR_OK && again.handle != make.handle);
	ASSERT(memcmp(sealed_of(0), sealed_of(1), sizeof(struct tresor_sealed_salt)) == 0);

	/* Two handles, one key: what the first encrypts the second decrypts. */
	memset(data, 0x11, 64);
	block[0] = (struct tresor_block){ .in = (uint64_t)data, .out = (uint64_t)data + 64, .length = 64,
					  .handle = make.handle, .mode = TRESOR_CBC };
	block[1] = block[0];
	block[1].mode = TRESOR_XTS;
	ASSERT(enter(&blocks) == TRESOR_OK);
	ASSERT(block[0].status == TRESOR_OK && block[1].status == TRESOR_E_HANDLE);
	ASSERT(memcmp(data, data + 64, 64) != 0 && memcmp(block[0].iv, data + 64 + 48, 16) == 0);
	block[0] = (struct tresor_block){ .in = (uint64_t)data + 64, .out = (uint64_t)data + 128, .length = 64,
					  .handle = again.handle, .mode = TRESOR_CBC, .decrypt = 1 };
	block[1] = block[0];
	block[1].length = 63;
	ASSERT(enter(&blocks) == TRESOR_OK);
	ASSERT(block[0].status == TRESOR_OK && block[1].status == TRESOR_E_REQUEST);
	ASSERT(memcmp(data, data + 128, 64) == 0);
	ASSERT(close_handle(make.handle) == TRESOR_OK && close_handle(again.handle) == TRESOR_OK);

	again.uuid[0] ^= 1;
	ASSERT(enter(&again) == TRESOR_E_SEAL_DAMAGED && again.seal_status == TRESOR_E_SEAL_DAMAGED);
}

/* The key of a legacy handle, by OpenSSL from the salt that only this test can unseal. */
static void legacy_key(const struct tresor_legacy *legacy, const struct tresor_sealed_salt *sealed, uint8_t key[64])
{
	uint8_t salt[32], secret[32], prk[32], text[57] = { 0 };
	unsigned int size = 32;
	bool stale;

	ASSERT(tresor_seal_open(sealed, legacy->uuid, TRESOR_ANY_SLOT, &legacy->kdf, salt, &stale) == TRESOR_OK);
	ASSERT(PKCS5_PBKDF2_HMAC((char *)legacy->bytes, 16, salt, 32, 5, EVP_sha256(), 32, secret));
	/* RFC 5869: extract, then two blocks of expand. */
	ASSERT(HMAC(EVP_sha256(), "", 0, secret, 32, prk, &size));
	memcpy(text + 32, "tresor legacy v2", 16);
	memcpy(text + 48, &legacy->mode, 4);
	memcpy(text + 52, &legacy->key_size, 4);
	text[56] = 1;
	ASSERT(HMAC(EVP_sha256(), prk, 32, text + 32, 25, key, &size));
	memcpy(text, key, 32);
	text[56] = 2;
	ASSERT(HMAC(EVP_sha256(), prk, 32, text, 57, key + 32, &size));
}

/* One passphrase, and no key of one mode or size is another's or a part of it: HKDF by OpenSSL. */
void test_separation(void)
{
	static const struct { uint32_t mode, size; } kinds[] = {
		{ TRESOR_ECB, 16 }, { TRESOR_ECB, 24 }, { TRESOR_ECB, 32 }, { TRESOR_CBC, 16 }, { TRESOR_CBC, 32 },
		{ TRESOR_CTR, 16 }, { TRESOR_CTR, 32 }, { TRESOR_CBC_ESSIV, 16 }, { TRESOR_CBC_ESSIV, 32 },
		{ TRESOR_XTS, 32 }, { TRESOR_XTS, 64 },
	};
	enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };
	struct tresor_legacy legacy = { .head = HEAD(tresor_legacy, LEGACY), .uuid = "legacy",
					.kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 5 },
					.sealed = (uint64_t)sealed_of(0), .sealed_out = (uint64_t)sealed_of(0),
					.bytes_size = 16, .bytes = "a passphrase" };
	uint8_t keys[KINDS][64], *data = arena + (3 << 20);

	for (int i = 0; i < KINDS; i++) {
		uint8_t expected[16], iv[16] = { 0 };
		struct tresor_block block = { .in = (uint64_t)data, .out = (uint64_t)data + 64, .length = 16,
					      .mode = (uint16_t)kinds[i].mode };
		EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
		int n;

		legacy.make = i == 0;
		legacy.policy = i == 0 ? TRESOR_POLICY_MRSIGNER : 0;
		legacy.mode = kinds[i].mode;
		legacy.key_size = kinds[i].size;
		ASSERT(enter(&legacy) == TRESOR_OK);
		block.handle = legacy.handle;
		legacy_key(&legacy, sealed_of(0), keys[i]);
		memset(keys[i] + kinds[i].size, 0, 64 - kinds[i].size);
		memset(data, 0x11, 128);
		ASSERT(crypt_block(&block) == TRESOR_OK);
		if (kinds[i].mode != TRESOR_CBC_ESSIV) {
			const EVP_CIPHER *by = kinds[i].mode == TRESOR_XTS ?
				(kinds[i].size == 64 ? EVP_aes_256_xts() : EVP_aes_128_xts()) :
				kinds[i].mode == TRESOR_CTR ? (kinds[i].size == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr()) :
				/* ECB, and one block of CBC with a zero IV. */
				kinds[i].size == 16 ? EVP_aes_128_ecb() : kinds[i].size == 24 ? EVP_aes_192_ecb() :
				EVP_aes_256_ecb();

			ASSERT(EVP_EncryptInit_ex(cipher, by, NULL, keys[i], iv) == 1 &&
			       EVP_EncryptUpdate(cipher, expected, &n, data, 16) == 1);
			ASSERT(memcmp(expected, data + 64, 16) == 0);
		}
		EVP_CIPHER_CTX_free(cipher);
		ASSERT(close_handle(legacy.handle) == TRESOR_OK);
		for (int j = 0; j < i; j++)
			ASSERT(memcmp(keys[i], keys[j], 16) != 0 && memcmp(keys[i], keys[j] + 32, 16) != 0 &&
			       memcmp(keys[i] + 32, keys[j], 16) != 0);
	}
}

/* 12288 bytes under iv 7: a sector number for XTS and ESSIV, a block for CBC and CTR. */
static void check_by_openssl(const struct tresor_legacy *legacy, const uint8_t *in, const uint8_t *out)
{
	const EVP_CIPHER *by = legacy->mode == TRESOR_XTS ? EVP_aes_128_xts() :
		legacy->mode == TRESOR_CTR ? EVP_aes_256_ctr() :
		legacy->mode == TRESOR_ECB ? EVP_aes_256_ecb() : EVP_aes_256_cbc();
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	uint8_t key[64], hash[32], iv[16] = { 7 };
	static uint8_t expected[12288];
	int n;

	legacy_key(legacy, sealed_of(0), key);
	if (legacy->mode == TRESOR_CBC_ESSIV) {
		SHA256(key, 32, hash);
		ASSERT(EVP_EncryptInit_ex(cipher, EVP_aes_256_ecb(), NULL, hash, NULL) == 1 &&
		       EVP_EncryptUpdate(cipher, iv, &n, iv, 16) == 1);
		EVP_CIPHER_CTX_reset(cipher);
	}
	ASSERT(EVP_EncryptInit_ex(cipher, by, NULL, key, iv) == 1 &&
	       EVP_EncryptUpdate(cipher, expected, &n, in, 12288) == 1 && n == 12288);
	ASSERT(memcmp(expected, out, 12288) == 0);
	EVP_CIPHER_CTX_free(cipher);
}

/* A request of the Crypto API in parts equals the same in one, and OpenSSL's, in every mode. */
void test_parts(void)
{
	static const uint32_t modes[] = { TRESOR_XTS, TRESOR_CBC, TRESOR_CTR, TRESOR_ECB, TRESOR_CBC_ESSIV };
	struct tresor_legacy legacy = { .head = HEAD(tresor_legacy, LEGACY), .uuid = "legacy", .key_size = 32, .make = 1,
					.policy = TRESOR_POLICY_MRSIGNER,
					.kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 5 },
					.sealed_out = (uint64_t)sealed_of(0), .bytes_size = 16 };
	uint8_t *in = arena + (3 << 20), *whole = in + 16384, *parts = whole + 16384;

	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
		legacy.mode = modes[m];
		ASSERT(enter(&legacy) == TRESOR_OK);
		for (uint16_t decrypt = 0; decrypt <= 1; decrypt++) {
			struct tresor_block block = { .in = (uint64_t)in, .out = (uint64_t)whole, .length = 12288,
						      .handle = legacy.handle, .mode = (uint16_t)modes[m],
						      .decrypt = decrypt, .iv = { 7 } };

			for (int i = 0; i < 12288; i++)
				in[i] = (uint8_t)(i * 31 + i / 256);
			ASSERT(crypt_block(&block) == TRESOR_OK);
			block.length = 4096;
			memset(block.iv, 0, 16);
			block.iv[0] = 7;
			for (uint64_t part = 0; part < 3; part++) {
				block.in = (uint64_t)in + part * 4096;
				block.out = (uint64_t)parts + part * 4096;
				block.flags = part ? TRESOR_BLOCK_CONTINUED : 0;
				ASSERT(crypt_block(&block) == TRESOR_OK);
			}
			ASSERT(memcmp(whole, parts, 12288) == 0);
			if (!decrypt)
				check_by_openssl(&legacy, in, whole);
		}
		ASSERT(close_handle(legacy.handle) == TRESOR_OK);
	}
}

/* Through the ring a volume's key does what SECTORS does, and no more. */
void test_blocks_of_a_volume(void)
{
	uint8_t *data = arena + (3 << 20), *sector = data + 4096, *block_out = sector + 4096;
	struct tresor_unlock request;
	struct tresor_block good, block;

	create(false);
	ASSERT(unlock(PASS, 1, &request) == TRESOR_OK);
	for (int i = 0; i < 512; i++)
		data[i] = (uint8_t)(i * 5);
	ASSERT(crypt_range(request.handle, false, data, sector, 2047, 512) == TRESOR_OK);
	good = (struct tresor_block){ .in = (uint64_t)data, .out = (uint64_t)block_out, .length = 512,
				      .handle = request.handle, .mode = TRESOR_XTS, .iv = { 0xff, 7 } };
	block = good;
	ASSERT(crypt_block(&block) == TRESOR_OK && memcmp(sector, block_out, 512) == 0);
#define REFUSED(change) do { block = good; change; ASSERT(crypt_block(&block) == TRESOR_E_REQUEST); } while (0)
	REFUSED(block.length = 16);	/* E_K2 of any block, and what follows from it */
	REFUSED(block.length = 528);
	REFUSED(block.length = 1024);
	REFUSED(block.flags = TRESOR_BLOCK_CONTINUED);
	REFUSED(block.iv[8] = 1);
	REFUSED(block.iv[15] = 0x80);
	REFUSED(block.iv[1] = 8; block.iv[0] = 0);	/* sector 2048 of 2048 */
	REFUSED(memset(block.iv, 0xff, 8));
	ASSERT(close_handle(request.handle) == TRESOR_OK);

	/* With sectors of 4 KiB and an offset of the tweak. */
	v.segment.sector_size = 4096;
	v.segment.iv_tweak = 24;
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_OK);
	good.handle = request.handle;
	good.length = 4096;
	memset(good.iv, 0, 16);
	good.iv[0] = 24 + 8;
	block = good;
	ASSERT(crypt_range(request.handle, false, data, sector, 8, 4096) == TRESOR_OK);
	ASSERT(crypt_block(&block) == TRESOR_OK && memcmp(sector, block_out, 4096) == 0);
	REFUSED(block.iv[0] = 24 + 4);
	REFUSED(block.iv[0] = 16);	/* before the segment */
	REFUSED(block.length = 512);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
}
