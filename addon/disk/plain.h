/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plaintext requests of whole sectors on a disk queue: ciphertext to and from the
 * disk, through the enclave in batches, as completions come and requests are put.
 * What needs to wait for a key, for somebody else, or is an error to be told
 * is not decided here: `done` says which, and nothing is acknowledged.
 * Belongs to one thread, as its queue does.
 */
#ifndef TRESOR_DISK_PLAIN_H
#define TRESOR_DISK_PLAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "addon/disk/key.h"
#include "addon/disk/queue.h"
#include "addon/disk/quiet.h"

enum plain_op { PLAIN_READ, PLAIN_WRITE, PLAIN_FLUSH, PLAIN_PUNCH };

/* What the volume is. Reference counted: a thread that hangs outlives the owner, who changes `size` when it grows. */
struct plain_volume {
	unsigned references;	/* atomic */
	struct disk *disk;	/* a reference */
	struct volume_key *key;	/* a reference */
	uint64_t offset;	/* bytes: where the segment starts in the store */
	uint64_t size;		/* atomic; bytes of plaintext */
	uint32_t sector_size;
	bool read_only;
	/*
	 * Everything goes past the page cache, and nothing through it: sectors are whole blocks of the disk, as
	 * disk_aligned has them. Else only reads that the cache does not hold go past it.
	 */
	bool direct;
	struct quiet quiet;
};

/* The caller's, with all its memory, until `done`. */
struct plain_io {
	enum plain_op op;
	bool fua;
	uint64_t offset;	/* bytes of the volume, whole sectors; PLAIN_PUNCH: what the store takes */
	uint32_t length;	/* whole sectors, at most TRESOR_RANGE_SIZE; 0 for a flush */
	uint8_t *ciphertext;	/* page aligned, `length` bytes; undefined afterwards unless it is the plaintext */
	/* The plaintext, `length` bytes in all: whole sectors each, 8-byte aligned. NULL: in the place of the ciphertext. */
	const struct iovec *pieces;
	uint32_t count;		/* of pieces, at most PLAIN_PIECES */
	/*
	 * When done: 0, or an errno. ENOKEY: no key now, or it lies in the `quiet` range; nothing was written, and a
	 * write's plaintext is whole.
	 * EIO also of a write without pieces whose plaintext is lost: the enclave died while it encrypted in place.
	 * `encrypted`, of a write: `ciphertext` is the ciphertext, which the disk may not have.
	 */
	int error;
	bool encrypted;
	bool quiet;
	void (*done)(struct plain_io *io);
	/* plain.c's own. */
	struct disk_io disk;
	struct plain_queue *queue;
	unsigned turn;		/* of quiet_enter */
	bool entered;
	struct plain_io *next;
};
#define PLAIN_PIECES	64u

/* Without a key, over a reference to the disk of its own; the rest is the caller's to fill in. NULL: no memory. */
struct plain_volume *plain_volume_new(struct disk *disk);
struct plain_volume *plain_volume_ref(struct plain_volume *volume);
void plain_volume_unref(struct plain_volume *volume);

struct plain_queue;

/* With a reference to the volume. NULL with errno. */
struct plain_queue *plain_queue_open(struct plain_volume *volume, const struct disk_queue_options *options);
/*
 * A turn decrypts so many bytes of what has come, or a request more than that; the rest is due. Who tells each client at once what
 * has come is asked for more while the rest is decrypted, and a disk works meanwhile.
 */
void plain_queue_divide(struct plain_queue *queue, uint64_t bytes);
/* From now on its thread writes nothing to the page cache itself, which may wait for a disk. */
void plain_queue_leave_writes(struct plain_queue *queue);
struct disk_queue *plain_queue_disk(struct plain_queue *queue);
/* Checks the range (EINVAL, EROFS by `done`). Takes it; begun by the next turn. */
void plain_queue_put(struct plain_queue *queue, struct plain_io *io);
/* As disk_queue_turn. */
bool plain_queue_turn(struct plain_queue *queue, bool wait);
/* As disk_queue_close. */
bool plain_queue_close(struct plain_queue *queue, int ms);

#endif
