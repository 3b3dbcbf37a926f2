/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   hostile --list
 *   hostile SOCKET LIE SEED
 *
 * Tells one lie, then asks as an honest front-end for the same bytes as before. Prints what the back-end did; exits 1
 * when it did what it may not.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lies.h"
#include "random.h"

/* The back-end stops a ring and closes a connection at once, but the machine may be busy. */
#define CLOSING_MS	20000

/* Bytes that are read before and after, at the start and right before the playground. */
#define WITNESS	65536u

/* A whole run: a back-end that hangs must not hang the test. */
#define LIMIT_S	120

static const struct lie *const all_lies[] = { message_lies, descriptor_lies, region_lies,
					      ring_lies,    request_lies,    random_lies };

static const struct device_options honest = {
	.queues = 2,
	.queue_size = RING_SIZE,
	.regions = 2,
	.memory = 2 * WITNESS,
	.event_idx = true,
	.indirect = true,
};

static void die(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error < 0 ? -error : EIO));
	exit(1);
}

/* Whoever was there before has just gone, and only one front-end is served at a time. */
static bool again(int error, unsigned *tries)
{
	if (error != -EPIPE && error != -ECONNREFUSED && error != -EAGAIN)
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	return ++*tries < CLOSING_MS / 10;
}

void begin(struct liar *liar, bool inflight)
{
	struct device_options options = honest;
	struct guest *guest = &liar->device.guest;
	unsigned tries = 0;
	int error;

	options.path = liar->path;
	options.inflight = inflight;
	options.sealed = random_below(&liar->random, 2) == 0;
	while ((error = device_start(&liar->device, &options)) != 0) {
		device_free(&liar->device);
		if (!again(error, &tries))
			die("an honest beginning", error);
	}
	liar->header = guest_take(guest, sizeof(*liar->header), 16);
	liar->status = guest_take(guest, 1, 1);
	liar->table = guest_take_whole(guest, RING_SIZE * sizeof(*liar->table), 16);
	liar->data = guest_take(guest, 8192, 4096);
}

void begin_connected(struct liar *liar)
{
	unsigned tries = 0;
	int error;

	memset(&liar->device, 0, sizeof(liar->device));
	liar->device.inflight = -1;
	while ((error = session_open(&liar->device.session, liar->path)) != 0)
		if (!again(error, &tries))
			die("connect", error);
}

void begin_negotiated(struct liar *liar)
{
	unsigned tries = 0;
	int error;

	for (;;) {
		begin_connected(liar);
		error = session_negotiate(&liar->device.session, 1ull << VIRTIO_F_VERSION_1,
					  1ull << PROTOCOL_MQ | 1ull << PROTOCOL_REPLY_ACK | 1ull << PROTOCOL_CONFIG |
						  1ull << PROTOCOL_MEM_SLOTS | 1ull << PROTOCOL_INFLIGHT);
		if (error == 0)
			return;
		session_close(&liar->device.session);
		if (!again(error, &tries))
			die("negotiate", error);
	}
}

enum outcome outcome_of(int error)
{
	switch (error) {
	case 0:
		return SERVED;
	case -EREMOTEIO:
		return REFUSED;
	case -EPIPE:
		return CLOSED;
	}
	die("a message", error);
	return 0;
}

enum outcome after_message(struct liar *liar, int error)
{
	uint64_t features;

	if (error != 0)
		return outcome_of(error);
	return outcome_of(session_ask(&liar->device.session, GET_FEATURES, &features));
}

void honest_read(struct liar *liar)
{
	struct vring_desc *descriptors = lying_ring(liar)->descriptors;
	const struct guest *guest = &liar->device.guest;

	*liar->header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	*liar->status = 0xff;
	descriptors[0] = (struct vring_desc){ guest_address(guest, liar->header), 16, VRING_DESC_F_NEXT, 1 };
	descriptors[1] = (struct vring_desc){ guest_address(guest, liar->data), 4096,
					      VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2 };
	descriptors[2] = (struct vring_desc){ guest_address(guest, liar->status), 1, VRING_DESC_F_WRITE, 0 };
}

void push(struct liar *liar, uint16_t head)
{
	struct ring *ring = lying_ring(liar);

	ring->available->ring[ring->put++ % ring->size] = head;
	ring->published = ring->put;
	__atomic_store_n(&ring->available->idx, ring->put, __ATOMIC_RELEASE);
	eventfd_write(ring->kick, 1);
}

/* One broken ring is not the others' affair. */
static void other_ring_goes_on(struct liar *liar)
{
	const int status = liar->all ? 0 : device_request(&liar->device, VIRTIO_BLK_T_IN, 0, liar->data, 4096);

	if (status != 0)
		die("a request in the other ring", status);
}

enum outcome after_push(struct liar *liar, int patience_ms)
{
	struct ring *ring = lying_ring(liar);
	struct pollfd files[] = { { .fd = ring->error, .events = POLLIN },
				  { .fd = liar->device.session.socket, .events = POLLIN },
				  { .fd = ring->call, .events = POLLIN } };

	if (poll(files, 3, patience_ms) < 0)
		die("poll", -errno);
	if (files[1].revents != 0)
		return CLOSED;
	if (files[0].revents != 0) {
		other_ring_goes_on(liar);
		return BROKEN;
	}
	if (__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == 0)
		return IGNORED;
	switch (*(volatile uint8_t *)liar->status) {
	case VIRTIO_BLK_S_OK:
		return SERVED;
	case VIRTIO_BLK_S_IOERR:
		return IO_FAILED;
	case VIRTIO_BLK_S_UNSUPP:
		return UNSUPPORTED;
	}
	/* Answered without a status: it has none. */
	return IGNORED;
}

/* What an honest front-end reads; ends the program when it is not served. */
static void witness(const char *path, uint8_t *bytes, uint64_t *playground)
{
	struct device_options options = honest;
	static struct device device;
	uint8_t *data;
	unsigned tries = 0;
	int error;

	options.path = path;
	while ((error = device_start(&device, &options)) != 0) {
		device_free(&device);
		if (!again(error, &tries))
			die("an honest front-end", error);
	}
	*playground = (device.session.config.capacity * 512 - PLAYGROUND) / 512;
	data = guest_take(&device.guest, WITNESS, 1);
	for (unsigned i = 0; i < 2; i++) {
		const uint64_t sector = i == 0 ? 0 : *playground - WITNESS / 512;

		error = device_request(&device, VIRTIO_BLK_T_IN, sector, data, WITNESS);
		if (error != 0)
			die("an honest read", error);
		memcpy(bytes + i * WITNESS, data, WITNESS);
	}
	/* The playground is writable, whatever lies there. */
	error = device_request(&device, VIRTIO_BLK_T_OUT, *playground, data, 4096);
	if (error != 0)
		die("an honest write", error);
	error = device_stop(&device);
	if (error != 0)
		die("an honest end", error);
	device_free(&device);
}

static const char *name_of(enum outcome outcome)
{
	switch (outcome) {
	case SERVED:
		return "served";
	case IGNORED:
		return "ignored";
	case IO_FAILED:
		return "I/O error";
	case UNSUPPORTED:
		return "unsupported";
	case BROKEN:
		return "ring broken";
	case REFUSED:
		return "refused";
	case CLOSED:
		return "closed";
	}
	return "?";
}

static const struct lie *find(const char *name)
{
	for (size_t i = 0; i < sizeof(all_lies) / sizeof(all_lies[0]); i++)
		for (const struct lie *each = all_lies[i]; each->name != NULL; each++)
			if (strcmp(each->name, name) == 0)
				return each;
	return NULL;
}

int main(int count, char **words)
{
	static uint8_t before[2 * WITNESS], after[2 * WITNESS];
	static struct liar liar;
	const struct lie *lie;
	enum outcome outcome;

	if (count == 2 && strcmp(words[1], "--list") == 0) {
		for (size_t i = 0; i < sizeof(all_lies) / sizeof(all_lies[0]); i++)
			for (const struct lie *each = all_lies[i]; each->name != NULL; each++)
				puts(each->name);
		return 0;
	}
	lie = count == 4 ? find(words[2]) : NULL;
	if (lie == NULL) {
		fprintf(stderr, "usage: hostile --list | hostile SOCKET LIE SEED\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	alarm(LIMIT_S);
	liar.path = words[1];
	liar.random = strtoull(words[3], NULL, 10);
	witness(liar.path, before, &liar.playground);
	outcome = lie->tell(&liar);
	device_free(&liar.device);
	witness(liar.path, after, &liar.playground);
	puts(name_of(outcome));
	if (memcmp(before, after, sizeof(before)) != 0)
		die("the disk has changed where nothing was written", 0);
	if ((outcome & lie->allowed) == 0)
		die("the back-end may not do that", 0);
	return 0;
}
