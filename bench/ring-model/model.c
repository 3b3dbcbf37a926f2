/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the module's queue costs, natively: kernel/queue.c in user space, one
 * thread that submits as dm-crypt does, one that serves as addon/ring.c does,
 * with the enclave's own XTS. Each exchange makes a system call and may burn
 * cycles for the way into an enclave.
 *
 *   model [--rounds N] [--seconds S] [--depth N] [--length BYTES] [--batch BYTES]
 *         [--memory MIB] [--transition CYCLES] [--copy]
 *
 * Both walk in place through the same memory: with 64 MiB no cache holds it, as
 * none holds what a disk has just delivered. Prints JSON: MB/s of XTS alone and through the queue, by round, and ratios.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "kernel/queue.h"
#include "enclave/crypto/cpu.h"
#include "enclave/crypto/xts.h"

#define REQUESTS_MAX	1024u
#define ROUNDS_MAX	99


struct tresor_key {
	u32 cookie;
};

struct model_request {
	struct tresor_request base;
	u8 *data;
} __attribute__((aligned(64)));

uint32_t cpu_features;	/* cpu.h */

static struct model_request requests[REQUESTS_MAX];
/* Completed ones on their way back, as a bio goes back to who sent it. */
static struct model_request *returned[REQUESTS_MAX];
static _Alignas(64) atomic_uint returned_tail;
static _Alignas(64) u32 returned_head;
static struct tresor_queue queue;
static struct tresor_key key;
static struct xts_key expanded;
static u32 length = 4096, depth = 256, batch = 64 * 1024;
static u8 *memory;
static u64 memory_size = 64ull << 20;
static u64 transition;
static bool copy_only;
static _Alignas(64) atomic_bool stop;
static _Alignas(64) u64 completed;

/* ---- what cipher.c and key.c do in the kernel ---- */

static struct model_request *whole(struct tresor_request *request)
{
	return container_of(request, struct model_request, base);
}

/* As the kernel's memcpy on a CPU that announces ERMS. */
static void copy(u8 *to, const u8 *from, size_t size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

void tresor_request_read(struct tresor_request *request, u8 *to, u32 size)
{
	copy(to, whole(request)->data + request->done, size);
}

void tresor_request_write(struct tresor_request *request, const u8 *from, u32 size)
{
	copy(whole(request)->data + request->done, from, size);
}

void tresor_request_progress(struct tresor_request *request)
{
	request->owed = false;
}

static void give_back(struct tresor_request *request)
{
	unsigned int tail = atomic_load_explicit(&returned_tail, memory_order_relaxed);

	returned[tail % REQUESTS_MAX] = whole(request);
	atomic_store_explicit(&returned_tail, tail + 1, memory_order_release);
}

void tresor_requests_complete(struct list_head *finished)
{
	struct tresor_request *request, *next;

	list_for_each_entry_safe(request, next, finished, node) {
		list_del_init(&request->node);
		if (request->error)
			abort();
		completed++;
		give_back(request);
	}
}

void tresor_requests_place(struct list_head *left)
{
	(void)left;
	abort();
}

void tresor_queue_busy(struct tresor_queue *which)
{
	(void)which;
}

u32 tresor_key_cookie(const struct tresor_key *which)
{
	return which->cookie;
}

/* ---- the two threads ---- */

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *submit(void *argument)
{
	u64 sector = 0;

	pin(0);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		unsigned int tail = atomic_load_explicit(&returned_tail, memory_order_acquire);

		if (returned_head == tail) {
			__builtin_ia32_pause();
			continue;
		}
		for (; returned_head != tail; returned_head++) {
			struct model_request *request = returned[returned_head % REQUESTS_MAX];

			memset(&request->base, 0, sizeof(request->base));
			INIT_LIST_HEAD(&request->base.node);
			request->base.key = &key;
			request->base.length = length;
			request->base.mode = TRESOR_KMODE_XTS;
			request->base.may_backlog = true;
			request->data = memory + sector * 512 % memory_size;
			memcpy(request->base.iv, &sector, sizeof(sector));
			sector += length / 512;
			if (tresor_queue_submit(&queue, &request->base) != -EINPROGRESS)
				abort();
		}
	}
	return argument;
}

static u64 nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void burn(void)
{
	u64 end = __rdtsc() + transition;

	while (transition && __rdtsc() < end)
		;
}

static void work(const u16 *slots, u32 count, struct tresor_result *results)
{
	burn();
	for (u32 i = 0; i < count; i++) {
		const struct tresor_descriptor *d = &queue.descriptors[slots[i]];
		u8 *data = queue.data + (size_t)slots[i] * TRESOR_SLOT_SIZE;

		results[i] = (struct tresor_result){ .slot = slots[i] };
		memcpy(results[i].iv, d->iv, sizeof(d->iv));
		if (!copy_only)
			xts_unit(&expanded, d->decrypt, d->flags & TRESOR_PART_CONTINUED, data, data,
				 d->length, results[i].iv);
	}
}

/* MB/s through the queue. */
static double through_queue(double seconds)
{
	struct tresor_result results[TRESOR_BATCH_MAX];
	struct tresor_batch_counts counts = { 0 };
	u16 slots[TRESOR_BATCH_MAX];
	pthread_t producer;
	u64 start, now;
	u32 done = 0;
	LIST_HEAD(left);

	if (tresor_queue_init(&queue, depth))
		abort();
	returned_head = 0;
	atomic_store(&returned_tail, 0);
	for (u32 i = 0; i < depth; i++)
		give_back(&requests[i].base);
	atomic_store(&stop, false);
	completed = 0;
	if (pthread_create(&producer, NULL, submit, NULL))
		abort();
	pin(1);
	start = nanoseconds();
	do {
		/* The ioctl. */
		syscall(SYS_getppid);
		/* device.c takes 16 results at a time. */
		for (u32 at = 0; at < done; at += 16)
			tresor_queue_commit(&queue, results + at, min_t(u32, done - at, 16), &counts);
		done = tresor_queue_fetch(&queue, slots, TRESOR_BATCH_MAX, batch);
		if (!done) {
			wait_event(&queue.wait, tresor_queue_ready(&queue));
			done = tresor_queue_fetch(&queue, slots, TRESOR_BATCH_MAX, batch);
		}
		work(slots, done, results);
		now = nanoseconds();
	} while ((double)(now - start) < seconds * 1e9);
	atomic_store(&stop, true);
	pthread_join(producer, NULL);
	tresor_queue_kill(&queue, &left);
	tresor_queue_exit(&queue);
	return (double)completed * length / ((double)(now - start) / 1e3);
}

/* MB/s of the enclave's XTS, entered once per batch. */
static double alone(double seconds)
{
	u64 start, now, units = 0;

	pin(1);
	start = nanoseconds();
	do {
		burn();
		for (u32 i = 0; i < batch / length; i++, units++) {
			u64 sector = units * (length / 512);
			u8 *at = memory + sector * 512 % memory_size;
			u8 iv[16] = { 0 };

			memcpy(iv, &sector, sizeof(sector));
			xts_unit(&expanded, false, false, at, at, length, iv);
		}
		now = nanoseconds();
	} while ((double)(now - start) < seconds * 1e9);
	return (double)units * length / ((double)(now - start) / 1e3);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), ascending);
	return values[count / 2];
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", 1, 0, 'r' },     { "seconds", 1, 0, 's' }, { "depth", 1, 0, 'd' },
		{ "transition", 1, 0, 't' }, { "length", 1, 0, 'l' },  { "copy", 0, 0, 'c' },
		{ "batch", 1, 0, 'b' },
		{ "memory", 1, 0, 'm' }, { 0 },
	};
	double ratios[ROUNDS_MAX], own[ROUNDS_MAX], queued[ROUNDS_MAX], seconds = 0.5;
	u8 secret[64];
	int rounds = 7, option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'r': rounds = atoi(optarg); break;
		case 's': seconds = atof(optarg); break;
		case 'd': depth = (u32)atoi(optarg); break;
		case 't': transition = strtoull(optarg, NULL, 0); break;
		case 'l': length = (u32)atoi(optarg); break;
		case 'c': copy_only = true; break;
		case 'b': batch = (u32)atoi(optarg); break;
		case 'm': memory_size = strtoull(optarg, NULL, 0) << 20; break;
		default: return 1;
		}
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || depth < 2 || depth > REQUESTS_MAX || (depth & (depth - 1)) ||
	    length < 512 || length > TRESOR_SLOT_SIZE || length % 512 || batch < length || !memory_size)
		return 1;
	for (u32 i = 0; i < sizeof(secret); i++)
		secret[i] = (u8)(i * 37 + 1);
	cpu_features = (__builtin_cpu_supports("avx2") ? TRESOR_CPU_AVX2 : 0) |
		       (__builtin_cpu_supports("vaes") ? TRESOR_CPU_VAES256 : 0) |
		       (__builtin_cpu_supports("vaes") && __builtin_cpu_supports("avx512bw") ? TRESOR_CPU_VAES512 : 0);
	xts_expand(&expanded, secret, sizeof(secret));
	memory = vmalloc_user(memory_size);
	if (!memory)
		return 1;
	for (int i = 0; i < rounds; i++) {
		own[i] = alone(seconds);
		queued[i] = through_queue(seconds);
		ratios[i] = queued[i] / own[i];
	}
	printf("{\"length\":%u,\"depth\":%u,\"batch\":%u,\"memoryMib\":%llu,\"transition\":%llu,\"copyOnly\":%s,\"rounds\":%d,"
	       "\"xts\":%.0f,\"queue\":%.0f,\"ratio\":%.3f",
	       length, depth, batch, (unsigned long long)memory_size >> 20, (unsigned long long)transition, copy_only ? "true" : "false", rounds,
	       median(own, rounds), median(queued, rounds), median(ratios, rounds));
	/* Sorted by now. */
	printf(",\"ratioMin\":%.3f,\"ratioMax\":%.3f}\n", ratios[0], ratios[rounds - 1]);
	return 0;
}
