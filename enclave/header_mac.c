/* SPDX-License-Identifier: Apache-2.0 */
#include "header_mac.h"
#include "mem.h"
#include "crypto/ct.h"
#include "crypto/hkdf.h"
#include "crypto/hmac.h"
#include "crypto/wipe.h"

static const char label[] = "tresor header v1";

static void mac_key(const struct tresor_header *header, const uint8_t *volume_key, uint8_t key[32])
{
	hkdf_key(volume_key, header->segment->key_size, label, sizeof(label) - 1, key, 32);
}

static void mac_segment(const struct tresor_header *header, const uint8_t key[32], uint8_t mac[32])
{
	struct hmac hmac;

	hmac_init(&hmac, TRESOR_SHA256, key, 32);
	hmac_update(&hmac, header->uuid, 40);
	hmac_update(&hmac, header->segment, sizeof(*header->segment));
	hmac_update(&hmac, header->digest, sizeof(*header->digest));
	hmac_final(&hmac, mac);
}

static void mac_keyslot(const struct tresor_header *header, const uint8_t key[32],
			const struct tresor_keyslot *keyslot, uint8_t mac[32])
{
	struct tresor_keyslot canonical = *keyslot;
	struct hmac hmac;

	canonical.flags = 0;
	canonical.area = 0;
	canonical.sealed = 0;
	hmac_init(&hmac, TRESOR_SHA256, key, 32);
	hmac_update(&hmac, header->uuid, 40);
	hmac_update(&hmac, &canonical, sizeof(canonical));
	hmac_final(&hmac, mac);
}

void tresor_header_authenticate_slot(const struct tresor_header *header, const uint8_t *volume_key,
				     const struct tresor_keyslot *keyslot, struct tresor_macs *macs)
{
	uint8_t key[32];

	mac_key(header, volume_key, key);
	mac_keyslot(header, key, keyslot, macs->keyslot[keyslot->slot]);
	macs->present |= 1u << keyslot->slot;
	WIPE(key);
}

void tresor_header_authenticate(const struct tresor_header *header, const uint8_t *volume_key,
				struct tresor_macs *macs)
{
	uint8_t key[32];

	memset(macs, 0, sizeof(*macs));
	mac_key(header, volume_key, key);
	mac_segment(header, key, macs->segment);
	macs->segment_present = 1;
	for (uint32_t i = 0; i < header->count; i++) {
		mac_keyslot(header, key, &header->keyslots[i], macs->keyslot[header->keyslots[i].slot]);
		macs->present |= 1u << header->keyslots[i].slot;
	}
	WIPE(key);
}

void tresor_header_compare(const struct tresor_header *header, const uint8_t *volume_key,
			   const struct tresor_macs *macs, struct tresor_header_facts *facts)
{
	uint32_t found = 0;
	uint8_t key[32];
	uint8_t mac[32];

	memset(facts, 0, sizeof(*facts));
	mac_key(header, volume_key, key);
	mac_segment(header, key, mac);
	facts->segment_changed = !ct_equal(mac, macs->segment, sizeof(mac));
	for (uint32_t i = 0; i < header->count; i++) {
		uint32_t slot = header->keyslots[i].slot;

		found |= 1u << slot;
		if (!(macs->present & 1u << slot)) {
			facts->slots_added |= 1u << slot;
			continue;
		}
		mac_keyslot(header, key, &header->keyslots[i], mac);
		if (!ct_equal(mac, macs->keyslot[slot], sizeof(mac)))
			facts->slots_changed |= 1u << slot;
	}
	facts->slots_removed = macs->present & ~found;
	/* What a MAC should have been is as good as a forged one. */
	WIPE(mac);
	WIPE(key);
}
