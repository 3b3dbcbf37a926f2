/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"
#include "enclave.h"

enum { NONE, BUSY, READY, DEAD };

static uint32_t state;		/* atomic */
struct tresor_identity tresor_identity;

uint32_t tresor_state_check(uint32_t op)
{
	const bool hello = op == TRESOR_OP_HELLO;
	uint32_t now = NONE;

	if (hello && __atomic_compare_exchange_n(&state, &now, BUSY, false,
						 __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
		return TRESOR_OK;
	/* Acquire: pairs with the release that published HELLO's work. */
	now = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
	if (now == DEAD)
		return op == TRESOR_OP_CLOSE ? TRESOR_OK : TRESOR_E_DEAD;
	return !hello && now == READY ? TRESOR_OK : TRESOR_E_STATE;
}

void tresor_state_hello_done(bool ready)
{
	uint32_t busy = BUSY;

	(void)__atomic_compare_exchange_n(&state, &busy, ready ? READY : NONE, false,
					  __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void tresor_state_die(void)
{
	__atomic_store_n(&state, DEAD, __ATOMIC_RELEASE);
}
