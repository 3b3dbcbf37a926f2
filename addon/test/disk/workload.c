/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/workload.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/model.h"

#define ENTRIES		4u	/* under way; */
#define DEPTH		9u	/* so some always wait */
#define SLOT_SIZE	(32u * 1024u)
#define LONG_MS		60000

struct slot {
	struct disk_io io;
	struct run *run;
	uint8_t *memory;
	uint64_t id;	/* of the write; a punch is 0 */
	uint64_t put_at, latest_told;	/* clock: when it was put, and the last write told by then */
	bool busy;
	bool put_failed;	/* the disk had failed before */
};

struct run {
	const struct workload *options;
	struct disk *disk;
	struct disk_queue *queue;
	struct model *model;
	struct slot slots[DEPTH];
	uint64_t random, writes;
	unsigned issued, busy, foreign_put, foreign_told;
	bool failure_told, closing;
};

/* Queues that never end, with their memory: theirs for good, and reachable. */
static void *left_behind[4096];
static unsigned left_count;

static void leave_behind(void *memory)
{
	const unsigned i = __atomic_fetch_add(&left_count, 1, __ATOMIC_RELAXED);

	CHECK(i < sizeof(left_behind) / sizeof(left_behind[0]));
	left_behind[i] = memory;
}

static bool is_write(const struct disk_io *io)
{
	return io->op == DISK_WRITE || io->op == DISK_PUNCH;
}

/* The errno that is due where one fault is known to have met this request; -1: none has. */
static int due_to_fault(const struct slot *slot)
{
	const struct disk_io *io = &slot->io;
	struct fault_hit hit;

	if (!faults_hit(&hit) || hit.op != io->op || hit.at < slot->put_at ||
	    (io->op != DISK_SYNC && (hit.offset < io->offset || hit.offset >= io->offset + io->length)))
		return -1;
	switch (hit.fault) {
	case FAULT_EAGAIN_ALWAYS:
	case FAULT_EINTR_ALWAYS:
		return EIO;
	case FAULT_ODD:
		return io->direct && (io->op == DISK_READ || io->op == DISK_WRITE) ? EIO : 0;
	case FAULT_ZERO:
		return io->op == DISK_READ || io->op == DISK_WRITE ? EIO : 0;
	case FAULT_EIO:
		return EIO;
	case FAULT_ENOSPC:
		return io->op == DISK_SYNC ? EIO : ENOSPC;
	case FAULT_ENODEV:
		return io->op == DISK_SYNC ? EIO : ENODEV;
	default:
		return 0;
	}
}

/* A sync that met the fault is the queue's, for one or more that asked: sync_cases has who is told what. */
static void check_error(struct run *run, const struct slot *slot)
{
	const struct disk_io *io = &slot->io;
	const bool failed = __atomic_load_n(&run->disk->failed, __ATOMIC_ACQUIRE) != 0;
	const int due = due_to_fault(slot);

	if (run->closing)
		CHECK(io->error == 0 || io->error == EIO);
	else if (slot->put_failed && io->op != DISK_READ)
		CHECK_EQUAL(io->error, EIO);
	else if (run->options->every > 0)
		CHECK(io->error == 0 || io->error == EIO || io->error == ENOSPC || io->error == ENODEV);
	else if (io->op != DISK_SYNC && due >= 0 && !(failed && io->error == EIO))
		CHECK_EQUAL(io->error, due);
	else if (io->error != 0)
		CHECK(io->op != DISK_READ && failed && io->error == EIO);
}

static void told(struct disk_io *io)
{
	struct slot *slot = (struct slot *)(void *)((char *)io - offsetof(struct slot, io));
	struct run *run = slot->run;

	CHECK(slot->busy);
	slot->busy = false;
	run->busy--;
	check_error(run, slot);
	if (io->error == 0 && io->op == DISK_SYNC)
		CHECK(run->options->disk != NULL || faults_synced(slot->put_at));
	/* Past the page cache the write itself is durable; else a sync after it. */
	if (io->error == 0 && io->op == DISK_WRITE && io->durable && !io->direct)
		CHECK(run->options->disk != NULL || faults_synced(slot->put_at));
	if (io->error == 0 && io->op == DISK_READ)
		CHECK(model_allows(run->model, slot->memory, io->offset - run->options->base, io->length));
	if (is_write(io)) {
		if (io->error == 0)
			model_done(run->model, io->offset - run->options->base, io->length, slot->id);
		else
			model_may(run->model, io->offset - run->options->base, io->length, slot->id);
	}
	run->failure_told |= io->op == DISK_SYNC && io->error != 0;
}

static void foreign_told(void *context, uint64_t user_data, int32_t result)
{
	struct run *run = context;

	CHECK(user_data & 1);
	CHECK_EQUAL(result, 0);
	run->foreign_told++;
}

/* Commands that are not the queue's share a wide ring with it. */
static void put_foreign(struct run *run)
{
	struct io_uring_sqe *entry = disk_queue_sqe(run->queue);

	if (entry == NULL)
		return;
	entry->opcode = IORING_OP_NOP;
	entry->user_data = (uint64_t)run->foreign_put++ << 1 | 1;
}

static bool range_is_free(const struct run *run, uint64_t offset, uint32_t length)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct disk_io *io = &run->slots[i].io;

		if (run->slots[i].busy && io->op != DISK_SYNC && offset < io->offset + io->length &&
		    io->offset < offset + length)
			return false;
	}
	return true;
}

static void fill_request(struct run *run, struct slot *slot)
{
	static const enum disk_op ops[] = { DISK_READ,	DISK_READ,  DISK_READ, DISK_WRITE, DISK_WRITE,
					    DISK_WRITE, DISK_WRITE, DISK_SYNC, DISK_SYNC,  DISK_PUNCH };
	struct disk_io io = { .op = ops[next_random(&run->random) % 10], .done = told };

	if (io.op != DISK_SYNC) {
		const uint32_t grain = next_random(&run->random) % 4 == 0 ? UNIT : 4096;

		do {
			io.length = grain * (1 + (uint32_t)(next_random(&run->random) % 8));
			io.offset =
				run->options->base + next_random(&run->random) % (WORKLOAD_SIZE / grain - 8) * grain;
		} while (!range_is_free(run, io.offset, io.length));
		io.memory = slot->memory;
		io.direct = io.op != DISK_PUNCH && next_random(&run->random) % 2 &&
			    disk_aligned(run->disk, io.offset, io.length);
		io.durable = io.op == DISK_WRITE && next_random(&run->random) % 4 == 0;
	}
	slot->io = io;
	slot->id = io.op == DISK_WRITE ? ++run->writes : 0;
	if (io.op == DISK_WRITE)
		model_fill(slot->memory, io.offset - run->options->base, io.length, slot->id);
	else if (io.op == DISK_READ)
		memset(slot->memory, 0xa5, io.length);
}

static void put_one(struct run *run)
{
	struct slot *slot = run->slots;

	while (slot->busy)
		slot++;
	fill_request(run, slot);
	slot->busy = true;
	slot->put_failed = run->failure_told;
	slot->put_at = faults_clock();
	run->busy++;
	run->issued++;
	disk_queue_put(run->queue, &slot->io);
	if (run->options->engine == WIDE_RING && next_random(&run->random) % 3 == 0)
		put_foreign(run);
}

/* False: nothing comes any more. */
static bool turn(struct run *run)
{
	struct pollfd event = { .fd = disk_queue_fd(run->queue), .events = POLLIN };
	const bool waits = run->options->sleeps && run->busy > 0;

	if (disk_queue_turn(run->queue, waits) || waits || run->busy == 0)
		return true;
	if (faults_held() == 0)
		CHECK(poll(&event, 1, LONG_MS) == 1 || faults_held() > 0);
	else if (__atomic_load_n(&run->disk->inflight, __ATOMIC_RELAXED) == faults_held())
		return poll(&event, 1, 0) == 1;
	else
		poll(&event, 1, 1);
	return true;
}

static void check_store(struct run *run)
{
	uint8_t *all = pages(WORKLOAD_SIZE);

	CHECK(pread(run->disk->cached, all, WORKLOAD_SIZE, (off_t)run->options->base) == WORKLOAD_SIZE);
	CHECK(model_allows(run->model, all, 0, WORKLOAD_SIZE));
	free(all);
}

/* What is held was not told, and its memory is as the device may still change it. */
static void check_stranded(struct run *run)
{
	unsigned untold = 0, holds = 0;
	struct fault_hit hit;

	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *slot = &run->slots[i];

		untold += slot->busy;
		if (slot->busy && is_write(&slot->io))
			model_may(run->model, slot->io.offset - run->options->base, slot->io.length, slot->id);
	}
	holds = faults_held();
	CHECK(holds > 0 && faults_hit(&hit));
	CHECK_EQUAL(__atomic_load_n(&run->disk->stranded, __ATOMIC_RELAXED), holds);
	/* A sync that is held is the queue's own: those who asked for it were told. */
	CHECK(untold == holds || (untold < holds && hit.op == DISK_SYNC));
}

void workload_run(const struct workload *workload)
{
	struct run *run = calloc(1, sizeof(*run));
	/* The first ones' memory is registered. */
	const unsigned registered = DEPTH - 3;
	uint8_t *memory = pages(DEPTH * SLOT_SIZE);
	struct disk *disk = workload->disk;
	bool closed, comes = true;

	CHECK(run != NULL);
	if (disk == NULL)
		disk = store_open(workload->engine, workload->base + WORKLOAD_SIZE);
	*run = (struct run){ .options = workload, .disk = disk, .random = workload->seed };
	run->model = model_new(WORKLOAD_SIZE);
	run->queue = store_queue(disk, workload->engine, ENTRIES, memory, registered * SLOT_SIZE);
	for (unsigned i = 0; i < DEPTH; i++) {
		run->slots[i].run = run;
		run->slots[i].memory = memory + i * SLOT_SIZE;
	}
	if (workload->engine == WIDE_RING)
		disk_queue_listen(run->queue, foreign_told, run);
	if (workload->disk == NULL && workload->every > 0)
		faults_random(workload->seed, workload->every, workload->most);
	else if (workload->disk == NULL)
		faults_plan(workload->fault, workload->at);
	while (comes && (run->busy > 0 || run->issued < workload->operations)) {
		while (run->issued < workload->operations && run->busy < DEPTH)
			put_one(run);
		comes = turn(run);
	}
	/* Those that were told: of a foreign command put last, the turn may not have been yet. */
	for (unsigned i = 0; i < 1000 && run->foreign_told < run->foreign_put; i++) {
		disk_queue_turn(run->queue, false);
		usleep(1000);
	}
	CHECK_EQUAL(run->foreign_told, run->foreign_put);
	run->closing = !comes;
	closed = disk_queue_close(run->queue, comes ? LONG_MS : 20);
	CHECK_EQUAL(closed, comes);
	if (closed)
		CHECK_EQUAL(run->busy, 0);
	else
		check_stranded(run);
	if (workload->disk == NULL)
		CHECK_EQUAL(__atomic_load_n(&disk->inflight, __ATOMIC_RELAXED), closed ? 0 : faults_held());
	if (workload->disk == NULL)
		faults_stop();
	check_store(run);
	model_free(run->model);
	run->model = NULL;
	if (workload->disk == NULL)
		disk_unref(disk);
	if (closed) {
		free(memory);
		free(run);
		return;
	}
	leave_behind(run);
	faults_release();
}
