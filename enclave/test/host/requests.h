/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as the hostile tests and the fuzzer bend them. */
#ifndef TEST_REQUESTS_H
#define TEST_REQUESTS_H

#include "machine.h"

#define OPERATIONS	(TRESOR_OP_FINISH + 1)	/* 0 is none, too */
#define REQUEST_MAX	1024u

struct operation {
	const char *name;
	uint32_t size;
	/* Lists of offset + 1, ended by 0. */
	uint16_t addresses[8];	/* u64 host addresses */
	uint16_t costs[8];	/* u32 counts that buy time or memory */
	uint32_t array;		/* size of the elements some address leads to, 0: none */
	uint16_t array_at;	/* offset of that address */
	uint16_t element_addresses[3], element_costs[5];
};
extern const struct operation operations[OPERATIONS];

/* A created volume, an open handle of it and a legacy one, for requests to refer to. */
void requests_prepare(void);
/* A valid request with all it points to, in the arena. `sealed`: with a message that opens. */
void requests_template(uint32_t op, bool sealed, uint8_t request[REQUEST_MAX]);
/* What a hostile host would put in an address field, chosen by any 64 bits. */
uint64_t requests_address(uint64_t choice);
/* Keeps an honest but costly request from stopping the test. */
void requests_limit(uint32_t op, uint8_t request[REQUEST_MAX]);
/*
 * Seals the passphrase for the request as it is now bent: a client that was shown a
 * hostile header and asked for it. Nothing when what it points to cannot be read.
 */
void requests_seal_again(uint32_t op, uint8_t request[REQUEST_MAX]);
/* Enters; closes a handle that came back; looks for keys in what the host can see when `scan`. */
uint32_t requests_enter(uint8_t request[REQUEST_MAX], bool scan);
#endif
