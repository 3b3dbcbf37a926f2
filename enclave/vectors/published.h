/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_VECTORS_PUBLISHED_H
#define TRESOR_VECTORS_PUBLISHED_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Runs one set of published vectors, for every enum tresor_test but
 * TRESOR_TEST_SEAL, which needs the enclave's own keys. memory: 64-byte aligned,
 * VECTORS_MEMORY bytes, zero on return. False also for an unknown index.
 */
#define VECTORS_MEMORY	(32u << 10)	/* RFC 9106: 32 KiB */
bool published_vectors_pass(uint32_t index, void *memory) __attribute__((warn_unused_result));

#endif
