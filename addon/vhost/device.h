/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of one front-end, each served by a thread while it runs. Messages, and what is allowed when, are
 * TypeScript's (src/vhost); one thread, the owner, calls in here. Reference counted: a thread that hangs
 * at a disk outlives its owner.
 */
#ifndef TRESOR_VHOST_DEVICE_H
#define TRESOR_VHOST_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/plain.h"
#include "addon/vhost/regions.h"
#include "addon/vhost/virtqueue.h"
#include "addon/vhost/vring.h"

#define DEVICE_RINGS	64u

struct device_listener {
	/* On any thread. */
	void (*tell)(void *context, enum vring_event event, uint32_t ring, uint32_t value);
	/* A thread begins, and tells no more. */
	void (*hold)(void *context);
	void (*release)(void *context);
	void *context;
};

struct device;

/* `spin_us`: how long a thread watches for the next request before it sleeps. NULL with errno. */
struct device *device_new(struct plain_volume *volume, bool discards, const uint8_t *id, uint32_t spin_us,
			  const struct device_listener *listener);
/* EBUSY while a ring runs. Descriptors stay the caller's. 0 or an errno. */
int device_set_memory(struct device *device, const int *fds, const struct region_row *rows, uint32_t count);
/* Of so many rings of so many descriptors; fd -1: none. EBUSY, as above. */
int device_set_inflight(struct device *device, int fd, uint64_t offset, uint64_t size, uint16_t rings,
			uint16_t descriptors);
/* Takes over a duplicate of `kick`. EBUSY: it runs. */
int device_start(struct device *device, uint32_t ring, const struct virtqueue_place *place, int kick);
/* Answers what is under way, then tells that it stopped. */
void device_stop(struct device *device, uint32_t ring);
/* Duplicates; -1: none. At any time. */
int device_set_call(struct device *device, uint32_t ring, int fd);
int device_set_error(struct device *device, uint32_t ring, int fd);
/* `fail`: requests without a key are answered with an error. Those that wait are tried again. */
void device_retry(struct device *device, bool fail);
/* Held: for the disk or a key. */
struct counters device_counters(const struct device *device);
/* Waits for threads, `ms` for what is under way. False: some hang; what they use stays. Frees the owner's reference. */
bool device_close(struct device *device, int ms);

#endif
