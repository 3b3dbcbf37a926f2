/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile COUNT SEED: that many calls with fields a hostile host would choose,
 * in any order, while a second thread rewrites requests as they are read. The
 * sequence depends on SEED alone. Passes when nothing faults, every status is
 * one of the ABI's, and no key shows in host memory.
 */
#include "mutation.h"
#include "requests.h"
#include <pthread.h>
#include <stdatomic.h>

static uint64_t seed;
static atomic_bool racing;

static uint64_t next(void)	/* SplitMix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint32_t hostile_number(uint64_t choice)
{
	static const uint32_t numbers[] = {
		0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 512, 513, 768,
		4000, 4096, 65536, 65537, TRESOR_RANGE_SIZE + 512, 2 * TRESOR_SECRET_SIZE + 57, 0x7fffffff,
		0x80000000, 0xfffffff8, 0xfffffffe, 0xffffffff,
	};

	return choice & 1 ? numbers[(choice >> 1) % (sizeof(numbers) / 4)] : (uint32_t)(choice >> 32);
}

static uint32_t length_of(const uint16_t *list)
{
	uint32_t n = 0;

	while (list[n])
		n++;
	return n;
}

static bool in_address(const uint16_t *list, uint32_t offset)
{
	for (; *list; list++) {
		if (offset + 4 > *list - 1u && offset < *list - 1u + 8)
			return true;
	}
	return false;
}

/* One field of a struct at `base`: an address, or a number anywhere else. */
static void bend(uint8_t *base, uint32_t size, const uint16_t *addresses)
{
	uint32_t n = length_of(addresses);
	uint64_t address = mutation_address(next());
	uint32_t number = hostile_number(next());
	uint32_t offset = (uint32_t)(next() % (size / 4)) * 4;

	if (n && next() % 2)
		memcpy(base + addresses[next() % n] - 1, &address, 8);
	else if (!in_address(addresses, offset))
		memcpy(base + offset, &number, 4);
}

/* Rewrites sizes and counts of the request that is just being read. */
static void *race(void *unused)
{
	volatile uint32_t *words = (void *)(arena + ARENA_SIZE - 4096);
	uint64_t state = 1;

	(void)unused;
	while (atomic_load(&racing)) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		words[state >> 63 ? 1 : 4 + (state >> 62 & 1)] ^= (uint32_t)(state >> 33) & 7;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	uint64_t statuses[32] = { 0 }, reached[OPERATIONS] = { 0 };
	uint8_t request[REQUEST_MAX];
	pthread_t thread;

	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	machine_start();
	requests_prepare();
	for (uint64_t i = 0; i < count; i++) {
		uint32_t op = (uint32_t)(next() % OPERATIONS);
		const struct operation *o = &operations[op];
		uint32_t bends = (uint32_t)(next() % 4);
		bool sealed = next() % 32 == 0;
		uint32_t status;

		/* The vectors of Argon2 and PBKDF2 take their time. */
		if (op == TRESOR_OP_SELFTEST && next() % 64)
			op = TRESOR_OP_BLOCKS, o = &operations[op];
		memset(request, 0, sizeof(request));
		requests_template(op, sealed, request);
		while (bends--) {
			uint64_t array;

			memcpy(&array, request + o->array_at, 8);
			if (o->array && array >= (uint64_t)arena && array < (uint64_t)arena + ARENA_POINTERS / 2 &&
			    array % 8 == 0 && next() % 2)
				bend((uint8_t *)array + next() % 4 * o->array, o->array, o->element_addresses);
			else
				bend(request, o->size, o->addresses);
		}
		mutation_limit(op, request);
		if (sealed && next() % 2)
			mutation_seal_again(op, request);
		status = requests_enter(request, i % 4096 == 0);
		statuses[status]++;
		reached[op] += status == TRESOR_OK;
	}
	/* The order of reads cannot be told; whatever is read must do. */
	atomic_store(&racing, true);
	ASSERT(pthread_create(&thread, NULL, race, NULL) == 0);
	for (uint64_t i = 0; i < count / 10; i++) {
		uint32_t op = next() % 2 ? TRESOR_OP_SECTORS : TRESOR_OP_BLOCKS;

		memset(request, 0, sizeof(request));
		requests_template(op, false, request);
		memcpy(arena + ARENA_SIZE - 4096, request, sizeof(request));
		statuses[enter_again()]++;
	}
	atomic_store(&racing, false);
	pthread_join(thread, NULL);
	for (uint32_t op = 1; op < OPERATIONS; op++) {
		/* A generator that never gets through tests nothing behind the first check. */
		ASSERT(count < 20000 || op == TRESOR_OP_HELLO || op == TRESOR_OP_CLOSE || reached[op] != 0);
	}
	for (uint32_t i = 0; i < 32; i++) {
		if (statuses[i])
			printf("status %u: %llu\n", i, (unsigned long long)statuses[i]);
	}
	printf("ok - %llu hostile calls\n", (unsigned long long)(count + count / 10));
	return 0;
}
