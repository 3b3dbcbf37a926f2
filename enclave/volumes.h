/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_VOLUMES_H
#define TRESOR_VOLUMES_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave.h"
#include "crypto/aes.h"
#include "crypto/xts.h"

/*
 * The home of keys at rest: TRESOR_VOLUMES volume keys. Beside these there is the
 * private half of the channel key (channel_key.c); everything else that holds a
 * key is a stack frame or the heap, and ends wiped.
 */

#define TRESOR_PASS	6u	/* beyond enum tresor_mode: no operation but those of a pass takes it */

/* The keys of a reencryption, and how far it is. Who has set busy may change what follows the size. */
struct tresor_pass_keys {
	struct xts_key old;	/* unless mode is TRESOR_ENCRYPT */
	struct xts_key fresh;	/* unless mode is TRESOR_DECRYPT */
	uint32_t mode;		/* enum tresor_pass_mode */
	uint32_t backward;
	uint32_t old_sector;
	uint32_t new_sector;
	uint32_t key_size;	/* of the new key in `secret`, which only a pass that serves sectors has */
	uint8_t mac_key[32];
	uint32_t use;		/* TRESOR_PASS_* */
	uint64_t size;		/* bytes, UINT64_MAX when dynamic */
	uint64_t moved;		/* bytes at the volume's start that are converted last; 0: none, or they are the zone */
	/*
	 * Of the hot zone, bytes; equal: there is none. Atomic for SECTORS, and only ever greater: who reads start before
	 * end finds no zone where none is or was.
	 */
	uint64_t start;
	uint64_t end;
	uint64_t next;		/* bytes: below, nothing of the hot zone is converted again */
	uint32_t busy;		/* atomic: one thread at a time */
};

struct tresor_volume {
	uint32_t mode;		/* enum tresor_mode: the only one this key is used in; TRESOR_PASS */
	uint32_t sector_size;	/* LUKS2 volumes; 0 for legacy ones, which BLOCKS alone serves, and passes that only convert */
	uint64_t iv_tweak;
	uint64_t sectors;	/* 512-byte units, UINT64_MAX when dynamic */
	/* Of a LUKS2 volume, for a takeover. */
	uint32_t policy;	/* of the seal of the keyslot that opened; 0: it has none */
	uint32_t secret_size;
	uint8_t secret[TRESOR_KEY_MAX];	/* the volume key, zeros behind it */
	uint8_t approved[32];	/* MRENCLAVE that the owner named, or zeros; for the heap's tenant, while others read the rest */
	union {
		struct xts_key xts;
		struct {
			struct aes_key data;
			struct aes_key essiv;
		} aes;
		struct tresor_pass_keys pass;
	} key;
};

/* op_convert.c: HMAC of where a pass is, under its mac_key. */
void tresor_pass_mac(const uint8_t key[32], const struct tresor_progress *progress, uint8_t mac[32]);

/* An empty volume to fill, or NULL; then publish it. */
struct tresor_volume *tresor_volumes_claim(void);
/* From here on it is read-only and its handle good. Never 0. */
uint32_t tresor_volumes_publish(struct tresor_volume *volume);

/* The same for a LUKS2 volume, whose key is segment->key_size bytes. E_BUSY: all are in use. */
uint32_t tresor_volumes_open(const struct tresor_segment *segment, const uint8_t *volume_key, uint32_t policy,
			     uint32_t *handle);
/* For the heap's tenant. False: no such handle, or another key. */
bool tresor_volumes_approve(uint32_t handle, const uint8_t *volume_key, uint32_t key_size,
			    const uint8_t mrenclave[32]);

/* NULL: no such handle. What get returned stays whole until put. */
const struct tresor_volume *tresor_volumes_get(uint32_t handle);
void tresor_volumes_put(const struct tresor_volume *volume);
/* No get succeeds after this; the last put wipes, or this does when there is none. */
bool tresor_volumes_close(uint32_t handle);

#endif
