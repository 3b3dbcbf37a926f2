/* SPDX-License-Identifier: Apache-2.0 */
/* How the hostile tests and the fuzzer bend a request of requests.h, whose arrays lie where it has put them. */
#ifndef TEST_MUTATION_H
#define TEST_MUTATION_H

#include "operations.h"

/* What a hostile host would put in an address field, chosen by any 64 bits. */
uint64_t mutation_address(uint64_t choice);
/* Keeps an honest but costly request from stopping the test. */
void mutation_limit(uint32_t op, uint8_t request[REQUEST_MAX]);
/*
 * Seals the passphrase for the request as it is now bent: a client that was shown a
 * hostile header and asked for it. Nothing when what it points to cannot be read.
 */
void mutation_seal_again(uint32_t op, uint8_t request[REQUEST_MAX]);

#endif
