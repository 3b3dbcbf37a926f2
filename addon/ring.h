/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of /dev/tresor/control (abi/kmod.h): one thread per queue enters
 * the enclave straight on the mapped slots.
 */
#ifndef TRESOR_RING_H
#define TRESOR_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/kmod.h"
#include "addon/sgx/enclave.h"

struct tresor_ring;

struct tresor_ring_options {
	uint32_t queues;	/* 1 to TRESOR_QUEUES_MAX */
	uint32_t depth;		/* at most TRESOR_DEPTH_MAX */
	uint32_t spin_us;	/* how long a thread watches before it sleeps */
	bool legacy;		/* events are taken */
};

/* Called by the ring's threads. They may not wait for the thread that stops the ring. */
struct tresor_ring_listener {
	/* `event` is from malloc(3) and may have a secret in it. True: taken over. False: ends the events. */
	bool (*event)(void *context, struct tresor_event *event);
	/* A thread ended and nobody asked it to: the module took us for dead, or else the enclave is gone. */
	void (*ended)(void *context, bool detached);
	void *context;
};

/* Opens the device, with a reference to the enclave. NULL with errno. */
struct tresor_ring *tresor_ring_open(struct tresor_enclave *enclave, const struct tresor_ring_options *options);
/* Attaches, and starts the threads. 0, or -1 with errno; the ring is then only to be stopped and freed. */
int tresor_ring_start(struct tresor_ring *ring, const struct tresor_ring_listener *listener);
/* Idempotent. Requests inside wait in the kernel for the next daemon. Waits for the threads, not for ever. */
void tresor_ring_stop(struct tresor_ring *ring);
/* Stopped. What a thread that hangs in the enclave uses stays. */
void tresor_ring_free(struct tresor_ring *ring);

/* An ioctl of abi/kmod.h on keys; as ioctl(2). Not once stopped, nor is tresor_ring_probe. */
int tresor_ring_control(const struct tresor_ring *ring, unsigned long command, void *argument);
/*
 * Encrypts zeros as a request of the kernel's would be: same key, same bytes.
 * Returns 0 or an errno; ENXIO: the enclave is gone.
 */
int tresor_ring_probe(const struct tresor_ring *ring, uint32_t cookie, uint16_t mode, uint64_t sector, uint8_t *data,
		      uint32_t length);

struct tresor_ring_counters {
	uint64_t batches;
	uint64_t blocks;
	uint64_t bytes;
	uint64_t failures;
};
struct tresor_ring_counters tresor_ring_counters(const struct tresor_ring *ring);

#endif
