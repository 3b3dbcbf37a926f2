/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MRENCLAVE while it grows. The state lies in the SECS, so that it is evicted and reloaded with it. */
#include "qemu/osdep.h"
#include <nettle/sha2.h>
#include "sgx.h"

QEMU_BUILD_BUG_ON(sizeof(struct sha256_ctx) > sizeof(((SgxHidden *)0)->measurement));

static void load(uint32_t secs, struct sha256_ctx *state)
{
    memcpy(state, sgx_hidden(secs)->measurement, sizeof(*state));
}

static void store(uint32_t secs, const struct sha256_ctx *state)
{
    memcpy(sgx_hidden(secs)->measurement, state, sizeof(*state));
}

void sgx_measure_start(uint32_t secs)
{
    struct sha256_ctx state;

    memset(&state, 0, sizeof(state));
    sha256_init(&state);
    store(secs, &state);
}

void sgx_measure(uint32_t secs, const void *bytes, size_t size)
{
    struct sha256_ctx state;

    load(secs, &state);
    sha256_update(&state, size, bytes);
    store(secs, &state);
}

/* The measurement may go on afterwards: EINIT can fail and be tried again. */
void sgx_measure_end(uint32_t secs, uint8_t digest[32])
{
    struct sha256_ctx state;

    load(secs, &state);
    sha256_digest(&state, SHA256_DIGEST_SIZE, digest);
}

void sgx_sha256(const void *bytes, size_t size, uint8_t digest[32])
{
    struct sha256_ctx state;

    sha256_init(&state);
    sha256_update(&state, size, bytes);
    sha256_digest(&state, SHA256_DIGEST_SIZE, digest);
}
