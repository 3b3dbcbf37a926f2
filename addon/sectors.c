/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sectors between a file and a slab, through the enclave: one call and
 * one entry for a batch.
 *
 *   createSectors(enclave, handle, fd) -> Sectors	fd stays the caller's
 *   sectors.read(buffer, table, rows)
 *   sectors.write(buffer, table, rows, done)
 *
 * A row of the Float64Array is (offset in the file, 512-byte sector number of
 * the volume, at in the slab, length, from, result). `at` is 8-byte aligned.
 * `result` is set to 0 or an errno. Both return 0, or the status of an entry
 * that failed (no row is valid then), TRESOR_ENTER_LOST included.
 *
 * read: takes what is in the page cache; EAGAIN marks a row that would block.
 * write: the payload lies at `from` (any alignment) and is encrypted to `at`
 * before anything is written. Returns -1 when writing goes on in a thread:
 * done() is called when the results are there, and the slab must be left alone
 * until then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "abi/enclave.h"
#include "addon/addon.h"
#include "addon/slab.h"

enum { OFFSET, SECTOR, AT, LENGTH, FROM, RESULT, COLUMNS };

struct sectors {
	struct tresor_enclave *enclave;
	uint32_t handle;
	int fd;
	bool blocking_writes;	/* the file system knows no RWF_NOWAIT for writes */
};

struct row {
	off_t offset;
	uint8_t *memory;
	size_t length;
	int result;
};

/* Writes that would block: in a thread, results back in JavaScript's table. */
struct job {
	uv_work_t work;
	napi_env env;
	napi_ref table;
	napi_ref done;
	napi_async_context context;
	uint8_t *slab;
	int fd;
	uint32_t first;		/* row of the table that rows[0] is */
	uint32_t count;
	struct row rows[];
};

struct call {
	struct sectors *sectors;
	struct slab slab;
	double *table;
	uint32_t rows;
	napi_value arguments[4];
};

static bool begin(napi_env env, napi_callback_info info, size_t wanted, struct call *call)
{
	size_t count = wanted;
	napi_value self;
	void *memory;

	napi_get_cb_info(env, info, &count, call->arguments, &self, NULL);
	if (count < wanted || napi_unwrap(env, self, (void **)&call->sectors) != napi_ok ||
	    napi_get_arraybuffer_info(env, call->arguments[0], &memory, &call->slab.size) != napi_ok ||
	    napi_get_value_uint32(env, call->arguments[2], &call->rows) != napi_ok ||
	    call->rows == 0 || call->rows > TRESOR_RANGES)
		goto refuse;
	call->slab.memory = memory;
	call->table = slab_table(env, call->arguments[1], call->rows, COLUMNS);
	if (!call->table)
		goto refuse;
	for (uint32_t row = 0; row < call->rows; row++) {
		const double *fields = call->table + row * COLUMNS;

		if (!slab_holds(&call->slab, fields[AT], fields[LENGTH]) ||
		    !slab_holds(&call->slab, fields[FROM], fields[LENGTH]) || (uint64_t)fields[AT] % 8 != 0)
			goto refuse;
	}
	return true;
refuse:
	napi_throw_type_error(env, NULL, "not a batch of sectors");
	return false;
}

static uint32_t enter(struct call *call, bool decrypt, bool skip_failed)
{
	struct tresor_range ranges[TRESOR_RANGES];
	struct tresor_sectors request = {
		.head = { .op = TRESOR_OP_SECTORS, .size = sizeof(request) },
		.handle = call->sectors->handle,
		.decrypt = decrypt,
		.ranges = (uintptr_t)ranges,
	};

	for (uint32_t row = 0; row < call->rows; row++) {
		const double *fields = call->table + row * COLUMNS;
		uint64_t address = (uintptr_t)call->slab.memory + (uint64_t)fields[AT];

		if (skip_failed && fields[RESULT] != 0)
			continue;
		ranges[request.count++] = (struct tresor_range){
			.in = address, .out = address,
			.sector = (uint64_t)fields[SECTOR], .length = (uint32_t)fields[LENGTH],
		};
	}
	return request.count == 0 ? TRESOR_OK : tresor_enclave_enter(call->sectors->enclave, &request);
}

static napi_value number(napi_env env, double value)
{
	napi_value result;

	napi_create_double(env, value, &result);
	return result;
}

static napi_value sectors_read(napi_env env, napi_callback_info info)
{
	struct call call;

	if (!begin(env, info, 3, &call))
		return NULL;
	for (uint32_t row = 0; row < call.rows; row++) {
		double *fields = call.table + row * COLUMNS;
		struct iovec iov = { call.slab.memory + (size_t)fields[AT], (size_t)fields[LENGTH] };
		ssize_t got;

		do {
			got = preadv2(call.sectors->fd, &iov, 1, (off_t)fields[OFFSET], RWF_NOWAIT);
		} while (got < 0 && errno == EINTR);
		/* Short: the rest is not cached, or past the end; who may wait finds out. */
		if (got < 0)
			fields[RESULT] = errno == EOPNOTSUPP ? EAGAIN : errno;
		else
			fields[RESULT] = (size_t)got == iov.iov_len ? 0 : EAGAIN;
	}
	return number(env, enter(&call, true, true));
}

/* Whole, or an errno. */
static int write_all(int fd, const uint8_t *memory, size_t length, off_t offset)
{
	while (length > 0) {
		ssize_t put = pwrite(fd, memory, length, offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		memory += put;
		length -= (size_t)put;
		offset += put;
	}
	return 0;
}

static void job_run(uv_work_t *work)
{
	struct job *job = work->data;

	for (uint32_t i = 0; i < job->count; i++)
		job->rows[i].result = write_all(job->fd, job->rows[i].memory, job->rows[i].length, job->rows[i].offset);
}

static void job_done(uv_work_t *work, int status)
{
	struct job *job = work->data;
	napi_value table, done, receiver;
	napi_handle_scope scope;
	double *fields;

	(void)status;
	napi_open_handle_scope(job->env, &scope);
	napi_get_reference_value(job->env, job->table, &table);
	napi_get_reference_value(job->env, job->done, &done);
	fields = slab_table(job->env, table, job->first + job->count, COLUMNS);
	for (uint32_t i = 0; fields && i < job->count; i++)
		fields[(job->first + i) * COLUMNS + RESULT] = job->rows[i].result;
	napi_get_global(job->env, &receiver);
	napi_make_callback(job->env, job->context, receiver, done, 0, NULL, NULL);
	napi_delete_reference(job->env, job->table);
	napi_delete_reference(job->env, job->done);
	napi_async_destroy(job->env, job->context);
	napi_close_handle_scope(job->env, scope);
	slab_unref(job->slab);
	free(job);
}

static napi_value write_in_thread(napi_env env, struct call *call, uint32_t first)
{
	uint32_t count = call->rows - first;
	struct job *job = malloc(sizeof(*job) + count * sizeof(job->rows[0]));
	napi_value name;
	uv_loop_t *loop;

	if (!job || napi_get_uv_event_loop(env, &loop) != napi_ok) {
		free(job);
		for (uint32_t row = first; row < call->rows; row++)
			call->table[row * COLUMNS + RESULT] = ENOMEM;
		return number(env, TRESOR_OK);
	}
	*job = (struct job){
		.work.data = job, .env = env, .slab = call->slab.memory, .fd = call->sectors->fd,
		.first = first, .count = count,
	};
	for (uint32_t i = 0; i < count; i++) {
		const double *fields = call->table + (first + i) * COLUMNS;

		job->rows[i] = (struct row){
			.offset = (off_t)fields[OFFSET], .length = (size_t)fields[LENGTH],
			.memory = call->slab.memory + (size_t)fields[AT],
		};
	}
	napi_create_string_utf8(env, "tresor write", NAPI_AUTO_LENGTH, &name);
	napi_async_init(env, NULL, name, &job->context);
	napi_create_reference(env, call->arguments[1], 1, &job->table);
	napi_create_reference(env, call->arguments[3], 1, &job->done);
	slab_ref(job->slab);
	uv_queue_work(loop, &job->work, job_run, job_done);
	return number(env, -1);
}

static napi_value sectors_write(napi_env env, napi_callback_info info)
{
	struct call call;
	uint32_t status;

	if (!begin(env, info, 4, &call))
		return NULL;
	for (uint32_t row = 0; row < call.rows; row++) {
		double *fields = call.table + row * COLUMNS;

		fields[RESULT] = 0;
		if (fields[FROM] != fields[AT])
			memmove(call.slab.memory + (size_t)fields[AT], call.slab.memory + (size_t)fields[FROM],
				(size_t)fields[LENGTH]);
	}
	status = enter(&call, false, false);
	if (status != TRESOR_OK)
		return number(env, status);
	for (uint32_t row = 0; row < call.rows; row++) {
		double *fields = call.table + row * COLUMNS;
		struct iovec iov = { call.slab.memory + (size_t)fields[AT], (size_t)fields[LENGTH] };
		ssize_t put = -1;

		if (!call.sectors->blocking_writes) {
			do {
				put = pwritev2(call.sectors->fd, &iov, 1, (off_t)fields[OFFSET], RWF_NOWAIT);
			} while (put < 0 && errno == EINTR);
			call.sectors->blocking_writes = put < 0 && errno == EOPNOTSUPP;
		}
		/* A part written now is written again, with the same bytes. */
		if (put != (ssize_t)iov.iov_len)
			return write_in_thread(env, &call, row);
	}
	return number(env, TRESOR_OK);
}

static void sectors_finalize(napi_env env, void *data, void *hint)
{
	struct sectors *sectors = data;

	(void)env;
	(void)hint;
	tresor_enclave_unref(sectors->enclave);
	free(sectors);
}

static napi_value create_sectors(napi_env env, napi_callback_info info)
{
	static const napi_property_descriptor methods[] = {
		{ "read", NULL, sectors_read, NULL, NULL, NULL, napi_default, NULL },
		{ "write", NULL, sectors_write, NULL, NULL, NULL, napi_default, NULL },
	};
	struct tresor_enclave *enclave;
	napi_value arguments[3], object;
	struct sectors *sectors;
	uint32_t handle;
	size_t count = 3;
	int32_t fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	enclave = count == 3 ? tresor_enclave_unwrap(env, arguments[0]) : NULL;
	if (!enclave || napi_get_value_uint32(env, arguments[1], &handle) != napi_ok ||
	    napi_get_value_int32(env, arguments[2], &fd) != napi_ok) {
		napi_throw_type_error(env, NULL, "createSectors(enclave, handle, fd)");
		return NULL;
	}
	sectors = malloc(sizeof(*sectors));
	if (!sectors) {
		napi_throw_error(env, "ENOMEM", "out of memory");
		return NULL;
	}
	*sectors = (struct sectors){ .enclave = tresor_enclave_ref(enclave), .handle = handle, .fd = fd };
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_wrap(env, object, sectors, sectors_finalize, NULL, NULL);
	return object;
}

void tresor_sectors_register(napi_env env, napi_value exports)
{
	napi_value function;

	napi_create_function(env, "createSectors", NAPI_AUTO_LENGTH, create_sectors, NULL, &function);
	napi_set_named_property(env, exports, "createSectors", function);
}
