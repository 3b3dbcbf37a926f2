/* SPDX-License-Identifier: Apache-2.0 */
/* The object JavaScript holds: its methods, and the conversion of what they take and give. */
#include "addon/sgx/enclave_binding.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "abi/enclave.h"
#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/napi/work.h"
#include "addon/sgx/fault.h"

static const napi_type_tag enclave_tag = { 0x6e5c1f0b7a2d4983, 0x9b1e0c57d3a84f26 };

static napi_value throw_error(napi_env env, const struct tresor_error *error)
{
	napi_throw_error(env, error->code, error->message);
	return NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	tresor_enclave_unref(data);
}

struct tresor_enclave *tresor_enclave_unwrap(napi_env env, napi_value object)
{
	void *data = NULL;
	bool ours = false;

	if (napi_check_object_type_tag(env, object, &enclave_tag, &ours) != napi_ok || !ours ||
	    napi_unwrap(env, object, &data) != napi_ok)
		return NULL;
	return data;
}

/* `this` of a method, and its arguments; NULL after an exception. */
static struct tresor_enclave *receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct tresor_enclave *enclave = NULL;
	napi_value self = NULL;

	if (js_arguments(env, info, count, argv, &self))
		enclave = tresor_enclave_unwrap(env, self);
	if (enclave == NULL)
		js_throw_arguments(env, "enclave");
	return enclave;
}

static napi_value outcome(napi_env env, bool done, const struct tresor_error *error)
{
	return done ? NULL : throw_error(env, error);
}

static napi_value enclave_add_pages(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	struct tresor_enclave *enclave = receive(env, info, 5, argv);
	struct tresor_error error;
	uint64_t offset, size;
	uint8_t *data;
	size_t data_size;
	uint32_t flags;
	bool measure;

	if (enclave == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &offset) || !js_get_number(env, argv[1], &size) ||
	    !js_get_bytes(env, argv[2], &data, &data_size) || !js_get_uint32(env, argv[3], &flags) ||
	    !js_get_bool(env, argv[4], &measure))
		return js_throw_arguments(env, "enclave");
	return outcome(env, tresor_enclave_add_pages(enclave, offset, size, data, data_size, flags, measure, &error),
		       &error);
}

static napi_value enclave_reserve(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct tresor_enclave *enclave = receive(env, info, 2, argv);
	struct tresor_error error;
	uint64_t offset, size;

	if (enclave == NULL)
		return NULL;
	if (!js_get_number(env, argv[0], &offset) || !js_get_number(env, argv[1], &size))
		return js_throw_arguments(env, "enclave");
	return outcome(env, tresor_enclave_reserve(enclave, offset, size, &error), &error);
}

static napi_value enclave_init(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct tresor_enclave *enclave = receive(env, info, 2, argv);
	struct tresor_error error;
	uint8_t *sigstruct;
	uint64_t enclu;
	size_t size;
	bool done;

	if (enclave == NULL)
		return NULL;
	if (!js_get_bytes(env, argv[0], &sigstruct, &size) || !js_get_number(env, argv[1], &enclu))
		return js_throw_arguments(env, "enclave");
	if (size == SGX_SIGSTRUCT_SIZE)
		done = tresor_enclave_init(enclave, sigstruct, enclu, &error);
	else
		done = tresor_refuse(&error, "SGX_INVALID_SIG_STRUCT", "the SIGSTRUCT has %zu bytes, not %u", size,
				     SGX_SIGSTRUCT_SIZE);
	return outcome(env, done, &error);
}

/* The enclave reads and writes a whole struct at the address it is given, without knowing where a buffer ends. */
static bool get_request(napi_env env, napi_value value, uint8_t **request)
{
	struct tresor_head head;
	size_t size;

	if (!js_get_bytes(env, value, request, &size) || size < sizeof(head) || (uintptr_t)*request % 8 != 0)
		return false;
	memcpy(&head, *request, sizeof(head));
	return head.size <= size;
}

static napi_value enclave_enter(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct tresor_enclave *enclave = receive(env, info, 1, argv);
	uint8_t *request;

	if (enclave == NULL)
		return NULL;
	if (!get_request(env, argv[0], &request))
		return js_throw_arguments(env, "enclave");
	napi_create_uint32(env, tresor_enclave_enter(enclave, request), &result);
	return result;
}

struct entry {
	struct js_work work;
	struct tresor_enclave *enclave;	/* a reference */
	void *request;
	uint32_t status;
};

static struct entry *entry_of(struct js_work *work)
{
	return (struct entry *)((char *)work - offsetof(struct entry, work));
}

static void entry_run(struct js_work *work)
{
	struct entry *entry = entry_of(work);

	entry->status = tresor_enclave_enter(entry->enclave, entry->request);
}

static napi_value entry_answer(napi_env env, struct js_work *work, napi_value *error)
{
	napi_value status = NULL;

	(void)error;
	napi_create_uint32(env, entry_of(work)->status, &status);
	return status;
}

static void entry_forget(struct js_work *work)
{
	struct entry *entry = entry_of(work);

	tresor_enclave_unref(entry->enclave);
	free(entry);
}

static napi_value enclave_enter_async(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct tresor_enclave *enclave = receive(env, info, 1, argv);
	struct entry *entry;
	uint8_t *request;

	if (enclave == NULL)
		return NULL;
	if (!get_request(env, argv[0], &request))
		return js_throw_arguments(env, "enclave");
	entry = malloc(sizeof(*entry));
	if (entry == NULL)
		return js_throw_errno(env, ENOMEM, "no memory to enter the enclave");
	*entry = (struct entry){
		.work = { .run = entry_run, .answer = entry_answer, .forget = entry_forget },
		.enclave = tresor_enclave_ref(enclave),
		.request = request,
	};
	return js_start(env, &entry->work, "tresor enclave", argv[0]);
}

static napi_value enclave_trim_heap(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	struct tresor_error error;

	return enclave == NULL ? NULL : outcome(env, tresor_enclave_trim(enclave, &error), &error);
}

static napi_value enclave_destroy(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	if (enclave != NULL)
		tresor_enclave_end(enclave);
	return NULL;
}

static napi_value enclave_alive(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave != NULL)
		napi_get_boolean(env, tresor_enclave_alive(enclave), &result);
	return result;
}

static napi_value enclave_fault(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;
	const char *fault;

	if (enclave == NULL)
		return NULL;
	fault = tresor_image_fault_text(tresor_enclave_image(enclave));
	if (fault != NULL)
		return js_text(env, fault);
	napi_get_null(env, &result);
	return result;
}

static napi_value enclave_mrenclave(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	return enclave == NULL ? NULL : js_bytes(env, tresor_enclave_image(enclave)->secs.mrenclave, 32);
}

static napi_value enclave_mrsigner(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	return enclave == NULL ? NULL : js_bytes(env, tresor_enclave_image(enclave)->secs.mrsigner, 32);
}

static napi_value enclave_dynamic_size(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave != NULL)
		napi_create_bigint_uint64(env, tresor_enclave_image(enclave)->dynamic_size, &result);
	return result;
}

static napi_value enclave_memory(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	struct tresor_memory_names names;
	napi_value result = NULL;

	if (enclave == NULL)
		return NULL;
	if (!tresor_enclave_memory(enclave, &names)) {
		napi_throw_error(env, "SGX_NOT_INITIALIZED", "the enclave has not been through EINIT");
		return NULL;
	}
	napi_create_object(env, &result);
	js_set_text(env, result, "keys", names.keys);
	js_set_text(env, result, "stacks", names.stacks);
	js_set_text(env, result, "heap", names.heap);
	return result;
}

static bool get_options(napi_env env, napi_value object, struct tresor_secs *secs,
			const struct tresor_backend_ops **ops, struct tresor_options *options)
{
	char backend[16];
	size_t length, secret_size = 0;
	uint8_t *secret = NULL;

	if (napi_get_value_string_utf8(env, js_property(env, object, "backend"), backend, sizeof(backend), &length) !=
		    napi_ok ||
	    !js_get_uint64(env, js_property(env, object, "size"), &secs->size) ||
	    !js_get_uint32(env, js_property(env, object, "ssaFrameSize"), &secs->ssa_frame_size) ||
	    !js_get_uint32(env, js_property(env, object, "miscSelect"), &secs->misc_select) ||
	    !js_get_uint64(env, js_property(env, object, "attributes"), &secs->attributes) ||
	    !js_get_uint64(env, js_property(env, object, "xfrm"), &secs->xfrm) ||
	    !js_get_uint32(env, js_property(env, object, "transitionCycles"), &options->transition_cycles))
		return false;
	if (strcmp(backend, "software") == 0) {
		*ops = &tresor_software_ops;
		if (!js_get_bytes(env, js_property(env, object, "machineSecret"), &secret, &secret_size) ||
		    secret_size != 32)
			return false;
		options->machine_secret = secret;
		return true;
	}
	*ops = &tresor_sgx_ops;
	return strcmp(backend, "sgx") == 0;
}

static const napi_property_descriptor methods[] = {
	{ .utf8name = "addPages", .method = enclave_add_pages },
	{ .utf8name = "reserve", .method = enclave_reserve },
	{ .utf8name = "init", .method = enclave_init },
	{ .utf8name = "enter", .method = enclave_enter },
	{ .utf8name = "enterAsync", .method = enclave_enter_async },
	{ .utf8name = "trimHeap", .method = enclave_trim_heap },
	{ .utf8name = "destroy", .method = enclave_destroy },
	{ .utf8name = "alive", .getter = enclave_alive },
	{ .utf8name = "fault", .getter = enclave_fault },
	{ .utf8name = "mrenclave", .getter = enclave_mrenclave },
	{ .utf8name = "mrsigner", .getter = enclave_mrsigner },
	{ .utf8name = "dynamicSize", .getter = enclave_dynamic_size },
	{ .utf8name = "memory", .getter = enclave_memory },
};

static napi_value create_enclave(napi_env env, napi_callback_info info)
{
	const struct tresor_backend_ops *ops = NULL;
	struct tresor_options options = { 0 };
	struct tresor_secs secs = { 0 };
	struct tresor_enclave *enclave;
	struct tresor_error error;
	napi_value argv[1], object;

	if (!js_arguments(env, info, 1, argv, NULL) || !get_options(env, argv[0], &secs, &ops, &options))
		return js_throw_arguments(env, "enclave");
	enclave = tresor_enclave_create(&secs, ops, &options, &error);
	if (options.machine_secret != NULL)
		explicit_bzero((void *)(uintptr_t)options.machine_secret, 32);
	if (enclave == NULL)
		return throw_error(env, &error);
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_type_tag_object(env, object, &enclave_tag);
	if (napi_wrap(env, object, enclave, finalize, NULL, NULL) != napi_ok) {
		tresor_enclave_unref(enclave);
		return js_throw_arguments(env, "enclave");
	}
	return object;
}

static napi_value address_of(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	uint8_t *bytes;
	size_t size;

	if (!js_arguments(env, info, 1, argv, NULL) || !js_get_bytes(env, argv[0], &bytes, &size))
		return js_throw_arguments(env, "enclave");
	napi_create_bigint_uint64(env, (uintptr_t)bytes, &result);
	return result;
}

void tresor_enclave_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "createEnclave", .method = create_enclave },
		{ .utf8name = "addressOf", .method = address_of },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
