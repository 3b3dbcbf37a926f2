/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the test, opened as a disk. */
#ifndef TRESOR_TEST_DISK_STORE_H
#define TRESOR_TEST_DISK_STORE_H

#include "addon/disk/disk.h"
#include "addon/disk/queue.h"

/* Both engines, and the ring as ublk needs it. */
enum engine_kind { RING, WIDE_RING, POOL, ENGINES };
extern const char *const engine_names[ENGINES];

/* A new file of zeros, allocated, in the test's directory; gone when it is closed. With O_DIRECT where there is some. */
struct disk *store_open(enum engine_kind engine, uint64_t size);
/* `memory`: to be registered, or NULL. */
struct disk_queue *store_queue(struct disk *disk, enum engine_kind engine, unsigned entries, uint8_t *memory,
			       size_t memory_size);
/* Page aligned, zeroed; free(3). */
uint8_t *pages(size_t size);

/* Puts a request and turns until it has ended: its errno. */
int carry(struct disk_queue *queue, struct disk_io io);
/* A request whose end is noted here. */
struct waiting {
	struct disk_io io;
	unsigned told;	/* how often */
	uint64_t told_at;	/* faults_clock() */
};
/* `done` of `io` is set. */
void put_waiting(struct disk_queue *queue, struct waiting *waiting, struct disk_io io);
/* Turns until it has been told, or for `ms`: whether it has. */
bool turn_until(struct disk_queue *queue, const struct waiting *waiting, int ms);

/* Where a case may write. */
extern const char *test_directory;

#endif
