/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/uring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void unmap(struct uring *ring)
{
	if (ring->ring_map != NULL)
		munmap(ring->ring_map, ring->ring_size);
	if (ring->sqe_map != NULL)
		munmap(ring->sqe_map, ring->sqe_size);
	close(ring->fd);
	ring->fd = -1;
}

static void *map(int fd, size_t size, off_t offset)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);

	return memory == MAP_FAILED ? NULL : memory;
}

int uring_open(struct uring *ring, unsigned entries, bool wide)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CQSIZE | (wide ? IORING_SETUP_SQE128 : 0),
		/* More may complete between two looks than are submitted at once. */
		.cq_entries = 2 * entries,
	};
	size_t sq_size, cq_size;
	uint8_t *base;
	unsigned *array;

	*ring = (struct uring){ .fd = -1, .wide = wide };
	ring->fd = (int)syscall(SYS_io_uring_setup, entries, &params);
	if (ring->fd < 0)
		return -errno;
	/* IORING_FEAT_SINGLE_MMAP: one mapping for both queues, since Linux 5.4. */
	if (!(params.features & IORING_FEAT_SINGLE_MMAP) || !(params.features & IORING_FEAT_NODROP)) {
		unmap(ring);
		return -ENOSYS;
	}
	sq_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	cq_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	ring->ring_size = sq_size > cq_size ? sq_size : cq_size;
	ring->sqe_size = params.sq_entries * (sizeof(struct io_uring_sqe) << wide);
	ring->ring_map = map(ring->fd, ring->ring_size, IORING_OFF_SQ_RING);
	ring->sqe_map = map(ring->fd, ring->sqe_size, IORING_OFF_SQES);
	if (ring->ring_map == NULL || ring->sqe_map == NULL) {
		const int cause = errno;

		unmap(ring);
		return -cause;
	}
	base = ring->ring_map;
	ring->sqes = ring->sqe_map;
	ring->sq_head = (unsigned *)(void *)(base + params.sq_off.head);
	ring->sq_tail = (unsigned *)(void *)(base + params.sq_off.tail);
	ring->sq_flags = (unsigned *)(void *)(base + params.sq_off.flags);
	ring->sq_mask = params.sq_entries - 1;
	ring->sq_entries = params.sq_entries;
	ring->cq_head = (unsigned *)(void *)(base + params.cq_off.head);
	ring->cq_tail = (unsigned *)(void *)(base + params.cq_off.tail);
	ring->cq_mask = params.cq_entries - 1;
	ring->cqes = (struct io_uring_cqe *)(void *)(base + params.cq_off.cqes);
	/* Entry i is always in place i: the queue is used as a ring itself. */
	array = (unsigned *)(void *)(base + params.sq_off.array);
	for (unsigned i = 0; i < params.sq_entries; i++)
		array[i] = i;
	return 0;
}

void uring_close(struct uring *ring)
{
	if (ring->fd >= 0)
		unmap(ring);
}

unsigned uring_unsubmitted(const struct uring *ring)
{
	return ring->tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
}

static struct io_uring_sqe *entry_at(const struct uring *ring, unsigned place)
{
	const size_t size = sizeof(struct io_uring_sqe) << ring->wide;

	return (struct io_uring_sqe *)(void *)(ring->sqes + (place & ring->sq_mask) * size);
}

struct io_uring_sqe *uring_sqe(struct uring *ring)
{
	struct io_uring_sqe *entry;

	if (uring_unsubmitted(ring) == ring->sq_entries)
		return NULL;
	entry = entry_at(ring, ring->tail);
	memset(entry, 0, sizeof(*entry) << ring->wide);
	ring->tail++;
	return entry;
}

bool uring_take_back(struct uring *ring, uint64_t *user_data)
{
	if (uring_unsubmitted(ring) == 0)
		return false;
	ring->tail--;
	/* The kernel looks at it in uring_enter only. */
	__atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
	*user_data = entry_at(ring, ring->tail)->user_data;
	return true;
}

int uring_enter(struct uring *ring, unsigned wait)
{
	const unsigned submit = uring_unsubmitted(ring);
	const bool overflown =
		__atomic_load_n(ring->sq_flags, __ATOMIC_RELAXED) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);

	__atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
	if (submit == 0 && wait == 0 && !overflown)
		return 0;
	if (syscall(SYS_io_uring_enter, ring->fd, submit, wait, wait > 0 || overflown ? IORING_ENTER_GETEVENTS : 0,
		    NULL, 0) < 0)
		return -errno;
	return 0;
}

const struct io_uring_cqe *uring_peek(const struct uring *ring)
{
	const unsigned head = *ring->cq_head;

	return head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) ? NULL : &ring->cqes[head & ring->cq_mask];
}

void uring_seen(struct uring *ring)
{
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
}

int uring_register(const struct uring *ring, unsigned operation, const void *argument, unsigned count)
{
	return syscall(SYS_io_uring_register, ring->fd, operation, argument, count) < 0 ? -errno : 0;
}

bool uring_knows(const struct uring *ring, const uint8_t *operations, size_t count)
{
	const unsigned most = 256;
	struct io_uring_probe *probe = calloc(1, sizeof(*probe) + most * sizeof(probe->ops[0]));
	bool known = probe != NULL && uring_register(ring, IORING_REGISTER_PROBE, probe, most) == 0;

	for (size_t i = 0; known && i < count; i++)
		known = operations[i] <= probe->last_op && (probe->ops[operations[i]].flags & IO_URING_OP_SUPPORTED);
	free(probe);
	return known;
}
