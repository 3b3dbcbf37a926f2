/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "addon/thread.h"
#include "addon/vhost/bell.h"

#define STACK_SIZE	(256u * 1024u)

struct ring {
	struct device *device;
	uint32_t index;
	int wake;		/* eventfd: look at the flags */
	bool stopping;		/* atomic */
	bool retry;		/* atomic: there may be a key */
	/* Of the thread while it runs. */
	int kick;
	struct bell bell;
	struct virtqueue_place place;
	struct inflight inflight;
	struct counters counters;
	bool running;		/* under the device's lock */
	pthread_mutex_t signals;
	int call, error;	/* under `signals` */
};

struct device {
	unsigned references;	/* atomic: the owner and each thread */
	struct plain_volume *volume;
	bool discards;
	uint32_t spin_us;
	unsigned processors;
	uint8_t id[REQUEST_ID_SIZE];
	struct device_listener listener;
	int null;		/* of /dev/null */
	bool fail;		/* atomic */
	int give_up_ms;		/* atomic; -1: threads wait for what is under way */
	/* Unchanged while a ring runs. */
	struct regions *regions;
	struct lent_map inflight;
	bool inflight_lost;	/* atomic */
	uint16_t inflight_rings, inflight_descriptors;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned running;	/* under the lock */
	struct ring rings[DEVICE_RINGS];
};

/* Threads that watch instead of sleeping, of all devices: the last processor is for others. */
static unsigned watching;

static void unref(struct device *device)
{
	if (__atomic_fetch_sub(&device->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	for (uint32_t i = 0; i < DEVICE_RINGS; i++) {
		struct ring *ring = &device->rings[i];

		if (ring->wake >= 0)
			close(ring->wake);
		if (ring->call >= 0)
			close(ring->call);
		if (ring->error >= 0)
			close(ring->error);
		pthread_mutex_destroy(&ring->signals);
	}
	if (device->null >= 0)
		close(device->null);
	regions_unmap(device->regions);
	lent_unmap(&device->inflight);
	plain_volume_unref(device->volume);
	pthread_mutex_destroy(&device->lock);
	pthread_cond_destroy(&device->ended);
	free(device);
}

/* ---- the threads ---- */

static void wake(const struct ring *ring)
{
	const uint64_t one = 1;

	if (ring->wake >= 0)
		(void)!write(ring->wake, &one, sizeof(one));
}

/* Under the lock, so that the descriptor is not another's by now. */
static void signal_guest(struct ring *ring, const int *fd)
{
	pthread_mutex_lock(&ring->signals);
	bell_ring(&ring->bell, *fd);
	pthread_mutex_unlock(&ring->signals);
}

static void drain(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* How a thread has fared with watching: a miss costs a credit, a hit earns one; without, every 64th chance is tried. */
struct patience_left {
	int credit;
	uint32_t chances;
};

/* True: something has come. */
static bool watch(struct ring *ring, struct worker *worker, struct patience_left *left)
{
	struct pollfd disk = { .fd = worker_fd(worker), .events = POLLIN };
	bool found = false;
	int64_t until;

	if (ring->device->spin_us == 0 || (left->credit <= 0 && ++left->chances % 64 != 0))
		return false;
	if (__atomic_add_fetch(&watching, 1, __ATOMIC_RELAXED) < ring->device->processors) {
		until = now_us() + ring->device->spin_us;
		do {
			for (int i = 0; i < 64 && !found; i++) {
				found = virtqueue_waiting(worker_ring(worker));
				__builtin_ia32_pause();
			}
			found = found || (!worker_idle(worker) && poll(&disk, 1, 0) > 0);
		} while (!found && now_us() < until);
	}
	__atomic_sub_fetch(&watching, 1, __ATOMIC_RELAXED);
	left->credit += found ? left->credit < 8 : left->credit > 0 ? -1 : 0;
	return found;
}

/* Until a kick, a wake or a completion. False: the descriptor of kicks is of no use. */
static bool sleep_for_more(struct ring *ring, struct worker *worker, bool stopping)
{
	struct pollfd events[] = {
		{ .fd = ring->wake, .events = POLLIN },
		{ .fd = worker_fd(worker), .events = POLLIN },
		{ .fd = stopping ? -1 : ring->kick, .events = POLLIN },
	};

	poll(events, 3, -1);
	if (events[0].revents & POLLIN)
		drain(ring->wake);
	return (events[2].revents & ~POLLIN) == 0 && ((events[2].revents & POLLIN) == 0 || bell_hear(ring->kick));
}

/* True: the ring is at rest, and the thread may end. */
static bool at_rest(const struct device *device, const struct worker *worker, bool stopping)
{
	if (__atomic_load_n(&device->give_up_ms, __ATOMIC_ACQUIRE) >= 0)
		return true;
	return (stopping || worker_fault(worker) != RING_SOUND) && worker_idle(worker);
}

/* Returns when it is at rest, with what is wrong with the ring. */
static enum virtqueue_fault work(struct ring *ring, struct worker *worker)
{
	struct device *device = ring->device;
	struct patience_left left = { .credit = 8 };
	bool kicks = true;

	for (;;) {
		const bool stopping = __atomic_load_n(&ring->stopping, __ATOMIC_ACQUIRE);
		const bool closed = stopping || !kicks;
		bool notify, more;

		if (__atomic_exchange_n(&ring->retry, false, __ATOMIC_ACQ_REL))
			worker_retry(worker);
		more = worker_turn(worker, closed, __atomic_load_n(&device->fail, __ATOMIC_ACQUIRE), &notify);
		if (notify)
			signal_guest(ring, &ring->call);
		if (worker_keyless(worker))
			device->listener.tell(device->listener.context, DEVICE_KEYLESS, ring->index, 0);
		if (at_rest(device, worker, closed))
			return worker_fault(worker) != RING_SOUND || kicks ? worker_fault(worker) : RING_KICK;
		if (more || (!closed && watch(ring, worker, &left)))
			continue;
		if (!closed && worker_fault(worker) == RING_SOUND && virtqueue_listen(worker_ring(worker)))
			continue;
		kicks = sleep_for_more(ring, worker, closed) && kicks;
		virtqueue_ignore(worker_ring(worker));
	}
}

static void report_fault(struct ring *ring, enum virtqueue_fault fault)
{
	signal_guest(ring, &ring->error);
	ring->device->listener.tell(ring->device->listener.context, DEVICE_BROKEN, ring->index, fault);
}

static void leave(struct ring *ring, struct worker *worker)
{
	const int ms = __atomic_load_n(&ring->device->give_up_ms, __ATOMIC_ACQUIRE);
	bool notify;

	if (worker_idle(worker)) {
		worker_leave(worker, &notify);
		if (notify)
			signal_guest(ring, &ring->call);
	}
	ring->place.next = worker_ring(worker)->next;
	worker_close(worker, ms < 0 ? 0 : ms);
}

static void serve_ring(struct ring *ring)
{
	struct device *device = ring->device;
	const struct worker_options options = {
		.volume = device->volume,
		.regions = device->regions,
		.place = ring->place,
		.inflight = ring->inflight,
		.discards = device->discards,
		.counters = &ring->counters,
	};
	struct worker_options own = options;
	enum virtqueue_fault fault;
	struct worker *worker;

	memcpy(own.id, device->id, sizeof(own.id));
	worker = worker_open(&own, &fault);
	if (worker != NULL)
		fault = work(ring, worker);
	if (fault != RING_SOUND)
		report_fault(ring, fault);
	if (worker != NULL)
		leave(ring, worker);
}

static void *serve(void *argument)
{
	struct ring *ring = argument;
	struct device *device = ring->device;
	const struct device_listener listener = device->listener;
	const uint32_t index = ring->index;
	uint16_t next;

	if (bell_open(&ring->bell, device->null) == 0) {
		serve_ring(ring);
		bell_close(&ring->bell);
	} else {
		/* There is nothing to signal it with. */
		listener.tell(listener.context, DEVICE_BROKEN, index, RING_BEGIN);
	}
	close(ring->kick);
	next = ring->place.next;
	pthread_mutex_lock(&device->lock);
	ring->running = false;
	device->running--;
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
	listener.tell(listener.context, DEVICE_STOPPED, index, next);
	unref(device);
	listener.release(listener.context);
	return NULL;
}

/* ---- the owner ---- */

struct device *device_new(struct plain_volume *volume, bool discards, const uint8_t *id, uint32_t spin_us,
			  const struct device_listener *listener)
{
	struct device *device = calloc(1, sizeof(*device));
	pthread_condattr_t monotonic;

	if (device == NULL)
		return NULL;
	device->references = 1;
	device->volume = plain_volume_ref(volume);
	device->discards = discards;
	device->spin_us = spin_us;
	device->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	device->listener = *listener;
	device->give_up_ms = -1;
	memcpy(device->id, id, sizeof(device->id));
	pthread_mutex_init(&device->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&device->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (uint32_t i = 0; i < DEVICE_RINGS; i++) {
		struct ring *ring = &device->rings[i];

		*ring = (struct ring){ .device = device, .index = i, .wake = -1, .call = -1, .error = -1 };
		pthread_mutex_init(&ring->signals, NULL);
	}
	device->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (device->null < 0) {
		const int error = errno;

		unref(device);
		errno = error;
		return NULL;
	}
	return device;
}

static bool runs(struct device *device)
{
	bool running;

	pthread_mutex_lock(&device->lock);
	running = device->running > 0;
	pthread_mutex_unlock(&device->lock);
	return running;
}

int device_set_memory(struct device *device, const int *fds, const struct region_row *rows, uint32_t count)
{
	struct regions *regions;

	if (runs(device))
		return EBUSY;
	regions = regions_map(fds, rows, count);
	if (regions == NULL)
		return errno;
	regions_unmap(device->regions);
	device->regions = regions;
	return 0;
}

int device_set_inflight(struct device *device, int fd, uint64_t offset, uint64_t size, uint16_t rings,
			uint16_t descriptors)
{
	struct lent_map map = { .slot = -1 };
	int error;

	if (runs(device))
		return EBUSY;
	if (fd >= 0) {
		if (rings > DEVICE_RINGS || descriptors == 0 || descriptors > VIRTQUEUE_MAX || offset % 8 != 0 ||
		    size < rings * inflight_size(descriptors))
			return EINVAL;
		error = lent_map(&map, fd, offset, size, &device->inflight_lost);
		if (error != 0)
			return error;
	}
	lent_unmap(&device->inflight);
	device->inflight = map;
	device->inflight_rings = fd < 0 ? 0 : rings;
	device->inflight_descriptors = descriptors;
	return 0;
}

/* False: there is a record, and none of a ring like this. */
static bool open_inflight(struct device *device, struct ring *ring)
{
	ring->inflight = (struct inflight){ 0 };
	if (device->inflight.map == NULL)
		return true;
	if (ring->index >= device->inflight_rings || ring->place.size != device->inflight_descriptors)
		return false;
	inflight_open(&ring->inflight,
		      device->inflight.memory + ring->index * inflight_size(device->inflight_descriptors),
		      ring->place.size);
	return true;
}

int device_start(struct device *device, uint32_t index, const struct virtqueue_place *place, int kick)
{
	struct ring *ring = &device->rings[index];
	pthread_t thread;
	bool running;
	int error;

	pthread_mutex_lock(&device->lock);
	running = ring->running;
	pthread_mutex_unlock(&device->lock);
	if (running)
		return EBUSY;
	ring->place = *place;
	if (device->regions == NULL || !open_inflight(device, ring))
		return EINVAL;
	if (ring->wake < 0)
		ring->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (ring->wake < 0)
		return errno;
	ring->kick = fcntl(kick, F_DUPFD_CLOEXEC, 3);
	if (ring->kick < 0)
		return errno;
	__atomic_store_n(&ring->stopping, false, __ATOMIC_RELEASE);
	pthread_mutex_lock(&device->lock);
	ring->running = true;
	device->running++;
	pthread_mutex_unlock(&device->lock);
	__atomic_add_fetch(&device->references, 1, __ATOMIC_RELAXED);
	device->listener.hold(device->listener.context);
	error = thread_start_detached(&thread, STACK_SIZE, serve, ring);
	if (error == 0)
		return 0;
	device->listener.release(device->listener.context);
	__atomic_sub_fetch(&device->references, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&device->lock);
	ring->running = false;
	device->running--;
	pthread_mutex_unlock(&device->lock);
	close(ring->kick);
	return error;
}

void device_stop(struct device *device, uint32_t index)
{
	__atomic_store_n(&device->rings[index].stopping, true, __ATOMIC_RELEASE);
	wake(&device->rings[index]);
}

static int replace(struct ring *ring, int *place, int fd)
{
	const int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int before;

	if (fd >= 0 && own < 0)
		return errno;
	pthread_mutex_lock(&ring->signals);
	before = *place;
	*place = own;
	pthread_mutex_unlock(&ring->signals);
	if (before >= 0)
		close(before);
	return 0;
}

int device_set_call(struct device *device, uint32_t index, int fd)
{
	return replace(&device->rings[index], &device->rings[index].call, fd);
}

int device_set_error(struct device *device, uint32_t index, int fd)
{
	return replace(&device->rings[index], &device->rings[index].error, fd);
}

void device_retry(struct device *device, bool fail)
{
	__atomic_store_n(&device->fail, fail, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < DEVICE_RINGS; i++) {
		__atomic_store_n(&device->rings[i].retry, true, __ATOMIC_RELEASE);
		wake(&device->rings[i]);
	}
}

struct counters device_counters(const struct device *device)
{
	struct counters sums = { 0 };

	for (uint32_t i = 0; i < DEVICE_RINGS; i++)
		counters_sum(&sums, &device->rings[i].counters);
	return sums;
}

/* For a thread that has given up: its disk's time, and some to end. */
#define GRACE_MS	500

bool device_close(struct device *device, int ms)
{
	struct timespec deadline;
	bool ended;

	__atomic_store_n(&device->give_up_ms, ms, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < DEVICE_RINGS; i++)
		wake(&device->rings[i]);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += (ms + GRACE_MS) / 1000;
	deadline.tv_nsec += (long)((ms + GRACE_MS) % 1000) * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&device->lock);
	while (device->running > 0 && pthread_cond_timedwait(&device->ended, &device->lock, &deadline) == 0)
		;
	ended = device->running == 0;
	pthread_mutex_unlock(&device->lock);
	unref(device);
	return ended;
}
