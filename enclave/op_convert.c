/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "mem.h"
#include "overlap.h"
#include "volumes.h"
#include "crypto/hmac.h"
#include "crypto/wipe.h"

#define CHUNK	4096u	/* a multiple of every sector size */

void tresor_pass_mac(const uint8_t key[32], const struct tresor_progress *progress, uint8_t mac[32])
{
	struct hmac hmac;

	hmac_init(&hmac, TRESOR_SHA256, key, 32);
	hmac_update(&hmac, progress, sizeof(*progress));
	hmac_final(&hmac, mac);
}

/* The pass for this thread alone, or NULL with *status; put gives it back. */
static struct tresor_pass_keys *take(uint32_t handle, const struct tresor_volume **volume, uint32_t *status)
{
	struct tresor_pass_keys *pass;

	*status = TRESOR_E_HANDLE;
	*volume = tresor_volumes_get(handle);
	if (!*volume)
		return NULL;
	/* Published, it is read-only but for this. */
	pass = (struct tresor_pass_keys *)&(*volume)->key.pass;
	if ((*volume)->mode == TRESOR_PASS) {
		*status = TRESOR_E_BUSY;
		if (!__atomic_exchange_n(&pass->busy, 1, __ATOMIC_ACQUIRE))
			return pass;
	}
	tresor_volumes_put(*volume);
	return NULL;
}

static void put(struct tresor_pass_keys *pass, const struct tresor_volume *volume)
{
	__atomic_store_n(&pass->busy, 0, __ATOMIC_RELEASE);
	tresor_volumes_put(volume);
}

static uint32_t sector_of(const struct tresor_pass_keys *pass)
{
	return pass->old_sector > pass->new_sector ? pass->old_sector : pass->new_sector;
}

uint32_t tresor_op_zone(struct tresor_zone *request)
{
	const struct tresor_volume *volume;
	struct tresor_progress progress;
	uint32_t status;
	struct tresor_pass_keys *pass;
	uint64_t hot;

	if (request->last > 1)
		return TRESOR_E_REQUEST;
	pass = take(request->handle, &volume, &status);
	if (!pass)
		return status;
	status = TRESOR_E_REQUEST;
	hot = pass->end - pass->start;
	if (request->hot != 0 && (hot != 0 || !(pass->use & TRESOR_PASS_ZONES)))
		goto out;
	if (request->last) {
		if (request->hot == 0 || request->hot != pass->moved)
			goto out;
		/* Nothing comes after it. */
		pass->start = pass->end = 0;
		pass->size = pass->moved;
		pass->moved = 0;
	}
	if (request->hot % sector_of(pass) != 0 ||
	    request->hot > (pass->backward ? pass->start : pass->size - pass->end))
		goto out;
	if (pass->backward) {	/* serves no SECTORS */
		pass->end = pass->start;
		pass->start -= request->hot;
	} else {
		__atomic_store_n(&pass->start, pass->end, __ATOMIC_RELEASE);
		__atomic_store_n(&pass->end, pass->end + request->hot, __ATOMIC_RELEASE);
	}
	pass->next = pass->start;
	progress.position = pass->backward ? pass->end : pass->start;
	progress.hot = request->hot;
	memcpy(progress.probe, request->probe, sizeof(progress.probe));
	tresor_pass_mac(pass->mac_key, &progress, request->mac);
	status = TRESOR_OK;
out:
	put(pass, volume);
	return status;
}

uint32_t tresor_op_finish(struct tresor_finish *request)
{
	const struct tresor_volume *volume;
	struct tresor_pass_keys *pass;
	uint32_t status;

	pass = take(request->handle, &volume, &status);
	if (!pass)
		return status;
	status = TRESOR_E_REQUEST;
	if ((pass->use & TRESOR_PASS_SECTORS) && pass->start == pass->end &&
	    (pass->size == UINT64_MAX || pass->end == pass->size)) {
		const struct tresor_segment segment = {
			.sector_size = pass->new_sector, .key_size = pass->key_size,
			.dynamic = pass->size == UINT64_MAX, .size = pass->size,
		};

		status = tresor_volumes_open(&segment, volume->secret, volume->policy, &request->volume);
	}
	put(pass, volume);
	return status;
}

static bool range_valid(const struct tresor_range *range, const struct tresor_pass_keys *pass, uint64_t *next)
{
	const uint64_t start = range->sector * 512, end = start + range->length;

	if (range->reserved != 0 || range->length == 0 || range->length > TRESOR_RANGE_SIZE ||
	    range->length % sector_of(pass) != 0 || range->sector > UINT64_MAX / 512 || start % sector_of(pass) != 0 ||
	    end < start || start < *next || end > pass->end ||
	    !tresor_boundary_outside(range->in, range->length) ||
	    !tresor_boundary_outside(range->out, range->length) ||
	    tresor_overlap(range->in, range->out, range->length))
		return false;
	*next = end;
	return true;
}

/* The plaintext is on this stack, a chunk of it at a time; where the host's is asked for, it is the host's. */
static void convert(const struct tresor_pass_keys *pass, const struct tresor_range *range)
{
	bool decrypts = pass->mode == TRESOR_DECRYPT;
	uint8_t plain[CHUNK];

	if (pass->mode != TRESOR_REENCRYPT) {
		xts_sectors(decrypts ? &pass->old : &pass->fresh, decrypts, (const void *)range->in,
			    (void *)range->out, range->sector, range->length,
			    decrypts ? pass->old_sector : pass->new_sector);
		return;
	}
	for (uint32_t at = 0; at < range->length; at += CHUNK) {
		uint32_t size = range->length - at < CHUNK ? range->length - at : CHUNK;
		uint64_t sector = range->sector + at / 512;

		xts_sectors(&pass->old, true, (const void *)(range->in + at), plain, sector, size, pass->old_sector);
		xts_sectors(&pass->fresh, false, plain, (void *)(range->out + at), sector, size, pass->new_sector);
	}
	WIPE(plain);
}

uint32_t tresor_op_convert(struct tresor_convert *request, struct tresor_range *ranges)
{
	const struct tresor_volume *volume;
	struct tresor_pass_keys *pass;
	uint32_t status;
	uint64_t next;

	if (request->count == 0 || request->count > TRESOR_RANGES ||
	    !tresor_boundary_read(ranges, request->ranges, request->count * sizeof(*ranges)))
		return TRESOR_E_REQUEST;
	pass = take(request->handle, &volume, &status);
	if (!pass)
		return status;
	status = TRESOR_E_REQUEST;
	next = pass->next;
	for (uint32_t i = 0; i < request->count; i++) {
		if (!range_valid(&ranges[i], pass, &next))
			goto out;
	}
	pass->next = next;
	tresor_boundary_fence();
	for (uint32_t i = 0; i < request->count; i++)
		convert(pass, &ranges[i]);
	status = TRESOR_OK;
out:
	put(pass, volume);
	return status;
}
