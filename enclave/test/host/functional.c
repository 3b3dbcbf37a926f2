/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations as an honest host uses them, and each way a seal, a header or
 * a message can be wrong. Ciphertext and keyslots are checked with OpenSSL.
 */
#include "channel_key.h"
#include "dispatch.h"
#include "volume.h"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/wait.h>
#include <unistd.h>

#define AREA	(64 * 4000)

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

/* What each image serves, and that the second one has another key for what the first has sealed. */
static void test_images(void)
{
	static const uint32_t shared[] = { TRESOR_OP_HELLO, TRESOR_OP_ASSIST };
	static const uint32_t second[] = { TRESOR_OP_SELFTEST, TRESOR_OP_BENCHMARK };
	const struct machine home = machine;
	struct tresor_sealed_salt *sealed = sealed_of(0);
	uint64_t bytes[128] = { 0 };
	struct tresor_head *head = (struct tresor_head *)bytes;

	for (uint32_t op = 0; op <= TRESOR_OP_FINISH + 1; op++) {
		bool in_second = op == second[0] || op == second[1];
		bool in_both = op == shared[0] || op == shared[1];
		bool in_first = op >= TRESOR_OP_HELLO && op <= TRESOR_OP_FINISH && !in_second;

		image = PRODUCT;
		ASSERT((tresor_size_of(op) != 0) == in_first);
		image = VECTORS;
		ASSERT((tresor_size_of(op) != 0) == (in_second || in_both));
		if (!in_second && !in_both) {
			*head = (struct tresor_head){ .op = op, .size = sizeof(bytes) };
			ASSERT(enter(bytes) == TRESOR_E_REQUEST);
		}
	}
	image = EITHER;

	/* The name in the seal is the host's to change; the key is not. */
	create(true);
	ASSERT(sealed->policy == TRESOR_POLICY_MRSIGNER && seal_status() == TRESOR_OK);
	machine.isv_prod_id = 2;
	machine_restart();
	ASSERT(seal_status() == TRESOR_E_SEAL_SIGNER);
	sealed->isv_prod_id = 2;
	SHA256_CTX hash;
	SHA256_Init(&hash);
	SHA256_Update(&hash, sealed, offsetof(struct tresor_sealed_salt, checksum));
	SHA256_Update(&hash, sealed->key_request, sizeof(*sealed) - offsetof(struct tresor_sealed_salt, key_request));
	SHA256_Final(sealed->checksum, &hash);
	ASSERT(seal_status() == TRESOR_E_SEAL_MACHINE);
	machine = home;
	machine_restart();
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
		ASSERT(write(ends[1], tresor_channel_public(), 32) == 32);
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
		{ "succession", test_succession }, { "order", test_order }, { "images", test_images },
	};

	test_repeated_rdrand();
	machine_start();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		tests[i].run();
		printf("ok %zu - %s\n", i + 1, tests[i].name);
	}
	return 0;
}
