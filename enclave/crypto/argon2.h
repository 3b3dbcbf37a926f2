/* SPDX-License-Identifier: Apache-2.0 */
/* Argon2i and Argon2id, version 1.3 (RFC 9106), with several lanes and threads. */
#ifndef TRESOR_CRYPTO_ARGON2_H
#define TRESOR_CRYPTO_ARGON2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enclave.h"

#define ARGON2_LANES_MAX	64u

/* Bytes of working memory for memory_kib and lanes: at least 8 KiB a lane, rounded as the RFC says. */
uint64_t argon2_memory(uint32_t memory_kib, uint32_t lanes);

/*
 * type: TRESOR_KDF_ARGON2I or TRESOR_KDF_ARGON2ID. time >= 1, memory_kib >= 8 *
 * lanes, 1 <= lanes <= ARGON2_LANES_MAX, 4 <= out_size < 2^32. memory: 64-byte
 * aligned, argon2_memory() bytes, contents irrelevant, zero on return.
 * False, and nothing done, for parameters outside these or while another
 * Argon2 runs in this enclave.
 *
 * Memory addresses of Argon2i, and of the first half of Argon2id's first pass,
 * do not depend on the passphrase; the rest of Argon2id's do, by design (RFC
 * 9106 section 3.4). Nothing else does.
 */
bool argon2(uint32_t type, const void *pass, size_t pass_size, const void *salt, size_t salt_size,
	    uint32_t time, uint32_t memory_kib, uint32_t lanes, uint8_t *out, size_t out_size,
	    void *memory) __attribute__((warn_unused_result));

/* RFC 9106's secret and associated data: LUKS has neither, the published vectors do. Sizes < 2^32. */
struct argon2_associated {
	const void *secret;
	size_t secret_size;
	const void *data;
	size_t data_size;
};
bool argon2_with(uint32_t type, const void *pass, size_t pass_size, const void *salt, size_t salt_size,
		 const struct argon2_associated *associated, uint32_t time, uint32_t memory_kib,
		 uint32_t lanes, uint8_t *out, size_t out_size, void *memory)
	__attribute__((warn_unused_result));

/*
 * Lends the calling thread to the argon2() now running in another one: takes
 * lanes until that ends, returns at once when none runs. A helper the host
 * suspends delays the result and cannot change it.
 */
void argon2_assist(void);

#endif
