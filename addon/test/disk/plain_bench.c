/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/plain_bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_enclave.h"
#include "addon/test/disk/model.h"

#define LONG_MS	30000

void bench_open(struct bench *bench, enum engine_kind engine, uint32_t sector_size, bool direct, unsigned lanes)
{
	const struct disk_queue_options options = { .entries = 8, .wide = engine == WIDE_RING };

	check_run("%s, sectors of %u%s", engine_names[engine], sector_size, direct ? ", direct" : "");
	bench->enclave = fake_enclave_new(BENCH_HANDLE, sector_size);
	bench->volume = (struct plain_volume){
		.references = 1,
		.disk = store_open(engine, BENCH_START + BENCH_SIZE),
		.key = volume_key_new(),
		.offset = BENCH_START,
		.size = BENCH_SIZE,
		.sector_size = sector_size,
		.direct = direct,
	};
	volume_key_set(bench->volume.key, bench->enclave, BENCH_HANDLE);
	fake_enclave_plan(bench->enclave, 0, TRESOR_OK, 0);
	bench->queue = lanes == 0 ? plain_queue_open(&bench->volume, &options) : NULL;
	bench->lanes = lanes == 0 ? NULL : lanes_open(&bench->volume, &options, lanes, LANES_LEAVE_WRITES);
	CHECK(bench->queue != NULL || bench->lanes != NULL);
	faults_plan(FAULT_NONE, 0);
}

void bench_close(struct bench *bench)
{
	struct lane_io *rest = NULL;

	faults_stop();
	if (bench->lanes == NULL) {
		CHECK(plain_queue_close(bench->queue, LONG_MS));
	} else {
		lanes_end(bench->lanes, LONG_MS);
		CHECK(lanes_close(bench->lanes, &rest));
	}
	CHECK(rest == NULL);
	CHECK_EQUAL(bench->volume.disk->references, 1);
	disk_unref(bench->volume.disk);
	volume_key_unref(bench->volume.key);
	tresor_enclave_unref(bench->enclave);
	CHECK_EQUAL(fake_enclaves_alive(), 0);
}

static void tell(struct plain_io *io)
{
	((struct bench_request *)(void *)io)->told++;
}

void bench_put(struct bench *bench, struct bench_request *request, struct plain_io io)
{
	*request = (struct bench_request){ .io = io };
	request->io.done = tell;
	plain_queue_put(bench->queue, &request->io);
}

void bench_wait(struct bench *bench, const struct bench_request *request)
{
	for (unsigned i = 0; request->told == 0; i++) {
		struct pollfd event = { .fd = disk_queue_fd(plain_queue_disk(bench->queue)), .events = POLLIN };
		const bool due = plain_queue_turn(bench->queue, false);

		if (request->told == 0 && !due)
			CHECK_EQUAL(poll(&event, 1, LONG_MS), 1);
	}
	CHECK_EQUAL(request->told, 1);
}

int bench_carry(struct bench *bench, struct plain_io io, bool *encrypted)
{
	struct bench_request request;

	bench_put(bench, &request, io);
	bench_wait(bench, &request);
	if (encrypted != NULL)
		*encrypted = request.io.encrypted;
	return request.io.error;
}

struct plain_io bench_io(enum plain_op op, uint64_t offset, uint32_t length, uint8_t *memory)
{
	return (struct plain_io){ .op = op, .offset = offset, .length = length, .ciphertext = memory };
}

#define SLOTS		12u
#define SLOT_SIZE	(32u * 1024u)

struct slot {
	struct lane_io io;
	struct run *run;
	uint8_t *ciphertext, *plaintext;
	struct iovec pieces[PLAIN_PIECES];
	uint64_t id;
	bool busy;
};

struct run {
	struct bench bench;
	struct model *model;
	struct slot slots[SLOTS];
	uint64_t random, writes;
	unsigned issued, busy, keyless;
	bool errors, key_goes;
};

static void slot_told(struct plain_io *io)
{
	struct slot *slot = (struct slot *)(void *)io;
	struct run *run = slot->run;
	const uint8_t *plaintext = io->pieces == NULL ? io->ciphertext : slot->plaintext;
	uint8_t expected[SLOT_SIZE];

	CHECK(slot->busy);
	slot->busy = false;
	run->busy--;
	if (io->error == ENOKEY) {
		run->keyless++;
		CHECK(run->key_goes && io->op != PLAIN_FLUSH && !io->encrypted);
		model_fill(expected, io->offset, io->length, slot->id);
		CHECK(io->op == PLAIN_READ || memcmp(plaintext, expected, io->length) == 0);
		return;
	}
	CHECK(io->error == 0 || run->errors);
	CHECK(io->encrypted == (io->op == PLAIN_WRITE));
	if (io->op == PLAIN_READ && io->error == 0)
		CHECK(model_allows(run->model, plaintext, io->offset, io->length));
	else if (io->op == PLAIN_WRITE && io->error == 0)
		model_done(run->model, io->offset, io->length, slot->id);
	else if (io->op == PLAIN_WRITE)
		model_may(run->model, io->offset, io->length, slot->id);
}

/* Whole sectors, of different lengths, 8-byte aligned, not in order of address. */
static uint32_t cut(struct run *run, struct slot *slot, uint32_t length)
{
	const uint32_t sector = run->bench.volume.sector_size;
	uint32_t count = 0;

	for (uint32_t at = 0; at < length; count++) {
		uint32_t some = sector * (1 + (uint32_t)(next_random(&run->random) % 3));

		if (some > length - at || count == PLAIN_PIECES - 1)
			some = length - at;
		slot->pieces[count] = (struct iovec){ slot->plaintext + at, some };
		at += some;
	}
	return count;
}

static void put_slot(struct run *run, struct slot *slot)
{
	static const enum plain_op ops[] = {
		PLAIN_READ, PLAIN_READ, PLAIN_WRITE, PLAIN_WRITE, PLAIN_WRITE, PLAIN_FLUSH
	};
	const uint32_t sector = run->bench.volume.sector_size;
	struct plain_io io = { .op = ops[next_random(&run->random) % 6],
			       .done = slot_told,
			       .ciphertext = slot->ciphertext };
	bool taken = io.op != PLAIN_FLUSH;

	while (taken) {
		const uint32_t grain = next_random(&run->random) % 3 ? 4096 : sector;

		io.length = grain * (1 + (uint32_t)(next_random(&run->random) % 8));
		io.offset = next_random(&run->random) % ((BENCH_SIZE - SLOT_SIZE) / grain) * grain;
		taken = false;
		for (unsigned i = 0; i < SLOTS; i++) {
			const struct plain_io *other = &run->slots[i].io.io;

			taken |= run->slots[i].busy && io.offset < other->offset + other->length &&
				 other->offset < io.offset + io.length;
		}
	}
	if (io.op != PLAIN_FLUSH && next_random(&run->random) % 2) {
		io.count = cut(run, slot, io.length);
		io.pieces = slot->pieces;
	}
	io.fua = io.op == PLAIN_WRITE && next_random(&run->random) % 5 == 0;
	slot->id = ++run->writes;
	if (io.op == PLAIN_WRITE)
		model_fill(io.pieces == NULL ? slot->ciphertext : slot->plaintext, io.offset, io.length, slot->id);
	slot->io.io = io;
	slot->busy = true;
	run->busy++;
	run->issued++;
	if (run->bench.lanes != NULL)
		lanes_put(run->bench.lanes, &slot->io);
	else
		plain_queue_put(run->bench.queue, &slot->io.io);
}

static void check_ciphertext(struct run *run)
{
	uint8_t *all = pages(BENCH_SIZE);

	CHECK(pread(run->bench.volume.disk->cached, all, BENCH_SIZE, BENCH_START) == BENCH_SIZE);
	fake_cipher(all, all, 0, BENCH_SIZE);
	CHECK(model_allows(run->model, all, 0, BENCH_SIZE));
	free(all);
}

/* Fills the volume, so that no sector is one that was never encrypted. */
static void fill_volume(struct run *run)
{
	uint8_t *all = pages(BENCH_SIZE);

	fake_cipher(all, all, 0, BENCH_SIZE);
	CHECK(pwrite(run->bench.volume.disk->cached, all, BENCH_SIZE, BENCH_START) == BENCH_SIZE);
	free(all);
}

static void turn(struct run *run)
{
	struct lanes *lanes = run->bench.lanes;
	struct lane_io *io;

	if (lanes == NULL) {
		plain_queue_turn(run->bench.queue, true);
		return;
	}
	lanes_go(lanes);
	if (run->busy > 0) {
		struct pollfd event = { .fd = lanes_fd(lanes), .events = POLLIN };

		CHECK_EQUAL(poll(&event, 1, LONG_MS), 1);
	}
	io = lanes_take(lanes);
	while (io != NULL) {
		struct lane_io *next = io->next;

		slot_told(&io->io);
		io = next;
	}
}

unsigned plain_model(const struct plain_model *plan)
{
	struct run *run = calloc(1, sizeof(*run));
	unsigned keyless;
	uint8_t *memory = pages(2ul * SLOTS * SLOT_SIZE);

	CHECK(run != NULL);
	bench_open(&run->bench, plan->engine, plan->sector_size, plan->direct, plan->lanes);
	check_run("%s, sectors of %u%s, %u lanes, seed %u, fault %u at %u", engine_names[plan->engine],
		  plan->sector_size, plan->direct ? ", direct" : "", plan->lanes, (unsigned)plan->seed, plan->fault,
		  plan->at);
	run->model = model_new(BENCH_SIZE);
	run->random = plan->seed;
	run->errors = plan->most > 0 || plan->fault >= FAULT_EAGAIN_ALWAYS;
	run->key_goes = plan->key_goes;
	fill_volume(run);
	for (unsigned i = 0; i < SLOTS; i++) {
		run->slots[i].run = run;
		run->slots[i].ciphertext = memory + 2ul * i * SLOT_SIZE;
		run->slots[i].plaintext = run->slots[i].ciphertext + SLOT_SIZE;
	}
	if (plan->every > 0)
		faults_random(plan->seed, plan->every, plan->most);
	else
		faults_plan(plan->fault, plan->at);
	while (run->busy > 0 || run->issued < plan->operations) {
		for (unsigned i = 0; i < SLOTS && run->issued < plan->operations; i++)
			if (!run->slots[i].busy)
				put_slot(run, &run->slots[i]);
		if (plan->key_goes && next_random(&run->random) % 3 == 0)
			volume_key_clear(run->bench.volume.key);
		turn(run);
		volume_key_set(run->bench.volume.key, run->bench.enclave, BENCH_HANDLE);
	}
	faults_stop();
	keyless = run->keyless;
	check_ciphertext(run);
	bench_close(&run->bench);
	model_free(run->model);
	free(memory);
	free(run);
	return keyless;
}
