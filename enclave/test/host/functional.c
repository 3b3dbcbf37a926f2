/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations as an honest host uses them, and each way a seal, a header or
 * a message can be wrong. Ciphertext and keyslots are checked with OpenSSL.
 */
#include "machine.h"
#include "seal.h"
#include "slots.h"
#include "state.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sys/wait.h>
#include <unistd.h>

#define AREA	(64 * 4000)
#define PASS	"correct horse"

/* A volume as the host keeps it on disk. */
struct volume {
	struct tresor_segment segment;
	struct tresor_digest digest;
	struct tresor_keyslot slots[3];	/* 0 tresor, 1 portable, 2 enrolled */
	struct tresor_macs *macs;
	struct tresor_keyslot *array;
	uint8_t *message;
};
static struct volume v;

static uint8_t *area_of(int slot) { return arena + (size_t)slot * (1 << 20); }
static struct tresor_sealed_salt *sealed_of(int slot) { return (void *)(area_of(slot) + (1 << 19)); }

static void create(bool sealed)
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
static void seal_unlock(struct tresor_unlock *request, const char *pass, uint32_t purpose)
{
	seal_request(request, v.message, purpose, UUID, TRESOR_ANY_SLOT, TRESOR_ANY_SLOT, pass,
		     (uint32_t)strlen(pass), NULL, 0);
}

static void prepare(struct tresor_unlock *request, const char *pass, int slots, uint32_t purpose)
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

static uint32_t unlock(const char *pass, int slots, struct tresor_unlock *request)
{
	prepare(request, pass, slots, TRESOR_PURPOSE_UNLOCK);
	return enter(request);
}

static uint32_t close_handle(uint32_t handle)
{
	struct tresor_close request = { .head = HEAD(tresor_close, CLOSE), .handle = handle };

	return enter(&request);
}

static uint32_t crypt_range(uint32_t handle, bool decrypt, uint8_t *in, uint8_t *out, uint64_t sector,
		      uint32_t length)
{
	struct tresor_range *range = (void *)(arena + (7 << 20));
	struct tresor_sectors request = { .head = HEAD(tresor_sectors, SECTORS), .handle = handle,
					  .decrypt = decrypt, .count = 1, .ranges = (uint64_t)range };

	*range = (struct tresor_range){ .in = (uint64_t)in, .out = (uint64_t)out, .sector = sector,
					.length = length };
	return enter(&request);
}

static void openssl_xts(const uint8_t key[64], bool encrypt, uint64_t sector, const uint8_t *in,
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

/* LUKS by OpenSSL alone: what the portable keyslot of this volume holds. */
static void open_independently(const struct tresor_keyslot *keyslot, const char *pass, uint8_t key[64])
{
	static uint8_t area[AREA];
	uint8_t area_key[64], digest[32], block[64];

	ASSERT(PKCS5_PBKDF2_HMAC(pass, (int)strlen(pass), keyslot->salt, (int)keyslot->salt_size,
				 (int)keyslot->kdf.time, EVP_sha256(), 64, area_key));
	for (int i = 0; i < AREA / 512; i++)
		openssl_xts(area_key, false, (uint64_t)i, (uint8_t *)keyslot->area + i * 512, area + i * 512, 512);
	memset(key, 0, 64);
	for (int stripe = 0; stripe < 4000; stripe++) {
		for (int i = 0; i < 64; i++)
			key[i] ^= area[stripe * 64 + i];
		if (stripe == 3999)
			break;
		for (uint32_t half = 0; half < 2; half++) {
			uint8_t text[36] = { 0, 0, 0, (uint8_t)half };

			memcpy(text + 4, key + half * 32, 32);
			SHA256(text, sizeof(text), block + half * 32);
		}
		memcpy(key, block, 64);
	}
	ASSERT(PKCS5_PBKDF2_HMAC((char *)key, 64, v.digest.salt, 32, (int)v.digest.iterations, EVP_sha256(),
				 32, digest));
	ASSERT(memcmp(digest, v.digest.digest, 32) == 0);
}

static void test_round_trip(void)
{
	uint8_t key[64], expected[4096];
	uint8_t *plain = arena + (3 << 20), *cipher = plain + 65536, *again = cipher + 65536;
	struct tresor_unlock request;

	create(false);
	open_independently(&v.slots[0], PASS, key);
	ASSERT(unlock(PASS, 1, &request) == TRESOR_OK);
	ASSERT(request.slot == 0 && request.slots_changed == 0 && request.slots_added == 0 &&
	       request.slots_removed == 0 && request.resealed == 0);
	for (int i = 0; i < 4096; i++)
		plain[i] = (uint8_t)(i * 7);
	ASSERT(crypt_range(request.handle, false, plain, cipher, 5, 4096) == TRESOR_OK);
	for (uint64_t i = 0; i < 8; i++)
		openssl_xts(key, true, 5 + i, plain + i * 512, expected + i * 512, 512);
	ASSERT(memcmp(cipher, expected, 4096) == 0);
	ASSERT(crypt_range(request.handle, true, cipher, again, 5, 4096) == TRESOR_OK);
	ASSERT(memcmp(again, plain, 4096) == 0);
	ASSERT(crypt_range(request.handle, true, cipher, cipher, 5, 4096) == TRESOR_OK);
	ASSERT(memcmp(cipher, plain, 4096) == 0);

	/* Bounds of the volume: 1 MiB is 2048 sectors. */
	ASSERT(crypt_range(request.handle, false, plain, cipher, 2047, 512) == TRESOR_OK);
	ASSERT(crypt_range(request.handle, false, plain, cipher, 2047, 1024) == TRESOR_E_REQUEST);
	ASSERT(crypt_range(request.handle, false, plain, cipher, 2048, 512) == TRESOR_E_REQUEST);
	ASSERT(crypt_range(request.handle, false, plain, cipher, UINT64_MAX, 512) == TRESOR_E_REQUEST);
	ASSERT(crypt_range(request.handle, false, plain, cipher, 0, 513) == TRESOR_E_REQUEST);
	ASSERT(crypt_range(request.handle, false, plain, plain + 504, 0, 512) == TRESOR_E_REQUEST);
	ASSERT(crypt_range(request.handle, false, plain, (void *)(tresor_test_base - 504), 0, 512) == TRESOR_E_REQUEST);
	ASSERT(crypt_range(request.handle, false, (void *)(tresor_test_base + ENCLAVE_SIZE - 8), plain, 0, 512) ==
	       TRESOR_E_REQUEST);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	ASSERT(close_handle(request.handle) == TRESOR_E_HANDLE);
	ASSERT(crypt_range(request.handle, false, plain, cipher, 0, 512) == TRESOR_E_HANDLE);
}

static void test_passphrases(void)
{
	struct tresor_enrol enrol = { .head = HEAD(tresor_enrol, ENROL), .policy = TRESOR_POLICY_MRENCLAVE };
	struct tresor_unlock request;
	uint8_t first[64], second[64];

	create(true);
	ASSERT(unlock(PASS, 1, &request) == TRESOR_OK);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	ASSERT(unlock("wrong", 1, &request) == TRESOR_E_PASSPHRASE);
	ASSERT(request.handle == 0 && request.seal_status == 0);

	/* A portable slot 1, proved with slot 0's passphrase. */
	enrol.segment = v.segment;
	enrol.digest = v.digest;
	enrol.keyslots = (uint64_t)v.array;
	enrol.count = 1;
	enrol.macs = enrol.macs_out = (uint64_t)v.macs;
	v.array[0] = v.slots[0];
	v.array[0].flags = TRESOR_KEYSLOT_TRY;
	describe_keyslot(&enrol.fresh, 1, false, area_of(1), NULL);
	seal_request(&enrol, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, "wrong", 5, "new", 3);
	ASSERT(enter(&enrol) == TRESOR_E_PASSPHRASE);
	seal_request(&enrol, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 2, PASS, sizeof(PASS) - 1, "new", 3);
	ASSERT(enter(&enrol) == TRESOR_E_REQUEST);	/* another fresh slot than sealed */
	seal_request(&enrol, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3);
	ASSERT(enter(&enrol) == TRESOR_OK && enrol.slot == 0);
	v.slots[1] = enrol.fresh;
	open_independently(&v.slots[1], "new", first);
	ASSERT(v.macs->present == 3);

	ASSERT(unlock("new", 2, &request) == TRESOR_OK && request.slot == 1);
	ASSERT(request.slots_changed == 0 && request.slots_added == 0 && request.slots_removed == 0);
	ASSERT(close_handle(request.handle) == TRESOR_OK);

	/* And a third, a tresor slot bound to MRENCLAVE, with the second's passphrase. */
	enrol.count = 2;
	v.array[1] = v.slots[1];
	v.array[0].flags = 0;
	v.array[1].flags = TRESOR_KEYSLOT_TRY;
	describe_keyslot(&enrol.fresh, 2, true, area_of(2), sealed_of(2));
	seal_request(&enrol, v.message, TRESOR_PURPOSE_ENROL, UUID, 1, 2, "new", 3, "third", 5);
	ASSERT(enter(&enrol) == TRESOR_OK && enrol.slot == 1);
	v.slots[2] = enrol.fresh;
	ASSERT(sealed_of(2)->policy == TRESOR_POLICY_MRENCLAVE);
	ASSERT(unlock("third", 3, &request) == TRESOR_OK && request.slot == 2);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	open_independently(&v.slots[1], "new", second);
	ASSERT(memcmp(first, second, 64) == 0);
}

static void test_header(void)
{
	struct tresor_unlock request;

	create(false);
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.segment.iv_tweak = 1;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_E_HEADER && request.segment_changed == 1 && request.handle == 0);
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.segment.cipher = 2;
	ASSERT(enter(&request) == TRESOR_E_UNSUPPORTED);
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.segment.sector_size = 4096;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_E_HEADER);
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.segment.offset += 512;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_E_HEADER);
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	v.array[0].area_offset = 4096;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_OK && request.slots_changed == 1);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	/* A keyslot without a MAC, and a MAC without its keyslot. */
	v.slots[1] = v.slots[0];
	v.slots[1].slot = 7;
	v.macs->present |= 1 << 9;
	prepare(&request, PASS, 2, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_OK && request.slots_added == 1 << 7 && request.slots_removed == 1 << 9);
	ASSERT(close_handle(request.handle) == TRESOR_OK);

	/* The passphrase vouches for the changed header. */
	v.segment.iv_tweak = 77;
	prepare(&request, PASS, 2, TRESOR_PURPOSE_AUTHENTICATE);
	ASSERT(enter(&request) == TRESOR_OK && request.handle == 0 && request.segment_changed == 1);
	ASSERT(unlock(PASS, 2, &request) == TRESOR_OK && request.slots_added == 0 && request.slots_removed == 0);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	ASSERT(v.macs->present == 0x81);
}

static uint32_t seal_status(void)
{
	struct tresor_unlock request;
	uint32_t status = unlock(PASS, 1, &request);

	ASSERT(status == TRESOR_OK || status == request.seal_status);
	if (status == TRESOR_OK)
		ASSERT(close_handle(request.handle) == TRESOR_OK);
	return status;
}

static void test_seals(void)
{
	struct tresor_sealed_salt kept, *sealed = sealed_of(0);
	const struct machine home = machine;
	struct tresor_unlock request;

	create(true);
	kept = *sealed;
#define ELSEWHERE(change, expected) do { \
		change; \
		machine_restart(); \
		ASSERT(seal_status() == (expected)); \
		machine = home; \
	} while (0)
	ELSEWHERE(machine.secret[0] ^= 1, TRESOR_E_SEAL_MACHINE);
	ELSEWHERE(machine.attributes ^= 2, TRESOR_E_SEAL_BACKEND);
	ELSEWHERE(machine.mrsigner[31] ^= 1, TRESOR_E_SEAL_SIGNER);
	ELSEWHERE(machine.isv_prod_id++, TRESOR_E_SEAL_SIGNER);
	ELSEWHERE(machine.isv_svn--, TRESOR_E_SEAL_VERSION);
	ELSEWHERE(machine.cpu_svn[3]--, TRESOR_E_SEAL_VERSION);
	ELSEWHERE(machine.mrenclave[0] ^= 1, TRESOR_OK);
	ELSEWHERE(machine.xfrm = 0xe7, TRESOR_OK);
	ELSEWHERE(sealed->policy = TRESOR_POLICY_MRENCLAVE, TRESOR_E_SEAL_DAMAGED);
	for (size_t i = 0; i < sizeof(*sealed); i += 13) {
		*sealed = kept;
		((uint8_t *)sealed)[i] ^= 0x10;
		ELSEWHERE((void)0, TRESOR_E_SEAL_DAMAGED);
	}
	*sealed = kept;

	/* Newer microcode and a newer enclave: opens, and is sealed anew. */
	machine.cpu_svn[0]++;
	machine.isv_svn++;
	machine_restart();
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.sealed_out = (uint64_t)sealed_of(1);
	ASSERT(enter(&request) == TRESOR_OK && request.resealed == 1);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	*sealed = *sealed_of(1);
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.sealed_out = (uint64_t)sealed_of(1);
	ASSERT(enter(&request) == TRESOR_OK && request.resealed == 0);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	machine = home;
	machine_restart();
	ASSERT(seal_status() == TRESOR_E_SEAL_VERSION);
}

static void test_messages(void)
{
	struct tresor_unlock request, good;
	uint8_t *copy = arena + (2 << 20);

	create(false);
	prepare(&good, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	memcpy(copy, v.message, good.message.size);
	request = good;
	ASSERT(enter(&request) == TRESOR_OK);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	request = good;
	ASSERT(enter(&request) == TRESOR_E_MESSAGE);	/* replayed */

#define FORGED(change) do { \
		prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK); \
		change; \
		ASSERT(enter(&request) == TRESOR_E_MESSAGE); \
	} while (0)
	FORGED(v.message[0] ^= 1);
	FORGED(v.message[40] ^= 1);
	FORGED(v.message[request.message.size - 1] ^= 1);
	FORGED(request.message.size -= 1);
	FORGED(request.message.context.uuid[0] ^= 1);
	FORGED(request.message.context.nonce[0] ^= 1);
	FORGED(request.message.context.slot = 0);
	FORGED(request.message.context.version = 1);
	FORGED(request.message.context.request[0] ^= 1);
	/* Another purpose: the nonce is not good for it, and goes. */
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.message.context.purpose = TRESOR_PURPOSE_AUTHENTICATE;
	request.macs_out = (uint64_t)v.macs;
	ASSERT(enter(&request) == TRESOR_E_MESSAGE);
	request.message.context.purpose = TRESOR_PURPOSE_UNLOCK;
	request.macs_out = 0;
	ASSERT(enter(&request) == TRESOR_E_MESSAGE);
	/* Another enclave: sealed to a key that is gone. */
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	machine_restart();
	challenge(TRESOR_PURPOSE_UNLOCK, request.message.context.nonce);
	ASSERT(enter(&request) == TRESOR_E_MESSAGE);
	/* The 17th challenge drops the first. */
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	for (uint32_t i = 0; i < TRESOR_NONCES; i++) {
		uint8_t nonce[32];

		challenge(TRESOR_PURPOSE_CREATE, nonce);
	}
	ASSERT(enter(&request) == TRESOR_E_MESSAGE);
}

/* What the host changes of a request after the client sealed for it is refused. */
static void test_request(void)
{
	struct tresor_enrol enrol = { .head = HEAD(tresor_enrol, ENROL), .policy = TRESOR_POLICY_MRSIGNER }, ready;
	struct tresor_create create_request;
	struct tresor_unlock request;
	struct tresor_macs kept;

	/* CREATE: the host answers with an unsealed slot, another KDF, a policy, a segment. */
#define CREATED(change, expected) do { \
		create_request = (struct tresor_create){ .head = HEAD(tresor_create, CREATE), \
							 .policy = TRESOR_POLICY_MRENCLAVE }; \
		describe_segment(&create_request.segment); \
		describe_digest(&create_request.digest); \
		describe_keyslot(&create_request.keyslot, 0, true, area_of(0), sealed_of(0)); \
		create_request.macs = (uint64_t)v.macs; \
		seal_request(&create_request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0, \
			     PASS, sizeof(PASS) - 1); \
		change; \
		ASSERT(enter(&create_request) == (expected)); \
	} while (0)
	CREATED((void)0, TRESOR_OK);
	CREATED(create_request.keyslot.sealed_size = 0, TRESOR_E_MESSAGE);
	CREATED(create_request.keyslot.pass_kdf.time++, TRESOR_E_MESSAGE);
	CREATED(create_request.keyslot.kdf.hash = TRESOR_SHA1, TRESOR_E_MESSAGE);
	CREATED(create_request.policy = TRESOR_POLICY_MRSIGNER, TRESOR_E_MESSAGE);
	CREATED(create_request.segment.key_size = create_request.keyslot.key_size = 32, TRESOR_E_MESSAGE);
	CREATED(create_request.segment.iv_tweak = 8, TRESOR_E_MESSAGE);
	CREATED(create_request.digest.iterations++, TRESOR_E_MESSAGE);
	CREATED(create_request.keyslot.area_offset += 4096, TRESOR_E_MESSAGE);
	/* Below the floor nothing is made, whoever asks. */
	CREATED(create_request.keyslot.kdf.time = 999, TRESOR_E_UNSUPPORTED);
	CREATED(create_request.keyslot.pass_kdf.time = 999, TRESOR_E_UNSUPPORTED);
	CREATED(create_request.keyslot.pass_kdf = ((struct tresor_kdf){ .type = TRESOR_KDF_ARGON2ID, .time = 15,
		.memory_kib = 8, .lanes = 1 }), TRESOR_E_UNSUPPORTED);
	/* An unsealed slot is made when the client says so only. */
	sender_flags = 0;
	CREATED((void)0, TRESOR_OK);
	CREATED(create_request.keyslot.sealed_size = 0;
		seal_request(&create_request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0,
			     PASS, sizeof(PASS) - 1), TRESOR_E_REQUEST);
	sender_flags = TRESOR_ADMIT_UNSEALED;

	/* UNLOCK: host-made slots, cheaper ones, others tried, MACs taken away. */
	create(true);
#define UNLOCKED(change, expected) do { \
		prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK); \
		change; \
		ASSERT(enter(&request) == (expected)); \
	} while (0)
	UNLOCKED(v.array[0].sealed_size = 0, TRESOR_E_MESSAGE);
	UNLOCKED(v.array[0].kdf.time = 1, TRESOR_E_MESSAGE);
	UNLOCKED(v.array[0].salt[0] ^= 1, TRESOR_E_MESSAGE);
	UNLOCKED(v.array[1] = v.array[0]; v.array[1].slot = 1; request.count = 2, TRESOR_E_MESSAGE);
	UNLOCKED(request.segment.sector_size = 4096, TRESOR_E_MESSAGE);
	UNLOCKED(request.digest.iterations = 1, TRESOR_E_MESSAGE);
	UNLOCKED(request.macs = 0, TRESOR_E_MESSAGE);
	/* The client itself asks without MACs: a sealed slot has them, so somebody took them away. */
	UNLOCKED(request.macs = 0; seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK), TRESOR_E_HEADER);
	ASSERT(request.macs_missing == 1 && request.segment_changed == 0 && request.handle == 0);
	UNLOCKED(request.macs = 0; request.segment.iv_tweak = 8;
		 seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK), TRESOR_E_HEADER);
	/* AUTHENTICATE vouches for a header without MACs, and says so. */
	kept = *v.macs;
	prepare(&request, PASS, 1, TRESOR_PURPOSE_AUTHENTICATE);
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_AUTHENTICATE);
	ASSERT(enter(&request) == TRESOR_OK && request.macs_missing == 1);
	ASSERT(memcmp(&kept, v.macs, sizeof(kept)) == 0);
	/* Only sealed slots unless the client says otherwise. */
	sender_flags = 0;
	UNLOCKED((void)0, TRESOR_OK);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	UNLOCKED(v.array[0].sealed_size = 0; seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK), TRESOR_E_REQUEST);
	sender_flags = TRESOR_ADMIT_UNSEALED;

	/* ENROL: the same of the slot that is made, and no MACs out of nothing. */
	enrol.segment = v.segment;
	enrol.digest = v.digest;
	enrol.keyslots = (uint64_t)v.array;
	enrol.count = 1;
	enrol.macs = (uint64_t)v.macs;
	enrol.macs_out = (uint64_t)(v.macs + 1);
#define ENROLLED(change, expected) do { \
		v.array[0] = v.slots[0]; \
		v.array[0].flags = TRESOR_KEYSLOT_TRY; \
		ready = enrol; \
		describe_keyslot(&ready.fresh, 1, true, area_of(1), sealed_of(1)); \
		seal_request(&ready, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3); \
		change; \
		ASSERT(enter(&ready) == (expected)); \
	} while (0)
	ENROLLED((void)0, TRESOR_OK);
	ENROLLED(ready.fresh.sealed_size = 0, TRESOR_E_MESSAGE);
	ENROLLED(ready.fresh.pass_kdf.hash = TRESOR_SHA1, TRESOR_E_MESSAGE);
	ENROLLED(ready.policy = TRESOR_POLICY_MRENCLAVE, TRESOR_E_MESSAGE);
	ENROLLED(ready.macs = 0, TRESOR_E_MESSAGE);
	ENROLLED(ready.macs = 0; ready.segment.iv_tweak = 8;
		 seal_request(&ready, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3),
		 TRESOR_E_HEADER);
	ASSERT(ready.macs_missing == 1);
	ENROLLED(ready.fresh.kdf.time = 1;
		 seal_request(&ready, v.message, TRESOR_PURPOSE_ENROL, UUID, 0, 1, PASS, sizeof(PASS) - 1, "new", 3),
		 TRESOR_E_UNSUPPORTED);
}

/* Newer microcode: the seal is made again, under the policy it had. */
static void test_policy(void)
{
	static const uint32_t policies[] = { TRESOR_POLICY_MRENCLAVE, TRESOR_POLICY_MRSIGNER };
	const struct machine home = machine;

	for (int i = 0; i < 2; i++) {
		struct tresor_create request = { .head = HEAD(tresor_create, CREATE), .policy = policies[i] };
		struct tresor_legacy legacy = { .head = HEAD(tresor_legacy, LEGACY), .uuid = "legacy", .make = 1,
						.policy = policies[i], .key_size = 16, .mode = TRESOR_CBC,
						.kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 5 },
						.sealed_out = (uint64_t)sealed_of(2), .bytes_size = 16 };
		struct tresor_unlock opened;

		describe_segment(&request.segment);
		describe_digest(&request.digest);
		describe_keyslot(&request.keyslot, 0, true, area_of(0), sealed_of(0));
		request.macs = (uint64_t)v.macs;
		seal_request(&request, v.message, TRESOR_PURPOSE_CREATE, UUID, TRESOR_ANY_SLOT, 0, NULL, 0, PASS,
			     sizeof(PASS) - 1);
		ASSERT(enter(&request) == TRESOR_OK);
		v.segment = request.segment;
		v.digest = request.digest;
		v.slots[0] = request.keyslot;
		ASSERT(enter(&legacy) == TRESOR_OK && close_handle(legacy.handle) == TRESOR_OK);

		machine.cpu_svn[0]++;
		machine_restart();
		prepare(&opened, PASS, 1, TRESOR_PURPOSE_UNLOCK);
		opened.sealed_out = (uint64_t)sealed_of(1);
		ASSERT(enter(&opened) == TRESOR_OK && opened.resealed == 1);
		ASSERT(sealed_of(1)->policy == policies[i]);
		ASSERT(close_handle(opened.handle) == TRESOR_OK);
		/* The host cannot name one: a policy goes with a new salt. */
		legacy.make = 0;
		legacy.sealed = (uint64_t)sealed_of(2);
		legacy.sealed_out = (uint64_t)sealed_of(1);
		ASSERT(enter(&legacy) == TRESOR_E_REQUEST);
		legacy.policy = 0;
		ASSERT(enter(&legacy) == TRESOR_OK && sealed_of(1)->policy == policies[i]);
		ASSERT(memcmp(sealed_of(1), sealed_of(2), sizeof(struct tresor_sealed_salt)) != 0);
		ASSERT(close_handle(legacy.handle) == TRESOR_OK);
		machine = home;
		machine_restart();
	}
}

/* A dead enclave serves nothing but the wiping of its keys. */
static void test_dead(void)
{
	struct tresor_selftest selftest = { .head = HEAD(tresor_selftest, SELFTEST) };
	const struct tresor_volume *volume;
	struct tresor_unlock request;
	uint8_t *data = arena + (3 << 20);

	create(false);
	ASSERT(unlock(PASS, 1, &request) == TRESOR_OK);
	volume = tresor_slots_get(request.handle);
	tresor_slots_put(volume);
	tresor_state_die();
	ASSERT(crypt_range(request.handle, false, data, data, 0, 512) == TRESOR_E_DEAD);
	ASSERT(enter(&selftest) == TRESOR_E_DEAD);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	for (size_t i = 0; i < sizeof(*volume); i++)
		ASSERT(((const uint8_t *)volume)[i] == 0);
	ASSERT(close_handle(request.handle) == TRESOR_E_HANDLE);
	machine_restart();
}

static void test_kdf_memory(void)
{
	struct tresor_unlock request;

	create(false);
	v.slots[1] = v.slots[0];
	v.slots[1].slot = 1;
	v.slots[1].kdf = (struct tresor_kdf){ .type = TRESOR_KDF_ARGON2ID, .time = 1,
					      .memory_kib = 1 << 20, .lanes = 4 };
	prepare(&request, PASS, 2, TRESOR_PURPOSE_UNLOCK);
	v.array[0].flags = 0;
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_E_MEMORY && request.needed_kib == 1 << 20);
	/* Tried beside one that could be: wrong, and still said. */
	prepare(&request, "wrong", 2, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_E_PASSPHRASE && request.needed_kib == 1 << 20);
	/* Unsupported parameters pass the turn on. */
	v.slots[1].kdf.type = 9;
	prepare(&request, PASS, 2, TRESOR_PURPOSE_UNLOCK);
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_OK && request.slot == 0);
	ASSERT(close_handle(request.handle) == TRESOR_OK);
	prepare(&request, PASS, 2, TRESOR_PURPOSE_UNLOCK);
	v.array[0].flags = 0;
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_E_UNSUPPORTED);
}

static void test_legacy(void)
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

static uint32_t crypt_block(struct tresor_block *block)
{
	struct tresor_block *there = (void *)(arena + (5 << 20));
	struct tresor_blocks request = { .head = HEAD(tresor_blocks, BLOCKS), .count = 1, .blocks = (uint64_t)there };

	*there = *block;
	ASSERT(enter(&request) == TRESOR_OK);
	*block = *there;
	return block->status;
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
static void test_separation(void)
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
static void test_parts(void)
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
static void test_blocks_of_a_volume(void)
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

/* cryptsetup convert keeps LUKS1's digest of 20 bytes with its hash. */
static void test_luks1_digest(void)
{
	struct tresor_unlock request;

	create(false);
	/* PBKDF2's output of 20 bytes is how that of 32 begins. */
	memset(v.digest.digest + 20, 0, sizeof(v.digest.digest) - 20);
	v.digest.digest_size = 20;
	prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
	request.macs = 0;
	seal_unlock(&request, PASS, TRESOR_PURPOSE_UNLOCK);
	ASSERT(enter(&request) == TRESOR_OK && close_handle(request.handle) == TRESOR_OK);
	for (uint32_t size = 1; size < 64; size++) {
		if (size == 20 || size == 32)
			continue;
		v.digest.digest_size = size;
		prepare(&request, PASS, 1, TRESOR_PURPOSE_UNLOCK);
		ASSERT(enter(&request) == TRESOR_E_REQUEST);
	}
}

static void test_order(void)
{
	struct tresor_hello hello = { .head = HEAD(tresor_hello, HELLO), .abi_version = TRESOR_ABI_VERSION };
	struct tresor_selftest selftest = { .head = HEAD(tresor_selftest, SELFTEST) };
	uint32_t handles[TRESOR_VOLUMES];
	struct tresor_unlock request;

	ASSERT(enter(&hello) == TRESOR_E_STATE);
	for (selftest.index = 0; selftest.index < TRESOR_TESTS; selftest.index++)
		ASSERT(enter(&selftest) == TRESOR_OK && selftest.passed == 1);
	ASSERT(enter(&selftest) == TRESOR_E_REQUEST);
	create(false);
	for (uint32_t i = 0; i < TRESOR_VOLUMES; i++) {
		ASSERT(unlock(PASS, 1, &request) == TRESOR_OK);
		handles[i] = request.handle;
	}
	ASSERT(unlock(PASS, 1, &request) == TRESOR_E_BUSY);
	for (uint32_t i = 0; i < TRESOR_VOLUMES; i++)
		ASSERT(close_handle(handles[i]) == TRESOR_OK);
}

/* The public key of an enclave on a machine whose RDRAND repeats itself, in a process of its own. */
static void key_of(uint8_t secret, uint8_t key_id, uint8_t key[32])
{
	int ends[2], status;

	ASSERT(pipe(ends) == 0);
	if (fork() == 0) {
		machine.draws = 1;
		memset(machine.report_key_id, key_id, sizeof(machine.report_key_id));
		memset(machine.secret, secret, sizeof(machine.secret));
		machine_start();
		ASSERT(write(ends[1], tresor_channel.public_key, 32) == 32);
		_exit(0);
	}
	ASSERT(read(ends[0], key, 32) == 32 && wait(&status) > 0 && status == 0);
	close(ends[0]);
	close(ends[1]);
}

/* Before machine_start: the generator of a process is seeded once. */
static void test_repeated_rdrand(void)
{
	uint8_t keys[4][32];

	key_of(7, 1, keys[0]);
	key_of(7, 1, keys[1]);
	key_of(7, 2, keys[2]);
	key_of(8, 1, keys[3]);
	ASSERT(memcmp(keys[0], keys[1], 32) == 0);
	ASSERT(memcmp(keys[0], keys[2], 32) != 0 && memcmp(keys[0], keys[3], 32) != 0);
	printf("ok 0 - a repeated RDRAND\n");
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{ "round trip", test_round_trip }, { "passphrases", test_passphrases },
		{ "header", test_header }, { "seals", test_seals }, { "messages", test_messages },
		{ "request", test_request }, { "policy", test_policy }, { "dead", test_dead },
		{ "kdf memory", test_kdf_memory },
		{ "legacy", test_legacy }, { "separation", test_separation }, { "parts", test_parts },
		{ "blocks of a volume", test_blocks_of_a_volume }, { "digest of LUKS1", test_luks1_digest },
		{ "order", test_order },
	};

	test_repeated_rdrand();
	machine_start();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		tests[i].run();
		printf("ok %zu - %s\n", i + 1, tests[i].name);
	}
	return 0;
}
