/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in use: session, memory and rings together. Errors are those of a session. */
#ifndef BENCH_VHOST_DEVICE_H
#define BENCH_VHOST_DEVICE_H

#include "guest.h"
#include "ring.h"
#include "session.h"

#define QUEUES_MAX	16u

struct device_options {
	const char *path;
	unsigned queues, queue_size, regions;
	uint64_t memory;	/* what requests need; the rings have their own */
	bool sealed, event_idx, indirect;
	bool slots;		/* regions one by one, where the back-end has slots */
	bool inflight;
	bool channel;		/* for what the back-end says of its own accord */
};

struct device {
	struct device_options options;
	struct session session;
	struct guest guest;
	struct ring rings[QUEUES_MAX];
	/* What the back-end keeps across its own death, or -1. */
	int inflight;
	struct inflight inflight_place;
};

int device_start(struct device *device, const struct device_options *options);
/* Another connection for the same rings, after the back-end has gone: what is under way stays so. */
int device_restart(struct device *device);
/* Disables and stops every ring; -EPROTO when one does not end where it must. Nothing may be under way. */
int device_stop(struct device *device);
/* Frees everything, whatever state it is in. */
void device_free(struct device *device);

/* Milliseconds until a ring's call, or the back-end goes: -EPIPE. -ETIMEDOUT after `milliseconds`. */
int device_wait(struct device *device, int milliseconds);

/* One request in an empty ring: its status, or a negative errno. `data` is the guest's. */
int device_request(struct device *device, uint32_t type, uint64_t sector, const void *data, uint32_t length);

#endif
