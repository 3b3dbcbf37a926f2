/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CRYPTO_POWER_ON_H
#define TRESOR_CRYPTO_POWER_ON_H

#include <stdbool.h>

/*
 * Before anything else of the enclave runs: every primitive, on every path that
 * cpu_features admits. memory: 64-byte aligned, POWER_ON_MEMORY bytes.
 */
#define POWER_ON_MEMORY	(48u << 10)
bool crypto_power_on(void *memory) __attribute__((warn_unused_result));

#endif
