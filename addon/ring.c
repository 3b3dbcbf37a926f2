/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of /dev/tresor (abi/kmod.h): one thread per queue enters
 * the enclave straight on the mapped slots. Once running, such a thread calls
 * neither JavaScript nor malloc and touches no file: writeback may depend on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "abi/enclave.h"
#include "abi/kmod.h"
#include "addon/addon.h"

/* More lets the kernel's side wait, less enters too often: 16 sectors of 4096, 64 of 512. */
#define BATCH_BYTES	(64u * 1024u)

struct ring;

struct queue {
	struct ring *ring;
	uint32_t index;
	const struct tresor_ring_head *head;	/* read-only mapping */
	uint8_t *data;
	size_t head_size;
	size_t data_size;
	pthread_t thread;
	bool running;
	/* Written by the thread alone, read by anyone with atomics. */
	uint64_t batches;
	uint64_t blocks;
	uint64_t bytes;
	uint64_t failures;
	struct tresor_blocks request;
	struct tresor_block block[TRESOR_BATCH_MAX];
	struct tresor_result results[TRESOR_BATCH_MAX];
	uint16_t slots[TRESOR_BATCH_MAX];
};

struct ring {
	int device;
	bool legacy;
	bool stopped;		/* JavaScript's thread alone */
	bool stopping;		/* atomic: threads are asked to end */
	bool abandoned;		/* a thread did not: what it uses stays */
	uint32_t queue_count;
	uint32_t depth;
	uint32_t spin_us;
	struct tresor_enclave *enclave;	/* a reference */
	struct queue *queues;
	pthread_t event_thread;
	bool event_running;
	napi_env env;
	napi_threadsafe_function notify;
};

static void count(uint64_t *counter, uint64_t by)
{
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

/* ---- the threads ---- */

/* What JavaScript hears beside events: the addresses of these. */
static struct tresor_event lost, detached;

/*
 * A thread ends and nobody asked it to. The module declares a daemon dead that
 * stood still; it still has its keys and may attach anew.
 */
static void report_end(struct ring *ring, int error)
{
	if (__atomic_load_n(&ring->stopping, __ATOMIC_ACQUIRE))
		return;
	napi_call_threadsafe_function(ring->notify, error == ESHUTDOWN ? &detached : &lost,
				      napi_tsfn_nonblocking);
}

/* Requests of the fetched slots into results. Returns false when the enclave is gone. */
static bool work(struct queue *queue, uint32_t fetched)
{
	const struct tresor_descriptor *descriptors =
		(const void *)((const uint8_t *)queue->head + TRESOR_DESCRIPTORS_OFFSET);
	uint64_t bytes = 0, failures = 0;
	uint32_t status;

	for (uint32_t i = 0; i < fetched; i++) {
		const struct tresor_descriptor *from = &descriptors[queue->slots[i]];
		uint64_t data = (uintptr_t)queue->data + (uint64_t)queue->slots[i] * TRESOR_SLOT_SIZE;
		struct tresor_block *block = &queue->block[i];

		*block = (struct tresor_block){
			.in = data,
			.out = data,
			.length = from->length,
			.handle = from->cookie,
			.mode = from->mode,
			.decrypt = from->decrypt,
			.flags = from->flags & TRESOR_PART_CONTINUED ? TRESOR_BLOCK_CONTINUED : 0,
			.status = TRESOR_E_REQUEST,
		};
		memcpy(block->iv, from->iv, sizeof(block->iv));
		bytes += from->length;
	}
	queue->request = (struct tresor_blocks){
		.head = { .op = TRESOR_OP_BLOCKS, .size = sizeof(queue->request) },
		.count = fetched,
		.blocks = (uintptr_t)queue->block,
	};
	status = tresor_enclave_enter(queue->ring->enclave, &queue->request);
	if (status == TRESOR_ENTER_LOST)
		return false;
	for (uint32_t i = 0; i < fetched; i++) {
		const struct tresor_block *block = &queue->block[i];
		uint32_t each = status == TRESOR_OK ? block->status : status;
		struct tresor_result *result = &queue->results[i];

		*result = (struct tresor_result){
			.slot = queue->slots[i],
			.status = each == TRESOR_OK ? 0 : each == TRESOR_E_HANDLE ? -ENOKEY : -EIO,
		};
		memcpy(result->iv, block->iv, sizeof(result->iv));
		failures += each != TRESOR_OK;
	}
	count(&queue->batches, 1);
	count(&queue->blocks, fetched);
	count(&queue->bytes, bytes);
	count(&queue->failures, failures);
	return true;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/*
 * Watches for the next request instead of sleeping, as long as that has paid:
 * a miss costs a credit, a hit earns one; without credit every 64th chance is tried.
 */
static void spin(struct queue *queue, uint64_t seen, int *credit, uint32_t *chances)
{
	uint64_t end;

	if (*credit <= 0 && ++*chances % 64 != 0)
		return;
	end = now_us() + queue->ring->spin_us;
	do {
		for (int i = 0; i < 64; i++) {
			if (__atomic_load_n(&queue->head->submitted, __ATOMIC_ACQUIRE) != seen) {
				*credit = *credit < 8 ? *credit + 1 : 8;
				return;
			}
			__builtin_ia32_pause();
		}
	} while (now_us() < end);
	*credit = *credit > 0 ? *credit - 1 : 0;
}

/* Small, so that all of it can be locked, and is there before it is needed. */
#define STACK_SIZE	(256u * 1024u)

static void lock_stack(void)
{
	pthread_attr_t attributes;
	void *stack;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return;
	if (pthread_attr_getstack(&attributes, &stack, &size) == 0)
		mlock(stack, size);
	pthread_attr_destroy(&attributes);
}

/*
 * The CPUs whose requests the module puts into this queue: a thread that wakes
 * where its request was submitted costs no interrupt to another CPU.
 */
static void stay_near(const struct queue *queue)
{
	uint32_t count = queue->ring->queue_count;
	cpu_set_t allowed, near;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	CPU_ZERO(&near);
	for (uint32_t cpu = queue->index; cpu < CPU_SETSIZE; cpu += count)
		if (CPU_ISSET(cpu, &allowed))
			CPU_SET(cpu, &near);
	if (CPU_COUNT(&near) != 0)
		sched_setaffinity(0, sizeof(near), &near);
}

static void *serve(void *argument)
{
	struct queue *queue = argument;
	struct ring *ring = queue->ring;
	uint64_t seen = 0;
	uint32_t chances = 0, done = 0;
	int credit = 8;
	bool patient = !ring->spin_us;

	/* Without CAP_SYS_RESOURCE refused; then writeback is as safe as any user's. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	lock_stack();
	stay_near(queue);
	for (;;) {
		struct tresor_exchange exchange = {
			.queue = queue->index,
			.flags = patient ? 0 : TRESOR_EXCHANGE_NOWAIT,
			.results = (uintptr_t)queue->results,
			.slots = (uintptr_t)queue->slots,
			.commit = done,
			.fetch = TRESOR_BATCH_MAX,
			.bytes = BATCH_BYTES,
		};

		if (ioctl(ring->device, TRESOR_IOC_EXCHANGE, &exchange) != 0) {
			if (errno != EINTR) {
				report_end(ring, errno);
				return NULL;
			}
			/* What was committed is done; nothing was fetched. */
			done = 0;
			continue;
		}
		done = exchange.fetch;
		seen += done;
		if (done == 0) {
			if (!patient)
				spin(queue, seen, &credit, &chances);
			patient = true;
			continue;
		}
		patient = !ring->spin_us;
		if (!work(queue, done)) {
			report_end(ring, 0);
			return NULL;
		}
	}
}

static void *take_events(void *argument)
{
	struct ring *ring = argument;

	for (;;) {
		struct tresor_event *event = calloc(1, sizeof(*event));

		if (event == NULL) {
			report_end(ring, 0);
			return NULL;
		}
		while (ioctl(ring->device, TRESOR_IOC_EVENT, event) != 0) {
			if (errno != EINTR) {
				report_end(ring, errno);
				free(event);
				return NULL;
			}
		}
		if (napi_call_threadsafe_function(ring->notify, event, napi_tsfn_blocking) != napi_ok) {
			explicit_bzero(event, sizeof(*event));
			free(event);
			return NULL;
		}
	}
}

/* ---- life ---- */

static void unmap_queues(struct ring *ring)
{
	for (uint32_t i = 0; i < ring->queue_count; i++) {
		struct queue *queue = &ring->queues[i];

		if (queue->head != NULL)
			munmap((void *)queue->head, queue->head_size);
		if (queue->data != NULL)
			munmap(queue->data, queue->data_size);
	}
}

/* Returns false when it has not ended by then: it hangs in the enclave. */
static bool join(pthread_t thread, const struct timespec *deadline)
{
	return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, deadline) == 0;
}

/* JavaScript waits meanwhile; a batch in the enclave takes milliseconds. */
#define JOIN_SECONDS	5

/* Idempotent. Requests inside wait in the kernel for the next daemon. */
static void stop(struct ring *ring)
{
	struct timespec deadline;

	if (ring->stopped)
		return;
	ring->stopped = true;
	__atomic_store_n(&ring->stopping, true, __ATOMIC_RELEASE);
	ioctl(ring->device, TRESOR_IOC_STOP);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += JOIN_SECONDS;
	for (uint32_t i = 0; i < ring->queue_count; i++)
		if (ring->queues[i].running && !join(ring->queues[i].thread, &deadline))
			ring->abandoned = true;
	if (ring->event_running && !join(ring->event_thread, &deadline))
		ring->abandoned = true;
	if (ring->notify != NULL)
		napi_release_threadsafe_function(ring->notify, napi_tsfn_abort);
	if (ring->abandoned)
		return;
	unmap_queues(ring);
	close(ring->device);
	tresor_enclave_unref(ring->enclave);
	ring->enclave = NULL;
}

static void free_ring(struct ring *ring)
{
	if (ring->abandoned)
		return;
	free(ring->queues);
	free(ring);
}

static void at_exit(void *argument)
{
	stop(argument);
}

static void finalize(napi_env env, void *data, void *hint)
{
	struct ring *ring = data;

	(void)hint;
	napi_remove_env_cleanup_hook(env, at_exit, ring);
	stop(ring);
	free_ring(ring);
}

static int map_queue(struct ring *ring, uint32_t index)
{
	struct queue *queue = &ring->queues[index];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = TRESOR_DESCRIPTORS_OFFSET + ring->depth * sizeof(struct tresor_descriptor);
	void *area;

	queue->ring = ring;
	queue->index = index;
	queue->head_size = (size + page - 1) & ~(page - 1);
	queue->data_size = (size_t)ring->depth * TRESOR_SLOT_SIZE;
	area = mmap(NULL, queue->head_size, PROT_READ, MAP_SHARED, ring->device,
		    (off_t)TRESOR_MMAP_DESCRIPTORS(index));
	if (area == MAP_FAILED)
		return -1;
	queue->head = area;
	area = mmap(NULL, queue->data_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->device,
		    (off_t)TRESOR_MMAP_DATA(index));
	if (area == MAP_FAILED)
		return -1;
	queue->data = area;
	return 0;
}

static int start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	/* Signals are JavaScript's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, &attributes, body, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	errno = error;
	return error == 0 ? 0 : -1;
}

/* Killed for memory, we would hold up the writeback that frees some. Best effort: root alone may. */
static void outlive_shortage(void)
{
	int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (file < 0)
		return;
	(void)!write(file, "-1000", 5);
	close(file);
}

/*
 * Locks what the queue threads touch: code and data of files, the enclave, the
 * heap, the queues. Not mlockall(2): V8 gives pages of its own heap back with
 * madvise(2), which locked memory refuses, and ends the process over that.
 */
static int lock_memory(const struct ring *ring)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t from, to;
	char line[512], path[16];
	int status;

	if (!maps)
		return -1;
	status = mlock(ring->queues, ring->queue_count * sizeof(*ring->queues));
	while (status == 0 && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %15s", &from, &to, path) != 3)
			continue;
		/* Locked by its nature, and mlock2(2) says ENOMEM to it. */
		if (strcmp(path, "/secretmem") == 0)
			continue;
		/* On fault: the enclave's reserved heap is not to be filled. */
		if (path[0] == '/' || strcmp(path, "[heap]") == 0)
			status = mlock2((void *)from, to - from, MLOCK_ONFAULT);
	}
	fclose(maps);
	return status;
}

static int start(struct ring *ring)
{
	struct tresor_attach attach = {
		.version = TRESOR_KMOD_VERSION,
		.queues = ring->queue_count,
		.depth = ring->depth,
		.flags = ring->legacy ? TRESOR_ATTACH_LEGACY : 0,
	};

	if (lock_memory(ring) != 0)
		return -1;
	outlive_shortage();
	if (ioctl(ring->device, TRESOR_IOC_ATTACH, &attach) != 0)
		return -1;
	for (uint32_t i = 0; i < ring->queue_count; i++)
		if (map_queue(ring, i) != 0)
			return -1;
	for (uint32_t i = 0; i < ring->queue_count; i++) {
		if (start_thread(&ring->queues[i].thread, serve, &ring->queues[i]) != 0)
			return -1;
		ring->queues[i].running = true;
	}
	if (ring->legacy) {
		if (start_thread(&ring->event_thread, take_events, ring) != 0)
			return -1;
		ring->event_running = true;
	}
	return 0;
}

/* ---- JavaScript ---- */

static napi_value throw_errno(napi_env env, const char *what)
{
	const char *name = strerrorname_np(errno);

	napi_throw_error(env, name != NULL ? name : "EIO", what);
	return NULL;
}

static napi_value throw_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "ring: wrong arguments");
	return NULL;
}

static struct ring *unwrap(napi_env env, napi_value value)
{
	void *data = NULL;
	napi_valuetype type;

	if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
	    napi_get_value_external(env, value, &data) != napi_ok)
		return NULL;
	return ((struct ring *)data)->stopped ? NULL : data;
}

static void set_uint32(napi_env env, napi_value object, const char *name, uint32_t number)
{
	napi_value value;

	napi_create_uint32(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

static void set_uint64(napi_env env, napi_value object, const char *name, uint64_t number)
{
	napi_value value;

	napi_create_bigint_uint64(env, number, &value);
	napi_set_named_property(env, object, name, value);
}

/* On JavaScript's thread: onEvent(event), or onEvent("lost" | "detached"). */
static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	struct tresor_event *event = data;
	napi_value argument, bytes, undefined;
	void *copy = NULL;

	(void)context;
	if (env == NULL)
		goto wipe;
	napi_get_undefined(env, &undefined);
	if (event == &lost || event == &detached) {
		napi_create_string_utf8(env, event == &lost ? "lost" : "detached", NAPI_AUTO_LENGTH,
					&argument);
	} else {
		napi_create_object(env, &argument);
		set_uint32(env, argument, "type", event->type);
		set_uint32(env, argument, "cookie", event->cookie);
		set_uint64(env, argument, "id", event->id);
		set_uint32(env, argument, "mode", event->mode);
		set_uint32(env, argument, "size", event->size);
		set_uint32(env, argument, "flags", event->flags);
		if (event->size > TRESOR_BYTES_MAX ||
		    napi_create_buffer_copy(env, event->size, event->bytes, &copy, &bytes) != napi_ok)
			goto wipe;
		napi_set_named_property(env, argument, "bytes", bytes);
	}
	napi_call_function(env, undefined, callback, 1, &argument, NULL);
wipe:
	if (event != &lost && event != &detached) {
		explicit_bzero(event, sizeof(*event));
		free(event);
	}
}

/* ringOpen(enclave, queues, depth, legacy, spinUs, onEvent): external */
static napi_value ring_open(napi_env env, napi_callback_info info)
{
	size_t argc = 6;
	napi_value argv[6], name, result;
	struct tresor_enclave *enclave;
	struct ring *ring;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 6)
		return throw_arguments(env);
	enclave = tresor_enclave_unwrap(env, argv[0]);
	ring = calloc(1, sizeof(*ring));
	if (ring == NULL)
		return throw_errno(env, "out of memory");
	if (enclave == NULL || napi_get_value_uint32(env, argv[1], &ring->queue_count) != napi_ok ||
	    napi_get_value_uint32(env, argv[2], &ring->depth) != napi_ok ||
	    napi_get_value_bool(env, argv[3], &ring->legacy) != napi_ok ||
	    napi_get_value_uint32(env, argv[4], &ring->spin_us) != napi_ok ||
	    ring->queue_count == 0 || ring->queue_count > TRESOR_QUEUES_MAX ||
	    ring->depth > TRESOR_DEPTH_MAX) {
		free(ring);
		return throw_arguments(env);
	}
	ring->env = env;
	ring->queues = calloc(ring->queue_count, sizeof(*ring->queues));
	ring->device = ring->queues != NULL ? open("/dev/tresor", O_RDWR | O_CLOEXEC) : -1;
	if (ring->device < 0) {
		throw_errno(env, "cannot open /dev/tresor");
		free(ring->queues);
		free(ring);
		return NULL;
	}
	ring->enclave = tresor_enclave_ref(enclave);
	napi_create_string_utf8(env, "tresor ring", NAPI_AUTO_LENGTH, &name);
	if (napi_create_threadsafe_function(env, argv[5], NULL, name, 0, 1, NULL, NULL, NULL, deliver,
					    &ring->notify) != napi_ok) {
		stop(ring);
		free_ring(ring);
		return throw_arguments(env);
	}
	if (start(ring) != 0) {
		throw_errno(env, "cannot attach to /dev/tresor");
		stop(ring);
		free_ring(ring);
		return NULL;
	}
	napi_add_env_cleanup_hook(env, at_exit, ring);
	napi_create_external(env, ring, finalize, NULL, &result);
	return result;
}

/* A buffer's bytes into to[size]; false when it is none, or of another size. */
static bool get_bytes(napi_env env, napi_value value, uint8_t *to, size_t size)
{
	void *bytes = NULL;
	size_t given = 0;

	if (napi_get_buffer_info(env, value, &bytes, &given) != napi_ok || given != size)
		return false;
	memcpy(to, bytes, size);
	return true;
}

/* ringAdd(ring, handle, cookie, check): ciphers that hold it already */
static napi_value ring_add(napi_env env, napi_callback_info info)
{
	struct tresor_key_handle request = { 0 };
	napi_value argv[4], result;
	struct ring *ring;
	size_t argc = 4;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	ring = argc >= 4 ? unwrap(env, argv[0]) : NULL;
	if (ring == NULL || !get_bytes(env, argv[1], request.handle, sizeof(request.handle)) ||
	    napi_get_value_uint32(env, argv[2], &request.cookie) != napi_ok ||
	    !get_bytes(env, argv[3], request.check, sizeof(request.check)))
		return throw_arguments(env);
	if (ioctl(ring->device, TRESOR_IOC_ADD, &request) != 0)
		return throw_errno(env, "cannot add the handle");
	napi_create_uint32(env, request.users, &result);
	return result;
}

/* ringDrop(ring, handle): ciphers that still held it */
static napi_value ring_drop(napi_env env, napi_callback_info info)
{
	struct tresor_key_handle request = { 0 };
	napi_value argv[2], result;
	struct ring *ring;
	size_t argc = 2;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	ring = argc >= 2 ? unwrap(env, argv[0]) : NULL;
	if (ring == NULL || !get_bytes(env, argv[1], request.handle, sizeof(request.handle)))
		return throw_arguments(env);
	if (ioctl(ring->device, TRESOR_IOC_DROP, &request) != 0)
		return throw_errno(env, "cannot drop the handle");
	napi_create_uint32(env, request.users, &result);
	return result;
}

static napi_value answer_ioctl(napi_env env, napi_callback_info info, unsigned long command)
{
	size_t argc = 5;
	napi_value argv[5];
	struct tresor_answer answer = { 0 };
	struct ring *ring;
	bool lossless = false;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	ring = argc >= 5 ? unwrap(env, argv[0]) : NULL;
	if (ring == NULL ||
	    napi_get_value_bigint_uint64(env, argv[1], (uint64_t *)&answer.id, &lossless) != napi_ok ||
	    !lossless || napi_get_value_uint32(env, argv[2], &answer.cookie) != napi_ok ||
	    napi_get_value_int32(env, argv[3], &answer.status) != napi_ok ||
	    !get_bytes(env, argv[4], answer.check, sizeof(answer.check)))
		return throw_arguments(env);
	if (ioctl(ring->device, command, &answer) != 0)
		return throw_errno(env, "the answer was not taken");
	return NULL;
}

/* ringAnswer(ring, id, cookie, status, check) */
static napi_value ring_answer(napi_env env, napi_callback_info info)
{
	return answer_ioctl(env, info, TRESOR_IOC_ANSWER);
}

/* ringRelease(ring, id, cookie, 0, check): a key answered as held */
static napi_value ring_release(napi_env env, napi_callback_info info)
{
	return answer_ioctl(env, info, TRESOR_IOC_RELEASE);
}

/*
 * ringProbe(ring, cookie, mode, length, sector): zeros, encrypted as a request
 * of the kernel's would be. Same data, same key, same bytes.
 */
static napi_value ring_probe(napi_env env, napi_callback_info info)
{
	uint32_t cookie = 0, mode = 0, length = 0, status;
	size_t argc = 5;
	napi_value argv[5], result;
	struct tresor_block block;
	struct tresor_blocks request;
	struct ring *ring;
	uint64_t sector = 0;
	bool lossless = false;
	uint8_t *data;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	ring = argc >= 5 ? unwrap(env, argv[0]) : NULL;
	if (ring == NULL || napi_get_value_uint32(env, argv[1], &cookie) != napi_ok ||
	    napi_get_value_uint32(env, argv[2], &mode) != napi_ok ||
	    napi_get_value_uint32(env, argv[3], &length) != napi_ok ||
	    napi_get_value_bigint_uint64(env, argv[4], &sector, &lossless) != napi_ok || !lossless ||
	    length == 0 || length > TRESOR_SLOT_SIZE)
		return throw_arguments(env);
	data = calloc(1, length);
	if (data == NULL)
		return throw_errno(env, "out of memory");
	block = (struct tresor_block){
		.in = (uintptr_t)data,
		.out = (uintptr_t)data,
		.length = length,
		.handle = cookie,
		.mode = (uint16_t)mode,
		.status = TRESOR_E_REQUEST,
	};
	memcpy(block.iv, &sector, sizeof(sector));
	request = (struct tresor_blocks){
		.head = { .op = TRESOR_OP_BLOCKS, .size = sizeof(request) },
		.count = 1,
		.blocks = (uintptr_t)&block,
	};
	status = tresor_enclave_enter(ring->enclave, &request);
	if (status != TRESOR_OK || block.status != TRESOR_OK) {
		free(data);
		errno = status == TRESOR_ENTER_LOST ? ENXIO : EIO;
		return throw_errno(env, "the enclave does not encrypt under this key");
	}
	napi_create_buffer_copy(env, length, data, NULL, &result);
	free(data);
	return result;
}

/* ringCounters(ring): {batches, blocks, bytes, failures}, bigints */
static napi_value ring_counters(napi_env env, napi_callback_info info)
{
	uint64_t sums[4] = { 0 };
	size_t argc = 1;
	napi_value argv[1], result;
	struct ring *ring;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	ring = argc >= 1 ? unwrap(env, argv[0]) : NULL;
	if (ring == NULL)
		return throw_arguments(env);
	for (uint32_t i = 0; i < ring->queue_count; i++) {
		const struct queue *queue = &ring->queues[i];

		sums[0] += __atomic_load_n(&queue->batches, __ATOMIC_RELAXED);
		sums[1] += __atomic_load_n(&queue->blocks, __ATOMIC_RELAXED);
		sums[2] += __atomic_load_n(&queue->bytes, __ATOMIC_RELAXED);
		sums[3] += __atomic_load_n(&queue->failures, __ATOMIC_RELAXED);
	}
	napi_create_object(env, &result);
	set_uint64(env, result, "batches", sums[0]);
	set_uint64(env, result, "blocks", sums[1]);
	set_uint64(env, result, "bytes", sums[2]);
	set_uint64(env, result, "failures", sums[3]);
	return result;
}

/* ringStop(ring): threads end, requests inside wait for the next daemon */
static napi_value ring_stop(napi_env env, napi_callback_info info)
{
	size_t argc = 1;
	napi_value argv[1];
	struct ring *ring;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	ring = argc >= 1 ? unwrap(env, argv[0]) : NULL;
	if (ring != NULL)
		stop(ring);
	return NULL;
}

void tresor_ring_register(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
		{ "ringOpen", ring_open },     { "ringAdd", ring_add },
		{ "ringDrop", ring_drop },     { "ringAnswer", ring_answer },
		{ "ringRelease", ring_release }, { "ringProbe", ring_probe },
		{ "ringCounters", ring_counters }, { "ringStop", ring_stop },
	};

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		napi_value value;

		napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function,
				     NULL, &value);
		napi_set_named_property(env, exports, functions[i].name, value);
	}
}
