/* SPDX-License-Identifier: Apache-2.0 */
#include "channel_key.h"
#include "crypto/hpke.h"
#include "crypto/random.h"
#include "crypto/wipe.h"
#include "crypto/x25519.h"

static const char info[] = "tresor sealed request v2";
/* Of one length. */
static const char handed_infos[][19] = {
	[TRESOR_HANDOVER] = "tresor handover v1",
	[TRESOR_TAKEOVER] = "tresor takeover v1",
};
#define HANDED_INFO_SIZE (sizeof(handed_infos[0]) - 1)

static uint8_t secret_key[32];
static uint8_t public_key[32];

bool tresor_channel_make(void)
{
	if (!random_bytes(secret_key, sizeof(secret_key)))
		return false;
	x25519_public(public_key, secret_key);
	return true;
}

void tresor_channel_forget(void)
{
	WIPE(secret_key);
}

const uint8_t *tresor_channel_public(void)
{
	return public_key;
}

bool tresor_channel_open(const void *aad, size_t aad_size, const uint8_t *message, size_t size, uint8_t *out)
{
	return hpke_open(HPKE_AES_256_GCM, secret_key, public_key, info, sizeof(info) - 1, aad, aad_size,
			 message, size, out);
}

bool tresor_channel_inherit(enum tresor_handed handed, const void *aad, size_t aad_size, const uint8_t *message,
			    size_t size, uint8_t *out)
{
	return hpke_open(HPKE_AES_256_GCM, secret_key, public_key, handed_infos[handed], HANDED_INFO_SIZE, aad,
			 aad_size, message, size, out);
}

bool tresor_channel_bequeath(enum tresor_handed handed, const uint8_t theirs[32], const void *aad, size_t aad_size,
			     const uint8_t *in, size_t size, uint8_t *message)
{
	uint8_t ephemeral[32];
	const bool ok = random_bytes(ephemeral, sizeof(ephemeral)) &&
			hpke_seal(HPKE_AES_256_GCM, ephemeral, theirs, handed_infos[handed], HANDED_INFO_SIZE, aad,
				  aad_size, in, size, message);

	WIPE(ephemeral);
	return ok;
}
