/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_NONCES_H
#define TRESOR_NONCES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Challenges not yet answered. A nonce is good once and for one purpose; the
 * oldest gives way to the 17th. Nonces are public.
 */

/* E_BUSY or OK; drops the oldest when full. */
uint32_t tresor_nonces_add(const uint8_t nonce[32], uint32_t purpose);
/* Forgets the nonce; E_MESSAGE unless it was there and made for `purpose`. */
uint32_t tresor_nonces_take(const uint8_t nonce[32], uint32_t purpose);

#endif
