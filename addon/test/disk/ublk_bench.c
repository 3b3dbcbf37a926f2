/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/ublk_bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/fake_ublk.h"
#include "addon/test/disk/faults.h"
#include "addon/test/disk/store.h"

static void starved(void *context)
{
	struct ublk_bench *bench = context;

	pthread_mutex_lock(&bench->lock);
	bench->starved++;
	pthread_cond_broadcast(&bench->told);
	pthread_mutex_unlock(&bench->lock);
}

static void ended(void *context, int error)
{
	struct ublk_bench *bench = context;

	pthread_mutex_lock(&bench->lock);
	bench->ended++;
	bench->error = error;
	pthread_cond_broadcast(&bench->told);
	pthread_mutex_unlock(&bench->lock);
}

void ublk_bench_wait(struct ublk_bench *bench, const unsigned *count, unsigned least)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&bench->lock);
	while (*count < least)
		CHECK_EQUAL(pthread_cond_timedwait(&bench->told, &bench->lock, &until), 0);
	pthread_mutex_unlock(&bench->lock);
}

struct ublk_server *ublk_bench_serve(struct ublk_bench *bench)
{
	const struct ublk_options options = {
		.device = fake_ublk_device(), .queues = QUEUES, .depth = DEPTH, .discards = true
	};
	const struct ublk_listener listener = { .starved = starved, .ended = ended, .context = bench };

	return ublk_server_open(bench->volume, &options, &listener);
}

void ublk_bench_prepare(struct ublk_bench *bench)
{
	struct disk *disk = store_open(WIDE_RING, START + SIZE);

	*bench = (struct ublk_bench){ .enclave = fake_enclave_new(HANDLE, SECTOR), .volume = plain_volume_new(disk) };
	pthread_mutex_init(&bench->lock, NULL);
	pthread_cond_init(&bench->told, NULL);
	disk_unref(disk);
	bench->volume->offset = START;
	bench->volume->size = SIZE;
	bench->volume->sector_size = SECTOR;
	bench->volume->direct = true;
	volume_key_set(bench->volume->key, bench->enclave, HANDLE);
	fake_enclave_plan(bench->enclave, 0, TRESOR_OK, 0);
	fake_ublk_open(QUEUES, DEPTH);
	faults_plan(FAULT_NONE, 0);
	fake_ublk_copied();
}

void ublk_bench_open(struct ublk_bench *bench)
{
	ublk_bench_prepare(bench);
	bench->server = ublk_bench_serve(bench);
	CHECK(bench->server != NULL);
}

void ublk_bench_close(struct ublk_bench *bench)
{
	faults_stop();
	if (bench->server != NULL) {
		ublk_server_stop(bench->server);
		/* DEL_DEV would wait for it. */
		CHECK_EQUAL(fake_ublk_open_files(), 1);
		CHECK_EQUAL(fake_ublk_mappings(), QUEUES);
		ublk_server_stop(bench->server);
		ublk_server_free(bench->server);
	}
	/* Nothing has it but us. */
	CHECK_EQUAL(bench->volume->references, 1);
	CHECK_EQUAL(bench->volume->disk->references, 1);
	plain_volume_unref(bench->volume);
	CHECK_EQUAL(fake_enclave_references(bench->enclave), 1);
	tresor_enclave_unref(bench->enclave);
	fake_ublk_close();
	pthread_cond_destroy(&bench->told);
	pthread_mutex_destroy(&bench->lock);
}

int32_t ublk_bench_ask(uint32_t queue, uint32_t op_flags, uint64_t offset, uint32_t length, const uint8_t *data)
{
	return fake_ublk_result(queue, fake_ublk_ask(queue, op_flags, offset, length, data));
}

void ublk_bench_look(const struct ublk_bench *bench, uint64_t offset, uint8_t *data, uint32_t length)
{
	uint8_t *ciphertext = pages(length);

	CHECK_EQUAL(pread(bench->volume->disk->cached, ciphertext, length, (off_t)(START + offset)), length);
	fake_cipher(ciphertext, data, offset / 512, length);
	free(ciphertext);
}

void ublk_bench_fill(uint8_t *data, uint32_t length, uint64_t seed)
{
	for (uint32_t at = 0; at < length; at += 8) {
		const uint64_t word = next_random(&seed);

		memcpy(data + at, &word, 8);
	}
}

void ublk_bench_check(const struct ublk_bench *bench, uint64_t offset, uint32_t length, uint64_t seed)
{
	uint8_t *expected = pages(length), *found = pages(length);

	ublk_bench_fill(expected, length, seed);
	ublk_bench_look(bench, offset, found, length);
	CHECK(memcmp(expected, found, length) == 0);
	free(expected);
	free(found);
}

int32_t ublk_bench_write(uint32_t queue, uint32_t flags, uint64_t offset, uint32_t length, uint64_t seed)
{
	uint8_t *data = pages(length);
	int32_t result;

	ublk_bench_fill(data, length, seed);
	result = ublk_bench_ask(queue, UBLK_OP_WRITE | flags, offset, length, data);
	free(data);
	return result;
}

void ublk_bench_wait_held(const struct ublk_bench *bench, uint64_t count)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 30000 && ublk_server_counters(bench->server).held != count; i++)
		nanosleep(&pause, NULL);
	CHECK_EQUAL(ublk_server_counters(bench->server).held, count);
}

void ublk_bench_wait_copied(uint64_t bytes)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t copied = 0;

	for (unsigned i = 0; i < 30000 && copied < bytes; i++) {
		copied += fake_ublk_copied();
		nanosleep(&pause, NULL);
	}
	CHECK_EQUAL(copied, bytes);
}
