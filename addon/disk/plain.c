/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/plain.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "addon/io/patience.h"

struct list {
	struct plain_io *first, **last;
};

struct plain_queue {
	struct plain_volume *volume;	/* a reference */
	struct disk *disk;		/* the volume's */
	struct disk_queue *queue;
	struct patience patience;	/* with writes to the page cache on this thread */
	struct disk_look look;
	uint64_t piece;		/* bytes that a turn decrypts */
	uint64_t next_read;		/* where the last read ended */
	struct list encrypt, decrypt;	/* whole requests, for the next entry */
	struct list ended;		/* to be told */
	struct tresor_range ranges[TRESOR_RANGES];
};

static void append(struct list *list, struct plain_io *io)
{
	io->next = NULL;
	*list->last = io;
	list->last = &io->next;
}

static void empty(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void end(struct plain_queue *queue, struct plain_io *io, int error)
{
	if (io->entered)
		quiet_leave(&queue->volume->quiet, io->turn);
	io->error = error;
	append(&queue->ended, io);
}

/* Of a disk's errors: what the caller of the volume is told is its own to decide. */
static void disk_done(struct disk_io *disk)
{
	struct plain_io *io = (struct plain_io *)(void *)((char *)disk - offsetof(struct plain_io, disk));

	if (disk->error == 0 && io->op == PLAIN_READ)
		append(&io->queue->decrypt, io);
	else
		end(io->queue, io, disk->error);
}

static void put_disk(struct plain_queue *queue, struct plain_io *io, enum disk_op op, bool direct)
{
	io->disk = (struct disk_io){
		.op = op,
		.direct = direct,
		.durable = io->fua && op == DISK_WRITE,
		.offset = queue->volume->offset + io->offset,
		.length = io->length,
		.memory = io->ciphertext,
		.done = disk_done,
	};
	disk_queue_put(queue->queue, &io->disk);
}

/* At once, from the page cache. */
static bool read_cached(struct plain_queue *queue, struct plain_io *io)
{
	const struct iovec whole = { io->ciphertext, io->length };
	ssize_t got;

	do {
		got = preadv2(queue->disk->cached, &whole, 1, (off_t)(queue->volume->offset + io->offset), RWF_NOWAIT);
	} while (got < 0 && errno == EINTR);
	return got == (ssize_t)io->length;
}

/*
 * What the page cache has is taken from there. Else past it: at depth, the copy and the pages cost more
 * than the disk. One reader alone that reads on where it stopped has the system's read-ahead.
 */
static void read_sectors(struct plain_queue *queue, struct plain_io *io)
{
	const uint64_t at = queue->volume->offset + io->offset;
	const bool on = io->offset == queue->next_read && disk_queue_pending(queue->queue) == 0;
	/* Of a volume whose writes go past the page cache too, it is (see fits). */
	bool direct = disk_aligned(queue->disk, at, io->length);

	queue->next_read = io->offset + io->length;
	if (!queue->volume->direct) {
		const enum disk_cached cached = disk_look(&queue->look, queue->disk->cached, at, io->length);

		/* Where there is no telling, a look reads as well; so what follows it joins that. */
		if (cached != DISK_UNCACHED && read_cached(queue, io)) {
			append(&queue->decrypt, io);
			return;
		}
		disk_missed(&queue->look);
		direct = direct && cached == DISK_UNCACHED && !on;
	}
	put_disk(queue, io, DISK_READ, direct);
}

/* Writes to the page cache on this thread, one after another: what is asked once for all of them. */
struct writes {
	bool now;		/* none has had to wait */
	uint64_t end;		/* of the store */
	struct timing timing;
};

static struct writes begin_writes(const struct plain_queue *queue)
{
	struct writes writes = { 0 };

	writes.now = !queue->volume->direct && __atomic_load_n(&queue->disk->failed, __ATOMIC_ACQUIRE) == 0 &&
		     patience_begin(&queue->patience, &writes.timing);
	if (writes.now)
		writes.end = disk_end(queue->disk);
	return writes;
}

/* To the page cache at once. */
static bool write_cached(struct plain_queue *queue, const struct plain_io *io, struct writes *writes)
{
	const struct iovec whole = { io->ciphertext, io->length };
	const uint64_t at = queue->volume->offset + io->offset;
	ssize_t put;

	if (io->fua || !writes->now || at > writes->end || io->length > writes->end - at)
		return false;
	do {
		put = pwritev(queue->disk->cached, &whole, 1, (off_t)at);
	} while (put < 0 && errno == EINTR);
	writes->now = patience_end(&queue->patience, &writes->timing);
	return put == (ssize_t)io->length;
}

static void write_sectors(struct plain_queue *queue, struct plain_io *io, struct writes *writes)
{
	if (write_cached(queue, io, writes))
		end(queue, io, 0);
	else
		put_disk(queue, io, DISK_WRITE, queue->volume->direct);
}

static uint32_t pieces_of(const struct plain_io *io)
{
	return io->pieces == NULL ? 1 : io->count;
}

static struct tresor_range *add_ranges(struct tresor_range *range, const struct plain_io *io)
{
	const struct iovec whole = { io->ciphertext, io->length };
	const struct iovec *pieces = io->pieces == NULL ? &whole : io->pieces;
	uint32_t done = 0;

	for (uint32_t i = 0; i < pieces_of(io); i++) {
		const uint64_t ciphertext = (uintptr_t)io->ciphertext + done;
		const uint64_t plaintext = (uintptr_t)pieces[i].iov_base;

		*range++ = (struct tresor_range){
			.in = io->op == PLAIN_READ ? ciphertext : plaintext,
			.out = io->op == PLAIN_READ ? plaintext : ciphertext,
			.sector = (io->offset + done) / 512,
			.length = (uint32_t)pieces[i].iov_len,
		};
		done += (uint32_t)pieces[i].iov_len;
	}
	return range;
}

/* What is in place may be half encrypted when the enclave died at it: nobody may encrypt it again. */
static int without_key(const struct plain_io *io, int error)
{
	if (error != EOWNERDEAD)
		return error;
	return io->op == PLAIN_WRITE && io->pieces == NULL ? EIO : ENOKEY;
}

/* From the front of the list, until there are `bytes`, with as few entries into the enclave as its limit of ranges allows. */
static void crypt(struct plain_queue *queue, struct list *list, bool decrypt, uint64_t bytes)
{
	uint64_t done = 0;

	while (list->first != NULL && done < bytes) {
		struct plain_io *io = list->first;
		struct tresor_range *range = queue->ranges;
		struct plain_io *first = io, *after;
		struct writes writes = { 0 };
		int error;

		while (io != NULL && done < bytes && range + pieces_of(io) <= queue->ranges + TRESOR_RANGES) {
			range = add_ranges(range, io);
			done += io->length;
			io = io->next;
		}
		after = list->first = io;
		if (io == NULL)
			empty(list);
		error = volume_key_crypt(queue->volume->key, decrypt, queue->ranges, (uint32_t)(range - queue->ranges));
		if (!decrypt && error == 0)
			writes = begin_writes(queue);
		for (struct plain_io *each = first; each != after;) {
			struct plain_io *next = each->next;

			each->encrypted = !decrypt && error == 0;
			if (error != 0)
				end(queue, each, without_key(each, error));
			else if (decrypt)
				end(queue, each, 0);
			else
				write_sectors(queue, each, &writes);
			each = next;
		}
	}
}

static bool pieces_fit(const struct plain_io *io, uint32_t sector)
{
	uint64_t sum = 0;

	if (io->pieces == NULL)
		return true;
	if (io->count > PLAIN_PIECES)
		return false;
	for (uint32_t i = 0; i < io->count; i++) {
		const size_t length = io->pieces[i].iov_len;

		if (length == 0 || length > io->length || length % sector != 0)
			return false;
		sum += length;
	}
	return sum == io->length;
}

static bool fits(const struct plain_queue *queue, const struct plain_io *io)
{
	const uint64_t size = __atomic_load_n(&queue->volume->size, __ATOMIC_RELAXED);
	const uint32_t sector = queue->volume->sector_size;

	if (queue->volume->direct && !disk_aligned(queue->disk, queue->volume->offset + io->offset, io->length))
		return false;
	return io->length > 0 && io->length <= TRESOR_RANGE_SIZE && io->offset <= size &&
	       io->length <= size - io->offset && io->offset % sector == 0 && io->length % sector == 0 &&
	       pieces_fit(io, sector);
}

static void begin(struct plain_queue *queue, struct plain_io *io)
{
	if (io->op == PLAIN_PUNCH) {
		put_disk(queue, io, DISK_PUNCH, false);
	} else if (!fits(queue, io)) {
		end(queue, io, EINVAL);
	} else if (io->op == PLAIN_READ) {
		read_sectors(queue, io);
	} else if (queue->volume->read_only) {
		end(queue, io, EROFS);
	} else {
		append(&queue->encrypt, io);
	}
}

void plain_queue_put(struct plain_queue *queue, struct plain_io *io)
{
	io->queue = queue;
	io->encrypted = io->quiet = io->entered = false;
	if (io->op == PLAIN_FLUSH) {
		put_disk(queue, io, DISK_SYNC, false);
	} else if (!quiet_enter(&queue->volume->quiet, io->offset, io->length, &io->turn)) {
		io->quiet = true;
		end(queue, io, ENOKEY);
	} else {
		io->entered = true;
		begin(queue, io);
	}
}

/* Decrypts what was read, and tells what has ended. What is told may put more: that is for the next turn. */
static void tell(struct plain_queue *queue)
{
	struct plain_io *io;

	if (queue->decrypt.first != NULL)
		crypt(queue, &queue->decrypt, true, queue->piece);
	io = queue->ended.first;
	empty(&queue->ended);
	while (io != NULL) {
		struct plain_io *next = io->next;

		io->done(io);
		io = next;
	}
}

bool plain_queue_turn(struct plain_queue *queue, bool wait)
{
	if (queue->encrypt.first != NULL)
		crypt(queue, &queue->encrypt, false, UINT64_MAX);
	disk_queue_turn(queue->queue, wait && queue->ended.first == NULL && queue->decrypt.first == NULL);
	tell(queue);
	return queue->encrypt.first != NULL || queue->decrypt.first != NULL || queue->ended.first != NULL ||
	       disk_queue_due(queue->queue);
}

struct plain_volume *plain_volume_new(struct disk *disk)
{
	struct plain_volume *volume = calloc(1, sizeof(*volume));

	if (volume == NULL)
		return NULL;
	volume->key = volume_key_new();
	if (volume->key == NULL) {
		free(volume);
		return NULL;
	}
	volume->disk = disk_ref(disk);
	volume->references = 1;
	return volume;
}

struct plain_volume *plain_volume_ref(struct plain_volume *volume)
{
	__atomic_fetch_add(&volume->references, 1, __ATOMIC_RELAXED);
	return volume;
}

void plain_volume_unref(struct plain_volume *volume)
{
	if (__atomic_fetch_sub(&volume->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	volume_key_unref(volume->key);
	disk_unref(volume->disk);
	free(volume);
}

struct plain_queue *plain_queue_open(struct plain_volume *volume, const struct disk_queue_options *options)
{
	struct plain_queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return NULL;
	queue->queue = disk_queue_open(volume->disk, options);
	if (queue->queue == NULL) {
		const int cause = errno;

		free(queue);
		errno = cause;
		return NULL;
	}
	queue->volume = plain_volume_ref(volume);
	queue->disk = volume->disk;
	queue->next_read = UINT64_MAX;
	queue->piece = UINT64_MAX;
	/* Most that comes to the event loop's queue was not in the page cache. */
	disk_missed(&queue->look);
	empty(&queue->encrypt);
	empty(&queue->decrypt);
	empty(&queue->ended);
	return queue;
}

void plain_queue_divide(struct plain_queue *queue, uint64_t bytes)
{
	queue->piece = bytes;
}

void plain_queue_leave_writes(struct plain_queue *queue)
{
	queue->patience.paused_until = INT64_MAX;
}

struct disk_queue *plain_queue_disk(struct plain_queue *queue)
{
	return queue->queue;
}

bool plain_queue_close(struct plain_queue *queue, int ms)
{
	bool closed;

	/* Nothing is put any more: one turn encrypts what has been, and the last ends are those of the disk's. */
	plain_queue_turn(queue, false);
	closed = disk_queue_close(queue->queue, ms);
	do
		tell(queue);
	while (queue->decrypt.first != NULL || queue->ended.first != NULL);
	if (!closed)
		return false;
	plain_volume_unref(queue->volume);
	free(queue);
	return true;
}
