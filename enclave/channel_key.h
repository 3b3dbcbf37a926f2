/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CHANNEL_KEY_H
#define TRESOR_CHANNEL_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The HPKE key pair of this start: to whom passphrases are sealed. Its private half stays in channel_key.c. */

/* HELLO only, and once. False when the random source is dead. */
bool tresor_channel_make(void) __attribute__((warn_unused_result));
/* For an enclave that will not serve. */
void tresor_channel_forget(void);
const uint8_t *tresor_channel_public(void);	/* 32 bytes */
/* hpke.h's hpke_open, to this key and with the info of a sealed request. */
bool tresor_channel_open(const void *aad, size_t aad_size, const uint8_t *message, size_t size, uint8_t *out)
	__attribute__((warn_unused_result));

/* What one enclave gives another; each has an info of its own: struct tresor_handover, struct tresor_yielded. */
enum tresor_handed { TRESOR_HANDOVER, TRESOR_TAKEOVER };
/* The same with that info: what the predecessor sealed to this key. */
bool tresor_channel_inherit(enum tresor_handed handed, const void *aad, size_t aad_size, const uint8_t *message,
			    size_t size, uint8_t *out) __attribute__((warn_unused_result));
/* The other end of that: `in` for the successor that has public_key. False: a bad key, or no random bytes. */
bool tresor_channel_bequeath(enum tresor_handed handed, const uint8_t public_key[32], const void *aad,
			     size_t aad_size, const uint8_t *in, size_t size, uint8_t *message) __attribute__((warn_unused_result));

#endif
