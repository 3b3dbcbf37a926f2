/* SPDX-License-Identifier: Apache-2.0 */
#include "nonces.h"
#include "enclave.h"
#include "mem.h"

static struct {
	uint8_t nonce[32];
	uint32_t purpose;	/* 0: free */
	uint64_t order;
} entries[TRESOR_NONCES];
static uint64_t order;
static uint32_t lock;		/* atomic */

/*
 * The lock's holder may never run again, at the host's pleasure, so waiting is
 * bounded. A few hundred cycles are all a holder needs.
 */
static bool enter(void)
{
	for (uint32_t i = 0; i < 1u << 20; i++) {
		if (!__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

static void leave(void)
{
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

uint32_t tresor_nonces_add(const uint8_t nonce[32], uint32_t purpose)
{
	uint32_t oldest = 0;

	if (!enter())
		return TRESOR_E_BUSY;
	for (uint32_t i = 1; i < TRESOR_NONCES; i++) {
		if (entries[i].order < entries[oldest].order)
			oldest = i;
	}
	memcpy(entries[oldest].nonce, nonce, 32);
	entries[oldest].purpose = purpose;
	entries[oldest].order = ++order;
	leave();
	return TRESOR_OK;
}

uint32_t tresor_nonces_take(const uint8_t nonce[32], uint32_t purpose)
{
	uint32_t status = TRESOR_E_MESSAGE;

	if (!enter())
		return TRESOR_E_BUSY;
	for (uint32_t i = 0; i < TRESOR_NONCES; i++) {
		if (entries[i].purpose == 0 || memcmp(entries[i].nonce, nonce, 32) != 0)
			continue;
		if (entries[i].purpose == purpose)
			status = TRESOR_OK;
		entries[i].purpose = 0;
		entries[i].order = 0;
		break;
	}
	leave();
	return status;
}
