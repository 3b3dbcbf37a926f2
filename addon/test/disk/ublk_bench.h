/* SPDX-License-Identifier: Apache-2.0 */
/* A volume, and the threads that serve it as a ublk device over a fake of the kernel's driver. */
#ifndef TRESOR_TEST_DISK_UBLK_BENCH_H
#define TRESOR_TEST_DISK_UBLK_BENCH_H

#include <pthread.h>
#include <stdint.h>

#include "addon/test/disk/fake_enclave.h"
#include "addon/ublk/server.h"

#define START	(1024u * 1024u)	/* of the segment in the store */
#define SIZE	(4u * 1024u * 1024u)
#define HANDLE	5u
#define SECTOR	4096u
#define QUEUES	2u
#define DEPTH	16u

struct ublk_bench {
	struct tresor_enclave *enclave;
	struct plain_volume *volume;
	struct ublk_server *server;
	pthread_mutex_t lock;
	pthread_cond_t told;
	unsigned starved, ended;
	int error;
};

/* A volume with a key, and a device that nobody serves yet. */
void ublk_bench_prepare(struct ublk_bench *bench);
/* NULL: it could not be started. */
struct ublk_server *ublk_bench_serve(struct ublk_bench *bench);
/* Both. */
void ublk_bench_open(struct ublk_bench *bench);
/* And checks that nothing of it is left. */
void ublk_bench_close(struct ublk_bench *bench);

/* For some seconds, until the listener was told so often. */
void ublk_bench_wait(struct ublk_bench *bench, const unsigned *count, unsigned least);
/* Until so many requests have waited. */
void ublk_bench_wait_held(const struct ublk_bench *bench, uint64_t count);
/* Until so many bytes of data were copied to the server: the write has begun. */
void ublk_bench_wait_copied(uint64_t bytes);

/* A request and its result. */
int32_t ublk_bench_ask(uint32_t queue, uint32_t op_flags, uint64_t offset, uint32_t length, const uint8_t *data);
/* What a seed stands for: written, and in the store. */
void ublk_bench_fill(uint8_t *data, uint32_t length, uint64_t seed);
int32_t ublk_bench_write(uint32_t queue, uint32_t flags, uint64_t offset, uint32_t length, uint64_t seed);
/* What the store has there, decrypted. */
void ublk_bench_look(const struct ublk_bench *bench, uint64_t offset, uint8_t *data, uint32_t length);
void ublk_bench_check(const struct ublk_bench *bench, uint64_t offset, uint32_t length, uint64_t seed);

#endif
