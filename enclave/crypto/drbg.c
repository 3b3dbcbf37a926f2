/* SPDX-License-Identifier: Apache-2.0 */
#include "drbg.h"
#include "hmac.h"
#include "mem.h"
#include "wipe.h"

static void next(struct drbg *drbg)
{
	struct hmac hmac;

	hmac_init(&hmac, TRESOR_SHA256, drbg->key, sizeof(drbg->key));
	hmac_update(&hmac, drbg->v, sizeof(drbg->v));
	hmac_final(&hmac, drbg->v);
}

/* HMAC_DRBG_Update: one round without data, two with. */
static void update(struct drbg *drbg, const void *data, size_t size)
{
	struct hmac hmac;

	for (uint8_t round = 0; round < (size ? 2 : 1); round++) {
		hmac_init(&hmac, TRESOR_SHA256, drbg->key, sizeof(drbg->key));
		hmac_update(&hmac, drbg->v, sizeof(drbg->v));
		hmac_update(&hmac, &round, 1);
		hmac_update(&hmac, data, size);
		hmac_final(&hmac, drbg->key);
		next(drbg);
	}
}

void drbg_init(struct drbg *drbg, const void *seed, size_t size)
{
	memset(drbg->key, 0, sizeof(drbg->key));
	memset(drbg->v, 1, sizeof(drbg->v));
	update(drbg, seed, size);
}

void drbg_reseed(struct drbg *drbg, const void *seed, size_t size)
{
	update(drbg, seed, size);
}

void drbg_generate(struct drbg *drbg, uint8_t *out, size_t size)
{
	while (size) {
		const size_t part = size < sizeof(drbg->v) ? size : sizeof(drbg->v);

		next(drbg);
		memcpy(out, drbg->v, part);
		out += part;
		size -= part;
	}
	update(drbg, 0, 0);
}
