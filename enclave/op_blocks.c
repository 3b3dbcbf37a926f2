/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"
#include "boundary.h"
#include "mem.h"
#include "overlap.h"
#include "volumes.h"
#include "crypto/modes.h"

#define BLOCK_LENGTH_MAX	65536u

static bool block_valid(const struct tresor_block *block)
{
	bool whole = block->mode == TRESOR_CBC || block->mode == TRESOR_ECB ||
		     block->mode == TRESOR_CBC_ESSIV;

	return block->mode >= TRESOR_XTS && block->mode <= TRESOR_CBC_ESSIV && block->decrypt <= 1 &&
	       block->length >= 16 && block->length <= BLOCK_LENGTH_MAX &&
	       !(whole && block->length % 16 != 0) &&
	       (block->flags & ~TRESOR_BLOCK_CONTINUED) == 0 &&
	       (block->reserved[0] | block->reserved[1] | block->reserved[2]) == 0 &&
	       tresor_boundary_outside(block->in, block->length) &&
	       tresor_boundary_outside(block->out, block->length) &&
	       !tresor_overlap(block->in, block->out, block->length);
}

/*
 * A LUKS2 volume's key encrypts sectors of its segment and nothing else, as in
 * op_sectors: no unit of another length, no tweak that is no sector number.
 */
static bool is_sector(const struct tresor_block *block, const struct tresor_volume *volume)
{
	uint64_t iv[2], sector;

	memcpy(iv, block->iv, sizeof(iv));
	sector = iv[0] - volume->iv_tweak;
	return block->length == volume->sector_size && block->flags == 0 && iv[1] == 0 &&
	       iv[0] >= volume->iv_tweak && sector % (volume->sector_size / 512) == 0 &&
	       sector < volume->sectors && block->length / 512 <= volume->sectors - sector;
}

static uint32_t run(struct tresor_block *block)
{
	const void *in = (const void *)block->in;
	void *out = (void *)block->out;
	const struct tresor_volume *volume;
	uint32_t status = TRESOR_OK;

	if (!block_valid(block))
		return TRESOR_E_REQUEST;
	volume = tresor_volumes_get(block->handle);
	if (!volume)
		return TRESOR_E_HANDLE;
	if (volume->mode != block->mode || (volume->sector_size != 0 && !is_sector(block, volume))) {
		status = volume->mode != block->mode ? TRESOR_E_HANDLE : TRESOR_E_REQUEST;
		goto out;
	}
	tresor_boundary_fence();
	switch (block->mode) {
	case TRESOR_XTS:
		xts_unit(&volume->key.xts, block->decrypt, block->flags & TRESOR_BLOCK_CONTINUED, in,
			 out, block->length, block->iv);
		break;
	case TRESOR_CBC:
		modes_cbc(&volume->key.aes.data, block->decrypt, in, out, block->length, block->iv);
		break;
	case TRESOR_CTR:
		modes_ctr(&volume->key.aes.data, in, out, block->length, block->iv);
		break;
	case TRESOR_ECB:
		modes_ecb(&volume->key.aes.data, block->decrypt, in, out, block->length);
		break;
	default:
		if (block->flags & TRESOR_BLOCK_CONTINUED)
			modes_cbc(&volume->key.aes.data, block->decrypt, in, out, block->length, block->iv);
		else
			modes_cbc_essiv(&volume->key.aes.data, &volume->key.aes.essiv, block->decrypt, in,
					out, block->length, block->iv);
		break;
	}
out:
	tresor_volumes_put(volume);
	return status;
}

uint32_t tresor_op_blocks(struct tresor_blocks *request, struct tresor_block *blocks)
{
	if (request->reserved != 0 || request->count == 0 || request->count > TRESOR_RANGES ||
	    !tresor_boundary_read(blocks, request->blocks, request->count * sizeof(*blocks)))
		return TRESOR_E_REQUEST;
	/* Each answers for itself: one bad request of the kernel fails no other. */
	for (uint32_t i = 0; i < request->count; i++)
		blocks[i].status = run(&blocks[i]);
	return tresor_boundary_write(request->blocks, blocks, request->count * sizeof(*blocks)) ?
		TRESOR_OK : TRESOR_E_REQUEST;
}
