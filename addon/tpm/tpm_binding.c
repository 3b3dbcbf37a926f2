/* SPDX-License-Identifier: Apache-2.0 */
/* What a TPM is asked, for JavaScript: on the thread pool, as a TPM takes up to some seconds. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/napi/work.h"
#include "addon/tpm/tpm.h"

enum kind { READ, SEAL, UNSEAL };

struct job {
	struct js_work work;
	enum kind kind;
	struct tpm_place place;
	struct tpm_fault fault;
	union {
		struct tpm_reading reading;
		struct tpm_sealing sealing;
		struct tpm_unsealing unsealing;
	};
};

static struct job *job_of(struct js_work *work)
{
	return (struct job *)((char *)work - offsetof(struct job, work));
}

static void run(struct js_work *work)
{
	struct job *job = job_of(work);

	if (job->kind == READ)
		tpm_read(&job->place, &job->reading, &job->fault);
	else if (job->kind == SEAL)
		tpm_seal(&job->place, &job->sealing, &job->fault);
	else
		tpm_unseal(&job->place, &job->unsealing, &job->fault);
}

static void set_wire(napi_env env, napi_value object, const char *name, const struct tpm_wire *wire)
{
	napi_set_named_property(env, object, name, js_bytes(env, wire->bytes, wire->size));
}

static napi_value answer(napi_env env, struct js_work *work, napi_value *error)
{
	const struct job *job = job_of(work);
	napi_value object = NULL;
	char code[32];

	if (job->fault.stage != NULL) {
		snprintf(code, sizeof(code), "TSS_%08x", job->fault.rc);
		*error = js_error(env, job->fault.missing != NULL ? "TSS_MISSING" : code,
				  job->fault.missing != NULL ? job->fault.missing : job->fault.stage);
		return NULL;
	}
	napi_create_object(env, &object);
	if (job->kind == READ) {
		set_wire(env, object, "selection", &job->reading.read);
		set_wire(env, object, "digests", &job->reading.digests);
		set_wire(env, object, "properties", &job->reading.properties);
	} else if (job->kind == SEAL) {
		set_wire(env, object, "public", &job->sealing.public);
		set_wire(env, object, "private", &job->sealing.private);
		set_wire(env, object, "parent", &job->sealing.parent.name);
		js_set_bool(env, object, "kept", job->sealing.parent.handle != 0);
	} else {
		set_wire(env, object, "data", &job->unsealing.data);
	}
	return object;
}

static void drop(struct job *job)
{
	explicit_bzero(job, sizeof(*job));
	free(job);
}

static void forget(struct js_work *work)
{
	drop(job_of(work));
}

/* Absent or empty: none. */
static bool get_wire(napi_env env, napi_value object, const char *name, struct tpm_wire *wire)
{
	uint8_t *bytes;

	if (!js_get_bytes(env, js_property(env, object, name), &bytes, &wire->size) || wire->size > sizeof(wire->bytes))
		return false;
	memcpy(wire->bytes, bytes, wire->size);
	return true;
}

static bool get_place(napi_env env, napi_value object, struct tpm_place *place)
{
	size_t size;
	char *path = js_get_text(env, js_property(env, object, "path"), &size);
	bool simulator, fits = path != NULL && size < sizeof(place->path);

	if (fits)
		memcpy(place->path, path, size + 1);
	free(path);
	if (!fits || !js_get_bool(env, js_property(env, object, "simulator"), &simulator))
		return false;
	place->kind = simulator ? TSS_SWTPM : TSS_DEVICE;
	return true;
}

static bool get_parts(napi_env env, napi_value object, struct job *job)
{
	switch (job->kind) {
	case READ:
		return get_wire(env, object, "selection", &job->reading.selection);
	case SEAL:
		return get_wire(env, object, "template", &job->sealing.parent.template) &&
		       get_wire(env, object, "sensitive", &job->sealing.sensitive) &&
		       get_wire(env, object, "public", &job->sealing.public);
	default:
		return get_wire(env, object, "template", &job->unsealing.parent.template) &&
		       get_wire(env, object, "parent", &job->unsealing.parent.name) &&
		       get_wire(env, object, "public", &job->unsealing.public) &&
		       get_wire(env, object, "private", &job->unsealing.private) &&
		       get_wire(env, object, "selection", &job->unsealing.selection) &&
		       get_wire(env, object, "auth", &job->unsealing.auth);
	}
}

static napi_value start(napi_env env, napi_callback_info info, enum kind kind)
{
	napi_value argv[2];
	struct job *job;

	if (!js_arguments(env, info, 2, argv, NULL))
		return js_throw_arguments(env, "TPM");
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		return js_throw_errno(env, ENOMEM, "no memory to ask the TPM");
	job->kind = kind;
	job->work.run = run;
	job->work.answer = answer;
	job->work.forget = forget;
	if (!get_place(env, argv[0], &job->place) || !get_parts(env, argv[1], job)) {
		drop(job);
		return js_throw_arguments(env, "TPM");
	}
	/* The libraries write to standard error what the caller is told anyway. */
	setenv("TSS2_LOG", "all+NONE", 0);
	return js_start(env, &job->work, "tresor TPM", NULL);
}

static napi_value read_tpm(napi_env env, napi_callback_info info)
{
	return start(env, info, READ);
}

static napi_value seal(napi_env env, napi_callback_info info)
{
	return start(env, info, SEAL);
}

static napi_value unseal(napi_env env, napi_callback_info info)
{
	return start(env, info, UNSEAL);
}

void tresor_tpm_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "tpmRead", .method = read_tpm },
		{ .utf8name = "tpmSeal", .method = seal },
		{ .utf8name = "tpmUnseal", .method = unseal },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
