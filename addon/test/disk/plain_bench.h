/* SPDX-License-Identifier: Apache-2.0 */
/* A volume of plaintext on a store, with one queue or with lanes; and requests of all kinds on it, checked against the model. */
#ifndef TRESOR_TEST_DISK_PLAIN_BENCH_H
#define TRESOR_TEST_DISK_PLAIN_BENCH_H

#include "addon/disk/lanes.h"
#include "addon/disk/plain.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

#define BENCH_START	(1024u * 1024u)	/* of the segment in the store */
#define BENCH_SIZE	(1024u * 1024u)
#define BENCH_HANDLE	9u

struct bench {
	struct tresor_enclave *enclave;
	struct plain_volume volume;
	struct plain_queue *queue;	/* or */
	struct lanes *lanes;
};

/* `lanes`: 0, for a queue. */
void bench_open(struct bench *bench, enum engine_kind engine, uint32_t sector_size, bool direct, unsigned lanes);
/* Everything has ended, and has been taken. */
void bench_close(struct bench *bench);

/* One of the queue's, which its owner waits for. */
struct bench_request {
	struct plain_io io;
	unsigned told;
};

/* Without pieces. */
struct plain_io bench_io(enum plain_op op, uint64_t offset, uint32_t length, uint8_t *memory);
/* Begun by the next turn. */
void bench_put(struct bench *bench, struct bench_request *request, struct plain_io io);
/* Turns until it has ended, once. */
void bench_wait(struct bench *bench, const struct bench_request *request);
/* Both; its error. `encrypted`: as it says afterwards, or NULL. */
int bench_carry(struct bench *bench, struct plain_io io, bool *encrypted);

struct plain_model {
	enum engine_kind engine;
	uint32_t sector_size;
	bool direct;
	unsigned lanes;
	uint64_t seed;
	unsigned operations;
	/* faults_random(seed, every, most), or, without `every`, faults_plan(fault, at). */
	unsigned every, most;
	enum fault fault;
	unsigned at;
	/* The key goes and comes again: what finds none has done nothing, and is left out. */
	bool key_goes;
};

/* In the end the store has what the cipher makes of it. Returns how many requests found no key. */
unsigned plain_model(const struct plain_model *plan);

#endif
