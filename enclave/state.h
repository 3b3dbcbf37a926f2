/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_STATE_H
#define TRESOR_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include "enclu.h"

/* What HELLO found out, read-only afterwards. */
struct tresor_identity {
	uint8_t mrenclave[32];
	uint8_t mrsigner[32];
	uint8_t cpu_svn[16];
	uint64_t attributes;	/* FLAGS */
	uint64_t xfrm;
	uint16_t isv_prod_id;
	uint16_t isv_svn;
};
extern struct tresor_identity tresor_identity;

/*
 * none -> busy -> ready, or dead from anywhere, for ever. E_STATE or E_DEAD unless the
 * state admits `op`: HELLO moves from none to busy, CLOSE is served by a dead
 * enclave too, so that its keys can be wiped.
 */
uint32_t tresor_state_check(uint32_t op);
/* HELLO's end: ready, or none again when the request was malformed. Dead stays dead. */
void tresor_state_hello_done(bool ready);
/* For ever: a self-test failed or the random source did. */
void tresor_state_die(void);

#endif
