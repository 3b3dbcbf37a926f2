/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE_MS	20000

/* Bytes of guest memory that a ring of `size` takes at most, and one request of device_request(). */
static uint64_t ring_room(unsigned size)
{
	return 32ull * size + 4096;
}

static int share_memory(struct device *device)
{
	struct session *session = &device->session;
	struct guest *guest = &device->guest;
	struct memory_table table = { .count = guest->regions };
	int error = 0;

	if (!device->options.slots || !has(session->protocol, PROTOCOL_MEM_SLOTS)) {
		for (unsigned i = 0; i < guest->regions; i++)
			table.regions[i] = guest_region(guest, i);
		return session_tell(session, SET_MEM_TABLE, &table,
				    (uint32_t)(8 + guest->regions * sizeof(struct region)), guest->files,
				    guest->regions);
	}
	for (unsigned i = 0; i < guest->regions && error == 0; i++) {
		const struct one_region region = { .region = guest_region(guest, i) };

		error = session_tell(session, ADD_MEM_REG, &region, sizeof(region), &guest->files[i], 1);
	}
	return error;
}

static int share_inflight(struct device *device)
{
	struct session *session = &device->session;
	struct inflight place = { .queues = (uint16_t)device->options.queues,
				  .queue_size = (uint16_t)device->options.queue_size };
	int error;

	if (!has(session->protocol, PROTOCOL_INFLIGHT))
		return 0;
	if (device->inflight < 0) {
		error = session_send(session, GET_INFLIGHT_FD, VERSION, &place, INFLIGHT_SIZE, NULL, 0);
		if (error != 0)
			return error;
		error = session_receive(session, GET_INFLIGHT_FD, &device->inflight_place, INFLIGHT_SIZE,
					&device->inflight);
		if (error != 0)
			return error;
		if (device->inflight < 0)
			return -EPROTO;
	}
	return session_tell(session, SET_INFLIGHT_FD, &device->inflight_place, INFLIGHT_SIZE, &device->inflight, 1);
}

static int share_ring(struct session *session, unsigned index, const struct ring *ring)
{
	const struct vring_number size = { index, ring->size }, base = { index, ring_base(ring) };
	const struct vring_addresses addresses = {
		.index = index,
		.descriptors = (uintptr_t)ring->descriptors,
		.available = (uintptr_t)ring->available,
		.used = (uintptr_t)ring->used,
	};
	const uint64_t which = index;
	int error = session_tell(session, SET_VRING_NUM, &size, sizeof(size), NULL, 0);

	if (error == 0)
		error = session_tell(session, SET_VRING_BASE, &base, sizeof(base), NULL, 0);
	if (error == 0)
		error = session_tell(session, SET_VRING_ADDR, &addresses, sizeof(addresses), NULL, 0);
	if (error == 0)
		error = session_tell(session, SET_VRING_CALL, &which, sizeof(which), &ring->call, 1);
	if (error == 0)
		error = session_tell(session, SET_VRING_ERR, &which, sizeof(which), &ring->error, 1);
	if (error == 0)
		error = session_tell(session, SET_VRING_KICK, &which, sizeof(which), &ring->kick, 1);
	return error;
}

static int enable(struct session *session, unsigned index, bool on)
{
	const struct vring_number state = { index, on };

	return session_tell(session, SET_VRING_ENABLE, &state, sizeof(state), NULL, 0);
}

static int connect_device(struct device *device)
{
	const struct device_options *options = &device->options;
	struct session *session = &device->session;
	const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH |
				  1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_SEG_MAX |
				  1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_DISCARD |
				  1ull << VIRTIO_BLK_F_WRITE_ZEROES |
				  (options->event_idx ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
				  (options->indirect ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0);
	const uint64_t protocol = 1ull << PROTOCOL_MQ | 1ull << PROTOCOL_REPLY_ACK | 1ull << PROTOCOL_CONFIG |
				  (options->slots ? 1ull << PROTOCOL_MEM_SLOTS : 0) |
				  (options->inflight ? 1ull << PROTOCOL_INFLIGHT : 0) |
				  (options->channel ? 1ull << PROTOCOL_BACKEND_REQ : 0);
	int error = session_open(session, options->path);

	if (error != 0)
		return error;
	error = session_negotiate(session, features, protocol);
	if (error != 0)
		return error;
	return options->queues > session->queues ? -ENXIO : 0;
}

static int share_all(struct device *device)
{
	int error = share_inflight(device);

	if (error == 0)
		error = share_memory(device);
	for (unsigned i = 0; i < device->options.queues && error == 0; i++)
		error = share_ring(&device->session, i, &device->rings[i]);
	for (unsigned i = 0; i < device->options.queues && error == 0; i++)
		error = enable(&device->session, i, true);
	return error;
}

int device_start(struct device *device, const struct device_options *options)
{
	bool event_idx;
	int error;

	memset(device, 0, sizeof(*device));
	device->options = *options;
	device->inflight = -1;
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		device->rings[i].kick = device->rings[i].call = device->rings[i].error = -1;
	error = guest_new(&device->guest, options->regions,
			  options->memory + options->queues * ring_room(options->queue_size) + (1 << 20),
			  options->sealed);
	if (error != 0) {
		device->session.socket = device->session.channel = -1;
		return error;
	}
	error = connect_device(device);
	if (error != 0)
		return error;
	event_idx = has(device->session.features, VIRTIO_RING_F_EVENT_IDX);
	for (unsigned i = 0; i < options->queues && error == 0; i++)
		error = ring_new(&device->rings[i], &device->guest, (uint16_t)options->queue_size, event_idx);
	return error != 0 ? error : share_all(device);
}

int device_restart(struct device *device)
{
	int error;

	session_close(&device->session);
	error = connect_device(device);
	return error != 0 ? error : share_all(device);
}

int device_stop(struct device *device)
{
	struct session *session = &device->session;
	int error = 0;

	for (unsigned i = 0; i < device->options.queues && error == 0; i++)
		error = enable(session, i, false);
	for (unsigned i = 0; i < device->options.queues && error == 0; i++) {
		struct vring_number state = { i, 0 };

		error = session_send(session, GET_VRING_BASE, VERSION, &state, sizeof(state), NULL, 0);
		if (error == 0)
			error = session_receive(session, GET_VRING_BASE, &state, sizeof(state), NULL);
		if (error == 0 && (state.index != i || state.number != device->rings[i].published))
			error = -EPROTO;
	}
	return error;
}

void device_free(struct device *device)
{
	session_close(&device->session);
	for (unsigned i = 0; i < device->options.queues; i++)
		if (device->rings[i].guest != NULL)
			ring_free(&device->rings[i]);
	if (device->inflight >= 0)
		close(device->inflight);
	device->inflight = -1;
	guest_free(&device->guest);
}

int device_wait(struct device *device, int milliseconds)
{
	struct pollfd files[QUEUES_MAX + 1];
	const unsigned queues = device->options.queues;
	eventfd_t count;

	for (unsigned i = 0; i < queues; i++)
		files[i] = (struct pollfd){ .fd = device->rings[i].call, .events = POLLIN };
	files[queues] = (struct pollfd){ .fd = device->session.socket, .events = POLLIN };
	switch (poll(files, queues + 1, milliseconds)) {
	case 0:
		return -ETIMEDOUT;
	case -1:
		return errno == EINTR ? 0 : -errno;
	}
	for (unsigned i = 0; i < queues; i++)
		if (files[i].revents != 0)
			eventfd_read(device->rings[i].call, &count);
	/* Nobody has asked it anything. */
	return files[queues].revents != 0 ? -EPIPE : 0;
}

int device_request(struct device *device, uint32_t type, uint64_t sector, const void *data, uint32_t length)
{
	const bool written = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	const uint64_t before = device->guest.taken;
	struct virtio_blk_outhdr *header = guest_take(&device->guest, sizeof(*header), 16);
	uint8_t *status = guest_take(&device->guest, 1, 1);
	struct piece pieces[3];
	unsigned count = 0;
	uint16_t token;
	uint32_t length_written;
	struct ring *ring = &device->rings[0];

	*header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	*status = 0xff;
	pieces[count++] = (struct piece){ header, sizeof(*header), false };
	if (length > 0)
		pieces[count++] = (struct piece){ data, length, written };
	pieces[count++] = (struct piece){ status, 1, true };
	if (!ring_put(ring, pieces, count, 0, NULL))
		return -ENOSPC;
	ring_publish(ring);
	while (!ring_take(ring, &token, &length_written)) {
		const int error = ring_arm(ring) ? device_wait(device, PATIENCE_MS) : 0;

		if (error != 0)
			return error;
	}
	device->guest.taken = before;
	/* The status counts as written: virtio 1.2, 2.7.8.2 wants at least what was. */
	if (*status == VIRTIO_BLK_S_OK && length_written < (written ? length : 0) + 1)
		return -EPROTO;
	return *status;
}
