/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sectors in plaintext between a store and memory of its own, many under way at once: by a queue of the thread that
 * calls all of this, and by lanes beside it.
 */
#ifndef TRESOR_DISK_TRANSFERS_H
#define TRESOR_DISK_TRANSFERS_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/lanes.h"
#include "addon/disk/plain.h"

/* Requests of the queue, and transfers; bytes of memory. */
#define TRANSFERS_MOST		256u
#define TRANSFERS_MEMORY	(8u << 20)
#define TRANSFERS_COLUMNS	2u	/* of a row: token, errno */

struct transfers;

struct transfer_request {
	enum plain_op op;
	uint32_t token;
	uint64_t offset;	/* bytes of the volume */
	uint32_t length, at;	/* what was reserved: transfers_hold */
	bool durable;
};

/* Another reference to the disk. `past`: everything goes past the page cache. NULL with errno. */
struct transfers *transfers_open(struct disk *disk, bool past, uint32_t threads);
/* Frees it. False: the device holds requests for ever; what they use stays, all of this. */
bool transfers_close(struct transfers *transfers, int ms);

struct plain_volume *transfers_volume(const struct transfers *transfers);
struct disk_queue *transfers_queue(const struct transfers *transfers);
/* NULL: there are none. */
struct lanes *transfers_lanes(const struct transfers *transfers);
/* A slab of TRANSFERS_MEMORY bytes. */
uint8_t *transfers_memory(const struct transfers *transfers);

/* Where in the memory; -1: no room now. */
double transfers_reserve(struct transfers *transfers, uint32_t length);
void transfers_release(struct transfers *transfers, uint32_t at, uint32_t length);
/* Whether the range may have been reserved. */
bool transfers_hold(const struct transfers *transfers, uint32_t at, uint32_t length);
/* What nobody has. */
void transfers_wipe(struct transfers *transfers);

/*
 * Begun by a turn. `plaintext` of a write: elsewhere; it is read by the next turn only. NULL: it is where was reserved.
 * False: too many are under way.
 */
bool transfers_put(struct transfers *transfers, const struct transfer_request *request, uint8_t *plaintext);
/* Begins what was asked for; how many have ended, in rows of TRANSFERS_COLUMNS. Not all of what has, see transfers_due. */
uint32_t transfers_turn(struct transfers *transfers, double *rows, uint32_t most);
/* Another turn is to follow the last one. */
bool transfers_due(const struct transfers *transfers);

#endif
