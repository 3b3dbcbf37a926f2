/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes: RDSEED and RDRAND, health-checked, through an HMAC_DRBG that
 * is seeded on first use and again every RANDOM_RESEED requests.
 */
#ifndef TRESOR_CRYPTO_RANDOM_H
#define TRESOR_CRYPTO_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANDOM_RESEED	64u
#define RANDOM_PERSONAL	48u

/*
 * Before the first random_bytes: goes into every seed beside RDRAND (SP 800-90A
 * 8.7.1). Counted as no entropy: what RDRAND must deliver, it must deliver still.
 */
void random_personalise(const uint8_t bytes[RANDOM_PERSONAL]);

/*
 * Any thread; size <= 2^30. False, with out wiped, when the CPU gave nothing in
 * ten tries or failed a health check (SP 800-90B 4.4); that is for ever.
 */
bool random_bytes(void *out, size_t size) __attribute__((warn_unused_result));

/* The health checks by themselves: false when these samples are to be refused. */
struct random_health {
	uint64_t last;
	uint64_t first;		/* of the adaptive proportion test's window */
	uint32_t seen;		/* in that window */
	uint32_t same;
	uint32_t samples;
};
bool random_healthy(struct random_health *health, uint64_t sample) __attribute__((warn_unused_result));

#endif
