/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ring's requests, on a thread of its own: taken in batches, carried out (request_queue.h) and answered, in whatever
 * order they end. Requests that find no key wait in here.
 */
#ifndef TRESOR_VHOST_WORKER_H
#define TRESOR_VHOST_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "addon/disk/counters.h"
#include "addon/disk/plain.h"
#include "addon/vhost/request.h"
#include "addon/vhost/virtqueue.h"

struct worker_options {
	struct plain_volume *volume;
	const struct regions *regions;
	struct virtqueue_place place;
	struct inflight inflight;
	bool discards;
	uint8_t id[REQUEST_ID_SIZE];
	const unsigned *running;	/* as request_queue_options has them */
	unsigned processors;
	struct counters *counters;
};

struct worker;

/* On the worker's thread, as all that follows. What it was given stays. NULL with the fault. */
struct worker *worker_open(const struct worker_options *options, enum virtqueue_fault *fault);
/*
 * Takes what has come, unless `stop`, carries it on, and answers what has ended. `fail`: what finds no key is
 * answered with an error. `notify`: the guest wants to be told. True: there is more to do at once.
 */
bool worker_turn(struct worker *worker, bool stop, bool fail, bool *notify);
/* What waits for a key is tried again by the next turn. */
void worker_retry(struct worker *worker);
/* Something waits for a key that there was none for since the last call. */
bool worker_keyless(struct worker *worker);
/* Nothing is under way; what waits for a key may be. */
bool worker_idle(const struct worker *worker);
/* At a stop, idle: what waits for a key is left to the record of requests under way. Without one it is answered. */
void worker_leave(struct worker *worker, bool *notify);
/* The ring is broken: nothing is answered any more. */
enum virtqueue_fault worker_fault(const struct worker *worker);
struct virtqueue *worker_ring(struct worker *worker);
/* Readable when a turn has something to do that is under way. */
int worker_fd(const struct worker *worker);
/* As request_queue_lane_fd. */
int worker_lane_fd(const struct worker *worker);
/* What is under way is given `ms`. False: the disk holds some; then its memory stays. */
bool worker_close(struct worker *worker, int ms);

#endif
