/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vring as its thread serves it (worker.h): watches, sleeps, and signals the guest. device.h has the threads. Calls
 * are the device's owner's, but where they say otherwise.
 */
#ifndef TRESOR_VHOST_VRING_H
#define TRESOR_VHOST_VRING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/counters.h"
#include "addon/disk/plain.h"
#include "addon/vhost/bell.h"
#include "addon/vhost/request.h"
#include "addon/vhost/virtqueue.h"

enum vring_event {
	VRING_STOPPED,	/* the thread has ended; value: where to go on in the available ring */
	VRING_BROKEN,	/* before it stops; value: enum virtqueue_fault */
	VRING_KEYLESS,	/* a request found no key */
};

/* What the vrings of a device share; all but the atomics is unchanged while one runs. */
struct vring_site {
	struct plain_volume *volume;
	const struct regions *regions;
	bool discards;
	uint8_t id[REQUEST_ID_SIZE];
	uint32_t spin_us;	/* how long a thread watches for the next request before it sleeps */
	unsigned processors;
	unsigned running;	/* atomic: vrings that run; changed under the device's lock */
	int null;		/* of /dev/null */
	bool fail;		/* atomic: requests without a key are answered with an error */
	int give_up_ms;		/* atomic; -1: threads wait for what is under way */
	/* On any thread. */
	void (*tell)(void *context, enum vring_event event, uint32_t vring, uint32_t value);
	void *context;
};

struct vring {
	const struct vring_site *site;
	uint32_t index;
	int wake;		/* eventfd: look at the flags; -1: it was never begun */
	bool stopping;		/* atomic */
	bool retry;		/* atomic: there may be a key */
	/* The thread's while it runs. */
	int kick;		/* of its own */
	struct bell bell;
	struct virtqueue_place place;
	struct inflight inflight;
	struct counters counters;	/* held: for the disk or a key */
	pthread_mutex_t signals;
	int call, error;	/* under `signals`; of its own, or -1 */
};

void vring_init(struct vring *vring, const struct vring_site *site, uint32_t index);
/* It does not run. */
void vring_destroy(struct vring *vring);

/* Before its thread is started; takes over a duplicate of `kick`. 0 or an errno. */
int vring_begin(struct vring *vring, const struct virtqueue_place *place, const struct inflight *inflight, int kick);
/* On its thread: returns when it is asked to stop or broken, and at rest. `place` has where to go on. */
void vring_serve(struct vring *vring);
/* Has ended, or its thread was not started. */
void vring_end(struct vring *vring);

/* Answers what is under way, and ends. */
void vring_stop(struct vring *vring);
/* Requests that wait for a key are tried again. */
void vring_retry(struct vring *vring);
/* It looks at the site again. */
void vring_wake(const struct vring *vring);
/* Duplicates; -1: none. While it runs or not. 0 or an errno. */
int vring_set_call(struct vring *vring, int fd);
int vring_set_error(struct vring *vring, int fd);

#endif
