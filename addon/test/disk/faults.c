/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"

#define SYNCS	4096u
#define HELD	64u

struct sync {
	uint64_t begun, ended;	/* 0: not yet */
	bool well;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;

/* Under the lock. */
static struct {
	enum fault fault;	/* FAULT_COUNT: at random */
	bool always;
	enum disk_op op;
	unsigned at, submissions, completions;
	uint64_t random;
	unsigned every, most;
	bool was_hit;
	struct fault_hit hit;
	unsigned held, generation;
	uint64_t clock;
	struct sync syncs[SYNCS];
	unsigned sync_count, sync_now, sync_most;
	unsigned durable[2];
	unsigned cached_reads, cached_writes, slow_ms;
	bool paused;
} state = { .fault = FAULT_NONE };

void (*faults_command)(struct uring *ring, struct io_uring_sqe *entry);
int32_t (*faults_commanded)(const struct uring *ring, uint64_t user_data, int32_t result);

static void plan(enum fault fault)
{
	const unsigned generation = state.generation, held = state.held;
	const uint64_t clock = state.clock;
	const bool paused = state.paused;

	memset(&state, 0, sizeof(state));
	state.fault = fault;
	state.generation = generation;
	state.held = held;
	state.clock = clock;
	state.paused = paused;
}

void faults_plan(enum fault fault, unsigned at)
{
	pthread_mutex_lock(&lock);
	plan(fault);
	state.at = at;
	pthread_mutex_unlock(&lock);
}

void faults_random(uint64_t seed, unsigned every, unsigned most)
{
	pthread_mutex_lock(&lock);
	plan(FAULT_COUNT);
	state.random = seed;
	state.every = every;
	state.most = most;
	pthread_mutex_unlock(&lock);
}

void faults_always(enum fault fault, enum disk_op op)
{
	pthread_mutex_lock(&lock);
	plan(fault);
	state.always = true;
	state.op = op;
	pthread_mutex_unlock(&lock);
}

void faults_stop(void)
{
	pthread_mutex_lock(&lock);
	state.fault = FAULT_NONE;
	pthread_mutex_unlock(&lock);
}

void faults_pause(bool paused)
{
	pthread_mutex_lock(&lock);
	state.paused = paused;
	pthread_cond_broadcast(&released);
	pthread_mutex_unlock(&lock);
}

void faults_release(void)
{
	pthread_mutex_lock(&lock);
	state.generation++;
	state.held = 0;
	pthread_cond_broadcast(&released);
	pthread_mutex_unlock(&lock);
}

#define READER(type, name, expression) \
	type name \
	{ \
		pthread_mutex_lock(&lock); \
		const type value = expression; \
		pthread_mutex_unlock(&lock); \
		return value; \
	}
READER(unsigned, faults_submissions(void), state.submissions)
READER(unsigned, faults_completions(void), state.completions)
READER(unsigned, faults_held(void), state.held)
static READER(bool, paused(void), state.paused) READER(uint64_t, faults_clock(void), ++state.clock)
	READER(unsigned, faults_syncs(void), state.sync_count)
		READER(unsigned, faults_syncs_at_once(void), state.sync_most)
			READER(unsigned, faults_durable_writes(bool direct), state.durable[direct])
				READER(unsigned, faults_cached_reads(void), state.cached_reads)
					READER(unsigned, faults_cached_writes(void), state.cached_writes)

						bool faults_hit(struct fault_hit *hit)
{
	bool was;

	pthread_mutex_lock(&lock);
	was = state.was_hit;
	*hit = state.hit;
	pthread_mutex_unlock(&lock);
	return was;
}

void faults_slow_writes(unsigned ms)
{
	pthread_mutex_lock(&lock);
	state.slow_ms = ms;
	pthread_mutex_unlock(&lock);
}

bool faults_synced(uint64_t from)
{
	bool synced = false;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < state.sync_count; i++)
		synced |= state.syncs[i].begun > from && state.syncs[i].well;
	pthread_mutex_unlock(&lock);
	return synced;
}

static void sync_begins(void)
{
	if (state.sync_count < SYNCS)
		state.syncs[state.sync_count].begun = ++state.clock;
	state.sync_count++;
	if (++state.sync_now > state.sync_most)
		state.sync_most = state.sync_now;
}

/* The oldest is the one that ends: a test of order has one queue, which has one at a time. */
static void sync_ends(bool well)
{
	state.sync_now--;
	for (unsigned i = 0; i < state.sync_count && i < SYNCS; i++) {
		if (state.syncs[i].ended != 0)
			continue;
		state.syncs[i].ended = ++state.clock;
		state.syncs[i].well = well;
		return;
	}
}

static bool same(const struct fault_hit *a, const struct fault_hit *b)
{
	return a->op == b->op && (a->op == DISK_SYNC || a->offset == b->offset);
}

/* Which fault the next completion has. */
static enum fault choose(const struct fault_hit *request)
{
	const unsigned number = state.completions++;
	const bool again = (state.fault == FAULT_EAGAIN_ALWAYS || state.fault == FAULT_EINTR_ALWAYS) && state.was_hit &&
			   same(&state.hit, request);

	if (state.fault == FAULT_NONE)
		return FAULT_NONE;
	if (state.fault == FAULT_COUNT) {
		const uint64_t draw = next_random(&state.random);
		enum fault fault = FAULT_END_FIRST + (enum fault)(draw >> 32) % (FAULT_NEVER - FAULT_END_FIRST);

		if (draw % state.every != 0)
			return FAULT_NONE;
		if (fault == FAULT_EAGAIN_ALWAYS || fault == FAULT_EINTR_ALWAYS)
			fault = FAULT_SHORT;
		if (fault >= FAULT_ODD && state.most == 0)
			return FAULT_NONE;
		state.most -= fault >= FAULT_ODD;
		return fault;
	}
	if (state.always)
		return state.fault >= FAULT_END_FIRST && state.op == request->op ? state.fault : FAULT_NONE;
	return state.fault >= FAULT_END_FIRST && (number == state.at || again) ? state.fault : FAULT_NONE;
}

/* Under the lock: what a request's system call is said to have answered. */
static int32_t answer(struct fault_hit *request, int32_t result)
{
	const bool moves = request->op == DISK_READ || request->op == DISK_WRITE;

	request->fault = choose(request);
	if (request->fault != FAULT_NONE) {
		state.was_hit = true;
		state.hit = *request;
		state.hit.at = ++state.clock;
	}
	switch (request->fault) {
	case FAULT_EINTR:
	case FAULT_EINTR_ALWAYS:
		return -EINTR;
	case FAULT_EAGAIN:
	case FAULT_EAGAIN_ALWAYS:
		return -EAGAIN;
	case FAULT_EIO:
		return -EIO;
	case FAULT_ENOSPC:
		return -ENOSPC;
	case FAULT_ENODEV:
		return -ENODEV;
	case FAULT_SHORT:
		return moves && result > 4096 ? result / 2 / 4096 * 4096 : result;
	case FAULT_ODD:
		return moves && result > 0 ? result - 100 : result;
	case FAULT_ZERO:
		return 0;
	default:
		return result;
	}
}

/* io_uring */

int __real_uring_enter(struct uring *ring, unsigned wait);
int __wrap_uring_enter(struct uring *ring, unsigned wait);
const struct io_uring_cqe *__real_uring_peek(const struct uring *ring);
const struct io_uring_cqe *__wrap_uring_peek(const struct uring *ring);
void __real_uring_seen(struct uring *ring);
void __wrap_uring_seen(struct uring *ring);

/* The completion that this thread has looked at and not yet taken, as it was changed. */
static __thread struct io_uring_cqe changed;
static __thread const struct io_uring_cqe *looked_at;

static struct io_uring_sqe *entry_at(const struct uring *ring, unsigned i)
{
	return (struct io_uring_sqe *)(void *)(ring->sqes +
					       (i & ring->sq_mask) * (sizeof(struct io_uring_sqe) << ring->wide));
}

/* What the kernel takes next, as far as the tests ask for it. */
static void note_submitted(const struct uring *ring, unsigned from, unsigned to)
{
	for (unsigned i = from; i != to; i++) {
		const struct io_uring_sqe *entry = entry_at(ring, i);
		const bool writes = entry->opcode == IORING_OP_WRITE || entry->opcode == IORING_OP_WRITE_FIXED;

		if (entry->opcode == IORING_OP_FSYNC)
			sync_begins();
		if (writes && ((uint32_t)entry->rw_flags & RWF_DSYNC))
			state.durable[((const struct disk_io *)(uintptr_t)entry->user_data)->direct]++;
	}
}

int __wrap_uring_enter(struct uring *ring, unsigned wait)
{
	const unsigned head = __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE), tail = ring->tail;
	enum fault fault = FAULT_NONE;
	unsigned some = tail;
	int error;

	pthread_mutex_lock(&lock);
	if (state.fault == FAULT_COUNT) {
		const uint64_t draw = next_random(&state.random);

		if (draw % state.every == 0)
			fault = FAULT_ENTER_FIRST + (enum fault)(draw >> 32) % (FAULT_END_FIRST - FAULT_ENTER_FIRST);
	} else if (state.fault < FAULT_END_FIRST && (state.always || state.submissions == state.at)) {
		fault = state.fault;
	}
	state.submissions++;
	if (fault == FAULT_ENTER_PARTIAL && tail - head > 1)
		some = head + (tail - head) / 2;
	if (fault == FAULT_NONE || fault == FAULT_ENTER_PARTIAL || fault == FAULT_ENTER_EARLY)
		note_submitted(ring, head, some);
	pthread_mutex_unlock(&lock);
	switch (fault) {
	case FAULT_ENTER_REFUSED:
		return -EPERM;
	case FAULT_ENTER_EINTR:
		return -EINTR;
	case FAULT_ENTER_EAGAIN:
		return -EAGAIN;
	case FAULT_ENTER_EBUSY:
		return -EBUSY;
	default:
		break;
	}
	for (unsigned i = head; faults_command != NULL && i != some; i++)
		if (entry_at(ring, i)->opcode == IORING_OP_URING_CMD)
			faults_command(ring, entry_at(ring, i));
	ring->tail = some;
	error = __real_uring_enter(ring, fault == FAULT_NONE ? wait : 0);
	/* What the kernel left by itself is noted again when it is taken: no test makes it do so. */
	ring->tail = tail;
	return error;
}

const struct io_uring_cqe *__wrap_uring_peek(const struct uring *ring)
{
	for (;;) {
		const struct io_uring_cqe *end = __real_uring_peek(ring);
		const struct disk_io *io;
		struct fault_hit request;

		if (end == NULL)
			return end;
		if (end == looked_at)
			return &changed;
		if ((end->user_data & 1) || end->user_data == 0) {
			if (faults_commanded == NULL)
				return end;
			changed = *end;
			changed.res = faults_commanded(ring, end->user_data, end->res);
			looked_at = end;
			return &changed;
		}
		if (paused())
			return NULL;
		io = (const struct disk_io *)(uintptr_t)end->user_data;
		request = (struct fault_hit){
			.op = io->op,
			.offset = io->offset + io->moved,
			.length = io->length - io->moved,
			.direct = io->direct,
		};
		changed = (struct io_uring_cqe){ .user_data = end->user_data, .flags = end->flags };
		pthread_mutex_lock(&lock);
		changed.res = answer(&request, end->res);
		state.held += request.fault == FAULT_NEVER;
		if (io->op == DISK_SYNC && request.fault != FAULT_NEVER)
			sync_ends(changed.res == 0);
		pthread_mutex_unlock(&lock);
		if (request.fault != FAULT_NEVER) {
			looked_at = end;
			return &changed;
		}
		__real_uring_seen((struct uring *)(uintptr_t)ring);
	}
}

void __wrap_uring_seen(struct uring *ring)
{
	looked_at = NULL;
	__real_uring_seen(ring);
}

/* The pool, and what plain.c does at once */

ssize_t __real_preadv2(int fd, const struct iovec *pieces, int count, off_t offset, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *pieces, int count, off_t offset, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags);
ssize_t __real_pwritev(int fd, const struct iovec *pieces, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *pieces, int count, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

static ssize_t end_call(struct fault_hit *request, ssize_t result)
{
	const int32_t before = result < 0 ? -errno : (int32_t)result;
	int32_t after;

	pthread_mutex_lock(&lock);
	after = answer(request, before);
	if (request->fault == FAULT_NEVER) {
		const unsigned generation = state.generation;

		state.held++;
		while (state.generation == generation)
			pthread_cond_wait(&released, &lock);
	}
	while (state.paused)
		pthread_cond_wait(&released, &lock);
	/* One that was held belongs to an earlier plan by now. */
	if (request->op == DISK_SYNC && request->fault != FAULT_NEVER)
		sync_ends(after == 0);
	pthread_mutex_unlock(&lock);
	if (after >= 0)
		return after;
	errno = -after;
	return -1;
}

static bool is_direct(int fd)
{
	return fcntl(fd, F_GETFL) & O_DIRECT;
}

ssize_t __wrap_preadv2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
	struct fault_hit request = { .op = DISK_READ, .offset = (uint64_t)offset, .length = (uint32_t)pieces->iov_len };

	if (flags & RWF_NOWAIT) {
		pthread_mutex_lock(&lock);
		state.cached_reads++;
		pthread_mutex_unlock(&lock);
		return __real_preadv2(fd, pieces, count, offset, flags);
	}
	request.direct = is_direct(fd);
	return end_call(&request, __real_preadv2(fd, pieces, count, offset, flags));
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
	struct fault_hit request = {
		.op = DISK_WRITE,
		.offset = (uint64_t)offset,
		.length = (uint32_t)pieces->iov_len,
		.direct = is_direct(fd),
	};

	pthread_mutex_lock(&lock);
	if (flags & RWF_DSYNC)
		state.durable[request.direct]++;
	pthread_mutex_unlock(&lock);
	return end_call(&request, __real_pwritev2(fd, pieces, count, offset, flags));
}

ssize_t __wrap_pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
	struct timespec pause = { 0 };

	pthread_mutex_lock(&lock);
	state.cached_writes++;
	pause.tv_nsec = state.slow_ms * 1000000l;
	pthread_mutex_unlock(&lock);
	if (pause.tv_nsec > 0)
		nanosleep(&pause, NULL);
	return __real_pwritev(fd, pieces, count, offset);
}

int __wrap_fdatasync(int fd)
{
	struct fault_hit request = { .op = DISK_SYNC };

	pthread_mutex_lock(&lock);
	sync_begins();
	pthread_mutex_unlock(&lock);
	return (int)end_call(&request, __real_fdatasync(fd));
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
	struct fault_hit request = { .op = DISK_PUNCH, .offset = (uint64_t)offset, .length = (uint32_t)length };

	return (int)end_call(&request, __real_fallocate(fd, mode, offset, length));
}
