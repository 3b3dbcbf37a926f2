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
 *   disk.quiet(start, end)			bytes of the volume: what threads begin there waits. false: try again (quiet.h)
 *   disk.quietReached(), disk.quietOver()
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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "addon/addon.h"
#include "addon/disk/arena.h"
#include "addon/disk/promised.h"
#include "addon/disk/transfers.h"
#include "addon/io/slab.h"
#include "addon/napi/values.h"
#include "addon/sgx/enclave_binding.h"

#define MOST_THREADS	64u

struct binding {
	napi_env env;
	napi_ref on_ended;
	napi_async_context context;
	uv_poll_t *poll, *lanes_poll;	/* freed by their own close callback */
	struct transfers *transfers;	/* NULL: closed */
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
	if (binding->transfers == NULL) {
		js_throw_errno(env, EBADF, "the disk is closed");
		return NULL;
	}
	return binding;
}

/* ---- the store's own bytes ---- */

static napi_value disk_sync(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	return binding == NULL ? NULL : promised_sync(env, transfers_queue(binding->transfers));
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
	direct = transfers_volume(binding->transfers)->direct;
	/* Nothing of it goes through the page cache beside what goes past it: see disk_aligned. */
	if (direct && !disk_aligned(transfers_volume(binding->transfers)->disk, offset, length))
		return js_throw_errno(env, EINVAL, "not whole blocks of the disk");
	return promised_move(env, transfers_queue(binding->transfers), op, argv[1], offset, direct);
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
	return promised_punch(env, transfers_queue(binding->transfers), offset, length);
}

/* ---- the event loop ---- */

static void readable(uv_poll_t *poll, int status, int events)
{
	struct binding *binding = poll->data;
	napi_value callback, receiver;
	napi_handle_scope scope;

	(void)status;
	(void)events;
	if (binding == NULL || binding->transfers == NULL)
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
	const struct lanes *lanes = transfers_lanes(binding->transfers);

	watch_if(binding->poll, disk_queue_pending(transfers_queue(binding->transfers)) > 0);
	if (lanes != NULL)
		watch_if(binding->lanes_poll, lanes_pending(lanes) > 0);
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
	volume = transfers_volume(binding->transfers);
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

static napi_value disk_quiet(napi_env env, napi_callback_info info)
{
	napi_value argv[2], set;
	struct binding *binding = receive(env, info, 2, argv);
	uint64_t start, end;

	if (binding == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &start) || !js_get_number(env, argv[1], &end) || start >= end)
		return throw_arguments(env);
	napi_get_boolean(env, quiet_set(&transfers_volume(binding->transfers)->quiet, start, end), &set);
	return set;
}

static napi_value disk_quiet_reached(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);
	napi_value reached;

	if (binding == NULL)
		return NULL;
	napi_get_boolean(env, quiet_reached(&transfers_volume(binding->transfers)->quiet), &reached);
	return reached;
}

static napi_value disk_quiet_over(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	if (binding != NULL)
		quiet_clear(&transfers_volume(binding->transfers)->quiet);
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
	volume_key_set(transfers_volume(binding->transfers)->key, enclave, handle);
	return NULL;
}

static napi_value disk_clear_key(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	if (binding != NULL)
		volume_key_clear(transfers_volume(binding->transfers)->key);
	return NULL;
}

static napi_value disk_reserve(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct binding *binding = receive(env, info, 1, argv);
	uint32_t length;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &length))
		return throw_arguments(env);
	return number(env, transfers_reserve(binding->transfers, length));
}

static napi_value disk_release(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	uint32_t at, length;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &at) || !js_get_uint32(env, argv[1], &length) ||
	    !transfers_hold(binding->transfers, at, length))
		return throw_arguments(env);
	transfers_release(binding->transfers, at, length);
	return NULL;
}

/* (token, offset, length, at) of a request that is told by a row. False, thrown, when something is wrong. */
static bool get_request(napi_env env, const struct binding *binding, const napi_value *argv,
			struct transfer_request *request)
{
	if (js_get_uint32(env, argv[0], &request->token) && js_get_number(env, argv[1], &request->offset) &&
	    js_get_uint32(env, argv[2], &request->length) && js_get_uint32(env, argv[3], &request->at) &&
	    transfers_hold(binding->transfers, request->at, request->length))
		return true;
	throw_arguments(env);
	return false;
}

static napi_value put(napi_env env, struct binding *binding, const struct transfer_request *request, uint8_t *plaintext)
{
	if (!transfers_put(binding->transfers, request, plaintext))
		js_throw_errno(env, ENOBUFS, "too many transfers");
	return NULL;
}

static napi_value disk_read(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct binding *binding = receive(env, info, 4, argv);
	struct transfer_request request = { .op = PLAIN_READ };

	if (binding == NULL || !get_request(env, binding, argv, &request))
		return NULL;
	return put(env, binding, &request, NULL);
}

static napi_value disk_write(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct binding *binding = receive(env, info, 5, argv);
	struct transfer_request request = { .op = PLAIN_WRITE };

	if (binding == NULL)
		return NULL;
	if (!js_get_bool(env, argv[4], &request.durable))
		return throw_arguments(env);
	return get_request(env, binding, argv, &request) ? put(env, binding, &request, NULL) : NULL;
}

static napi_value disk_write_from(napi_env env, napi_callback_info info)
{
	napi_value argv[7];
	struct binding *binding = receive(env, info, 7, argv);
	struct transfer_request request = { .op = PLAIN_WRITE };
	struct slab memory = { 0 };
	uint32_t from;
	void *start;

	if (binding == NULL || !get_request(env, binding, argv, &request))
		return NULL;
	if (!js_get_bool(env, argv[4], &request.durable) ||
	    napi_get_arraybuffer_info(env, argv[5], &start, &memory.size) != napi_ok ||
	    !js_get_uint32(env, argv[6], &from) || !slab_holds(&memory, from, request.length))
		return throw_arguments(env);
	return put(env, binding, &request, (uint8_t *)start + from);
}

static napi_value disk_turn(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct binding *binding = receive(env, info, 2, argv);
	uint32_t most, told;
	double *rows;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[1], &most) || (rows = slab_table(env, argv[0], most, TRANSFERS_COLUMNS)) == NULL)
		return throw_arguments(env);
	told = transfers_turn(binding->transfers, rows, most);
	watch(binding);
	return number(env, told);
}

static napi_value disk_wipe(napi_env env, napi_callback_info info)
{
	struct binding *binding = receive(env, info, 0, NULL);

	if (binding != NULL)
		transfers_wipe(binding->transfers);
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
	disk = transfers_volume(binding->transfers)->disk;
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
	bool closed;

	if (binding->transfers == NULL)
		return true;
	volume_key_clear(transfers_volume(binding->transfers)->key);
	closed = transfers_close(binding->transfers, ms);
	binding->transfers = NULL;
	end_poll(binding->poll);
	end_poll(binding->lanes_poll);
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
	const struct lanes *lanes = transfers_lanes(binding->transfers);

	binding->poll = new_poll(binding, loop, disk_queue_fd(transfers_queue(binding->transfers)));
	if (binding->poll == NULL || lanes == NULL)
		return binding->poll != NULL;
	binding->lanes_poll = new_poll(binding, loop, lanes_fd(lanes));
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
		{ "quiet", NULL, disk_quiet, NULL, NULL, NULL, napi_default, NULL },
		{ "quietReached", NULL, disk_quiet_reached, NULL, NULL, NULL, napi_default, NULL },
		{ "quietOver", NULL, disk_quiet_over, NULL, NULL, NULL, napi_default, NULL },
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
	const struct plain_volume *volume;
	struct binding *binding;
	struct disk *disk;
	uint8_t *memory;
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
	if (binding != NULL) {
		binding->env = env;
		binding->transfers = transfers_open(disk, past, threads);
	}
	if (binding == NULL || binding->transfers == NULL || !open_polls(binding, loop)) {
		const int cause = errno;

		disk_unref(disk);
		if (binding != NULL && binding->transfers != NULL)
			transfers_close(binding->transfers, 0);
		free(binding);
		return js_throw_errno(env, cause, "cannot start I/O on the store");
	}
	disk_unref(disk);
	napi_async_init(env, NULL, js_text(env, "tresor disk"), &binding->context);
	napi_create_reference(env, argv[5], 1, &binding->on_ended);
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_wrap(env, object, binding, finalize, NULL, NULL);
	memory = transfers_memory(binding->transfers);
	slab_ref(memory);
	napi_create_external_arraybuffer(env, memory, TRANSFERS_MEMORY, slab_finalize, NULL, &buffer);
	napi_set_named_property(env, object, "buffer", buffer);
	volume = transfers_volume(binding->transfers);
	js_set_uint32(env, object, "block", volume->disk->direct < 0 ? 0 : volume->disk->block);
	return object;
}

struct plain_volume *tresor_disk_unwrap(napi_env env, napi_value object)
{
	struct binding *binding = NULL;

	if (napi_unwrap(env, object, (void **)&binding) != napi_ok || binding->transfers == NULL)
		return NULL;
	return transfers_volume(binding->transfers);
}

void tresor_disk_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "createDisk", NAPI_AUTO_LENGTH, create_disk, NULL, &function);
	napi_set_named_property(env, exports, "createDisk", function);
}
