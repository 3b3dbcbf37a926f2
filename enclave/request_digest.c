/* SPDX-License-Identifier: Apache-2.0 */
#include "request_digest.h"
#include "mem.h"
#include "crypto/hash.h"

static const char label[] = "tresor request v2";
static const char legacy_label[] = "tresor legacy v2";

/* Host addresses say nothing about what is asked for. */
static void add_keyslot(struct hash *hash, const struct tresor_keyslot *keyslot, bool fresh)
{
	struct tresor_keyslot canonical = *keyslot;

	canonical.area = 0;
	canonical.sealed = 0;
	if (fresh)
		memset(canonical.salt, 0, sizeof(canonical.salt));
	hash_update(hash, &canonical, sizeof(canonical));
}

void tresor_request_digest(const struct tresor_header *header, uint32_t purpose, uint32_t policy,
			   bool macs, const struct tresor_keyslot *fresh, const uint8_t *successor,
			   uint8_t digest[32])
{
	static const struct tresor_keyslot none;
	const uint32_t words[4] = { purpose, policy, macs, header->count };
	struct hash hash;

	hash_init(&hash, TRESOR_SHA256);
	hash_update(&hash, label, sizeof(label) - 1);
	hash_update(&hash, words, sizeof(words));
	hash_update(&hash, header->segment, sizeof(*header->segment));
	hash_update(&hash, header->digest, sizeof(*header->digest));
	for (uint32_t i = 0; i < header->count; i++)
		add_keyslot(&hash, &header->keyslots[i], false);
	add_keyslot(&hash, fresh ? fresh : &none, true);
	if (successor)
		hash_update(&hash, successor, 32);
	hash_final(&hash, digest);
}

void tresor_request_digest_legacy(const struct tresor_legacy *request, uint8_t digest[32])
{
	const uint32_t words[2] = { request->make, request->policy };
	struct hash hash;

	hash_init(&hash, TRESOR_SHA256);
	hash_update(&hash, legacy_label, sizeof(legacy_label) - 1);
	hash_update(&hash, words, sizeof(words));
	hash_update(&hash, &request->kdf, sizeof(request->kdf));
	hash_final(&hash, digest);
}
