/* SPDX-License-Identifier: Apache-2.0 */
#include "attempts.h"
#include "enclave.h"
#include "crypto/pbkdf2.h"
#include "crypto/wipe.h"

#define FREE_FAILURES	3u
/* PBKDF2-SHA256 iterations: a quarter second on a CPU with SHA extensions, then 2^5 times that. */
#define FIRST_COST	(1u << 20)
#define DOUBLINGS	5u

static uint32_t failures;	/* of the heap's tenant */

void tresor_attempts_wait(void)
{
	uint32_t doublings;
	uint8_t waste[32];

	if (failures < FREE_FAILURES)
		return;
	doublings = failures - FREE_FAILURES;
	if (doublings > DOUBLINGS)
		doublings = DOUBLINGS;
	pbkdf2(TRESOR_SHA256, "", 0, "wait", 4, FIRST_COST << doublings, waste, sizeof(waste));
	WIPE(waste);
}

void tresor_attempts_failed(void)
{
	if (failures < FREE_FAILURES + DOUBLINGS)
		failures++;
}

void tresor_attempts_succeeded(void)
{
	failures = 0;
}
