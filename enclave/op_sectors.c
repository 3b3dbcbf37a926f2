/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "overlap.h"
#include "volumes.h"

static bool range_valid(const struct tresor_range *range, const struct tresor_volume *volume)
{
	uint64_t sectors = range->length / 512;
	uint64_t end;

	return range->reserved == 0 && range->length != 0 && range->length <= TRESOR_RANGE_SIZE &&
	       range->length % volume->sector_size == 0 &&
	       range->sector % (volume->sector_size / 512) == 0 &&
	       range->sector <= volume->sectors && sectors <= volume->sectors - range->sector &&
	       /* A tweak that wraps would serve two sectors. */
	       !__builtin_add_overflow(range->sector + sectors, volume->iv_tweak, &end) &&
	       tresor_boundary_outside(range->in, range->length) &&
	       tresor_boundary_outside(range->out, range->length) &&
	       !tresor_overlap(range->in, range->out, range->length);
}

/* What a reencryption is at is under neither key. */
static bool is_hot(const struct tresor_range *range, uint64_t hot_start, uint64_t hot_end)
{
	const uint64_t start = range->sector * 512;

	return hot_start != hot_end && start < hot_end && start + range->length > hot_start;
}

static void crypt(const struct tresor_volume *volume, bool decrypt, const struct tresor_range *range, uint64_t hot_start)
{
	const struct tresor_pass_keys *pass = &volume->key.pass;
	const uint64_t start = range->sector * 512;
	const uint8_t *in = (const uint8_t *)range->in;
	uint8_t *out = (uint8_t *)range->out;
	uint32_t fresh = 0;

	if (volume->mode != TRESOR_PASS) {
		xts_sectors(&volume->key.xts, decrypt, in, out, range->sector + volume->iv_tweak, range->length,
			    volume->sector_size);
		return;
	}
	if (start < hot_start)
		fresh = range->length < hot_start - start ? range->length : (uint32_t)(hot_start - start);
	if (fresh > 0)
		xts_sectors(&pass->fresh, decrypt, in, out, range->sector, fresh, pass->new_sector);
	if (fresh < range->length)
		xts_sectors(&pass->old, decrypt, in + fresh, out + fresh, range->sector + fresh / 512,
			    range->length - fresh, pass->old_sector);
}

uint32_t tresor_op_sectors(struct tresor_sectors *request, struct tresor_range *ranges)
{
	uint32_t status = TRESOR_E_REQUEST;
	const struct tresor_volume *volume;
	uint64_t hot_start = 0, hot_end = 0;

	if (request->decrypt > 1 || request->reserved != 0 || request->count == 0 ||
	    request->count > TRESOR_RANGES ||
	    !tresor_boundary_read(ranges, request->ranges, request->count * sizeof(*ranges)))
		return TRESOR_E_REQUEST;
	volume = tresor_volumes_get(request->handle);
	if (!volume)
		return TRESOR_E_HANDLE;
	/* Legacy handles have no sectors; the kernel ring serves them. */
	if (volume->sector_size == 0)
		goto out;
	if (volume->mode == TRESOR_PASS) {
		hot_start = __atomic_load_n(&volume->key.pass.start, __ATOMIC_ACQUIRE);
		hot_end = __atomic_load_n(&volume->key.pass.end, __ATOMIC_ACQUIRE);
	}
	for (uint32_t i = 0; i < request->count; i++) {
		if (!range_valid(&ranges[i], volume) || is_hot(&ranges[i], hot_start, hot_end))
			goto out;
	}
	tresor_boundary_fence();
	for (uint32_t i = 0; i < request->count; i++)
		crypt(volume, request->decrypt, &ranges[i], hot_start);
	status = TRESOR_OK;
out:
	tresor_volumes_put(volume);
	return status;
}
