/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_HEADER_OPEN_H
#define TRESOR_HEADER_OPEN_H

#include "luks_keyslot.h"
#include "message.h"

/* A header as the host gave it, and what is asked of it. */
struct tresor_asked {
	const struct tresor_message *message;
	uint32_t purpose;
	uint32_t policy;	/* seal policy of `fresh`, else 0 */
	const struct tresor_keyslot *fresh;	/* to be written, or NULL */
	const uint8_t *successor;	/* MRENCLAVE of who shall have the salt or the volume, or NULL */
	uint64_t keyslots;	/* addresses: struct tresor_keyslot[header->count], struct tresor_macs or 0 */
	uint64_t macs;
};

struct tresor_opened {
	struct tresor_opening opening;	/* also when no keyslot opened; the caller wipes it */
	struct tresor_secrets secrets;
	struct tresor_macs macs;	/* as given, when they were */
	struct tresor_header_facts facts;	/* all zero without MACs */
	/* A seal is made with MACs: without them, what took them away is not vouched for here. */
	bool macs_missing;
};

/*
 * What UNLOCK, AUTHENTICATE, ENROL, BEQUEATH and APPROVE begin with, for the heap's tenant: reads
 * keyslots and MACs, opens the sealed request, and with its passphrase a keyslot.
 * OK says that the passphrase is good and nothing about the header: see facts.
 */
uint32_t tresor_header_open(struct tresor_header *header, const struct tresor_asked *asked,
			    uint8_t volume_key[TRESOR_KEY_MAX], struct tresor_opened *opened);

/* The same of a header that must be as it was authenticated, else E_HEADER. Sets all of `outcome` but the slot. */
uint32_t tresor_header_open_authentic(struct tresor_header *header, const struct tresor_asked *asked,
				      uint8_t volume_key[TRESOR_KEY_MAX], struct tresor_opened *opened,
				      struct tresor_outcome *outcome);

#endif
