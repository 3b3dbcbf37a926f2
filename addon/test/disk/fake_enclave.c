/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/fake_enclave.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "abi/enclave.h"
#include "addon/test/disk/check.h"

struct tresor_enclave {
	unsigned references;	/* atomic */
	uint32_t handle, sector_size;
	pthread_mutex_t lock;
	/* Under the lock. */
	bool dead;
	unsigned at, entries, most, ranges_done;
	uint32_t status;
};

static unsigned alive;

struct tresor_enclave *fake_enclave_new(uint32_t handle, uint32_t sector_size)
{
	struct tresor_enclave *enclave = calloc(1, sizeof(*enclave));

	CHECK(enclave != NULL);
	enclave->references = 1;
	enclave->handle = handle;
	enclave->sector_size = sector_size;
	pthread_mutex_init(&enclave->lock, NULL);
	__atomic_fetch_add(&alive, 1, __ATOMIC_RELAXED);
	return enclave;
}

void fake_enclave_plan(struct tresor_enclave *enclave, unsigned at, uint32_t status, unsigned ranges)
{
	pthread_mutex_lock(&enclave->lock);
	enclave->at = at;
	enclave->status = status;
	enclave->ranges_done = ranges;
	enclave->entries = enclave->most = 0;
	enclave->dead = false;
	pthread_mutex_unlock(&enclave->lock);
}

void fake_enclave_kill(struct tresor_enclave *enclave)
{
	pthread_mutex_lock(&enclave->lock);
	enclave->dead = true;
	pthread_mutex_unlock(&enclave->lock);
}

unsigned fake_enclave_entries(const struct tresor_enclave *enclave)
{
	return enclave->entries;
}

unsigned fake_enclave_most_ranges(const struct tresor_enclave *enclave)
{
	return enclave->most;
}

unsigned fake_enclave_references(const struct tresor_enclave *enclave)
{
	return __atomic_load_n(&enclave->references, __ATOMIC_RELAXED);
}

unsigned fake_enclaves_alive(void)
{
	return __atomic_load_n(&alive, __ATOMIC_RELAXED);
}

void fake_cipher(const uint8_t *in, uint8_t *out, uint64_t sector, uint32_t length)
{
	for (uint32_t at = 0; at < length; at += 8) {
		uint64_t seed = (sector + at / 512) * 64 + at % 512 / 8 + 0x1234567, word;

		memcpy(&word, in + at, 8);
		word ^= next_random(&seed);
		memcpy(out + at, &word, 8);
	}
}

static bool valid(const struct tresor_enclave *enclave, const struct tresor_range *range)
{
	return range->reserved == 0 && range->length > 0 && range->length <= TRESOR_RANGE_SIZE &&
	       range->length % enclave->sector_size == 0 && range->sector % (enclave->sector_size / 512) == 0 &&
	       range->in % 8 == 0 && range->out % 8 == 0 &&
	       (range->in == range->out || range->in + range->length <= range->out ||
		range->out + range->length <= range->in);
}

static void cipher(const struct tresor_range *range)
{
	fake_cipher((const uint8_t *)(uintptr_t)range->in, (uint8_t *)(uintptr_t)range->out, range->sector,
		    range->length);
}

uint32_t tresor_enclave_enter(struct tresor_enclave *enclave, void *request_)
{
	const struct tresor_sectors *request = request_;
	const struct tresor_range *ranges = (const struct tresor_range *)(uintptr_t)request->ranges;
	uint32_t status = TRESOR_OK, count = request->count;

	CHECK(request->head.op == TRESOR_OP_SECTORS && request->head.size == sizeof(*request));
	CHECK(request->decrypt <= 1 && count >= 1 && count <= TRESOR_RANGES && request->reserved == 0);
	pthread_mutex_lock(&enclave->lock);
	if (enclave->dead) {
		status = TRESOR_ENTER_LOST;
		count = 0;
	} else if (enclave->entries >= enclave->at && enclave->status != TRESOR_OK) {
		status = enclave->status;
		count = enclave->ranges_done;
		enclave->dead = status == TRESOR_ENTER_LOST;
	}
	enclave->entries++;
	if (request->count > enclave->most)
		enclave->most = request->count;
	pthread_mutex_unlock(&enclave->lock);
	if (status == TRESOR_OK && request->handle != enclave->handle)
		return TRESOR_E_HANDLE;
	for (uint32_t i = 0; i < request->count; i++)
		if (!valid(enclave, &ranges[i]))
			return TRESOR_E_REQUEST;
	for (uint32_t i = 0; i < count; i++)
		cipher(&ranges[i]);
	return status;
}

struct tresor_enclave *tresor_enclave_ref(struct tresor_enclave *enclave)
{
	__atomic_fetch_add(&enclave->references, 1, __ATOMIC_RELAXED);
	return enclave;
}

void tresor_enclave_unref(struct tresor_enclave *enclave)
{
	if (__atomic_fetch_sub(&enclave->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	pthread_mutex_destroy(&enclave->lock);
	free(enclave);
	__atomic_fetch_sub(&alive, 1, __ATOMIC_RELAXED);
}

bool tresor_enclave_alive(const struct tresor_enclave *enclave)
{
	struct tresor_enclave *locked = (struct tresor_enclave *)(uintptr_t)enclave;
	bool dead;

	pthread_mutex_lock(&locked->lock);
	dead = locked->dead;
	pthread_mutex_unlock(&locked->lock);
	return !dead;
}
