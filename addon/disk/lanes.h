/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads with a queue each, for requests of another thread's: I/O and cipher on as many CPUs more.
 * The thread that opened them, the owner, puts requests and takes them back; it waits for none of them.
 */
#ifndef TRESOR_DISK_LANES_H
#define TRESOR_DISK_LANES_H

#include <stdbool.h>

#include "addon/disk/plain.h"

struct lane;
struct lanes;

/* The caller's; with all its memory the lanes', from lanes_put until lanes_take has given it back. `io.done` is theirs. */
struct lane_io {
	struct plain_io io;
	struct lane *lane;
	struct lane_io *next;
};

/* Who writes to the page cache, which may wait for a disk, with the reads behind it: the queue's engine, or each thread. */
enum lanes_writes { LANES_LEAVE_WRITES, LANES_WRITE };

/* `count` is not 0; `options` are each queue's. NULL with errno. */
struct lanes *lanes_open(struct plain_volume *volume, const struct disk_queue_options *options, unsigned count,
			 enum lanes_writes writes);
/* Of the lane that has the fewest bytes under way; begun by lanes_go. */
void lanes_put(struct lanes *lanes, struct lane_io *io);
void lanes_go(struct lanes *lanes);
/* What has ended, linked by `next`, in the order of its end; NULL: nothing. */
struct lane_io *lanes_take(struct lanes *lanes);
/* Readable when there is something to take. Stays the lanes'. */
int lanes_fd(const struct lanes *lanes);
/* Put and not taken. */
unsigned lanes_pending(const struct lanes *lanes);
/* As disk_queue_close, of each queue, without waiting: lanes_close does. */
void lanes_end(struct lanes *lanes, int ms);
/*
 * After lanes_end. What was put and nobody has taken is in *rest. False: a device holds some requests, which are not
 * there: then the lanes stay, as must all memory of those requests and what was registered.
 */
bool lanes_close(struct lanes *lanes, struct lane_io **rest);

#endif
