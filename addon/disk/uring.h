/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring instance, by the kernel's own header (io_uring(7)); no library.
 * A ring belongs to the thread that made it: only that thread calls in here.
 */
#ifndef TRESOR_DISK_URING_H
#define TRESOR_DISK_URING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uring {
	int fd;
	bool wide;		/* submission entries have 128 bytes, as ublk needs */
	unsigned *sq_head, *sq_tail, *sq_flags;
	unsigned sq_mask, sq_entries;
	unsigned *cq_head, *cq_tail;
	unsigned cq_mask;
	struct io_uring_cqe *cqes;
	uint8_t *sqes;
	unsigned tail;		/* of the submission queue, with what the kernel has not been told of */
	void *ring_map, *sqe_map;
	size_t ring_size, sqe_size;
};

/* `entries`: a power of two. 0, or a negative errno: EPERM (sysctl, seccomp), ENOSYS, ENOMEM, ... */
int uring_open(struct uring *ring, unsigned entries, bool wide);
/* Nothing may be in flight: the kernel does not wait for it here. */
void uring_close(struct uring *ring);

/* A zeroed entry, submitted by the next uring_enter. NULL: the queue is full, enter first. */
struct io_uring_sqe *uring_sqe(struct uring *ring);
/* Entries that the kernel has not taken. */
unsigned uring_unsubmitted(const struct uring *ring);
/* Takes the last of them back. False: there is none. */
bool uring_take_back(struct uring *ring, uint64_t *user_data);
/*
 * Submits, and waits until `wait` completions are there (0: does not wait).
 * 0, or a negative errno: EINTR; EAGAIN, EBUSY: reap first, what was not taken stays queued; others will not pass.
 */
int uring_enter(struct uring *ring, unsigned wait);

/* The oldest completion, or NULL; it stays until uring_seen. */
const struct io_uring_cqe *uring_peek(const struct uring *ring);
void uring_seen(struct uring *ring);

/* io_uring_register(2): 0 or a negative errno. */
int uring_register(const struct uring *ring, unsigned operation, const void *argument, unsigned count);
/* Whether the kernel knows every one of the operations. */
bool uring_knows(const struct uring *ring, const uint8_t *operations, size_t count);

#endif
