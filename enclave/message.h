/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_MESSAGE_H
#define TRESOR_MESSAGE_H

#include <stdbool.h>
#include "enclave.h"

/* The passphrases of a sealed request; both lie on the heap and go with it. */
struct tresor_secrets {
	const uint8_t *existing;
	const uint8_t *fresh;
	uint32_t existing_size;
	uint32_t fresh_size;
};

/* A LUKS2 UUID field: text, then NULs to the end. */
bool tresor_message_uuid_valid(const char uuid[40]);
/*
 * For the heap's tenant. Uses up the nonce, then opens the message: E_MESSAGE
 * when it is not authentic, was not asked for, asks for another request than
 * `request` (request_digest.h), or does not carry what `purpose` needs. The
 * caller compares the context's slots and uuid with its own fields.
 */
uint32_t tresor_message_open(const struct tresor_message *message, uint32_t purpose,
			     const uint8_t request[32], struct tresor_secrets *secrets);

#endif
