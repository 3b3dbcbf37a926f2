/* SPDX-License-Identifier: Apache-2.0 */
#include "hpke.h"
#include "gcm.h"
#include "hkdf.h"
#include "mem.h"
#include "wipe.h"
#include "x25519.h"

#define INFO_MAX	64u

static const uint8_t kem_suite[] = { 'K', 'E', 'M', 0x00, 0x20 };

/* Labels and what is labelled, gathered; every part has a public size. */
struct labeled {
	uint8_t bytes[160];
	size_t size;
};

static void put(struct labeled *to, const void *bytes, size_t size)
{
	memcpy(to->bytes + to->size, bytes, size);
	to->size += size;
}

/* RFC 9180 section 4: LabeledExtract. */
static void extract(const uint8_t *suite, size_t suite_size, const uint8_t *salt, size_t salt_size,
		    const char *label, size_t label_size, const void *ikm, size_t ikm_size, uint8_t prk[32])
{
	struct labeled input = { .size = 0 };

	put(&input, "HPKE-v1", 7);
	put(&input, suite, suite_size);
	put(&input, label, label_size);
	put(&input, ikm, ikm_size);
	hkdf_extract(TRESOR_SHA256, salt, salt_size, input.bytes, input.size, prk);
	WIPE(input);
}

/* LabeledExpand; size < 256. */
static void expand(const uint8_t *suite, size_t suite_size, const uint8_t prk[32], const char *label,
		   size_t label_size, const void *info, size_t info_size, uint8_t *out, uint8_t size)
{
	const uint8_t length[2] = { 0, size };
	struct labeled input = { .size = 0 };

	put(&input, length, sizeof(length));
	put(&input, "HPKE-v1", 7);
	put(&input, suite, suite_size);
	put(&input, label, label_size);
	put(&input, info, info_size);
	hkdf_expand(TRESOR_SHA256, prk, input.bytes, input.size, out, size);
	WIPE(input);
}

struct keys {
	uint8_t key[32], nonce[GCM_IV];
};

/*
 * Both sides': `secret` of one and `point` of the other; enc and public_key are on the wire, and known to both.
 * False for a point of small order.
 */
static bool agree(uint32_t aead, const uint8_t secret[32], const uint8_t point[32], const uint8_t enc[32],
		  const uint8_t public_key[32], const void *info, size_t info_size, struct keys *keys)
{
	const uint8_t suite[] = { 'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, (uint8_t)aead };
	const uint8_t key_size = aead == HPKE_AES_256_GCM ? 32 : 16;
	uint8_t context[1 + 32 + 32] = { 0 };	/* mode_base, psk_id_hash, info_hash */
	struct {
		uint8_t dh[32], prk[32], shared[32], enc_and_public[64];
	} s;
	bool agreed = false;

	/* Section 4.1: Encap, Decap. */
	memcpy(s.enc_and_public, enc, HPKE_ENC);
	memcpy(s.enc_and_public + 32, public_key, 32);
	if (!x25519(s.dh, secret, point))
		goto out;
	extract(kem_suite, sizeof(kem_suite), 0, 0, "eae_prk", 7, s.dh, sizeof(s.dh), s.prk);
	expand(kem_suite, sizeof(kem_suite), s.prk, "shared_secret", 13, s.enc_and_public,
	       sizeof(s.enc_and_public), s.shared, sizeof(s.shared));

	/* Section 5.1: KeySchedule; the sequence number is 0, so the base nonce is the nonce. */
	extract(suite, sizeof(suite), 0, 0, "psk_id_hash", 11, 0, 0, context + 1);
	extract(suite, sizeof(suite), 0, 0, "info_hash", 9, info, info_size, context + 33);
	extract(suite, sizeof(suite), s.shared, sizeof(s.shared), "secret", 6, 0, 0, s.prk);
	expand(suite, sizeof(suite), s.prk, "key", 3, context, sizeof(context), keys->key, key_size);
	expand(suite, sizeof(suite), s.prk, "base_nonce", 10, context, sizeof(context), keys->nonce, GCM_IV);
	agreed = true;
out:
	WIPE(s);
	return agreed;
}

bool hpke_open(uint32_t aead, const uint8_t secret[32], const uint8_t public_key[32],
	       const void *info, size_t info_size, const void *aad, size_t aad_size,
	       const uint8_t *message, size_t size, uint8_t *out)
{
	const uint32_t key_size = aead == HPKE_AES_256_GCM ? 32 : 16;
	struct keys keys;
	bool ok;

	if (size < HPKE_OVERHEAD || info_size > INFO_MAX)
		return false;
	ok = agree(aead, secret, message, message, public_key, info, info_size, &keys) &&
	     gcm_open(keys.key, key_size, keys.nonce, aad, aad_size, message + HPKE_ENC, out, size - HPKE_OVERHEAD,
		      message + size - GCM_TAG);
	WIPE(keys);
	return ok;
}

bool hpke_seal(uint32_t aead, const uint8_t ephemeral[32], const uint8_t public_key[32],
	       const void *info, size_t info_size, const void *aad, size_t aad_size,
	       const uint8_t *in, size_t size, uint8_t *message)
{
	const uint32_t key_size = aead == HPKE_AES_256_GCM ? 32 : 16;
	uint8_t enc[HPKE_ENC];
	struct keys keys;
	bool ok;

	if (info_size > INFO_MAX)
		return false;
	x25519_public(enc, ephemeral);
	ok = agree(aead, ephemeral, public_key, enc, public_key, info, info_size, &keys);
	if (ok) {
		memcpy(message, enc, sizeof(enc));
		gcm_seal(keys.key, key_size, keys.nonce, aad, aad_size, in, message + HPKE_ENC, size,
			 message + HPKE_ENC + size);
	}
	WIPE(keys);
	return ok;
}
