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
 * transfers_binding.c has the methods of the volume on it.
 *
 *   disk.state()				{engine, refusal, failed, inflight, deepest, stranded}
 *   disk.close(milliseconds)			false: the device holds some for ever
 */
#include "addon/disk/disk_binding.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/disk/disk_object.h"
#include "addon/disk/promised.h"
#include "addon/disk/transfers_binding.h"
#include "addon/io/slab.h"
#include "addon/napi/values.h"

#define MOST_THREADS	64u

/* ---- the store's own bytes ---- */

static napi_value disk_sync(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);

	return binding == NULL ? NULL : promised_sync(env, transfers_queue(binding->transfers));
}

static napi_value move_bytes(napi_env env, napi_callback_info info, enum disk_op op)
{
	napi_value argv[2];
	struct disk_object *binding = disk_receive(env, info, 2, argv);
	uint64_t offset;
	uint8_t *bytes;
	size_t length;
	bool direct;

	if (binding == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &offset) || !js_get_bytes(env, argv[1], &bytes, &length))
		return disk_throw_arguments(env);
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
	struct disk_object *binding = disk_receive(env, info, 2, argv);
	uint64_t offset;
	uint32_t length;

	if (binding == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &offset) || !js_get_uint32(env, argv[1], &length) || length == 0)
		return disk_throw_arguments(env);
	return promised_punch(env, transfers_queue(binding->transfers), offset, length);
}

static napi_value disk_state(napi_env env, napi_callback_info info)
{
	struct disk_object *binding = disk_receive(env, info, 0, NULL);
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
static bool close_binding(struct disk_object *binding, int ms)
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
	struct disk_object *binding = disk_receive(env, info, 1, argv);
	uint32_t ms;

	if (binding == NULL)
		return NULL;
	if (!js_get_uint32(env, argv[0], &ms) || ms > INT32_MAX)
		return disk_throw_arguments(env);
	napi_get_boolean(env, close_binding(binding, (int)ms), &result);
	return result;
}

static void finalize(napi_env env, void *data, void *hint)
{
	struct disk_object *binding = data;

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
static uv_poll_t *new_poll(struct disk_object *binding, uv_loop_t *loop, int fd)
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

static bool open_polls(struct disk_object *binding, uv_loop_t *loop)
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
		{ "state", NULL, disk_state, NULL, NULL, NULL, napi_default, NULL },
		{ "close", NULL, disk_close, NULL, NULL, NULL, napi_default, NULL },
	};
	napi_value argv[6], object, buffer;
	const struct plain_volume *volume;
	struct disk_object *binding;
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
		return disk_throw_arguments(env);
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
	transfers_define(env, object);
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
	struct disk_object *binding = NULL;

	if (napi_unwrap(env, object, (void **)&binding) != napi_ok || binding->transfers == NULL)
		return NULL;
	return transfers_volume(binding->transfers);
}

/* diskMemory(bytes): an ArrayBuffer of zeros. */
static napi_value disk_memory(napi_env env, napi_callback_info info)
{
	size_t argc = 1;
	napi_value argv[1], buffer;
	uint32_t size;
	uint8_t *memory;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc != 1 || !js_get_uint32(env, argv[0], &size))
		return js_throw_errno(env, EINVAL, "diskMemory");
	memory = slab_new_huge(size);
	if (memory == NULL)
		return js_throw_errno(env, errno, "cannot map memory for a disk");
	napi_create_external_arraybuffer(env, memory, size, slab_finalize, NULL, &buffer);
	return buffer;
}

void tresor_disk_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "diskMemory", NAPI_AUTO_LENGTH, disk_memory, NULL, &function);
	napi_set_named_property(env, exports, "diskMemory", function);
	napi_create_function(env, "createDisk", NAPI_AUTO_LENGTH, create_disk, NULL, &function);
	napi_set_named_property(env, exports, "createDisk", function);
}
