/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_CRYPTO_SELFTEST_H
#define TRESOR_CRYPTO_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Runs one set of published vectors, for every enum tresor_test but
 * TRESOR_TEST_SEAL, which needs the enclave's own keys. memory: 64-byte aligned,
 * SELFTEST_MEMORY bytes, zero on return. False also for an unknown index.
 */
#define SELFTEST_MEMORY	(32u << 10)	/* RFC 9106: 32 KiB */
bool crypto_selftest(uint32_t index, void *memory) __attribute__((warn_unused_result));

#endif
