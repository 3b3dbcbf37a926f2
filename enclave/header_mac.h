/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_HEADER_MAC_H
#define TRESOR_HEADER_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include "enclave.h"

/* What a header says, as copied in. keyslots lies on the heap. */
struct tresor_header {
	const char *uuid;	/* 40 bytes */
	const struct tresor_segment *segment;
	const struct tresor_digest *digest;
	const struct tresor_keyslot *keyslots;
	uint32_t count;
};

/* Bit n: keyslot n. */
struct tresor_header_facts {
	bool segment_changed;
	uint32_t slots_changed;
	uint32_t slots_added;
	uint32_t slots_removed;
};

/* docs/format.md, "The MACs". volume_key: segment->key_size bytes. */
void tresor_header_authenticate(const struct tresor_header *header, const uint8_t *volume_key,
				struct tresor_macs *macs);
/* One keyslot, one more: replaces or adds its MAC. */
void tresor_header_authenticate_slot(const struct tresor_header *header, const uint8_t *volume_key,
				     const struct tresor_keyslot *keyslot, struct tresor_macs *macs);
void tresor_header_compare(const struct tresor_header *header, const uint8_t *volume_key,
			   const struct tresor_macs *macs, struct tresor_header_facts *facts);

#endif
