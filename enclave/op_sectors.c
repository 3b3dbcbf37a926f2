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

uint32_t tresor_op_sectors(struct tresor_sectors *request, struct tresor_range *ranges)
{
	uint32_t status = TRESOR_E_REQUEST;
	const struct tresor_volume *volume;

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
	for (uint32_t i = 0; i < request->count; i++) {
		if (!range_valid(&ranges[i], volume))
			goto out;
	}
	tresor_boundary_fence();
	for (uint32_t i = 0; i < request->count; i++)
		xts_sectors(&volume->key.xts, request->decrypt, (const void *)ranges[i].in,
			    (void *)ranges[i].out, ranges[i].sector + volume->iv_tweak,
			    ranges[i].length, volume->sector_size);
	status = TRESOR_OK;
out:
	tresor_volumes_put(volume);
	return status;
}
