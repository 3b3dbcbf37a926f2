/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backing file needs and Node does not offer: work that may take as long
 * as the disk does, on the thread pool; locks and leases.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/napi/work.h"

static napi_value throw_arguments(napi_env env)
{
	return js_throw_arguments(env, "file");
}

/* From errno. */
static napi_value throw_errno(napi_env env, const char *what)
{
	char message[128];

	snprintf(message, sizeof(message), "%s: %s", what, strerrordesc_np(errno));
	return js_throw_errno(env, errno, message);
}

static bool get_size(napi_env env, napi_value value, int64_t *size)
{
	uint64_t number;

	if (!js_get_number(env, value, &number))
		return false;
	*size = (int64_t)number;
	return true;
}

struct work {
	struct js_work work;
	const uint8_t *from;	/* NULL: a hole is punched */
	int fd;
	int64_t offset, length;
	int error;
	bool truncated;
};

static struct work *work_of(struct js_work *work)
{
	return (struct work *)((char *)work - offsetof(struct work, work));
}

/*
 * Nothing is written past the end of a regular file: it would come back between
 * its new end and the write as zeros, which decrypt to garbage. A file that is
 * cut off between the look and the write is extended by the write all the same.
 */
static void write_inside(struct work *work)
{
	struct stat stat;

	if (fstat(work->fd, &stat) != 0) {
		work->error = errno;
		return;
	}
	if (S_ISREG(stat.st_mode) && work->offset + work->length > stat.st_size) {
		work->truncated = true;
		work->error = EIO;
		return;
	}
	for (int64_t done = 0; done < work->length;) {
		const ssize_t put = pwrite(work->fd, work->from + done, (size_t)(work->length - done),
					   (off_t)(work->offset + done));

		if (put > 0)
			done += put;
		else if (put == 0 || errno != EINTR) {
			work->error = put == 0 ? EIO : errno;
			return;
		}
	}
}

static void work_run(struct js_work *job)
{
	struct work *work = work_of(job);
	int result;

	if (work->from) {
		write_inside(work);
		return;
	}
	do {
		result = fallocate(work->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, work->offset, work->length);
	} while (result < 0 && errno == EINTR);
	work->error = result < 0 ? errno : 0;
}

static napi_value work_answer(napi_env env, struct js_work *job, napi_value *error)
{
	const struct work *work = work_of(job);
	napi_value nothing = NULL;
	char text[128];

	if (work->error == 0) {
		napi_get_undefined(env, &nothing);
		return nothing;
	}
	if (work->truncated)
		snprintf(text, sizeof(text), "the file ends before byte %lld: it was truncated",
			 (long long)(work->offset + work->length));
	else
		snprintf(text, sizeof(text), "%s: %s", work->from ? "pwrite" : "fallocate",
			 strerrordesc_np(work->error));
	*error = js_error(env, js_errno_name(work->error), text);
	return NULL;
}

static void work_forget(struct js_work *job)
{
	free(work_of(job));
}

/* `bytes`: what `work.from` points into, or NULL. */
static napi_value start_work(napi_env env, struct work work, napi_value bytes)
{
	struct work *started = malloc(sizeof(*started));

	if (!started)
		return js_throw_errno(env, ENOMEM, "file work: out of memory");
	*started = work;
	started->work = (struct js_work){ .run = work_run, .answer = work_answer, .forget = work_forget };
	return js_start(env, &started->work, "tresor file", bytes);
}

/* punchHole(fd, offset, length) -> Promise: the range takes no space and reads as zeros. */
static napi_value punch_hole(napi_env env, napi_callback_info info)
{
	struct work work = { 0 };
	napi_value argv[3];
	int32_t fd;

	if (!js_arguments(env, info, 3, argv, NULL) || !js_get_int32(env, argv[0], &fd) ||
	    !get_size(env, argv[1], &work.offset) || !get_size(env, argv[2], &work.length))
		return throw_arguments(env);
	work.fd = fd;
	return start_work(env, work, NULL);
}

/* writeInside(fd, bytes, offset) -> Promise: all of it, or EIO when a regular file ends before. */
static napi_value js_write_inside(napi_env env, napi_callback_info info)
{
	struct work work = { 0 };
	napi_value argv[3];
	uint8_t *bytes;
	size_t length;
	int32_t fd;

	if (!js_arguments(env, info, 3, argv, NULL) || !js_get_int32(env, argv[0], &fd) ||
	    !js_get_bytes(env, argv[1], &bytes, &length) || !get_size(env, argv[2], &work.offset))
		return throw_arguments(env);
	work.fd = fd;
	work.from = bytes;
	work.length = (int64_t)length;
	return start_work(env, work, argv[1]);
}

/* claimByte(fd, at): a shared lock of this open file on one byte, as qemu takes them. Throws. */
static napi_value claim_byte(napi_env env, napi_callback_info info)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1 };
	napi_value argv[2];
	int32_t fd;
	int64_t at;

	if (!js_arguments(env, info, 2, argv, NULL) || !js_get_int32(env, argv[0], &fd) || !get_size(env, argv[1], &at))
		return throw_arguments(env);
	lock.l_start = at;
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
		return throw_errno(env, "fcntl");
	return NULL;
}

/* byteClaimed(fd, at): whether another open file has a lock on the byte. Throws. */
static napi_value byte_claimed(napi_env env, napi_callback_info info)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	napi_value argv[2], result;
	int32_t fd;
	int64_t at;

	if (!js_arguments(env, info, 2, argv, NULL) || !js_get_int32(env, argv[0], &fd) || !get_size(env, argv[1], &at))
		return throw_arguments(env);
	lock.l_start = at;
	if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
		return throw_errno(env, "fcntl");
	napi_get_boolean(env, lock.l_type != F_UNLCK, &result);
	return result;
}

/*
 * hasWriter(fd): whether anybody has the regular file behind a descriptor, which
 * is open for reading only, open for writing: then no read lease is given. `null`:
 * there is no telling (not our file, or a filesystem without leases).
 */
static napi_value has_writer(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result = NULL;
	int32_t fd;

	if (!js_arguments(env, info, 1, argv, NULL) || !js_get_int32(env, argv[0], &fd))
		return throw_arguments(env);
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		napi_get_boolean(env, false, &result);
	} else if (errno == EAGAIN) {
		napi_get_boolean(env, true, &result);
	} else {
		napi_get_null(env, &result);
	}
	return result;
}

void tresor_file_register(napi_env env, napi_value exports)
{
	const napi_property_descriptor functions[] = {
		{ .utf8name = "punchHole", .method = punch_hole, .attributes = napi_enumerable },
		{ .utf8name = "writeInside", .method = js_write_inside, .attributes = napi_enumerable },
		{ .utf8name = "claimByte", .method = claim_byte, .attributes = napi_enumerable },
		{ .utf8name = "byteClaimed", .method = byte_claimed, .attributes = napi_enumerable },
		{ .utf8name = "hasWriter", .method = has_writer, .attributes = napi_enumerable },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
