/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_LUKS_KEYSLOT_H
#define TRESOR_LUKS_KEYSLOT_H

#include <stdbool.h>
#include "header_mac.h"
#include "seal.h"

/*
 * LUKS2 keyslots, digests and volume keys. Everything here is for the heap's
 * tenant. volume_key is always TRESOR_KEY_MAX bytes of the caller's, wiped by it.
 */

/* E_UNSUPPORTED: cipher, hash or key size; E_REQUEST: the rest. */
uint32_t tresor_luks_check(const struct tresor_segment *segment, const struct tresor_digest *digest);
/*
 * Copies count keyslots from the host to the heap. What the client's context
 * admits alone may ask to be tried: its slot, unless that is TRESOR_ANY_SLOT, and
 * unsealed ones only with TRESOR_ADMIT_UNSEALED.
 */
uint32_t tresor_luks_read_keyslots(uint64_t address, uint32_t count,
				   const struct tresor_context *context,
				   const struct tresor_keyslot **keyslots);

/* How far a passphrase came. */
struct tresor_opening {
	uint32_t index;		/* the keyslot that opened */
	uint32_t seal_status;	/* first E_SEAL_* met, else 0 */
	uint32_t needed_kib;	/* most memory a keyslot was passed over for, else 0 */
	uint32_t policy;	/* of the opened keyslot's seal; 0: it has none */
	bool stale;		/* the opened keyslot's salt should be sealed again */
	uint8_t salt[TRESOR_SEALED_SALT_SIZE];	/* that salt; the caller wipes it */
};

/* Whether this is the key that the digest was made of. */
bool tresor_luks_digest_holds(const struct tresor_digest *digest, const uint8_t *volume_key, uint32_t key_size);

/*
 * Tries the passphrase on every keyslot that asks for it, in order. E_PASSPHRASE
 * when one or more were tried and none opened; when none could be tried: the
 * first E_SEAL_*, else E_MEMORY, else E_UNSUPPORTED.
 */
uint32_t tresor_luks_open(const struct tresor_header *header, const uint8_t *pass, uint32_t pass_size,
			  uint8_t *volume_key, struct tresor_opening *opening);

/* A keyslot about to be written: area and sealed salt on the heap. */
struct tresor_made {
	uint8_t *area;
	uint32_t area_size;
	struct tresor_sealed_salt *sealed;	/* NULL: no tresor slot */
};

/*
 * E_REQUEST or E_UNSUPPORTED; also that area and sealed can be written. An
 * unsealed one needs the client's TRESOR_ADMIT_UNSEALED, else E_REQUEST; one
 * whose KDFs are below the floor is E_UNSUPPORTED.
 */
uint32_t tresor_luks_check_fresh(const struct tresor_keyslot *keyslot,
				 const struct tresor_segment *segment,
				 const struct tresor_context *context, uint32_t policy);
/* Sets keyslot->salt; nothing reaches the host. */
uint32_t tresor_luks_make(struct tresor_keyslot *keyslot, const char uuid[40], uint32_t policy,
			  const uint8_t *pass, uint32_t pass_size, const uint8_t *volume_key,
			  struct tresor_made *made, uint32_t *needed_kib);
/* To keyslot->area and ->sealed. */
bool tresor_luks_write(const struct tresor_keyslot *keyslot, const struct tresor_made *made);
/* Makes salt and digest of `digest`, whose hash, iterations and sizes are given. */
uint32_t tresor_luks_make_digest(struct tresor_digest *digest, const uint8_t *volume_key,
				 uint32_t key_size);

#endif
