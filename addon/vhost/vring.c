/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/vring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "addon/event.h"
#include "addon/monotonic.h"
#include "addon/spin.h"
#include "addon/vhost/worker.h"

/* Threads that watch instead of sleeping, of all devices: the last processor is for others. */
static unsigned watching;

/* ---- on its thread ---- */

static void tell(const struct vring *vring, enum vring_event event, uint32_t value)
{
	vring->site->tell(vring->site->context, event, vring->index, value);
}

/* Under the lock, so that the descriptor is not another's by now. */
static void signal_guest(struct vring *vring, const int *fd)
{
	pthread_mutex_lock(&vring->signals);
	bell_ring(&vring->bell, *fd);
	pthread_mutex_unlock(&vring->signals);
}

/* True: something has come. */
static bool watch(const struct vring *vring, struct worker *worker, struct spin *spin)
{
	const struct vring_site *site = vring->site;
	struct pollfd disk[] = {
		{ .fd = worker_fd(worker), .events = POLLIN },
		{ .fd = worker_lane_fd(worker), .events = POLLIN },
	};
	bool found = false;
	int64_t until;

	if (site->spin_us == 0 || !spin_pays(spin))
		return false;
	if (__atomic_add_fetch(&watching, 1, __ATOMIC_RELAXED) < site->processors) {
		until = monotonic_us() + site->spin_us;
		do {
			for (int i = 0; i < 64 && !found; i++) {
				found = virtqueue_waiting(worker_ring(worker));
				__builtin_ia32_pause();
			}
			found = found || (!worker_idle(worker) && poll(disk, 2, 0) > 0);
		} while (!found && monotonic_us() < until);
	}
	__atomic_sub_fetch(&watching, 1, __ATOMIC_RELAXED);
	spin_found(spin, found);
	return found;
}

/* Until a kick, a wake or a completion. False: the descriptor of kicks is of no use. */
static bool sleep_for_more(const struct vring *vring, const struct worker *worker, bool stopping)
{
	struct pollfd events[] = {
		{ .fd = vring->wake, .events = POLLIN },
		{ .fd = worker_fd(worker), .events = POLLIN },
		{ .fd = stopping ? -1 : vring->kick, .events = POLLIN },
		{ .fd = worker_lane_fd(worker), .events = POLLIN },
	};

	poll(events, 4, -1);
	if (events[0].revents & POLLIN)
		event_clear(vring->wake);
	return (events[2].revents & ~POLLIN) == 0 && ((events[2].revents & POLLIN) == 0 || bell_hear(vring->kick));
}

/* True: the ring is at rest, and the thread may end. */
static bool at_rest(const struct vring_site *site, const struct worker *worker, bool stopping)
{
	if (__atomic_load_n(&site->give_up_ms, __ATOMIC_ACQUIRE) >= 0)
		return true;
	return (stopping || worker_fault(worker) != RING_SOUND) && worker_idle(worker);
}

/* Returns when it is at rest, with what is wrong with the ring. */
static enum virtqueue_fault work(struct vring *vring, struct worker *worker)
{
	const struct vring_site *site = vring->site;
	struct spin spin = { .credit = SPIN_CREDIT };
	bool kicks = true;

	for (;;) {
		const bool stopping = __atomic_load_n(&vring->stopping, __ATOMIC_ACQUIRE);
		const bool closed = stopping || !kicks;
		bool notify, more;

		if (__atomic_exchange_n(&vring->retry, false, __ATOMIC_ACQ_REL))
			worker_retry(worker);
		more = worker_turn(worker, closed, __atomic_load_n(&site->fail, __ATOMIC_ACQUIRE), &notify);
		if (notify)
			signal_guest(vring, &vring->call);
		if (worker_keyless(worker))
			tell(vring, VRING_KEYLESS, 0);
		if (at_rest(site, worker, closed))
			return worker_fault(worker) != RING_SOUND || kicks ? worker_fault(worker) : RING_KICK;
		if (more || (!closed && watch(vring, worker, &spin)))
			continue;
		if (!closed && worker_fault(worker) == RING_SOUND && virtqueue_listen(worker_ring(worker)))
			continue;
		kicks = sleep_for_more(vring, worker, closed) && kicks;
		virtqueue_ignore(worker_ring(worker));
	}
}

static void report_fault(struct vring *vring, enum virtqueue_fault fault)
{
	signal_guest(vring, &vring->error);
	tell(vring, VRING_BROKEN, fault);
}

static void leave(struct vring *vring, struct worker *worker)
{
	const int ms = __atomic_load_n(&vring->site->give_up_ms, __ATOMIC_ACQUIRE);
	bool notify;

	if (worker_idle(worker)) {
		worker_leave(worker, &notify);
		if (notify)
			signal_guest(vring, &vring->call);
	}
	vring->place.next = worker_ring(worker)->next;
	worker_close(worker, ms < 0 ? 0 : ms);
}

static void serve_with_bell(struct vring *vring)
{
	const struct vring_site *site = vring->site;
	struct worker_options options = {
		.volume = site->volume,
		.regions = site->regions,
		.place = vring->place,
		.inflight = vring->inflight,
		.discards = site->discards,
		.running = &site->running,
		.processors = site->processors,
		.counters = &vring->counters,
	};
	enum virtqueue_fault fault;
	struct worker *worker;

	memcpy(options.id, site->id, sizeof(options.id));
	worker = worker_open(&options, &fault);
	if (worker != NULL)
		fault = work(vring, worker);
	if (fault != RING_SOUND)
		report_fault(vring, fault);
	if (worker != NULL)
		leave(vring, worker);
}

void vring_serve(struct vring *vring)
{
	if (bell_open(&vring->bell, vring->site->null) != 0) {
		/* There is nothing to signal it with. */
		tell(vring, VRING_BROKEN, RING_BEGIN);
		return;
	}
	serve_with_bell(vring);
	bell_close(&vring->bell);
}

/* ---- on the owner's ---- */

void vring_init(struct vring *vring, const struct vring_site *site, uint32_t index)
{
	*vring = (struct vring){ .site = site, .index = index, .wake = -1, .kick = -1, .call = -1, .error = -1 };
	pthread_mutex_init(&vring->signals, NULL);
}

void vring_destroy(struct vring *vring)
{
	if (vring->wake >= 0)
		close(vring->wake);
	if (vring->call >= 0)
		close(vring->call);
	if (vring->error >= 0)
		close(vring->error);
	pthread_mutex_destroy(&vring->signals);
}

int vring_begin(struct vring *vring, const struct virtqueue_place *place, const struct inflight *inflight, int kick)
{
	if (vring->wake < 0)
		vring->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vring->wake < 0)
		return errno;
	vring->kick = fcntl(kick, F_DUPFD_CLOEXEC, 3);
	if (vring->kick < 0)
		return errno;
	vring->place = *place;
	vring->inflight = *inflight;
	__atomic_store_n(&vring->stopping, false, __ATOMIC_RELEASE);
	return 0;
}

void vring_end(struct vring *vring)
{
	close(vring->kick);
	vring->kick = -1;
}

void vring_wake(const struct vring *vring)
{
	if (vring->wake >= 0)
		event_set(vring->wake);
}

void vring_stop(struct vring *vring)
{
	__atomic_store_n(&vring->stopping, true, __ATOMIC_RELEASE);
	vring_wake(vring);
}

void vring_retry(struct vring *vring)
{
	__atomic_store_n(&vring->retry, true, __ATOMIC_RELEASE);
	vring_wake(vring);
}

static int replace(struct vring *vring, int *place, int fd)
{
	const int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int before;

	if (fd >= 0 && own < 0)
		return errno;
	pthread_mutex_lock(&vring->signals);
	before = *place;
	*place = own;
	pthread_mutex_unlock(&vring->signals);
	if (before >= 0)
		close(before);
	return 0;
}

int vring_set_call(struct vring *vring, int fd)
{
	return replace(vring, &vring->call, fd);
}

int vring_set_error(struct vring *vring, int fd)
{
	return replace(vring, &vring->error, fd);
}
