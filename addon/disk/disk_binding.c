/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store as JavaScript's thread uses it: a queue of its own on the event loop.
 *
 *   createDisk(cached, direct, choice, past, threads, onEnded) -> Disk	both descriptors are duplicated; direct -1: none;
 *						enum disk_choice; past: everything goes past the page cache;
 *						threads: beside the event loop's, for transfers
 *   disk.sync() -> Promise			fdatasync(2); once it failed, always
 *   disk.get(offset, bytes), disk.put(offset, bytes), disk.punch(offset, length) -> Promise
 *						of the store's own bytes; past the page cache if writes go there
 *   disk.block					bytes: offsets and lengths past the page cache; 0: there is no way past
 *
 * Transfers: whole sectors in plaintext, in the memory of `buffer`, told by rows instead of promises:
 *
 *   disk.describe(offset, size, sectorSize, readOnly, past)	the volume on it
 *   disk.setKey(enclave, handle), disk.clearKey()
 *   disk.reserve(length)			where in `buffer`; -1: no room now
 *   disk.release(at, length)
 *   disk.read(token, offset, length, at), disk.write(token, offset, length, at, durable)
 *   disk.writeFrom(token, offset, length, at, durable, memory, from)
 *						plaintext in another ArrayBuffer, which is read by the next turn only and
 *						does not change; `at` is where its ciphertext goes. ENOKEY in a later turn:
 *						nothing was written, and the plaintext is at `at`
 *   disk.turn(rows)				begins what was asked for; how many have ended: rows of (token, errno).
 *						onEnded() is called when another turn has some
 *						What has a promise is begun by a turn, too
 *   disk.wipe()				what nobody has
 *   disk.state()				{engine, refusal, failed, inflight, deepest, stranded}
 *   disk.close(milliseconds)			false: the device holds some for ever
 */
#include "addon/disk/disk_binding.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include "addon/addon.h"
#include "addon/disk/arena.h"
#include "addon/disk/lanes.h"
#include "addon/disk/promised.h"
#include "addon/io/slab.h"
#include "addon/napi/values.h"
#include "addon/sgx/enclave_binding.h"

#define ENTRIES		256u
#define ARENA_SIZE	(8u << 20)
#define COLUMNS		2u	/* of a row: token, errno */
#define MOST_THREADS	64u

/* Whole sectors, by a token. */
struct transfer {
	struct lane_io io;
	struct iovec plaintext;	/* of a write that is not in place */
	uint8_t *copy;		/* of the arena's, where that is for a lane; or NULL */
	struct binding *binding;
	uint32_t token;
	struct transfer *next;	/* free, or ended and not told */
};

struct binding {
	napi_env env;
	napi_ref on_ended;
	napi_async_context context;
	uv_poll_t *poll, *lanes_poll;	/* freed by their own close callback */
	struct plain_volume *volume;	/* NULL: closed */
	struct plain_queue *queue;
	struct lanes *lanes;	/* NULL: there are none */
	uint8_t *memory;	/* a slab; the arena's */
	struct arena arena;
	struct transfer *transfers, *unused;
	struct transfer *ended, **last_ended;
};

static napi_value throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "disk");
}

static napi_value number(napi_env env, double value)
{
	napi_value result;

	napi_create_double(env, value, &result);
	return result;
}

/* `this` and the arguments; NULL, thrown, when something is missing or the disk was closed. */
static struct binding *receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct binding *binding = NULL;
	napi_value self;

	if (!js_arguments(env, info, count, argv, &self) || napi_unwrap(env, self, (void **)&binding) != napi_ok) {
		throw_arguments(env);
		return NULL;
	}
	if (binding->volume == NULL) {
		js_throw_errno(env, EBADF, "the disk is closed");
		return NULL;
	}
	return binding;
}

/* ---- the store's own bytes ---- */

static napi_value disk_sync(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	return binding == NULL ? NULL : promised_sync(env, plain_queue_disk(binding->queue));
}

static napi_value move_bytes(napi_env env, napi_callback_info info, enum disk_op op)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	uint64_t offset;
	uint8_t *bytes;
	size_t length;
	bool direct;

	if (binding == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &offset) || !js_get_bytes(env, argv[1], &bytes, &length))
		return throw_arguments(env);
	direct = binding->volume->direct;
	/* Nothing of it goes through the page cache beside what goes past it: see disk_aligned. */
	if (direct && !disk_aligned(binding->volume->disk, offset, length))
		return js_throw_errno(env, EINVAL, "not whole blocks of the disk");
	return promised_move(env, plain_queue_disk(binding->queue), op, argv[1], offset, direct);
}

static napi_value disk_get(napi_env env, napi_callback_info info)
{
	return move_bytes(env, info, DISK_READ);
}

static napi_value disk_put(napi_env env, napi_callback_info info)
{
	return move_bytes(env, info, DISK_WRITE);
}

static napi_value disk_punch(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	uint64_t offset;
	uint32_t length;

	if (binding == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &offset) || !js_get_uint32(env, argv[1], &length) || length == 0)
		return throw_arguments(env);
	return promised_punch(env, plain_queue_disk(binding->queue), offset, length);
}

/* ---- the event loop ---- */

static void readable(uv_poll_t *poll, int status, int events)
{
	struct binding *binding = poll->data;
	napi_value callback, receiver;
	napi_handle_scope scope;

	(void)status;
	(void)events;
	if (binding == NULL || binding->volume == NULL)
		return;
	napi_open_handle_scope(binding->env, &scope);
	napi_get_reference_value(binding->env, binding->on_ended, &callback);
	napi_get_global(binding->env, &receiver);
	napi_make_callback(binding->env, binding->context, receiver, callback, 0, NULL, NULL);
	napi_close_handle_scope(binding->env, scope);
}

static void watch_if(uv_poll_t *poll, bool busy)
{
	if (busy == (uv_is_active((uv_handle_t *)poll) != 0))
		return;
	if (busy)
		uv_poll_start(poll, UV_READABLE, readable);
	else
		uv_poll_stop(poll);
}

/* The event loop waits for what is under way, and for nothing else. */
static void watch(struct binding *binding)
{
	watch_if(binding->poll, disk_queue_pending(plain_queue_disk(binding->queue)) > 0);
	if (binding->lanes != NULL)
		watch_if(binding->lanes_poll, lanes_pending(binding->lanes) > 0);
}

/* ---- transfers ---- */

static napi_value disk_describe(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct binding *binding = receive(env, info, 5, argv);
	struct plain_volume *volume;
	uint64_t offset, size;
	uint32_t sector_size;
	bool read_only, past;

	if (binding == NULL)
		return NULL;
	volume = binding->volume;
	if (!js_get_number(env, argv[0], &offset) || !js_get_number(env, argv[1], &size) ||
	    !js_get_uint32(env, argv[2], &sector_size) || !js_get_bool(env, argv[3], &read_only) ||
	    !js_get_bool(env, argv[4], &past) || sector_size < 512 || sector_size > ARENA_PAGE)
		return throw_arguments(env);
	volume->offset = offset;
	volume->sector_size = sector_size;
	volume->read_only = read_only;
	volume->direct = volume->direct || (past && volume->disk->direct >= 0);
	__atomic_store_n(&volume->size, size, __ATOMIC_RELAXED);
	return NULL;
}

static napi_value disk_set_key(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	struct tresor_enclave *enclave = binding == NULL ? NULL : tresor_enclave_unwrap(env, argv[0]);
	uint32_t handle;

	if (binding == NULL)
		return NULL;
	if (enclave == NULL || !js_get_uint32(env, argv[1], &handle))
		return throw_arguments(env);
	volume_key_set(binding->volume->key, enclave, handle);
	return NULL;
}

static napi_value disk_clear_key(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	if (binding != NULL)
		volume_key_clear(binding->volume->key);
	return NULL;
}

static napi_value disk_reserve(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct binding *binding = receive(env, info, 1, argv);
	uint32_t length;
	uint8_t *memory;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &length))
		return throw_arguments(env);
	memory = arena_take(&binding->arena, length);
	return number(env, memory == NULL ? -1 : (double)(memory - binding->arena.memory));
}

/* Whole pages of the arena that start at `at`. */
static bool in_arena(const struct binding *binding, uint32_t at, uint32_t length)
{
	return at % ARENA_PAGE == 0 && length > 0 && length <= ARENA_PIECE && at <= binding->arena.size &&
	       length <= binding->arena.size - at;
}

static napi_value disk_release(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	uint32_t at, length;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &at) || !js_get_uint32(env, argv[1], &length) ||
	    !in_arena(binding, at, length))
		return throw_arguments(env);
	arena_give(&binding->arena, binding->arena.memory + at, length);
	return NULL;
}

static void transfer_ended(struct transfer *transfer)
{
	if (transfer->copy != NULL) {
		if (transfer->io.io.error == ENOKEY)
			memcpy(transfer->io.io.ciphertext, transfer->copy, transfer->io.io.length);
		arena_give(&transfer->binding->arena, transfer->copy, transfer->io.io.length);
	}
	transfer->next = NULL;
	*transfer->binding->last_ended = transfer;
	transfer->binding->last_ended = &transfer->next;
}

static void transfer_done(struct plain_io *io)
{
	transfer_ended((struct transfer *)(void *)((char *)io - offsetof(struct transfer, io.io)));
}

static void take_ended(struct binding *binding)
{
	struct lane_io *io = binding->lanes == NULL ? NULL : lanes_take(binding->lanes);

	while (io != NULL) {
		struct lane_io *next = io->next;

		transfer_ended((struct transfer *)(void *)((char *)io - offsetof(struct transfer, io)));
		io = next;
	}
}

/* One that comes alone is carried out here: to wake another thread takes longer than it saves. */
static bool is_alone(const struct binding *binding)
{
	return disk_queue_pending(plain_queue_disk(binding->queue)) == 0 && lanes_pending(binding->lanes) == 0;
}

static void put_transfer(struct binding *binding, struct transfer *transfer)
{
	if (binding->lanes == NULL || is_alone(binding))
		plain_queue_put(binding->queue, &transfer->io.io);
	else
		lanes_put(binding->lanes, &transfer->io);
}

/* A lane reads it later than the next turn. */
static void put_plaintext(struct binding *binding, struct transfer *transfer)
{
	const bool alone = binding->lanes == NULL || is_alone(binding);

	if (!alone)
		transfer->copy = arena_take(&binding->arena, transfer->io.io.length);
	if (transfer->copy == NULL) {
		/* The enclave wants it 8-byte aligned. */
		if ((uintptr_t)transfer->plaintext.iov_base % 8 == 0) {
			transfer->io.io.pieces = &transfer->plaintext;
			transfer->io.io.count = 1;
		} else {
			memcpy(transfer->io.io.ciphertext, transfer->plaintext.iov_base, transfer->io.io.length);
		}
		plain_queue_put(binding->queue, &transfer->io.io);
		return;
	}
	memcpy(transfer->copy, transfer->plaintext.iov_base, transfer->io.io.length);
	transfer->plaintext.iov_base = transfer->copy;
	transfer->io.io.pieces = &transfer->plaintext;
	transfer->io.io.count = 1;
	lanes_put(binding->lanes, &transfer->io);
}

/* (token, offset, length, at): NULL, thrown, when something is wrong. ENOBUFS: too many are under way. Not begun. */
static struct transfer *new_transfer(napi_env env, struct binding *binding, const napi_value *argv, enum plain_op op)
{
	struct transfer *transfer = binding->unused;
	uint32_t token, length, at;
	uint64_t offset;

	if (!js_get_uint32(env, argv[0], &token) || !js_get_number(env, argv[1], &offset) ||
	    !js_get_uint32(env, argv[2], &length) || !js_get_uint32(env, argv[3], &at) ||
	    !in_arena(binding, at, length)) {
		throw_arguments(env);
		return NULL;
	}
	if (transfer == NULL) {
		js_throw_errno(env, ENOBUFS, "too many transfers");
		return NULL;
	}
	binding->unused = transfer->next;
	transfer->binding = binding;
	transfer->token = token;
	transfer->copy = NULL;
	transfer->io.io = (struct plain_io){
		.op = op,
		.offset = offset,
		.length = length,
		.ciphertext = binding->arena.memory + at,
		.done = transfer_done,
	};
	return transfer;
}

static napi_value disk_read(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct binding *binding = receive(env, info, 4, argv);
	struct transfer *transfer = binding == NULL ? NULL : new_transfer(env, binding, argv, PLAIN_READ);

	if (transfer != NULL)
		put_transfer(binding, transfer);
	return NULL;
}

static napi_value disk_write(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct binding *binding = receive(env, info, 5, argv);
	struct transfer *transfer;
	bool durable;

	if (binding == NULL)
		return NULL;
	if (!js_get_bool(env, argv[4], &durable))
		return throw_arguments(env);
	transfer = new_transfer(env, binding, argv, PLAIN_WRITE);
	if (transfer == NULL)
		return NULL;
	transfer->io.io.fua = durable;
	put_transfer(binding, transfer);
	return NULL;
}

static napi_value disk_write_from(napi_env env, napi_callback_info info)
{
	napi_value argv[7];
	struct binding *binding = receive(env, info, 7, argv);
	struct slab memory = { 0 };
	struct transfer *transfer;
	uint32_t from, length;
	void *start;
	bool durable;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[2], &length) || !js_get_bool(env, argv[4], &durable) ||
	    napi_get_arraybuffer_info(env, argv[5], &start, &memory.size) != napi_ok ||
	    !js_get_uint32(env, argv[6], &from) || !slab_holds(&memory, from, length))
		return throw_arguments(env);
	memory.memory = start;
	transfer = new_transfer(env, binding, argv, PLAIN_WRITE);
	if (transfer == NULL)
		return NULL;
	transfer->io.io.fua = durable;
	transfer->plaintext = (struct iovec){ memory.memory + from, length };
	put_plaintext(binding, transfer);
	return NULL;
}

static napi_value disk_turn(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	uint32_t most, told = 0;
	double *rows;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[1], &most) || (rows = slab_table(env, argv[0], most, COLUMNS)) == NULL)
		return throw_arguments(env);
	if (binding->lanes != NULL)
		lanes_go(binding->lanes);
	while (plain_queue_turn(binding->queue, false))
		;
	take_ended(binding);
	while (told < most && binding->ended != NULL) {
		struct transfer *transfer = binding->ended;

		binding->ended = transfer->next;
		if (binding->ended == NULL)
			binding->last_ended = &binding->ended;
		rows[told * COLUMNS] = transfer->token;
		rows[told * COLUMNS + 1] = transfer->io.io.error;
		told++;
		transfer->next = binding->unused;
		binding->unused = transfer;
	}
	watch(binding);
	return number(env, told);
}

static napi_value disk_wipe(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	if (binding != NULL)
		arena_wipe(&binding->arena);
	return NULL;
}

static napi_value disk_state(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);
	const struct disk *disk;
	napi_value state;
	int refusal;

	if (binding == NULL)
		return NULL;
	disk = binding->volume->disk;
	napi_create_object(env, &state);
	js_set_text(env, state, "engine",
		    __atomic_load_n(&disk->engine, __ATOMIC_ACQUIRE) == DISK_RING ? "io_uring" : "threads");
	refusal = __atomic_load_n(&disk->refusal, __ATOMIC_RELAXED);
	js_set_text(env, state, "refusal", refusal == 0 ? "" : js_errno_name(refusal));
	js_set_text(env, state, "failed",
		    __atomic_load_n(&disk->failed, __ATOMIC_ACQUIRE) == 0 ? "" : js_errno_name(disk->failed));
	js_set_uint32(env, state, "inflight", __atomic_load_n(&disk->inflight, __ATOMIC_RELAXED));
	js_set_uint32(env, state, "deepest", __atomic_load_n(&disk->deepest, __ATOMIC_RELAXED));
	js_set_uint32(env, state, "stranded", __atomic_load_n(&disk->stranded, __ATOMIC_RELAXED));
	return state;
}

/* ---- life ---- */

static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void end_poll(uv_poll_t *poll)
{
	if (poll == NULL)
		return;
	poll->data = NULL;
	uv_close((uv_handle_t *)poll, poll_closed);
}

/* False: the device holds requests for ever; what they use stays. */
static bool close_binding(struct binding *binding, int ms)
{
	struct lane_io *rest;
	bool closed;

	if (binding->volume == NULL)
		return true;
	volume_key_clear(binding->volume->key);
	if (binding->lanes != NULL)
		lanes_end(binding->lanes, ms);
	closed = plain_queue_close(binding->queue, ms);
	if (binding->lanes != NULL)
		closed = lanes_close(binding->lanes, &rest) && closed;
	end_poll(binding->poll);
	end_poll(binding->lanes_poll);
	if (closed) {
		arena_close(&binding->arena);
		slab_unref(binding->memory);
		free(binding->transfers);
	}
	plain_volume_unref(binding->volume);
	binding->volume = NULL;
	napi_delete_reference(binding->env, binding->on_ended);
	napi_async_destroy(binding->env, binding->context);
	return closed;
}

static napi_value disk_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct binding *binding = receive(env, info, 1, argv);
	uint32_t ms;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &ms) || ms > INT32_MAX)
		return throw_arguments(env);
	napi_get_boolean(env, close_binding(binding, (int)ms), &result);
	return result;
}

static void finalize(napi_env env, void *data, void *hint)
{
	struct binding *binding = data;

	(void)env;
	(void)hint;
	/* Forgotten by JavaScript with requests under way: their promises are gone with it. */
	if (!close_binding(binding, 1000))
		return;
	free(binding);
}

static bool open_queue(struct binding *binding, struct disk *disk, bool past, uint32_t threads)
{
	struct disk_queue_options options = { .entries = ENTRIES };

	binding->volume = plain_volume_new(disk);
	binding->transfers = calloc(ENTRIES, sizeof(*binding->transfers));
	binding->memory = slab_new(ARENA_SIZE);
	if (binding->volume == NULL || binding->transfers == NULL || binding->memory == NULL ||
	    !arena_open(&binding->arena, binding->memory, ARENA_SIZE)) {
		errno = ENOMEM;
		return false;
	}
	binding->volume->direct = past && disk->direct >= 0;
	/* Plaintext in flight, not to be swapped out where the limit of locked memory allows it; and the disk writes there. */
	mlock(binding->memory, ARENA_SIZE);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		binding->transfers[i].next = binding->unused;
		binding->unused = &binding->transfers[i];
	}
	binding->last_ended = &binding->ended;
	options.memory = binding->arena.memory;
	options.memory_size = binding->arena.size;
	binding->queue = plain_queue_open(binding->volume, &options);
	if (binding->queue == NULL)
		return false;
	/* This thread has others to serve. */
	plain_queue_leave_writes(binding->queue);
	if (threads > 0)
		binding->lanes = lanes_open(binding->volume, &options, threads);
	return threads == 0 || binding->lanes != NULL;
}

static void abandon(struct binding *binding)
{
	struct lane_io *none;

	if (binding->lanes != NULL) {
		lanes_end(binding->lanes, 0);
		lanes_close(binding->lanes, &none);
	}
	if (binding->queue != NULL)
		plain_queue_close(binding->queue, 0);
	arena_close(&binding->arena);
	if (binding->memory != NULL)
		slab_unref(binding->memory);
	free(binding->transfers);
	if (binding->volume != NULL)
		plain_volume_unref(binding->volume);
	free(binding);
}

static int duplicate(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static struct disk *open_disk(int cached, int direct, enum disk_choice choice)
{
	const int own = duplicate(cached), own_direct = duplicate(direct);
	struct disk *disk = own < 0 || (direct >= 0 && own_direct < 0) ? NULL : disk_open(own, own_direct, choice);
	const int cause = errno;

	if (disk != NULL)
		return disk;
	if (own >= 0)
		close(own);
	if (own_direct >= 0)
		close(own_direct);
	errno = cause;
	return NULL;
}

/* NULL with errno. */
static uv_poll_t *new_poll(struct binding *binding, uv_loop_t *loop, int fd)
{
	uv_poll_t *poll = malloc(sizeof(*poll));
	int error;

	if (poll == NULL)
		return NULL;
	error = uv_poll_init(loop, poll, fd);
	if (error == 0) {
		poll->data = binding;
		return poll;
	}
	free(poll);
	errno = -error;
	return NULL;
}

static bool open_polls(struct binding *binding, uv_loop_t *loop)
{
	binding->poll = new_poll(binding, loop, disk_queue_fd(plain_queue_disk(binding->queue)));
	if (binding->poll == NULL || binding->lanes == NULL)
		return binding->poll != NULL;
	binding->lanes_poll = new_poll(binding, loop, lanes_fd(binding->lanes));
	if (binding->lanes_poll != NULL)
		return true;
	/* It is the loop's already, who frees it. */
	end_poll(binding->poll);
	binding->poll = NULL;
	return false;
}

static napi_value create_disk(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ "sync", NULL, disk_sync, NULL, NULL, NULL, napi_default, NULL },
		{ "get", NULL, disk_get, NULL, NULL, NULL, napi_default, NULL },
		{ "put", NULL, disk_put, NULL, NULL, NULL, napi_default, NULL },
		{ "punch", NULL, disk_punch, NULL, NULL, NULL, napi_default, NULL },
		{ "describe", NULL, disk_describe, NULL, NULL, NULL, napi_default, NULL },
		{ "setKey", NULL, disk_set_key, NULL, NULL, NULL, napi_default, NULL },
		{ "clearKey", NULL, disk_clear_key, NULL, NULL, NULL, napi_default, NULL },
		{ "reserve", NULL, disk_reserve, NULL, NULL, NULL, napi_default, NULL },
		{ "release", NULL, disk_release, NULL, NULL, NULL, napi_default, NULL },
		{ "read", NULL, disk_read, NULL, NULL, NULL, napi_default, NULL },
		{ "write", NULL, disk_write, NULL, NULL, NULL, napi_default, NULL },
		{ "writeFrom", NULL, disk_write_from, NULL, NULL, NULL, napi_default, NULL },
		{ "turn", NULL, disk_turn, NULL, NULL, NULL, napi_default, NULL },
		{ "wipe", NULL, disk_wipe, NULL, NULL, NULL, napi_default, NULL },
		{ "state", NULL, disk_state, NULL, NULL, NULL, napi_default, NULL },
		{ "close", NULL, disk_close, NULL, NULL, NULL, napi_default, NULL },
	};
	napi_value argv[6], object, buffer;
	struct binding *binding;
	struct disk *disk;
	uv_loop_t *loop;
	int32_t cached, direct, choice;
	uint32_t threads;
	bool past;

	if (!js_arguments(env, info, 6, argv, NULL) || !js_get_int32(env, argv[0], &cached) ||
	    !js_get_int32(env, argv[1], &direct) || !js_get_int32(env, argv[2], &choice) || choice < DISK_CHOOSE ||
	    choice > DISK_ONLY_POOL || !js_get_bool(env, argv[3], &past) || !js_get_uint32(env, argv[4], &threads) ||
	    threads > MOST_THREADS || napi_get_uv_event_loop(env, &loop) != napi_ok)
		return throw_arguments(env);
	disk = open_disk(cached, direct, (enum disk_choice)choice);
	if (disk == NULL)
		return js_throw_errno(env, errno, "cannot start I/O on the store");
	binding = calloc(1, sizeof(*binding));
	if (binding != NULL)
		binding->env = env;
	if (binding == NULL || !open_queue(binding, disk, past, threads) || !open_polls(binding, loop)) {
		const int cause = errno;

		disk_unref(disk);
		if (binding != NULL)
			abandon(binding);
		return js_throw_errno(env, cause, "cannot start I/O on the store");
	}
	disk_unref(disk);
	napi_async_init(env, NULL, js_text(env, "tresor disk"), &binding->context);
	napi_create_reference(env, argv[5], 1, &binding->on_ended);
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_wrap(env, object, binding, finalize, NULL, NULL);
	slab_ref(binding->memory);
	napi_create_external_arraybuffer(env, binding->memory, ARENA_SIZE, slab_finalize, NULL, &buffer);
	napi_set_named_property(env, object, "buffer", buffer);
	js_set_uint32(env, object, "block", binding->volume->disk->direct < 0 ? 0 : binding->volume->disk->block);
	return object;
}

struct plain_volume *tresor_disk_unwrap(napi_env env, napi_value object)
{
	struct binding *binding = NULL;

	return napi_unwrap(env, object, (void **)&binding) == napi_ok ? binding->volume : NULL;
}

void tresor_disk_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "createDisk", NAPI_AUTO_LENGTH, create_disk, NULL, &function);
	napi_set_named_property(env, exports, "createDisk", function);
}
