/* SPDX-License-Identifier: Apache-2.0 */
/* Lies in messages: sizes, descriptors, order. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lies.h"
#include "random.h"

/* Requests that a front-end may send, known and unknown to the back-end. */
static const uint32_t requests[] = {
	GET_FEATURES,	       SET_FEATURES,	   SET_OWNER,	     RESET_OWNER,	SET_MEM_TABLE,
	SET_LOG_BASE,	       SET_LOG_FD,	   SET_VRING_NUM,    SET_VRING_ADDR,	SET_VRING_BASE,
	GET_VRING_BASE,	       SET_VRING_KICK,	   SET_VRING_CALL,   SET_VRING_ERR,	GET_PROTOCOL_FEATURES,
	SET_PROTOCOL_FEATURES, GET_QUEUE_NUM,	   SET_VRING_ENABLE, SET_CONFIG,	GET_CONFIG,
	GET_INFLIGHT_FD,       SET_INFLIGHT_FD,	   RESET_DEVICE,     GET_MAX_MEM_SLOTS, ADD_MEM_REG,
	REM_MEM_REG,	       SET_BACKEND_REQ_FD,
};

#define REQUESTS	(sizeof(requests) / sizeof(requests[0]))

/* Sends on a connection of its own and waits for its end, or an answer. */
static enum outcome alone(struct liar *liar, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
			  const int *descriptors, unsigned count)
{
	struct session *session = &liar->device.session;
	char byte;

	if (session_send(session, request, flags, payload, size, descriptors, count) != 0)
		return CLOSED;
	shutdown(session->socket, SHUT_WR);
	/* What it answers, and then the end: it has seen ours. */
	for (;;) {
		const ssize_t some = recv(session->socket, &byte, 1, 0);

		if (some > 0)
			continue;
		if (some < 0 && errno != ECONNRESET)
			return IGNORED;
		return CLOSED;
	}
}

/* Every request with every size that is not its own; on one connection each. */
static enum outcome wrong_sizes(struct liar *liar)
{
	static const uint32_t sizes[] = { 0, 1, 7, 9, 12, 40, 255, 256, 264, 4096 };
	const uint8_t payload[4096] = { 0 };

	for (unsigned i = 0; i < REQUESTS; i++) {
		for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			begin_connected(liar);
			if (alone(liar, requests[i], VERSION | NEED_REPLY, payload, sizes[k], NULL, 0) != CLOSED)
				return IGNORED;
			session_close(&liar->device.session);
		}
	}
	return CLOSED;
}

/* More than any message has: nothing of it may be waited for. */
static enum outcome huge_size(struct liar *liar)
{
	const struct head head = { SET_FEATURES, VERSION, 0xffffffff };
	ssize_t some;
	char byte;

	begin_connected(liar);
	if (send(liar->device.session.socket, &head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
		return CLOSED;
	some = recv(liar->device.session.socket, &byte, 1, 0);
	return some == 0 || (some < 0 && errno == ECONNRESET) ? CLOSED : IGNORED;
}

static enum outcome wrong_version(struct liar *liar)
{
	begin_connected(liar);
	return alone(liar, GET_FEATURES, 2, NULL, 0, NULL, 0);
}

static enum outcome unknown_requests(struct liar *liar)
{
	static const uint32_t unknown[] = { 0, 40, 99, 4096, 0x7fffffff, 0xffffffff };
	enum outcome outcome = CLOSED;

	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]) && outcome == CLOSED; i++) {
		begin_connected(liar);
		outcome = alone(liar, unknown[i], VERSION, NULL, 0, NULL, 0);
		session_close(&liar->device.session);
	}
	return outcome;
}

/* As many as one message carries, with every request; a leak shows in the back-end's descriptors. */
static enum outcome too_many_descriptors(struct liar *liar)
{
	int descriptors[64];
	enum outcome outcome = CLOSED;

	for (unsigned i = 0; i < 64; i++)
		descriptors[i] = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < REQUESTS && outcome == CLOSED; i++) {
		const uint64_t payload[8] = { 0 };

		begin_connected(liar);
		outcome = alone(liar, requests[i], VERSION, payload, i % 2 == 0 ? 8 : 0, descriptors,
				i % 3 == 0 ? 64 : 9);
		session_close(&liar->device.session);
	}
	for (unsigned i = 0; i < 64; i++)
		close(descriptors[i]);
	return outcome;
}

/* A message that never becomes whole, and its sender goes. */
static enum outcome half_messages(struct liar *liar)
{
	const struct vring_number payload = { 0, RING_SIZE };
	const struct head head = { SET_VRING_NUM, VERSION, sizeof(payload) };
	uint8_t whole[sizeof(head) + sizeof(payload)];

	memcpy(whole, &head, sizeof(head));
	memcpy(whole + sizeof(head), &payload, sizeof(payload));
	for (size_t i = 1; i < sizeof(whole); i++) {
		begin_connected(liar);
		if (send(liar->device.session.socket, whole, i, MSG_NOSIGNAL) != (ssize_t)i)
			return CLOSED;
		session_close(&liar->device.session);
	}
	return SERVED;
}

/* Byte by byte, which is no lie. */
static enum outcome slow_message(struct liar *liar)
{
	const struct head head = { GET_FEATURES, VERSION, 0 };
	uint64_t features;

	begin_connected(liar);
	for (size_t i = 0; i < sizeof(head); i++) {
		if (send(liar->device.session.socket, (const char *)&head + i, 1, MSG_NOSIGNAL) != 1)
			return CLOSED;
		usleep(1000);
	}
	return outcome_of(session_receive(&liar->device.session, GET_FEATURES, &features, sizeof(features), NULL));
}

static enum outcome unoffered_features(struct liar *liar)
{
	const uint64_t features = ~0ull;

	begin_negotiated(liar);
	return after_message(liar,
			     session_tell(&liar->device.session, SET_FEATURES, &features, sizeof(features), NULL, 0));
}

static enum outcome unoffered_protocol_features(struct liar *liar)
{
	const uint64_t features = ~0ull;

	begin_negotiated(liar);
	return after_message(
		liar, session_tell(&liar->device.session, SET_PROTOCOL_FEATURES, &features, sizeof(features), NULL, 0));
}

/* Another request about a ring, of a number that no ring has. */
static enum outcome ring_index(struct liar *liar, uint32_t request)
{
	static const uint32_t indexes[] = { 2, 16, 255, 256, 0x7fffffff, 0xffffffff };
	const int descriptor = eventfd(0, EFD_CLOEXEC);
	enum outcome outcome = CLOSED;

	for (unsigned i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
		const uint64_t payload[5] = { indexes[i] };
		const bool with = request == SET_VRING_KICK || request == SET_VRING_CALL || request == SET_VRING_ERR;
		const uint32_t size = request == SET_VRING_ADDR ? 40 : 8;
		int error;

		begin_negotiated(liar);
		if (indexes[i] < liar->device.session.queues) {
			session_close(&liar->device.session);
			continue;
		}
		error = session_tell(&liar->device.session, request, payload, size, &descriptor, with ? 1 : 0);
		/* The bits of a descriptor's index are eight, and one says that none comes: 256 is such a message. */
		if (error == 0 && !(with && indexes[i] > 255))
			outcome = SERVED;
		session_close(&liar->device.session);
	}
	close(descriptor);
	return outcome;
}

static enum outcome number_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_NUM);
}

static enum outcome base_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_BASE);
}

static enum outcome addresses_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_ADDR);
}

static enum outcome enabling_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_ENABLE);
}

static enum outcome kick_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_KICK);
}

static enum outcome call_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_CALL);
}

static enum outcome error_of_no_ring(struct liar *liar)
{
	return ring_index(liar, SET_VRING_ERR);
}

static enum outcome ring_sizes(struct liar *liar)
{
	static const uint32_t sizes[] = { 0, 32769, 65536, 0x80000000, 0xffffffff };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct vring_number number = { 0, sizes[i] };

		begin_negotiated(liar);
		if (session_tell(&liar->device.session, SET_VRING_NUM, &number, sizeof(number), NULL, 0) == 0)
			return SERVED;
		session_close(&liar->device.session);
	}
	return REFUSED;
}

/* A ring that was given nothing, asked for its end. */
static enum outcome base_of_a_ring_not_started(struct liar *liar)
{
	struct vring_number state = { 1, 0 };
	struct session *session = &liar->device.session;
	int error;

	begin_negotiated(liar);
	error = session_send(session, GET_VRING_BASE, VERSION, &state, sizeof(state), NULL, 0);
	if (error == 0)
		error = session_receive(session, GET_VRING_BASE, &state, sizeof(state), NULL);
	return outcome_of(error);
}

/* Kicked and enabled without memory or addresses: QEMU does it with queues that the guest does not use. */
static enum outcome start_without_addresses(struct liar *liar)
{
	struct session *session = &liar->device.session;
	const int kick = eventfd(1, EFD_CLOEXEC);
	const struct vring_number on = { 0, 1 };
	const uint64_t which = 0;
	int error;

	begin_negotiated(liar);
	error = session_tell(session, SET_VRING_KICK, &which, sizeof(which), &kick, 1);
	if (error == 0)
		error = session_tell(session, SET_VRING_ENABLE, &on, sizeof(on), NULL, 0);
	close(kick);
	return after_message(liar, error);
}

static enum outcome addresses_without_memory(struct liar *liar)
{
	const struct vring_addresses addresses = { .descriptors = 0x1000, .used = 0x2000, .available = 0x3000 };

	begin_negotiated(liar);
	return after_message(
		liar, session_tell(&liar->device.session, SET_VRING_ADDR, &addresses, sizeof(addresses), NULL, 0));
}

static enum outcome config_beyond_its_end(struct liar *liar)
{
	static const struct {
		uint32_t offset, size;
	} places[] = {
		{ 0, 256 }, { 60, 4 }, { 255, 1 }, { 0xffffffff, 2 }, { 0, 0xffffffff }, { 1u << 31, 1u << 31 }
	};
	enum outcome outcome = CLOSED;

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct config config = { .offset = places[i].offset, .size = places[i].size };

		begin_negotiated(liar);
		outcome = alone(liar, GET_CONFIG, VERSION, &config, 12 + 60, NULL, 0);
		session_close(&liar->device.session);
		if (outcome != CLOSED)
			break;
	}
	return outcome;
}

/* What a driver may not write. */
static enum outcome config_written(struct liar *liar)
{
	struct config config = { .offset = 0, .size = 8, .flags = 0 };

	begin_negotiated(liar);
	memset(config.bytes, 0xff, 8);
	return after_message(liar, session_tell(&liar->device.session, SET_CONFIG, &config, 12 + 8, NULL, 0));
}

/* A peer that takes no replies: the back-end must not wait for it for ever. */
static enum outcome replies_not_taken(struct liar *liar)
{
	const struct head head = { GET_FEATURES, VERSION, 0 };

	begin_connected(liar);
	for (unsigned i = 0; i < 1u << 20; i++)
		if (send(liar->device.session.socket, &head, sizeof(head), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	return SERVED;
}

/* Connections that say nothing. */
static enum outcome many_connections(struct liar *liar)
{
	struct session sessions[64];

	/* A full queue of connections refuses the rest. */
	for (unsigned i = 0; i < 64; i++)
		session_open(&sessions[i], liar->path);
	for (unsigned i = 0; i < 64; i++)
		session_close(&sessions[i]);
	begin_connected(liar);
	return SERVED;
}

/* Requests under way, and the front-end goes without a word. */
static enum outcome gone_under_load(struct liar *liar)
{
	for (unsigned round = 0; round < 20; round++) {
		begin(liar, round % 2 == 0);
		honest_read(liar);
		for (unsigned i = 0; i < RING_SIZE; i++)
			push(liar, 0);
		if (round % 4 == 1)
			usleep((useconds_t)random_below(&liar->random, 2000));
		device_free(&liar->device);
	}
	begin_connected(liar);
	return SERVED;
}

/* Each descriptor replaces the one before. */
static enum outcome descriptors_again_and_again(struct liar *liar)
{
	static const uint32_t which[] = { SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR };
	int error = 0;

	begin(liar, false);
	for (unsigned i = 0; i < 300 && error == 0; i++) {
		const uint64_t ring = LYING_RING | (i % 7 == 0 ? NO_DESCRIPTOR : 0);
		const int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		error = session_tell(&liar->device.session, which[i % 3], &ring, sizeof(ring), &descriptor,
				     (ring & NO_DESCRIPTOR) != 0 ? 0 : 1);
		/* A ring without kicks would have to be looked at all the time. */
		if (error == -EREMOTEIO && which[i % 3] == SET_VRING_KICK && (ring & NO_DESCRIPTOR) != 0)
			error = 0;
		close(descriptor);
	}
	return after_message(liar, error);
}

/* Features, sizes and places of rings that run. */
static enum outcome changes_while_running(struct liar *liar)
{
	struct session *session = &liar->device.session;
	const struct vring_number size = { LYING_RING, 128 }, base = { LYING_RING, 1000 };
	const struct vring_addresses addresses = {
		.index = LYING_RING, .descriptors = 16, .used = 32, .available = 64
	};
	const uint64_t none = 1ull << FEATURE_PROTOCOL;
	unsigned served = 0;

	for (unsigned i = 0; i < 4; i++) {
		int error;

		begin(liar, false);
		switch (i) {
		case 0:
			error = session_tell(session, SET_VRING_NUM, &size, sizeof(size), NULL, 0);
			break;
		case 1:
			error = session_tell(session, SET_VRING_BASE, &base, sizeof(base), NULL, 0);
			break;
		case 2:
			error = session_tell(session, SET_VRING_ADDR, &addresses, sizeof(addresses), NULL, 0);
			break;
		default:
			error = session_tell(session, SET_FEATURES, &none, sizeof(none), NULL, 0);
			break;
		}
		if (error == 0) {
			honest_read(liar);
			push(liar, 0);
			after_push(liar, SILENCE_MS);
			served++;
		}
		device_free(&liar->device);
	}
	begin_connected(liar);
	return served > 0 ? SERVED : REFUSED;
}

const struct lie message_lies[] = {
	{ "messages of wrong sizes", CLOSED, wrong_sizes },
	{ "a message of 4 GiB", CLOSED, huge_size },
	{ "another version", CLOSED, wrong_version },
	{ "unknown requests", CLOSED, unknown_requests },
	{ "too many descriptors", CLOSED, too_many_descriptors },
	{ "half messages", SERVED, half_messages },
	{ "a slow message", SERVED, slow_message },
	{ "features that are not offered", REFUSED | CLOSED, unoffered_features },
	{ "protocol features that are not offered", REFUSED | CLOSED, unoffered_protocol_features },
	{ "the size of no ring", CLOSED, number_of_no_ring },
	{ "the base of no ring", CLOSED, base_of_no_ring },
	{ "the addresses of no ring", CLOSED, addresses_of_no_ring },
	{ "enabling no ring", CLOSED, enabling_of_no_ring },
	{ "the kick of no ring", CLOSED, kick_of_no_ring },
	{ "the call of no ring", CLOSED, call_of_no_ring },
	{ "the error of no ring", CLOSED, error_of_no_ring },
	{ "sizes that no ring has", REFUSED, ring_sizes },
	{ "the end of a ring that was not started", SERVED, base_of_a_ring_not_started },
	{ "a start without addresses", SERVED | REFUSED | CLOSED, start_without_addresses },
	{ "addresses without memory", SERVED | REFUSED | CLOSED, addresses_without_memory },
	{ "a configuration beyond its end", CLOSED, config_beyond_its_end },
	{ "a configuration written", SERVED | REFUSED | CLOSED, config_written },
	{ "replies not taken", SERVED, replies_not_taken },
	{ "many connections", SERVED, many_connections },
	{ "gone under load", SERVED, gone_under_load },
	{ "descriptors again and again", SERVED, descriptors_again_and_again },
	{ "changes while running", SERVED | REFUSED, changes_while_running },
	{ NULL, 0, NULL },
};
