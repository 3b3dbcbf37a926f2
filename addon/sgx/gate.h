/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is inside an enclave: one thread per TCS, from any number of threads, and
 * nobody once it has ended. What is secret goes as soon as the last one is out.
 */
#ifndef TRESOR_GATE_H
#define TRESOR_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum tresor_gate_state { TRESOR_GATE_NEW, TRESOR_GATE_OPEN, TRESOR_GATE_CLOSED };

struct tresor_gate {
	uint32_t state;		/* atomic; enum tresor_gate_state, only ever upwards */
	pthread_mutex_t lock;	/* for what follows */
	pthread_cond_t freed;
	uint32_t free_threads;	/* bit per TCS that nobody is in */
	uint32_t inside;
	void (*empty)(void *owner);	/* NULL once called */
	void *owner;
};

/* `empty` is called once, with the lock held: closed, and nobody inside. */
void tresor_gate_init(struct tresor_gate *gate, void (*empty)(void *owner), void *owner);
/* Closed and nobody inside. */
void tresor_gate_destroy(struct tresor_gate *gate);

enum tresor_gate_state tresor_gate_state(const struct tresor_gate *gate);
/* At most 32 threads. */
void tresor_gate_open(struct tresor_gate *gate, uint32_t threads);
/* Idempotent. Those inside come out; nobody enters any more. */
void tresor_gate_close(struct tresor_gate *gate);

/* Takes a free TCS, waiting for one if all are busy. False when the gate is not open. */
bool tresor_gate_enter(struct tresor_gate *gate, uint32_t *thread);
/* `lost`: closes the gate. Returns whether it is open still. */
bool tresor_gate_leave(struct tresor_gate *gate, uint32_t thread, bool lost);

/* As entering and leaving, without a TCS: keeps `empty` from being called. */
bool tresor_gate_hold(struct tresor_gate *gate);
void tresor_gate_release(struct tresor_gate *gate);

#endif
