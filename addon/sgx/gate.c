/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/sgx/gate.h"

void tresor_gate_init(struct tresor_gate *gate, void (*empty)(void *owner), void *owner)
{
	*gate = (struct tresor_gate){ .state = TRESOR_GATE_NEW, .empty = empty, .owner = owner };
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->freed, NULL);
}

void tresor_gate_destroy(struct tresor_gate *gate)
{
	pthread_cond_destroy(&gate->freed);
	pthread_mutex_destroy(&gate->lock);
}

enum tresor_gate_state tresor_gate_state(const struct tresor_gate *gate)
{
	return __atomic_load_n(&gate->state, __ATOMIC_ACQUIRE);
}

static bool is_open(const struct tresor_gate *gate)
{
	return tresor_gate_state(gate) == TRESOR_GATE_OPEN;
}

void tresor_gate_open(struct tresor_gate *gate, uint32_t threads)
{
	gate->free_threads = UINT32_MAX >> (32 - threads);
	__atomic_store_n(&gate->state, TRESOR_GATE_OPEN, __ATOMIC_RELEASE);
}

/* With the lock held. */
static void close_gate(struct tresor_gate *gate)
{
	__atomic_store_n(&gate->state, TRESOR_GATE_CLOSED, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&gate->freed);
}

/* With the lock held. */
static void tell_if_empty(struct tresor_gate *gate)
{
	void (*empty)(void *owner) = gate->empty;

	if (tresor_gate_state(gate) != TRESOR_GATE_CLOSED || gate->inside != 0 || empty == NULL)
		return;
	gate->empty = NULL;
	empty(gate->owner);
}

void tresor_gate_close(struct tresor_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	close_gate(gate);
	tell_if_empty(gate);
	pthread_mutex_unlock(&gate->lock);
}

bool tresor_gate_enter(struct tresor_gate *gate, uint32_t *thread)
{
	bool open;

	pthread_mutex_lock(&gate->lock);
	while (is_open(gate) && gate->free_threads == 0)
		pthread_cond_wait(&gate->freed, &gate->lock);
	open = is_open(gate);
	if (open) {
		*thread = (uint32_t)__builtin_ctz(gate->free_threads);
		gate->free_threads &= ~(1u << *thread);
		gate->inside++;
	}
	pthread_mutex_unlock(&gate->lock);
	return open;
}

bool tresor_gate_leave(struct tresor_gate *gate, uint32_t thread, bool lost)
{
	bool open;

	pthread_mutex_lock(&gate->lock);
	gate->inside--;
	if (lost) {
		close_gate(gate);
	} else {
		gate->free_threads |= 1u << thread;
		pthread_cond_signal(&gate->freed);
	}
	open = is_open(gate);
	tell_if_empty(gate);
	pthread_mutex_unlock(&gate->lock);
	return open;
}

bool tresor_gate_hold(struct tresor_gate *gate)
{
	bool open;

	pthread_mutex_lock(&gate->lock);
	open = is_open(gate);
	gate->inside += open;
	pthread_mutex_unlock(&gate->lock);
	return open;
}

void tresor_gate_release(struct tresor_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->inside--;
	tell_if_empty(gate);
	pthread_mutex_unlock(&gate->lock);
}
