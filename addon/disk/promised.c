/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/disk/promised.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addon/napi/values.h"

#define PAGE	4096u

struct promised {
	struct disk_io io;
	napi_env env;
	napi_deferred deferred;
	napi_ref held;		/* the bytes; NULL: there are none */
	uint8_t *bytes;		/* the caller's */
	uint8_t *aligned;	/* what the disk moves instead; or NULL */
};

static void forget(struct promised *promised)
{
	if (promised->held != NULL)
		napi_delete_reference(promised->env, promised->held);
	free(promised->aligned);
	free(promised);
}

static void done(struct disk_io *io)
{
	struct promised *promised = (struct promised *)(void *)io;
	const napi_env env = promised->env;
	napi_value undefined;

	if (io->error == 0) {
		if (io->op == DISK_READ && promised->aligned != NULL)
			memcpy(promised->bytes, promised->aligned, io->length);
		napi_get_undefined(env, &undefined);
		napi_resolve_deferred(env, promised->deferred, undefined);
	} else {
		napi_reject_deferred(env, promised->deferred,
				     js_error(env, js_errno_name(io->error), strerrordesc_np(io->error)));
	}
	forget(promised);
}

static napi_value put(napi_env env, struct disk_queue *queue, struct promised request)
{
	struct promised *promised = malloc(sizeof(*promised));
	napi_value promise;

	if (promised == NULL) {
		if (request.held != NULL)
			napi_delete_reference(env, request.held);
		free(request.aligned);
		return js_throw_errno(env, ENOMEM, "disk: out of memory");
	}
	*promised = request;
	promised->env = env;
	promised->io.done = done;
	napi_create_promise(env, &promised->deferred, &promise);
	disk_queue_put(queue, &promised->io);
	return promise;
}

napi_value promised_sync(napi_env env, struct disk_queue *queue)
{
	return put(env, queue, (struct promised){ .io = { .op = DISK_SYNC } });
}

napi_value promised_punch(napi_env env, struct disk_queue *queue, uint64_t offset, uint32_t length)
{
	return put(env, queue, (struct promised){ .io = { .op = DISK_PUNCH, .offset = offset, .length = length } });
}

napi_value promised_move(napi_env env, struct disk_queue *queue, enum disk_op op, napi_value bytes, uint64_t offset,
			 bool direct)
{
	struct promised request = { .io = { .op = op, .direct = direct, .offset = offset } };
	size_t length;

	if (!js_get_bytes(env, bytes, &request.bytes, &length) || length == 0 || length > INT32_MAX)
		return js_throw_arguments(env, "disk");
	request.io.length = (uint32_t)length;
	request.io.memory = request.bytes;
	if (direct && (uintptr_t)request.bytes % PAGE != 0) {
		request.aligned = aligned_alloc(PAGE, (length + PAGE - 1) / PAGE * PAGE);
		if (request.aligned == NULL)
			return js_throw_errno(env, ENOMEM, "disk: out of memory");
		request.io.memory = request.aligned;
		if (op == DISK_WRITE)
			memcpy(request.aligned, request.bytes, length);
	}
	napi_create_reference(env, bytes, 1, &request.held);
	return put(env, queue, request);
}
