/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bends /dev/tresor/control: random ioctls, forged results, random ring contents, mmap
 * at wrong offsets and sizes, files passed to other processes.
 *
 *   kfuzz OPERATIONS SEED HANDLEHEX
 *
 * A mapping with that handle should be under load meanwhile, so that real
 * requests are in the queues that are bent. Succeeds when it comes to its end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/kmod.h"

#define FILES	4
#define THREADS	4
#define DEPTH	16u

static unsigned char handle[TRESOR_HANDLE_SIZE];
static int files[FILES];
static unsigned char *data[FILES];
static long operations;
static unsigned long seed;

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static void noise(uint64_t *state, void *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)to)[i] = (unsigned char)next(state);
}

static void reopen(int index, uint64_t *state)
{
	struct tresor_attach attach = { TRESOR_KMOD_VERSION, 2, DEPTH, next(state) % 8 == 0 };
	struct tresor_key_handle key = { .cookie = (uint32_t)next(state) };
	int fd = open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC);
	unsigned char *area;

	if (fd < 0)
		return;
	if (dup3(fd, files[index], O_CLOEXEC) < 0)
		exit(2);
	close(fd);
	ioctl(files[index], TRESOR_IOC_ATTACH, &attach);
	memcpy(key.handle, handle, sizeof(handle));
	ioctl(files[index], TRESOR_IOC_ADD, &key);
	area = mmap(NULL, DEPTH * TRESOR_SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, files[index],
		    (off_t)TRESOR_MMAP_DATA(0));
	if (area != MAP_FAILED)
		__atomic_store_n(&data[index], area, __ATOMIC_RELEASE);
}

static void exchange(int fd, uint64_t *state)
{
	struct tresor_result results[TRESOR_BATCH_MAX];
	unsigned short slots[TRESOR_BATCH_MAX];
	struct tresor_exchange x = {
		.queue = next(state) % 16 ? (unsigned)(next(state) % 2) : (unsigned)next(state),
		.flags = next(state) % 64 ? TRESOR_EXCHANGE_NOWAIT : (unsigned)next(state) | TRESOR_EXCHANGE_NOWAIT,
		.results = next(state) % 64 ? (uintptr_t)results : next(state),
		.slots = next(state) % 64 ? (uintptr_t)slots : next(state),
		.commit = (unsigned)(next(state) % (TRESOR_BATCH_MAX + 2)),
		.fetch = (unsigned)(next(state) % (TRESOR_BATCH_MAX + 2)),
		.bytes = (unsigned)(next(state) % 70000),
	};

	noise(state, results, sizeof(results[0]) * 2);
	for (unsigned i = 0; i < TRESOR_BATCH_MAX; i++) {
		results[i].slot = (unsigned short)(next(state) % (DEPTH + 2));
		results[i].status = next(state) % 4 ? 0 : (int)next(state);
	}
	ioctl(fd, TRESOR_IOC_EXCHANGE, &x);
}

static void control(int fd, uint64_t *state)
{
	unsigned char bytes[128];

	noise(state, bytes, sizeof(bytes));
	switch (next(state) % 8) {
	case 0:
		ioctl(fd, TRESOR_IOC_ATTACH, bytes);
		break;
	case 1:
		ioctl(fd, TRESOR_IOC_ADD, bytes);
		break;
	case 2:
		ioctl(fd, TRESOR_IOC_DROP, bytes);
		break;
	case 3:
		ioctl(fd, TRESOR_IOC_ANSWER, bytes);
		break;
	case 4:
		ioctl(fd, TRESOR_IOC_RELEASE, bytes);
		break;
	/* Sleeps when there is none; main()'s signal ends it. */
	case 5:
		if (next(state) % 256 == 0)
			ioctl(fd, TRESOR_IOC_EVENT, bytes);
		break;
	case 6:
		ioctl(fd, (unsigned long)_IOC(next(state) % 4, 'T', next(state) % 256, next(state) % 128), bytes);
		break;
	case 7:
		ioctl(fd, TRESOR_IOC_EXCHANGE, (void *)(uintptr_t)next(state));
		break;
	}
}

static void map(int fd, uint64_t *state)
{
	size_t size = (next(state) % 20 + 1) * 4096;
	off_t offset = (off_t)(next(state) % 4 ? (next(state) % 4) << 23 : next(state) & 0x7ffffffffff000);
	unsigned char *area = mmap(NULL, size, next(state) % 4, next(state) % 4 ? MAP_SHARED : MAP_PRIVATE, fd, offset);

	if (area == MAP_FAILED)
		return;
	mprotect(area, size, PROT_READ | PROT_WRITE);
	mremap(area, size, size * 2, MREMAP_MAYMOVE);
	munmap(area, size);
}

/* The file in another process, which bends it and dies with it. */
static void pass(int fd, uint64_t *state)
{
	pid_t child = fork();

	if (child == 0) {
		for (int i = 0; i < 100; i++)
			exchange(fd, state);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static void *bend(void *argument)
{
	uint64_t state = seed * 2654435761u + (uintptr_t)argument * 97 + 1;

	for (long i = 0; i < operations / THREADS; i++) {
		int index = (int)(next(&state) % FILES);
		unsigned char *area = __atomic_load_n(&data[index], __ATOMIC_ACQUIRE);
		uint64_t what = next(&state) % 1000;

		if (what < 700)
			exchange(files[index], &state);
		else if (what < 900)
			control(files[index], &state);
		else if (what < 950 && area != NULL)
			area[next(&state) % (DEPTH * TRESOR_SLOT_SIZE)] = (unsigned char)what;
		else
			map(files[index], &state);
		if (next(&state) % 20000 == 0)
			reopen(index, &state);
		if (next(&state) % 50000 == 0)
			pass(files[index], &state);
	}
	return NULL;
}

static void ignore(int signal)
{
	(void)signal;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore };
	pthread_t threads[THREADS];
	bool running[THREADS];
	int left = THREADS;
	uint64_t state;

	if (argc != 4 || strlen(argv[3]) != 2 * sizeof(handle))
		return 1;
	operations = atol(argv[1]);
	seed = strtoul(argv[2], NULL, 0);
	for (size_t i = 0; i < sizeof(handle); i++)
		sscanf(argv[3] + 2 * i, "%2hhx", &handle[i]);
	state = seed + 1;
	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < FILES; i++) {
		files[i] = open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC);
		if (files[i] < 0)
			return 1;
		reopen(i, &state);
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, bend, (void *)i))
			return 1;
	memset(running, true, sizeof(running));
	while (left) {
		usleep(20000);
		for (int i = 0; i < THREADS; i++) {
			if (!running[i])
				continue;
			pthread_kill(threads[i], SIGALRM);
			if (pthread_tryjoin_np(threads[i], NULL) == 0) {
				running[i] = false;
				left--;
			}
		}
	}
	printf("%ld operations, seed %lu\n", operations, seed);
	return 0;
}
