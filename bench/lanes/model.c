/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of more CPUs than this machine has: the addon's own threads (addon/disk/lanes.c), each with its ring, and a
 * cipher that takes a given time for each 128 KiB. One that sleeps takes no CPU, as if each thread had one of its
 * own; one that spins takes what there is. The owner keeps reads of a cached file under way, and copies what has come
 * once, as the event loop does to a socket.
 *
 *   model --file PATH (--sleep | --spin) MICROSECONDS [--most THREADS] [--rounds N]
 *
 * Prints, by number of threads, MB/s (median of the rounds, which alternate) and the ratio to the owner alone.
 */
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addon/disk/lanes.h"
#include "addon/disk/plain.h"

#define PIECE		(128u << 10)
#define DEPTH		32u
#define FILE_SIZE	(64u << 20)
#define ROUND_NS	500000000ll
#define THREADS		6u
#define ROUNDS_MAX	99u

struct tresor_enclave {
	unsigned unused;
};

static struct tresor_enclave enclave;
static long long cipher_ns;
static bool spins;
static uint8_t *memory, *socket_;

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

uint32_t tresor_enclave_enter(struct tresor_enclave *entered, void *request_)
{
	const struct tresor_sectors *request = request_;
	const struct tresor_range *ranges = (const struct tresor_range *)(uintptr_t)request->ranges;
	const long long began = now_ns();
	long long takes = 0;

	(void)entered;
	for (uint32_t i = 0; i < request->count; i++)
		takes += cipher_ns * ranges[i].length / PIECE;
	if (spins) {
		while (now_ns() - began < takes)
			;
	} else {
		const struct timespec time = { takes / 1000000000, takes % 1000000000 };

		nanosleep(&time, NULL);
	}
	return TRESOR_OK;
}

struct tresor_enclave *tresor_enclave_ref(struct tresor_enclave *each)
{
	return each;
}

void tresor_enclave_unref(struct tresor_enclave *each)
{
	(void)each;
}

bool tresor_enclave_alive(const struct tresor_enclave *each)
{
	(void)each;
	return true;
}

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct lane_io each[DEPTH];
static uint64_t next_offset, moved;
static struct plain_queue *queue;
static struct lanes *lanes;
static bool ending;

static void done(struct plain_io *io);

static void ask(unsigned i)
{
	each[i].io = (struct plain_io){
		.op = PLAIN_READ,
		.offset = next_offset,
		.length = PIECE,
		.ciphertext = memory + i * PIECE,
		.done = done,
	};
	next_offset = (next_offset + PIECE) % FILE_SIZE;
	if (lanes != NULL)
		lanes_put(lanes, &each[i]);
	else
		plain_queue_put(queue, &each[i].io);
}

static void done(struct plain_io *io)
{
	const unsigned i = (unsigned)((struct lane_io *)(void *)io - each);

	if (io->error != 0) {
		fprintf(stderr, "model: a read failed\n");
		exit(1);
	}
	memcpy(socket_, io->ciphertext, PIECE);
	moved += PIECE;
	if (!ending)
		ask(i);
}

static void turn(void)
{
	struct pollfd event = { .events = POLLIN };
	struct lane_io *io;

	if (lanes == NULL) {
		plain_queue_turn(queue, true);
		return;
	}
	lanes_go(lanes);
	event.fd = lanes_fd(lanes);
	poll(&event, 1, -1);
	for (io = lanes_take(lanes); io != NULL;) {
		struct lane_io *next = io->next;

		done(&io->io);
		io = next;
	}
}

/* MB/s. */
static double round_of(struct plain_volume *volume, unsigned threads)
{
	const struct disk_queue_options options = { .entries = 256 };
	struct lane_io *rest;
	long long began;

	queue = threads == 0 ? plain_queue_open(volume, &options) : NULL;
	lanes = threads == 0 ? NULL : lanes_open(volume, &options, threads, LANES_LEAVE_WRITES);
	if (queue == NULL && lanes == NULL)
		fail("model: a queue");
	for (unsigned i = 0; i < DEPTH; i++)
		ask(i);
	moved = 0;
	began = now_ns();
	while (now_ns() - began < ROUND_NS)
		turn();
	const double rate = (double)moved * 1000 / (double)(now_ns() - began);

	if (lanes != NULL) {
		lanes_end(lanes, 60000);
		lanes_close(lanes, &rest);
	} else {
		ending = true;
		plain_queue_close(queue, 60000);
		ending = false;
	}
	return rate;
}

static int by_rate(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static const struct option words[] = { { "file", required_argument, NULL, 'f' },
					       { "sleep", required_argument, NULL, 's' },
					       { "spin", required_argument, NULL, 'p' },
					       { "most", required_argument, NULL, 'm' },
					       { "rounds", required_argument, NULL, 'r' },
					       { NULL, 0, NULL, 0 } };
	static double rates[THREADS + 1][ROUNDS_MAX];
	unsigned most = THREADS, rounds = 5;
	const char *path = NULL;
	struct plain_volume *volume;
	struct disk *disk;
	int fd, word;

	while ((word = getopt_long(argc, argv, "", words, NULL)) != -1) {
		if (word == 'f')
			path = optarg;
		else if (word == 'm')
			most = (unsigned)atoi(optarg);
		else if (word == 'r')
			rounds = (unsigned)atoi(optarg);
		else if (word == 's' || word == 'p')
			cipher_ns = atoi(optarg) * 1000ll;
		else
			return 2;
		spins |= word == 'p';
	}
	if (path == NULL || cipher_ns == 0 || most > THREADS || rounds == 0 || rounds > ROUNDS_MAX)
		return 2;
	memory = aligned_alloc(4096, DEPTH * PIECE);
	socket_ = malloc(PIECE);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (memory == NULL || socket_ == NULL || fd < 0)
		fail(path);
	memset(memory, 1, PIECE);
	for (uint32_t at = 0; at < FILE_SIZE; at += PIECE)
		if (pwrite(fd, memory, PIECE, at) != (ssize_t)PIECE)
			fail(path);
	unlink(path);
	disk = disk_open(fd, -1, DISK_CHOOSE);
	volume = disk == NULL ? NULL : plain_volume_new(disk);
	if (volume == NULL)
		fail("model");
	volume->size = FILE_SIZE;
	volume->sector_size = 4096;
	volume_key_set(volume->key, &enclave, 1);
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned threads = 0; threads <= most; threads++)
			rates[threads][round] = round_of(volume, threads);
	printf("a cipher that %s %lld us for 128 KiB\n", spins ? "spins" : "sleeps", cipher_ns / 1000);
	for (unsigned threads = 0; threads <= most; threads++) {
		qsort(rates[threads], rounds, sizeof(double), by_rate);
		printf("%u threads  %6.0f MB/s  %.2f\n", threads, rates[threads][rounds / 2],
		       rates[threads][rounds / 2] / rates[0][rounds / 2]);
	}
	return 0;
}
