/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/monotonic.h"
#include "addon/processors.h"
#include "addon/thread.h"

#define STACK_SIZE	(256u * 1024u)

/* A vring with its thread. */
struct served {
	struct device *device;
	struct vring vring;
	bool running;		/* under the device's lock */
};

struct device {
	unsigned references;	/* atomic: the owner and each thread */
	struct vring_site site;	/* with a reference to the volume */
	struct device_listener listener;
	/* Unchanged while a ring runs. */
	struct regions *regions;
	struct lent_map inflight;
	bool inflight_lost;	/* atomic */
	uint16_t inflight_rings, inflight_descriptors;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct served rings[DEVICE_RINGS];
};

static void unref(struct device *device)
{
	if (__atomic_fetch_sub(&device->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	for (uint32_t i = 0; i < DEVICE_RINGS; i++)
		vring_destroy(&device->rings[i].vring);
	if (device->site.null >= 0)
		close(device->site.null);
	regions_unmap(device->regions);
	lent_unmap(&device->inflight);
	plain_volume_unref(device->site.volume);
	pthread_mutex_destroy(&device->lock);
	pthread_cond_destroy(&device->ended);
	free(device);
}

/* ---- the threads ---- */

/* By its thread at its end; by the owner before it is there, so that nobody misses it. */
static void mark_running(struct served *ring, bool running)
{
	struct device *device = ring->device;

	pthread_mutex_lock(&device->lock);
	ring->running = running;
	__atomic_fetch_add(&device->site.running, running ? 1u : -1u, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
}

static void *serve(void *argument)
{
	struct served *ring = argument;
	struct device *device = ring->device;
	const struct device_listener listener = device->listener;
	const uint32_t index = ring->vring.index;
	uint16_t next;

	vring_serve(&ring->vring);
	vring_end(&ring->vring);
	next = ring->vring.place.next;
	/* It may be started again before we are gone: nothing of it is touched any more. */
	mark_running(ring, false);
	listener.tell(listener.context, VRING_STOPPED, index, next);
	unref(device);
	listener.release(listener.context);
	return NULL;
}

/* 0 or an errno. */
static int start(struct served *ring)
{
	struct device *device = ring->device;
	pthread_t thread;
	int error;

	mark_running(ring, true);
	__atomic_add_fetch(&device->references, 1, __ATOMIC_RELAXED);
	device->listener.hold(device->listener.context);
	error = thread_start_detached(&thread, STACK_SIZE, serve, ring);
	if (error == 0)
		return 0;
	device->listener.release(device->listener.context);
	__atomic_sub_fetch(&device->references, 1, __ATOMIC_RELAXED);
	mark_running(ring, false);
	return error;
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
	device->listener = *listener;
	device->site = (struct vring_site){
		.volume = plain_volume_ref(volume),
		.discards = discards,
		.spin_us = spin_us,
		.processors = processors(),
		.null = open("/dev/null", O_RDONLY | O_CLOEXEC),
		.give_up_ms = -1,
		.tell = listener->tell,
		.context = listener->context,
	};
	memcpy(device->site.id, id, sizeof(device->site.id));
	pthread_mutex_init(&device->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&device->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (uint32_t i = 0; i < DEVICE_RINGS; i++) {
		device->rings[i].device = device;
		vring_init(&device->rings[i].vring, &device->site, i);
	}
	if (device->site.null < 0) {
		const int error = errno;

		unref(device);
		errno = error;
		return NULL;
	}
	return device;
}

/* `ring` NULL: any. */
static bool runs(struct device *device, const struct served *ring)
{
	bool running;

	pthread_mutex_lock(&device->lock);
	running = ring == NULL ? device->site.running > 0 : ring->running;
	pthread_mutex_unlock(&device->lock);
	return running;
}

int device_set_memory(struct device *device, const int *fds, const struct region_row *rows, uint32_t count)
{
	struct regions *regions;

	if (runs(device, NULL))
		return EBUSY;
	regions = regions_map(fds, rows, count);
	if (regions == NULL)
		return errno;
	regions_unmap(device->regions);
	device->regions = regions;
	device->site.regions = regions;
	return 0;
}

int device_set_inflight(struct device *device, int fd, uint64_t offset, uint64_t size, uint16_t rings,
			uint16_t descriptors)
{
	struct lent_map map = { .slot = -1 };
	int error;

	if (runs(device, NULL))
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
static bool open_inflight(const struct device *device, uint32_t index, uint16_t size, struct inflight *inflight)
{
	*inflight = (struct inflight){ 0 };
	if (device->inflight.map == NULL)
		return true;
	if (index >= device->inflight_rings || size != device->inflight_descriptors)
		return false;
	inflight_open(inflight, device->inflight.memory + index * inflight_size(size), size);
	return true;
}

int device_start(struct device *device, uint32_t index, const struct virtqueue_place *place, int kick)
{
	struct served *ring = &device->rings[index];
	struct inflight inflight;
	int error;

	if (runs(device, ring))
		return EBUSY;
	if (device->regions == NULL || !open_inflight(device, index, place->size, &inflight))
		return EINVAL;
	error = vring_begin(&ring->vring, place, &inflight, kick);
	if (error != 0)
		return error;
	error = start(ring);
	if (error != 0)
		vring_end(&ring->vring);
	return error;
}

void device_stop(struct device *device, uint32_t index)
{
	vring_stop(&device->rings[index].vring);
}

int device_set_call(struct device *device, uint32_t index, int fd)
{
	return vring_set_call(&device->rings[index].vring, fd);
}

int device_set_error(struct device *device, uint32_t index, int fd)
{
	return vring_set_error(&device->rings[index].vring, fd);
}

void device_retry(struct device *device, bool fail)
{
	__atomic_store_n(&device->site.fail, fail, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < DEVICE_RINGS; i++)
		vring_retry(&device->rings[i].vring);
}

struct counters device_counters(const struct device *device)
{
	struct counters sums = { 0 };

	for (uint32_t i = 0; i < DEVICE_RINGS; i++)
		counters_sum(&sums, &device->rings[i].vring.counters);
	return sums;
}

/* For a thread that has given up: its disk's time, and some to end. */
#define GRACE_MS	500

bool device_close(struct device *device, int ms)
{
	const struct timespec deadline = monotonic_after_ms((int64_t)ms + GRACE_MS);
	bool ended;

	__atomic_store_n(&device->site.give_up_ms, ms, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < DEVICE_RINGS; i++)
		vring_wake(&device->rings[i].vring);
	pthread_mutex_lock(&device->lock);
	while (device->site.running > 0 && pthread_cond_timedwait(&device->ended, &device->lock, &deadline) == 0)
		;
	ended = device->site.running == 0;
	pthread_mutex_unlock(&device->lock);
	unref(device);
	return ended;
}
