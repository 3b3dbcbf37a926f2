/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include "enclu.h"
#include "layout.h"
/* Included for their statics: a restart is a new process on real machines, and a test looks for the private key. */
#include "../../channel_key.c"
#include "../../state.c"

/* enclave.lds gives these in the image. */
unsigned char tresor_heap[HEAP_SIZE + DYNAMIC_SIZE] __attribute__((aligned(4096)));
const uint64_t tresor_test_base = 0x200000000000;

struct machine machine;
uint8_t *arena;
static void *scratch;

static bool svn_above(const uint8_t *a, const uint8_t *b)
{
	for (int i = 0; i < 16; i++) {
		if (a[i] > b[i])
			return true;
	}
	return false;
}

/* Of the enclave that a report is for. */
static void report_key(const uint8_t mrenclave[32], const uint8_t key_id[32], uint8_t key[16])
{
	uint8_t digest[32];
	SHA256_CTX hash;

	SHA256_Init(&hash);
	SHA256_Update(&hash, machine.secret, sizeof(machine.secret));
	SHA256_Update(&hash, mrenclave, 32);
	SHA256_Update(&hash, key_id, 32);
	SHA256_Final(digest, &hash);
	memcpy(key, digest, 16);
}

static void cmac_by_openssl(const uint8_t key[16], const void *in, size_t size, uint8_t mac[16])
{
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, (char[]){ "AES-128-CBC" }, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *fetched = EVP_MAC_fetch(NULL, "CMAC", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(fetched);
	size_t length;

	ASSERT(EVP_MAC_init(context, key, 16, parameters) == 1 && EVP_MAC_update(context, in, size) == 1 &&
	       EVP_MAC_final(context, mac, &length, 16) == 1);
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(fetched);
}

/* SDM vol. 3D: the inputs of the SEAL key; any injective mixing will do here. */
static uint64_t egetkey(const struct sgx_key_request *request, uint8_t *key)
{
	uint64_t attributes = (request->attribute_mask[0] | 3) & machine.attributes;
	uint8_t digest[32];
	SHA256_CTX hash;

	ASSERT((uintptr_t)request % 512 == 0 && (uintptr_t)key % 16 == 0);
	if (request->key_name == 3) {
		report_key(machine.mrenclave, request->key_id, key);
		return 0;
	}
	ASSERT(request->key_name == 4 && (request->key_policy & 3) != 0 && (request->key_policy & ~3) == 0);
	if (svn_above(request->cpu_svn, machine.cpu_svn))
		return SGX_INVALID_CPUSVN;
	if (request->isv_svn > machine.isv_svn)
		return SGX_INVALID_ISVSVN;
	SHA256_Init(&hash);
	SHA256_Update(&hash, machine.secret, sizeof(machine.secret));
	SHA256_Update(&hash, request, sizeof(*request));
	SHA256_Update(&hash, &attributes, sizeof(attributes));
	SHA256_Update(&hash, &machine.isv_prod_id, sizeof(machine.isv_prod_id));
	if (request->key_policy & 1)
		SHA256_Update(&hash, machine.mrenclave, 32);
	if (request->key_policy & 2)
		SHA256_Update(&hash, machine.mrsigner, 32);
	SHA256_Final(digest, &hash);
	memcpy(key, digest, 16);
	return 0;
}

uint64_t tresor_enclu(uint32_t leaf, const void *rbx, void *rcx, void *rdx)
{
	const struct sgx_target_info *target = rbx;
	struct sgx_report *report = rdx;
	uint8_t key[16];

	switch (leaf) {
	case ENCLU_EGETKEY:
		return egetkey(rbx, rcx);
	case ENCLU_EACCEPT:
		ASSERT((uintptr_t)rbx % 64 == 0 && (uintptr_t)rcx % 4096 == 0);
		return 0;
	default:
		ASSERT(leaf == ENCLU_EREPORT);
		ASSERT((uintptr_t)rbx % 512 == 0 && (uintptr_t)rcx % 128 == 0 && (uintptr_t)rdx % 512 == 0);
		memset(report, 0, sizeof(*report));
		memcpy(report->cpu_svn, machine.cpu_svn, 16);
		memcpy(report->mrenclave, machine.mrenclave, 32);
		memcpy(report->mrsigner, machine.mrsigner, 32);
		memcpy(report->report_data, rcx, 64);
		report->attributes[0] = machine.attributes;
		report->attributes[1] = machine.xfrm;
		report->isv_prod_id = machine.isv_prod_id;
		report->isv_svn = machine.isv_svn;
		memcpy(report->key_id, machine.report_key_id, 32);
		report_key(target->mrenclave, report->key_id, key);
		cmac_by_openssl(key, report, offsetof(struct sgx_report, key_id), report->mac);
		return 0;
	}
}

bool tresor_test_draw(bool seed, uint64_t *word)
{
	/* splitmix64's step: a generator whoever knows where it starts can repeat. */
	if (machine.draws == 0)
		return RAND_bytes((uint8_t *)word, sizeof(*word)) == 1;
	(void)seed;
	*word = machine.draws += 0x9e3779b97f4a7c15;
	*word = (*word ^ *word >> 30) * 0xbf58476d1ce4e5b9;
	return true;
}

const uint8_t *machine_channel_secret(void)
{
	return secret_key;
}

void machine_set_channel(const uint8_t secret[32], const uint8_t public[32])
{
	memcpy(secret_key, secret, 32);
	memcpy(public_key, public, 32);
}

void machine_start(void)
{
	void *range = mmap((void *)tresor_test_base, ENCLAVE_SIZE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	ASSERT(range == (void *)tresor_test_base);
	arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT(arena != MAP_FAILED);
	scratch = malloc(SCRATCH_SIZE);
	if (machine.secret[0] == 0)
		memset(machine.secret, 7, sizeof(machine.secret));
	memset(machine.mrenclave, 0xe1, 32);
	memset(machine.mrsigner, 0x51, 32);
	memset(machine.cpu_svn, 5, 16);
	machine.attributes = 5;
	machine.xfrm = 3;
	machine.isv_prod_id = 1;
	machine.isv_svn = 2;
	machine_restart();
}

void machine_restart(void)
{
	struct tresor_hello hello = { .head = HEAD(tresor_hello, HELLO), .abi_version = TRESOR_ABI_VERSION };

	state = NONE;
	ASSERT(enter(&hello) == TRESOR_OK);
}

uint32_t enter_bytes(void *request, size_t size)
{
	/* At the arena's end, where no pointer of a request leads. */
	uint8_t *host = arena + ARENA_SIZE - 4096;
	struct tresor_exit exit;

	memcpy(host, request, size);
	exit = tresor_main((uint64_t)host, scratch);
	ASSERT(exit.wipe % 8 == 0 && exit.wipe < STACK_SIZE);
	memcpy(request, host, size);
	ASSERT(((struct tresor_head *)request)->status == exit.status);
	return (uint32_t)exit.status;
}

uint32_t enter_again(void)
{
	return (uint32_t)tresor_main((uint64_t)arena + ARENA_SIZE - 4096, scratch).status;
}

uint32_t enter(void *request)
{
	return enter_bytes(request, ((struct tresor_head *)request)->size);
}

void challenge(uint32_t purpose, uint8_t nonce[32])
{
	struct tresor_challenge request = { .head = HEAD(tresor_challenge, CHALLENGE), .purpose = purpose };

	ASSERT(enter(&request) == TRESOR_OK);
	memcpy(nonce, request.nonce, 32);
}

/* ---- the sender: RFC 9180 sections 4 and 5, written from the RFC over OpenSSL ---- */

static void labeled_extract(const uint8_t *suite, size_t suite_size, const char *label,
			    const void *ikm, size_t ikm_size, const uint8_t *salt, size_t salt_size,
			    uint8_t prk[32])
{
	uint8_t text[512];
	size_t n = 0;
	unsigned int size = 32;

	memcpy(text, "HPKE-v1", 7), n = 7;
	memcpy(text + n, suite, suite_size), n += suite_size;
	memcpy(text + n, label, strlen(label)), n += strlen(label);
	if (ikm_size)
		memcpy(text + n, ikm, ikm_size), n += ikm_size;
	ASSERT(HMAC(EVP_sha256(), salt_size ? salt : (const uint8_t *)"", (int)salt_size, text, n, prk, &size));
}

/* length <= 32: one block of HKDF-Expand. */
static void labeled_expand(const uint8_t *suite, size_t suite_size, const uint8_t prk[32],
			   const char *label, const void *info, size_t info_size, uint8_t *out,
			   size_t length)
{
	uint8_t text[512] = { 0, (uint8_t)length }, block[32];
	size_t n = 2;
	unsigned int size = 32;

	memcpy(text + n, "HPKE-v1", 7), n += 7;
	memcpy(text + n, suite, suite_size), n += suite_size;
	memcpy(text + n, label, strlen(label)), n += strlen(label);
	memcpy(text + n, info, info_size), n += info_size;
	text[n++] = 1;
	ASSERT(HMAC(EVP_sha256(), prk, 32, text, n, block, &size));
	memcpy(out, block, length);
}

static void seal(const uint8_t recipient[32], const void *info, size_t info_size,
		      const void *aad, size_t aad_size, const uint8_t *plain, size_t size, uint8_t *message)
{
	static const uint8_t kem[] = { 'K', 'E', 'M', 0, 0x20 };
	static const uint8_t suite[] = { 'H', 'P', 'K', 'E', 0, 0x20, 0, 1, 0, 2 };
	uint8_t shared[32], prk[32], secret[32], context[64], key_context[65] = { 0 }, key[32], nonce[12];
	EVP_PKEY *ephemeral = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, recipient, 32);
	EVP_PKEY_CTX *derive = EVP_PKEY_CTX_new(ephemeral, NULL);
	EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
	size_t length = 32;
	int n;

	ASSERT(EVP_PKEY_derive_init(derive) == 1 && EVP_PKEY_derive_set_peer(derive, peer) == 1 &&
	       EVP_PKEY_derive(derive, shared, &length) == 1);
	ASSERT(EVP_PKEY_get_raw_public_key(ephemeral, message, &length) == 1);
	memcpy(context, message, 32);
	memcpy(context + 32, recipient, 32);
	labeled_extract(kem, 5, "eae_prk", shared, 32, NULL, 0, prk);
	labeled_expand(kem, 5, prk, "shared_secret", context, 64, shared, 32);

	labeled_extract(suite, 10, "psk_id_hash", NULL, 0, NULL, 0, key_context + 1);
	labeled_extract(suite, 10, "info_hash", info, info_size, NULL, 0, key_context + 33);
	labeled_extract(suite, 10, "secret", NULL, 0, shared, 32, secret);
	labeled_expand(suite, 10, secret, "key", key_context, 65, key, 32);
	labeled_expand(suite, 10, secret, "base_nonce", key_context, 65, nonce, 12);

	ASSERT(EVP_EncryptInit_ex(gcm, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	       EVP_EncryptUpdate(gcm, NULL, &n, aad, (int)aad_size) == 1 &&
	       EVP_EncryptUpdate(gcm, message + 32, &n, plain, (int)size) == 1 &&
	       EVP_EncryptFinal_ex(gcm, message + 32 + n, &n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_GCM_GET_TAG, 16, message + 32 + size) == 1);
	EVP_CIPHER_CTX_free(gcm);
	EVP_PKEY_CTX_free(derive);
	EVP_PKEY_free(ephemeral);
	EVP_PKEY_free(peer);
}

/* ---- what the client asks for: written from abi/enclave.h, over OpenSSL ---- */

uint32_t sender_flags = TRESOR_ADMIT_UNSEALED;

static void digest_keyslot(EVP_MD_CTX *hash, const struct tresor_keyslot *keyslot, bool fresh)
{
	struct tresor_keyslot canonical = *keyslot;

	canonical.area = canonical.sealed = 0;
	if (fresh)
		memset(canonical.salt, 0, sizeof(canonical.salt));
	EVP_DigestUpdate(hash, &canonical, sizeof(canonical));
}

static void digest_side(EVP_MD_CTX *whole, const struct tresor_segment *segment, const struct tresor_digest *digest,
			uint64_t keyslots, uint32_t count, bool macs)
{
	const uint32_t words[4] = { TRESOR_PURPOSE_REENCRYPT, 0, macs, count };
	static const struct tresor_keyslot none;
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t side[32];

	ASSERT(EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
	EVP_DigestUpdate(hash, "tresor request v2", 17);
	EVP_DigestUpdate(hash, words, sizeof(words));
	EVP_DigestUpdate(hash, segment, sizeof(*segment));
	EVP_DigestUpdate(hash, digest, sizeof(*digest));
	for (uint32_t i = 0; i < count; i++)
		digest_keyslot(hash, (const struct tresor_keyslot *)keyslots + i, false);
	digest_keyslot(hash, &none, true);
	EVP_DigestFinal_ex(hash, side, NULL);
	EVP_MD_CTX_free(hash);
	EVP_DigestUpdate(whole, side, sizeof(side));
}

static struct tresor_message *digest_request(void *request, uint32_t purpose, uint8_t digest[32])
{
	static const struct tresor_keyslot none;
	const struct tresor_keyslot *keyslots = NULL, *fresh = &none;
	const struct tresor_segment *segment = NULL;
	const struct tresor_digest *volume_digest = NULL;
	uint32_t words[4] = { purpose }, count = 0;
	const uint8_t *successor = NULL;
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	struct tresor_message *message;

	ASSERT(EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
	switch (((struct tresor_head *)request)->op) {
	case TRESOR_OP_CREATE: {
		struct tresor_create *create = request;

		message = &create->message, segment = &create->segment, volume_digest = &create->digest;
		fresh = &create->keyslot, words[1] = create->policy;
		break;
	}
	case TRESOR_OP_UNLOCK: {
		struct tresor_unlock *unlock = request;

		message = &unlock->message, segment = &unlock->segment, volume_digest = &unlock->digest;
		keyslots = (const void *)unlock->keyslots, count = unlock->count, words[2] = unlock->macs != 0;
		break;
	}
	case TRESOR_OP_ENROL: {
		struct tresor_enrol *enrol = request;

		message = &enrol->message, segment = &enrol->segment, volume_digest = &enrol->digest;
		keyslots = (const void *)enrol->keyslots, count = enrol->count, words[2] = enrol->macs != 0;
		fresh = &enrol->fresh, words[1] = enrol->policy;
		break;
	}
	case TRESOR_OP_BEQUEATH: {
		struct tresor_bequeath *bequeath = request;

		message = &bequeath->message, segment = &bequeath->segment, volume_digest = &bequeath->digest;
		keyslots = (const void *)bequeath->keyslots, count = bequeath->count, words[2] = bequeath->macs != 0;
		words[1] = bequeath->policy, successor = bequeath->successor;
		break;
	}
	case TRESOR_OP_APPROVE: {
		struct tresor_approve *approve = request;

		message = &approve->message, segment = &approve->segment, volume_digest = &approve->digest;
		keyslots = (const void *)approve->keyslots, count = approve->count, words[2] = approve->macs != 0;
		successor = approve->successor;
		break;
	}
	case TRESOR_OP_REENCRYPT: {
		struct tresor_reencrypt *reencrypt = request;
		const struct tresor_pass *pass = (const void *)reencrypt->pass;

		EVP_DigestUpdate(hash, "tresor reencrypt v1", 19);
		digest_side(hash, &pass->previous, &pass->old_digest, reencrypt->old_keyslots, reencrypt->old_count,
			    reencrypt->old_macs != 0);
		digest_side(hash, &pass->final, &pass->new_digest, reencrypt->new_keyslots, reencrypt->new_count,
			    reencrypt->new_macs != 0);
		EVP_DigestUpdate(hash, pass, sizeof(*pass));
		EVP_DigestUpdate(hash, &reencrypt->progress, sizeof(reencrypt->progress));
		EVP_DigestUpdate(hash, &reencrypt->start, 4);
		EVP_DigestUpdate(hash, &reencrypt->vouched, 4);
		EVP_DigestUpdate(hash, &reencrypt->use, 4);
		EVP_DigestFinal_ex(hash, digest, NULL);
		EVP_MD_CTX_free(hash);
		return &reencrypt->message;
	}
	default: {
		struct tresor_legacy *legacy = request;

		EVP_DigestUpdate(hash, "tresor legacy v2", 16);
		EVP_DigestUpdate(hash, &legacy->make, 4);
		EVP_DigestUpdate(hash, &legacy->policy, 4);
		EVP_DigestUpdate(hash, &legacy->kdf, sizeof(legacy->kdf));
		EVP_DigestFinal_ex(hash, digest, NULL);
		EVP_MD_CTX_free(hash);
		return &legacy->message;
	}
	}
	words[3] = count;
	EVP_DigestUpdate(hash, "tresor request v2", 17);
	EVP_DigestUpdate(hash, words, sizeof(words));
	EVP_DigestUpdate(hash, segment, sizeof(*segment));
	EVP_DigestUpdate(hash, volume_digest, sizeof(*volume_digest));
	for (uint32_t i = 0; i < count; i++)
		digest_keyslot(hash, &keyslots[i], false);
	digest_keyslot(hash, fresh, true);
	if (successor)
		EVP_DigestUpdate(hash, successor, 32);
	EVP_DigestFinal_ex(hash, digest, NULL);
	EVP_MD_CTX_free(hash);
	return message;
}

void seal_request(void *request, uint8_t *where, uint32_t purpose, const char *uuid,
		  uint32_t slot, uint32_t fresh_slot, const void *existing, uint32_t existing_size,
		  const void *fresh, uint32_t fresh_size)
{
	uint32_t size = 8 + existing_size + fresh_size;
	uint8_t *plain = malloc(size);
	uint8_t digest[32];
	struct tresor_message *message = digest_request(request, purpose, digest);

	memset(message, 0, sizeof(*message));
	message->address = (uint64_t)where;
	message->size = size + 48;
	message->context.version = TRESOR_ABI_VERSION;
	message->context.purpose = purpose;
	message->context.slot = slot;
	message->context.fresh_slot = fresh_slot;
	message->context.flags = sender_flags;
	memcpy(message->context.request, digest, sizeof(digest));
	memcpy(message->context.uuid, uuid, strlen(uuid));
	challenge(purpose, message->context.nonce);
	memcpy(plain, &existing_size, 4);
	memcpy(plain + 4, &fresh_size, 4);
	if (existing_size)
		memcpy(plain + 8, existing, existing_size);
	if (fresh_size)
		memcpy(plain + 8 + existing_size, fresh, fresh_size);
	seal(tresor_channel_public(), "tresor sealed request v2", 24, &message->context,
		  sizeof(message->context), plain, size, where);
	free(plain);
}

void describe_segment(struct tresor_segment *segment)
{
	*segment = (struct tresor_segment){ .cipher = TRESOR_AES_XTS_PLAIN64, .sector_size = 512,
					    .key_size = 64, .offset = 16 << 20, .size = 1 << 20 };
}

void describe_digest(struct tresor_digest *digest)
{
	*digest = (struct tresor_digest){ .hash = TRESOR_SHA256, .iterations = 10, .salt_size = 32,
					  .digest_size = 32 };
}

void describe_keyslot(struct tresor_keyslot *keyslot, uint32_t slot, bool sealed, uint8_t *area,
		      void *sealed_at)
{
	*keyslot = (struct tresor_keyslot){
		.slot = slot, .kdf = { .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA256, .time = 1000 },
		.af_hash = TRESOR_SHA256, .af_stripes = TRESOR_STRIPES, .area_key_size = 64,
		.key_size = 64, .salt_size = 32, .area_offset = 32768, .area_size = 258048,
		.area = (uint64_t)area,
	};
	if (sealed) {
		keyslot->sealed_size = sizeof(struct tresor_sealed_salt);
		keyslot->sealed = (uint64_t)sealed_at;
		keyslot->pass_kdf = (struct tresor_kdf){ .type = TRESOR_KDF_PBKDF2, .hash = TRESOR_SHA512,
							 .time = 1000 };
	}
}
