/* SPDX-License-Identifier: Apache-2.0 */
/* Plaintext requests without a key, with an enclave that is lost, and what a write in place leaves of its plaintext. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/disk/plain.h"
#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_enclave.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/model.h"
#include "addon/test/disk/plain_bench.h"
#include "addon/test/disk/store.h"

/* Without a key nothing is read into plaintext, nothing is written, and the same requests do later what they were to. */
static void no_key(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench;
		uint8_t *memory = pages(8192), *before = pages(4096), *store = pages(4096);
		struct plain_io write = bench_io(PLAIN_WRITE, 4096, 4096, memory);
		struct bench_request read;
		bool encrypted = true;

		bench_open(&bench, engine, 4096, false, 0);
		model_fill(memory, 0, 4096, 1);
		memcpy(before, memory, 4096);
		volume_key_clear(bench.volume.key);
		CHECK_EQUAL(bench_carry(&bench, write, &encrypted), ENOKEY);
		CHECK(!encrypted && memcmp(memory, before, 4096) == 0);
		CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 4096, 4096, memory + 4096), NULL), ENOKEY);
		/* A flush needs none. */
		CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_FLUSH, 0, 0, NULL), NULL), 0);
		CHECK(pread(bench.volume.disk->cached, store, 4096, BENCH_START + 4096) == 4096);
		for (unsigned i = 0; i < 4096; i++)
			CHECK(store[i] == 0);
		volume_key_set(bench.volume.key, bench.enclave, BENCH_HANDLE);
		CHECK_EQUAL(bench_carry(&bench, write, &encrypted), 0);
		CHECK(encrypted);
		/* It goes while the disk reads. */
		refusals.uncached = true;
		faults_plan(FAULT_NONE, 0);
		faults_pause(true);
		bench_put(&bench, &read, bench_io(PLAIN_READ, 4096, 4096, memory));
		plain_queue_turn(bench.queue, false);
		volume_key_clear(bench.volume.key);
		faults_pause(false);
		bench_wait(&bench, &read);
		CHECK_EQUAL(read.io.error, ENOKEY);
		CHECK_EQUAL(faults_cached_reads(), 0);
		volume_key_set(bench.volume.key, bench.enclave, BENCH_HANDLE);
		CHECK_EQUAL(bench_carry(&bench, read.io, NULL), 0);
		CHECK(memcmp(memory, before, 4096) == 0);
		refusals.uncached = false;
		bench_close(&bench);
		free(memory);
		free(before);
		free(store);
	}
}

/* An enclave that dies while it encrypts: plaintext in its own memory is whole, one in place is lost. */
static void lost(void)
{
	struct bench bench;
	uint8_t *memory = pages(4 * 4096), *before = pages(4096);
	const struct iovec piece = { memory + 8192, 4096 };
	struct bench_request in_place, in_pieces, read;
	struct plain_io io;

	bench_open(&bench, RING, 512, false, 0);
	model_fill(memory, 0, 4096, 1);
	model_fill(memory + 8192, 0, 4096, 2);
	memcpy(before, memory + 8192, 4096);
	fake_enclave_plan(bench.enclave, 0, TRESOR_ENTER_LOST, 1);
	bench_put(&bench, &in_place, bench_io(PLAIN_WRITE, 0, 4096, memory));
	io = bench_io(PLAIN_WRITE, 8192, 4096, memory + 4096);
	io.pieces = &piece;
	io.count = 1;
	bench_put(&bench, &in_pieces, io);
	bench_wait(&bench, &in_place);
	bench_wait(&bench, &in_pieces);
	CHECK(in_place.io.error == EIO && !in_place.io.encrypted);
	CHECK(in_pieces.io.error == ENOKEY && memcmp(memory + 8192, before, 4096) == 0);
	fake_enclave_plan(bench.enclave, 0, TRESOR_ENTER_LOST, 1);
	bench_put(&bench, &read, bench_io(PLAIN_READ, 0, 4096, memory));
	bench_wait(&bench, &read);
	CHECK_EQUAL(read.io.error, ENOKEY);
	/* Now it is dead before: nothing is touched. */
	model_fill(memory, 0, 4096, 1);
	memcpy(before, memory, 4096);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_WRITE, 0, 4096, memory), NULL), ENOKEY);
	CHECK(memcmp(memory, before, 4096) == 0);
	fake_enclave_plan(bench.enclave, 0, TRESOR_E_REQUEST, 0);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_WRITE, 0, 4096, memory), NULL), EIO);
	CHECK(memcmp(memory, before, 4096) == 0);
	fake_enclave_plan(bench.enclave, 0, TRESOR_E_HANDLE, 0);
	CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 0, 4096, memory), NULL), ENOKEY);
	CHECK_EQUAL(faults_cached_writes(), 0);
	bench_close(&bench);
	free(memory);
	free(before);
}

/* A write in place that the disk refuses has left ciphertext, says so, and can be put to the disk as it is. */
static void encrypted_in_place(void)
{
	for (enum engine_kind engine = 0; engine < ENGINES; engine++) {
		struct bench bench;
		uint8_t *memory = pages(4096), *plaintext = pages(4096);
		struct plain_io io = bench_io(PLAIN_WRITE, 4096, 4096, memory);
		bool encrypted = false;

		bench_open(&bench, engine, 512, false, 0);
		io.fua = true;
		model_fill(memory, 4096, 4096, 1);
		memcpy(plaintext, memory, 4096);
		faults_always(FAULT_ENOSPC, DISK_WRITE);
		CHECK_EQUAL(bench_carry(&bench, io, &encrypted), ENOSPC);
		CHECK(encrypted && memcmp(memory, plaintext, 4096) != 0);
		faults_plan(FAULT_NONE, 0);
		CHECK_EQUAL(carry(plain_queue_disk(bench.queue), (struct disk_io){ .op = DISK_WRITE,
										   .length = 4096,
										   .offset = BENCH_START + 4096,
										   .memory = memory }),
			    0);
		CHECK_EQUAL(bench_carry(&bench, bench_io(PLAIN_READ, 4096, 4096, memory), NULL), 0);
		CHECK(memcmp(memory, plaintext, 4096) == 0);
		bench_close(&bench);
		free(memory);
		free(plaintext);
	}
}

const struct test_case plain_key_cases[] = {
	{ "without a key nothing is read or written, and the request can be repeated", no_key },
	{ "a lost enclave leaves plaintext whole, or says that it is gone", lost },
	{ "a write in place that fails says that it is encrypted", encrypted_in_place },
	{ NULL, NULL },
};
