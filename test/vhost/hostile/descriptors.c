/* SPDX-License-Identifier: Apache-2.0 */
/* Lies in the descriptors of a ring: what comes as kick, call and error, and what its sender does with it afterwards. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lies.h"

/* As kick, call and error descriptors: what is none that can be waited for. */
static enum outcome odd_descriptors(struct liar *liar)
{
	static const uint32_t which[] = { SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR };
	int descriptors[5];
	enum outcome outcome = SERVED;

	descriptors[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	descriptors[1] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	descriptors[2] = memfd_create("odd", MFD_CLOEXEC);
	descriptors[3] = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	descriptors[4] = open("/", O_PATH | O_CLOEXEC);
	for (unsigned k = 0; k < 3 && outcome == SERVED; k++) {
		for (unsigned i = 0; i < 5; i++) {
			const uint64_t ring = LYING_RING;

			begin(liar, false);
			if (session_tell(&liar->device.session, which[k], &ring, sizeof(ring), &descriptors[i], 1) ==
			    0) {
				honest_read(liar);
				push(liar, 0);
				after_push(liar, SILENCE_MS);
				/* Broken or not, closed or not: the other ring is no matter of this one. */
				if (after_message(liar, 0) == SERVED &&
				    device_request(&liar->device, VIRTIO_BLK_T_IN, 0, liar->data, 4096) != 0)
					outcome = IGNORED;
			}
			device_free(&liar->device);
		}
	}
	for (unsigned i = 0; i < 5; i++)
		close(descriptors[i]);
	return outcome;
}

/* A call descriptor whose writer waits until somebody reads it, and nobody does. */
static enum outcome call_that_blocks(struct liar *liar)
{
	enum outcome outcome = SERVED;
	struct ring *ring;
	int call;

	begin(liar, false);
	ring = lying_ring(liar);
	/* Honest requests wait for calls of all rings: not for this one. */
	call = ring->call;
	ring->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* A description has its flags in common with the back-end's. */
	fcntl(call, F_SETFL, 0);
	eventfd_write(call, 0xfffffffffffffffe);
	honest_read(liar);
	push(liar, 0);
	usleep(50000);
	/* It may be stuck in there, but not the other ring, nor messages about this one, nor whoever comes next. */
	if (device_request(&liar->device, VIRTIO_BLK_T_IN, 0, liar->data, 4096) != 0)
		outcome = IGNORED;
	if (outcome == SERVED) {
		const uint64_t which = LYING_RING;

		outcome = after_message(liar, session_tell(&liar->device.session, SET_VRING_CALL, &which, sizeof(which),
							   &ring->call, 1));
	}
	device_free(&liar->device);
	begin_connected(liar);
	close(call);
	return outcome;
}

struct thief {
	int kick;
	bool stop;	/* atomic */
	unsigned taken;
};

/* Whether there was one. Does not wait: the back-end may have read it. */
static bool take(int kick)
{
	eventfd_t count;
	const struct iovec place = { &count, sizeof(count) };

	return preadv2(kick, &place, 1, -1, RWF_NOWAIT) == sizeof(count);
}

/* Gives a kick and takes it back, as fast as it can. */
static void *take_back(void *argument)
{
	struct thief *thief = argument;

	while (!__atomic_load_n(&thief->stop, __ATOMIC_RELAXED)) {
		eventfd_write(thief->kick, 1);
		thief->taken += take(thief->kick);
	}
	return NULL;
}

/* A kick is there when the back-end looks, and gone when it reads, in a description that waits. */
static enum outcome kicks_taken_back(struct liar *liar)
{
	struct session *session = &liar->device.session;
	struct vring_number state = { LYING_RING, 0 };
	struct thief thief = { 0 };
	pthread_t thread;
	int error;

	begin(liar, false);
	thief.kick = lying_ring(liar)->kick;
	fcntl(thief.kick, F_SETFL, 0);
	if (pthread_create(&thread, NULL, take_back, &thief) != 0)
		return IGNORED;
	usleep(300000);
	__atomic_store_n(&thief.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	take(thief.kick);
	if (thief.taken == 0)
		return IGNORED;
	/* Nobody kicks any more, and it ends all the same. */
	error = session_send(session, GET_VRING_BASE, VERSION, &state, sizeof(state), NULL, 0);
	if (error == 0)
		error = session_receive(session, GET_VRING_BASE, &state, sizeof(state), NULL);
	return outcome_of(error);
}

/* A kick that never comes, and whose end is not told as a kick is. */
static enum outcome kick_without_a_writer(struct liar *liar)
{
	const uint64_t which = LYING_RING;
	enum outcome outcome;
	int ends[2];

	begin(liar, false);
	if (pipe2(ends, O_CLOEXEC) != 0)
		return IGNORED;
	close(ends[1]);
	outcome = outcome_of(session_tell(&liar->device.session, SET_VRING_KICK, &which, sizeof(which), &ends[0], 1));
	close(ends[0]);
	return outcome == SERVED ? after_push(liar, ANSWER_MS) : outcome;
}

const struct lie descriptor_lies[] = {
	{ "descriptors of an odd kind", SERVED, odd_descriptors },
	{ "a call that blocks", SERVED, call_that_blocks },
	{ "kicks taken back", SERVED, kicks_taken_back },
	{ "a kick without a writer", BROKEN, kick_without_a_writer },
	{ NULL, 0, NULL },
};
