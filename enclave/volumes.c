/* SPDX-License-Identifier: Apache-2.0 */
#include "volumes.h"
#include "enclave.h"
#include "mem.h"
#include "crypto/ct.h"
#include "crypto/wipe.h"

/*
 * One word per volume holds everything the threads agree on:
 *   63..32  handle, 0 while there is no readable volume
 *   31      closing: no new readers
 *   30      owned by one thread, which fills or wipes
 *   29..0   readers
 * A host may stop a thread anywhere and for ever. Then that volume stays as it
 * is (its keys live until the enclave ends) and no other is affected.
 */
#define CLOSING		(1u << 31)
#define OWNED		(1u << 30)

static struct {
	uint64_t word;		/* atomic */
	uint32_t generation;	/* of the owner */
	struct tresor_volume volume;
} slots[TRESOR_VOLUMES];

_Static_assert((TRESOR_VOLUMES & (TRESOR_VOLUMES - 1)) == 0, "handle % TRESOR_VOLUMES is the index");

static uint32_t index_of(const struct tresor_volume *volume)
{
	uint64_t offset = (uint64_t)((const char *)volume - (const char *)&slots[0].volume);

	return (uint32_t)(offset / sizeof(slots[0]));
}

static bool swap(uint64_t *word, uint64_t *from, uint64_t to)
{
	return __atomic_compare_exchange_n(word, from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

struct tresor_volume *tresor_volumes_claim(void)
{
	for (uint32_t i = 0; i < TRESOR_VOLUMES; i++) {
		uint64_t unused = 0;

		if (swap(&slots[i].word, &unused, OWNED))
			return &slots[i].volume;
	}
	return NULL;
}

uint32_t tresor_volumes_publish(struct tresor_volume *volume)
{
	uint32_t i = index_of(volume);
	uint32_t handle;

	/* 1..2^28-1, so that no handle is 0; one comes again after that many openings. */
	slots[i].generation = slots[i].generation % (UINT32_MAX / TRESOR_VOLUMES) + 1;
	handle = slots[i].generation * TRESOR_VOLUMES + i;
	__atomic_store_n(&slots[i].word, (uint64_t)handle << 32, __ATOMIC_RELEASE);
	return handle;
}

static void empty(struct tresor_volume *volume)
{
	wipe(volume, sizeof(*volume));
	__atomic_store_n(&slots[index_of(volume)].word, 0, __ATOMIC_RELEASE);
}

const struct tresor_volume *tresor_volumes_get(uint32_t handle)
{
	uint32_t i = handle % TRESOR_VOLUMES;
	uint64_t word = __atomic_load_n(&slots[i].word, __ATOMIC_ACQUIRE);

	do {
		if (handle == 0 || word >> 32 != handle || (word & CLOSING))
			return NULL;
	} while (!swap(&slots[i].word, &word, word + 1));
	return &slots[i].volume;
}

void tresor_volumes_put(const struct tresor_volume *volume)
{
	uint32_t i = index_of(volume);
	uint64_t word = __atomic_sub_fetch(&slots[i].word, 1, __ATOMIC_ACQ_REL);

	/* CLOSING and no reader: nobody but this thread can see the volume. */
	if ((uint32_t)word == CLOSING)
		empty(&slots[i].volume);
}

uint32_t tresor_volumes_open(const struct tresor_segment *segment, const uint8_t *volume_key, uint32_t policy,
			     uint32_t *handle)
{
	struct tresor_volume *volume = tresor_volumes_claim();

	if (!volume)
		return TRESOR_E_BUSY;
	volume->mode = TRESOR_XTS;
	volume->sector_size = segment->sector_size;
	volume->iv_tweak = segment->iv_tweak;
	volume->sectors = segment->dynamic ? UINT64_MAX : segment->size / 512;
	volume->policy = policy;
	volume->secret_size = segment->key_size;
	memcpy(volume->secret, volume_key, segment->key_size);
	xts_expand(&volume->key.xts, volume_key, segment->key_size);
	*handle = tresor_volumes_publish(volume);
	return TRESOR_OK;
}

bool tresor_volumes_approve(uint32_t handle, const uint8_t *volume_key, uint32_t key_size,
			    const uint8_t mrenclave[32])
{
	const struct tresor_volume *volume = tresor_volumes_get(handle);
	bool same;

	if (!volume)
		return false;
	same = volume->secret_size == key_size && ct_equal(volume->secret, volume_key, key_size);
	if (same)
		memcpy(slots[index_of(volume)].volume.approved, mrenclave, 32);
	tresor_volumes_put(volume);
	return same;
}

bool tresor_volumes_close(uint32_t handle)
{
	uint32_t i = handle % TRESOR_VOLUMES;
	uint64_t word = __atomic_load_n(&slots[i].word, __ATOMIC_ACQUIRE);

	do {
		if (handle == 0 || word >> 32 != handle || (word & CLOSING))
			return false;
	} while (!swap(&slots[i].word, &word, (uint32_t)word ? word | CLOSING : OWNED));
	if ((uint32_t)word == 0)
		empty(&slots[i].volume);
	return true;
}
