/* SPDX-License-Identifier: Apache-2.0 */
/* Lies about memory: regions, places of rings, the record of requests under way. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lies.h"
#include "random.h"

#define PAGE	4096ull
#define MIB	(1ull << 20)

static int new_memory(uint64_t size)
{
	const int file = memfd_create("lie", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (file < 0 || ftruncate(file, (off_t)size) != 0)
		abort();
	return file;
}

/* As a table, and once more one by one; with as many descriptors as there are regions, of files of `size`. */
static enum outcome share(struct liar *liar, const struct region *regions, unsigned count, uint64_t size)
{
	struct session *session = &liar->device.session;
	struct memory_table table = { .count = count };
	int files[REGIONS_MAX], error;
	enum outcome outcome;

	memcpy(table.regions, regions, count * sizeof(*regions));
	for (unsigned i = 0; i < count; i++)
		files[i] = new_memory(size);
	begin_negotiated(liar);
	error = session_tell(session, SET_MEM_TABLE, &table, (uint32_t)(8 + count * sizeof(*regions)), files, count);
	outcome = error != 0 ? outcome_of(error) : SERVED;
	session_close(session);
	if (outcome != SERVED) {
		begin_negotiated(liar);
		error = 0;
		for (unsigned i = 0; i < count && error == 0; i++) {
			const struct one_region one = { .region = regions[i] };

			if (has(session->protocol, PROTOCOL_MEM_SLOTS))
				error = session_tell(session, ADD_MEM_REG, &one, sizeof(one), &files[i], 1);
			else
				error = -EREMOTEIO;
		}
		if (error == 0)
			outcome = SERVED;
	}
	for (unsigned i = 0; i < count; i++)
		close(files[i]);
	return outcome;
}

static enum outcome overlapping(struct liar *liar)
{
	const struct region for_guest[] = { { 0, MIB, 16 * MIB, 0 }, { MIB - PAGE, MIB, 32 * MIB, 0 } };
	const struct region same[] = { { 0, MIB, 16 * MIB, 0 }, { 0, MIB, 32 * MIB, 0 } };
	const struct region inside[] = { { MIB, MIB, 16 * MIB, 0 }, { 0, 4 * MIB, 32 * MIB, 0 } };
	const struct region for_user[] = { { 0, MIB, 16 * MIB, 0 }, { 2 * MIB, MIB, 16 * MIB + PAGE, 0 } };
	enum outcome outcome = share(liar, for_guest, 2, 4 * MIB);

	session_close(&liar->device.session);
	if (outcome == SERVED)
		return outcome;
	outcome = share(liar, same, 2, 4 * MIB);
	session_close(&liar->device.session);
	if (outcome == SERVED)
		return outcome;
	outcome = share(liar, inside, 2, 4 * MIB);
	session_close(&liar->device.session);
	return outcome == SERVED ? outcome : share(liar, for_user, 2, 4 * MIB);
}

/* Each in turn must be refused. */
static enum outcome each_refused(struct liar *liar, const struct region *regions, unsigned count)
{
	enum outcome outcome = REFUSED;

	for (unsigned i = 0; i < count && outcome != SERVED; i++) {
		outcome = share(liar, &regions[i], 1, MIB);
		session_close(&liar->device.session);
	}
	return outcome;
}

static enum outcome overflowing(struct liar *liar)
{
	const struct region regions[] = {
		{ ~0ull - PAGE, MIB, 16 * MIB, 0 },	{ 0, MIB, ~0ull - PAGE, 0 },
		{ 0, MIB, 16 * MIB, ~0ull - PAGE + 1 }, { 0, ~0ull, 16 * MIB, 0 },
		{ 0, ~0ull - MIB + 1, 16 * MIB, 0 },	{ 0, 1ull << 63, 16 * MIB, 0 },
		{ 0, MIB, 16 * MIB, 1ull << 63 },
	};

	return each_refused(liar, regions, sizeof(regions) / sizeof(regions[0]));
}

static enum outcome larger_than_the_file(struct liar *liar)
{
	const struct region regions[] = {
		{ 0, MIB + 1, 16 * MIB, 0 },	{ 0, MIB + PAGE, 16 * MIB, 0 }, { 0, MIB, 16 * MIB, PAGE },
		{ 0, 1ull << 40, 16 * MIB, 0 }, { 0, PAGE, 16 * MIB, MIB },	{ 0, 1ull << 46, 16 * MIB, 0 },
	};

	return each_refused(liar, regions, sizeof(regions) / sizeof(regions[0]));
}

static enum outcome empty(struct liar *liar)
{
	const struct region regions[] = { { 0, 0, 16 * MIB, 0 }, { PAGE, 0, 16 * MIB, MIB } };

	return each_refused(liar, regions, 2);
}

/* Other counts than there are regions or descriptors. */
static enum outcome counts(struct liar *liar)
{
	static const struct {
		uint32_t count, sent, descriptors;
	} tables[] = { { 9, 8, 8 }, { 2, 1, 1 },	  { 1, 2, 2 }, { 1, 1, 0 },
		       { 1, 1, 2 }, { 0xffffffff, 8, 8 }, { 2, 2, 1 } };
	struct session *session = &liar->device.session;
	enum outcome outcome = REFUSED;
	int files[8];

	for (unsigned i = 0; i < 8; i++)
		files[i] = new_memory(MIB);
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]) && outcome != SERVED; i++) {
		struct memory_table table = { .count = tables[i].count };

		for (unsigned k = 0; k < 8; k++)
			table.regions[k] = (struct region){ k * MIB, MIB, (16 + k) * MIB, 0 };
		begin_negotiated(liar);
		outcome = outcome_of(session_tell(session, SET_MEM_TABLE, &table,
						  (uint32_t)(8 + tables[i].sent * sizeof(struct region)), files,
						  tables[i].descriptors));
		session_close(session);
	}
	for (unsigned i = 0; i < 8; i++)
		close(files[i]);
	return outcome;
}

/* What is no memory at all, or memory whose pages may take for ever. */
static enum outcome no_memory(struct liar *liar)
{
	struct session *session = &liar->device.session;
	int files[5], ends[2];
	enum outcome outcome = REFUSED;

	if (pipe2(ends, O_CLOEXEC) != 0)
		abort();
	files[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	files[1] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	files[2] = eventfd(0, EFD_CLOEXEC);
	files[3] = ends[0];
	files[4] = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; i < 5 && outcome != SERVED; i++) {
		const struct memory_table table = { .count = 1, .regions = { { 0, PAGE, 16 * MIB, 0 } } };

		begin_negotiated(liar);
		outcome = outcome_of(session_tell(session, SET_MEM_TABLE, &table, 40, &files[i], 1));
		session_close(session);
	}
	for (unsigned i = 0; i < 5; i++)
		close(files[i]);
	close(ends[1]);
	return outcome;
}

/* Readable only: a mapping that is written to must not be had. */
static enum outcome read_only_memory(struct liar *liar)
{
	const struct memory_table table = { .count = 1, .regions = { { 0, MIB, 16 * MIB, 0 } } };
	const int file = new_memory(MIB);
	int error;

	if (fcntl(file, F_ADD_SEALS, F_SEAL_WRITE) != 0)
		abort();
	begin_negotiated(liar);
	error = session_tell(&liar->device.session, SET_MEM_TABLE, &table, 40, &file, 1);
	close(file);
	return outcome_of(error);
}

/* More slots than there are, and regions that were never there. */
static enum outcome slots(struct liar *liar)
{
	struct session *session = &liar->device.session;
	const int file = new_memory(MIB);
	unsigned added = 0;
	int error = 0;

	begin_negotiated(liar);
	if (!has(session->protocol, PROTOCOL_MEM_SLOTS)) {
		close(file);
		return REFUSED;
	}
	while (error == 0 && added < 2000) {
		const struct one_region one = { .region = { added * MIB, MIB, (16 + added) * MIB, 0 } };

		error = session_tell(session, ADD_MEM_REG, &one, sizeof(one), &file, 1);
		added++;
	}
	session_close(session);
	if (error != 0) {
		const struct one_region unknown = { .region = { MIB, MIB, 16 * MIB, 0 } };

		begin_negotiated(liar);
		error = session_tell(session, REM_MEM_REG, &unknown, sizeof(unknown), NULL, 0);
	}
	close(file);
	return outcome_of(error);
}

/* What has no seal against it can be cut off. */
static void begin_unsealed(struct liar *liar)
{
	begin(liar, false);
	while (liar->device.options.sealed) {
		device_free(&liar->device);
		begin(liar, false);
	}
}

/* The memory is gone while a ring lies in it, and buffers. */
static enum outcome truncated(struct liar *liar)
{
	enum outcome outcome;

	begin_unsealed(liar);
	honest_read(liar);
	push(liar, 0);
	after_push(liar, SILENCE_MS);
	for (unsigned i = 0; i < liar->device.guest.regions; i++)
		if (ftruncate(liar->device.guest.files[i], 0) != 0)
			abort();
	eventfd_write(lying_ring(liar)->kick, 1);
	eventfd_write(liar->device.rings[0].kick, 1);
	usleep(100000);
	outcome = after_message(liar, 0);
	/* Nothing in there is ours any more, either. */
	session_close(&liar->device.session);
	return outcome;
}

/* The region of the data only, so that the ring still works: reads find nowhere to go. */
static enum outcome truncated_data(struct liar *liar)
{
	struct guest *guest;
	enum outcome outcome;
	struct vring_desc *descriptors;

	liar->all = true;
	begin_unsealed(liar);
	guest = &liar->device.guest;
	/* Into the second region, where nothing else lies. */
	honest_read(liar);
	descriptors = lying_ring(liar)->descriptors;
	descriptors[1].addr = GUEST_BASE + guest->size - 8192;
	if (guest->taken + 8192 > guest->size / 2 || ftruncate(guest->files[1], 0) != 0)
		abort();
	push(liar, 0);
	outcome = after_push(liar, ANSWER_MS);
	if (outcome != SERVED && outcome != IO_FAILED)
		return outcome;
	/* A write takes what is there no more. */
	liar->header->type = VIRTIO_BLK_T_OUT;
	liar->header->sector = liar->playground;
	descriptors[1].flags = VRING_DESC_F_NEXT;
	push(liar, 0);
	return after_push(liar, ANSWER_MS);
}

/* Another memory while the rings are in use. */
static enum outcome replaced(struct liar *liar)
{
	const int file = new_memory(MIB);
	const struct memory_table table = { .count = 1, .regions = { { 1ull << 40, MIB, 16 * MIB, 0 } } };
	int error;

	begin(liar, false);
	honest_read(liar);
	for (unsigned i = 0; i < RING_SIZE; i++)
		push(liar, 0);
	error = session_tell(&liar->device.session, SET_MEM_TABLE, &table, 40, &file, 1);
	for (unsigned i = 0; i < 8; i++)
		push(liar, 0);
	close(file);
	return after_message(liar, error);
}

/* Where the parts of a ring may not be. */
static enum outcome ring_places(struct liar *liar)
{
	static const struct {
		int64_t descriptors, used, available;
		uint32_t size;
	} moves[] = {
		{ 8, 0, 0, 64 },	 { 0, 1, 0, 64 },	  { 0, 2, 0, 64 },	   { 0, 0, 1, 64 },
		{ 1ll << 40, 0, 0, 64 }, { 0, 1ll << 40, 0, 64 }, { 0, 0, 1ll << 40, 64 }, { -(1ll << 40), 0, 0, 64 },
		{ 0, 0, 0, 48 },	 { 0, 0, 0, 65 },	  { 0, 0, 0, 32768 },
	};
	enum outcome outcome = BROKEN;

	for (unsigned i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		struct session *session = &liar->device.session;
		struct ring *ring = lying_ring(liar);
		struct vring_number state = { LYING_RING, 0 };
		const struct vring_number size = { LYING_RING, moves[i].size };
		const uint64_t which = LYING_RING;
		struct vring_addresses addresses;
		int error;

		begin(liar, false);
		/* Stopped, so that it may be placed anew. */
		error = session_send(session, GET_VRING_BASE, VERSION, &state, sizeof(state), NULL, 0);
		if (error == 0)
			error = session_receive(session, GET_VRING_BASE, &state, sizeof(state), NULL);
		if (error != 0)
			return outcome_of(error);
		addresses = (struct vring_addresses){
			.index = LYING_RING,
			.descriptors = (uintptr_t)ring->descriptors + (uint64_t)moves[i].descriptors,
			.used = (uintptr_t)ring->used + (uint64_t)moves[i].used,
			.available = (uintptr_t)ring->available + (uint64_t)moves[i].available,
		};
		error = session_tell(session, SET_VRING_NUM, &size, sizeof(size), NULL, 0);
		if (error == 0)
			error = session_tell(session, SET_VRING_ADDR, &addresses, sizeof(addresses), NULL, 0);
		if (error == 0)
			error = session_tell(session, SET_VRING_KICK, &which, sizeof(which), &ring->kick, 1);
		if (error == 0) {
			honest_read(liar);
			push(liar, 0);
			outcome = after_push(liar, ANSWER_MS);
			if (outcome == SERVED)
				return outcome;
		}
		device_free(&liar->device);
	}
	begin_connected(liar);
	return outcome;
}

/* All three parts of a ring at one place: what one writes, the others read. */
static enum outcome ring_over_itself(struct liar *liar)
{
	struct session *session = &liar->device.session;
	struct ring *ring = lying_ring(liar);
	struct vring_number state = { LYING_RING, 0 };
	const uint64_t which = LYING_RING;
	struct vring_addresses addresses = { .index = LYING_RING };
	int error;

	begin(liar, false);
	addresses.descriptors = addresses.used = addresses.available = (uintptr_t)ring->descriptors;
	error = session_send(session, GET_VRING_BASE, VERSION, &state, sizeof(state), NULL, 0);
	if (error == 0)
		error = session_receive(session, GET_VRING_BASE, &state, sizeof(state), NULL);
	if (error == 0)
		error = session_tell(session, SET_VRING_ADDR, &addresses, sizeof(addresses), NULL, 0);
	if (error == 0)
		error = session_tell(session, SET_VRING_KICK, &which, sizeof(which), &ring->kick, 1);
	for (unsigned i = 0; i < 200 && error == 0; i++) {
		for (unsigned k = 0; k < RING_SIZE * 2; k++)
			((uint64_t *)ring->descriptors)[k] = next_random(&liar->random) & 0x000f003f;
		eventfd_write(ring->kick, 1);
		usleep(200);
	}
	return after_message(liar, error);
}

/* Numbers of queues that nobody has. */
static enum outcome inflight_numbers(struct liar *liar)
{
	static const uint16_t numbers[][2] = { { 0, 64 }, { 2, 0 }, { 65535, 65535 }, { 2, 65535 }, { 255, 32768 } };
	struct session *session = &liar->device.session;
	enum outcome outcome = CLOSED;

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && outcome == CLOSED; i++) {
		struct inflight inflight = { .queues = numbers[i][0], .queue_size = numbers[i][1] };
		int error, file;

		begin_negotiated(liar);
		if (!has(session->protocol, PROTOCOL_INFLIGHT))
			return CLOSED;
		error = session_send(session, GET_INFLIGHT_FD, VERSION, &inflight, INFLIGHT_SIZE, NULL, 0);
		if (error == 0)
			error = session_receive(session, GET_INFLIGHT_FD, &inflight, INFLIGHT_SIZE, &file);
		if (error == 0) {
			outcome = SERVED;
			/* Refused by a size of nothing. */
			if (file < 0 && inflight.size == 0)
				outcome = CLOSED;
			if (file >= 0)
				close(file);
		} else if (outcome_of(error) != CLOSED) {
			outcome = IGNORED;
		}
		session_close(session);
	}
	return outcome;
}

static enum outcome inflight_places(struct liar *liar)
{
	static const struct {
		uint64_t size, offset;
		uint16_t queues, queue_size;
	} places[] = {
		{ 0, 0, 2, 64 },	 { MIB, 1, 2, 64 }, { 1ull << 50, 0, 2, 64 }, { MIB, ~0ull - PAGE + 1, 2, 64 },
		{ ~0ull, ~0ull, 2, 64 }, { 16, 0, 2, 64 },  { MIB, 0, 65535, 65535 }, { MIB, 0, 2, 0 },
		{ MIB, 2 * MIB, 2, 64 },
	};
	struct session *session = &liar->device.session;
	const int file = new_memory(MIB);
	enum outcome outcome = REFUSED;

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]) && outcome != SERVED; i++) {
		const struct inflight inflight = { places[i].size, places[i].offset, places[i].queues,
						   places[i].queue_size, 0 };

		begin_negotiated(liar);
		outcome =
			has(session->protocol, PROTOCOL_INFLIGHT) ?
				outcome_of(session_tell(session, SET_INFLIGHT_FD, &inflight, INFLIGHT_SIZE, &file, 1)) :
				REFUSED;
		session_close(session);
	}
	close(file);
	return outcome;
}

/* A record full of chance, which the back-end has to recover from; and changed while it is in use. */
static enum outcome inflight_garbage(struct liar *liar)
{
	struct device *device = &liar->device;

	liar->all = true;
	for (unsigned round = 0; round < 30; round++) {
		uint8_t *record;
		uint64_t size;
		bool running = true;

		begin(liar, true);
		size = device->inflight_place.size;
		if (device->inflight < 0)
			return SERVED;
		record = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device->inflight,
			      (off_t)device->inflight_place.offset);
		if (record == MAP_FAILED)
			abort();
		honest_read(liar);
		for (unsigned i = 0; i < 8; i++)
			push(liar, 0);
		/* Changed under way, and then found by the next back-end. */
		for (unsigned pass = 0; pass < 2; pass++) {
			for (unsigned i = 0; i < 64; i++) {
				const uint64_t at = random_below(&liar->random, size);

				/* Flags, small numbers and any number: each gets further than the one before. */
				record[at] = (uint8_t)(round % 3 == 0 ? next_random(&liar->random) & 1 :
						       round % 3 == 1 ? next_random(&liar->random) & 63 :
									next_random(&liar->random));
			}
			if (round % 5 == 4)
				for (uint64_t i = 0; i < size; i++)
					record[i] = 1;
			push(liar, 0);
			usleep(1000);
			/* A refused or closed one is well; what comes after it is honest. */
			if (pass == 0 && device_restart(device) != 0) {
				running = false;
				break;
			}
		}
		if (running)
			after_push(liar, SILENCE_MS);
		munmap(record, size);
		device_free(device);
	}
	begin_connected(liar);
	return SERVED;
}

/* Cut off while the rings are in use. */
static enum outcome inflight_truncated(struct liar *liar)
{
	begin(liar, true);
	if (liar->device.inflight < 0)
		return SERVED;
	honest_read(liar);
	push(liar, 0);
	after_push(liar, SILENCE_MS);
	/* A sealed one cannot be. */
	if (ftruncate(liar->device.inflight, 0) != 0)
		return SERVED;
	for (unsigned i = 0; i < 4; i++)
		push(liar, 0);
	usleep(50000);
	return after_message(liar, 0);
}

const struct lie region_lies[] = {
	{ "regions that overlap", REFUSED | CLOSED, overlapping },
	{ "regions that overflow", REFUSED | CLOSED, overflowing },
	{ "regions larger than the file", REFUSED | CLOSED, larger_than_the_file },
	{ "empty regions", REFUSED | CLOSED, empty },
	{ "wrong counts of regions", REFUSED | CLOSED, counts },
	{ "regions of no memory", REFUSED | CLOSED, no_memory },
	{ "memory that cannot be written", REFUSED | CLOSED, read_only_memory },
	{ "slots without end", REFUSED | CLOSED, slots },
	{ "memory truncated", SERVED | CLOSED, truncated },
	{ "data truncated", SERVED | IO_FAILED | BROKEN | CLOSED, truncated_data },
	{ "memory replaced", SERVED | REFUSED | CLOSED, replaced },
	{ "places of a ring", REFUSED | BROKEN | CLOSED, ring_places },
	{ "a ring over itself", SERVED | REFUSED | CLOSED, ring_over_itself },
	{ "inflight numbers", CLOSED, inflight_numbers },
	{ "inflight places", REFUSED | CLOSED, inflight_places },
	{ "inflight garbage", SERVED, inflight_garbage },
	{ "inflight truncated", SERVED | CLOSED, inflight_truncated },
	{ NULL, 0, NULL },
};
