/* SPDX-License-Identifier: Apache-2.0 */
#include "volume.h"
#include <openssl/evp.h>

struct volume v;

uint8_t *area_of(int slot) { return arena + (size_t)slot * (1 << 20); }
struct tresor_sealed_salt *sealed_of(int slot) { return (void *)(area_of(slot) + (1 << 19)); }

void create(bool sealed)
{
	struct tresor_create request = { .head = HEAD(tresor_create, CREATE), .policy = TRESOR_POLICY_MRSIGNER };

	v.macs = (void *)(arena + (4 << 20));
	v.array = (void *)(arena + (5 << 20));
	v.message = arena + (6 << 20);
	describe_segment(&request.segment);
	describe_digest(&request.digest);
	describe_keyslot(&request.keyslot, 0, sealed, area_of(0), sealed_of(0));
	request.macs = (uint64_t)v.macs;
	seal_request(&request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0,
		     PASS, sizeof(PASS) - 1);
	ASSERT(enter(&request) == TRESOR_OK);
	v.segment = request.segment;
	v.digest = request.digest;
	v.slots[0] = request.keyslot;
}

/* The client asks for the request as it is. */
void seal_unlock(struct tresor_unlock *request, const char *pass, uint32_t purpose)
{
	seal_request(request, v.message, purpose, UUID, TRESOR_ANY_SLOT, TRESOR_ANY_SLOT, pass,
		     (uint32_t)strlen(pass), NULL, 0);
}

void prepare(struct tresor_unlock *request, const char *pass, int slots, uint32_t purpose)
{
	*request = (struct tresor_unlock){ .head = HEAD(tresor_unlock, UNLOCK), .segment = v.segment,
					   .digest = v.digest, .keyslots = (uint64_t)v.array,
					   .count = (uint32_t)slots, .macs = (uint64_t)v.macs };
	for (int i = 0; i < slots; i++) {
		v.array[i] = v.slots[i];
		v.array[i].flags = TRESOR_KEYSLOT_TRY;
	}
	if (purpose == TRESOR_PURPOSE_AUTHENTICATE)
		request->macs_out = (uint64_t)v.macs;
	seal_unlock(request, pass, purpose);
}

uint32_t unlock(const char *pass, int slots, struct tresor_unlock *request)
{
	prepare(request, pass, slots, TRESOR_PURPOSE_UNLOCK);
	return enter(request);
}

uint32_t close_handle(uint32_t handle)
{
	struct tresor_close request = { .head = HEAD(tresor_close, CLOSE), .handle = handle };

	return enter(&request);
}

uint32_t crypt_range(uint32_t handle, bool decrypt, uint8_t *in, uint8_t *out, uint64_t sector,
		      uint32_t length)
{
	struct tresor_range *range = (void *)(arena + (7 << 20));
	struct tresor_sectors request = { .head = HEAD(tresor_sectors, SECTORS), .handle = handle,
					  .decrypt = decrypt, .count = 1, .ranges = (uint64_t)range };

	*range = (struct tresor_range){ .in = (uint64_t)in, .out = (uint64_t)out, .sector = sector,
					.length = length };
	return enter(&request);
}

void openssl_xts(const uint8_t key[64], bool encrypt, uint64_t sector, const uint8_t *in,
			uint8_t *out, int size)
{
	EVP_CIPHER_CTX *xts = EVP_CIPHER_CTX_new();
	uint8_t iv[16] = { 0 };
	int n;

	memcpy(iv, &sector, 8);
	ASSERT(EVP_CipherInit_ex(xts, EVP_aes_256_xts(), NULL, key, iv, encrypt) == 1 &&
	       EVP_CipherUpdate(xts, out, &n, in, size) == 1 && n == size);
	EVP_CIPHER_CTX_free(xts);
}

uint32_t crypt_block(struct tresor_block *block)
{
	struct tresor_block *there = (void *)(arena + (5 << 20));
	struct tresor_blocks request = { .head = HEAD(tresor_blocks, BLOCKS), .count = 1, .blocks = (uint64_t)there };

	*there = *block;
	ASSERT(enter(&request) == TRESOR_OK);
	*block = *there;
	return block->status;
}
