/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_REQUEST_DIGEST_H
#define TRESOR_REQUEST_DIGEST_H

#include <stdbool.h>
#include "header_mac.h"

/*
 * SHA-256 over the public parameters of a sealed request, as struct
 * tresor_context names them: computed from what the enclave is about to do and
 * compared with what the client asked for.
 */

/* A request about a header. fresh: NULL when no keyslot is written; successor: the MRENCLAVE that SUCCEED
 * or APPROVE names, else NULL. */
void tresor_request_digest(const struct tresor_header *header, uint32_t purpose, uint32_t policy,
			   bool macs, const struct tresor_keyslot *fresh, const uint8_t *successor,
			   uint8_t digest[32]);
void tresor_request_digest_legacy(const struct tresor_legacy *request, uint8_t digest[32]);

#endif
