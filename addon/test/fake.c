/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only: the addon that has the driver and the CPU of fake.h, and how tests tell them what to do. */
#include <fcntl.h>
#include <node_api.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/napi/values.h"
#include "addon/sgx/vdso.h"
#include "addon/test/fake.h"

static const struct tresor_sgx_system fake_system = {
	.open_device = fake_open,
	.ioctl = fake_ioctl,
	.mmap = fake_mmap,
	.close = fake_close,
	.find_enter = fake_find_enter,
	.cpuid = fake_cpuid,
};

static int32_t get(napi_env env, napi_value object, const char *name)
{
	napi_value value;
	int32_t number = 0;

	napi_get_named_property(env, object, name, &value);
	napi_get_value_int32(env, value, &number);
	return number;
}

/* Replaces what goes wrong; what is not named goes well. */
static napi_value js_configure(napi_env env, napi_callback_info info)
{
	napi_value object;
	size_t argc = 1;

	napi_get_cb_info(env, info, &argc, &object, NULL, NULL);
	fake_faults = (struct fake_faults){
		.open_errno = get(env, object, "openErrno"),
		.create_errno = get(env, object, "createErrno"),
		.add_errno = get(env, object, "addErrno"),
		.add_after = get(env, object, "addAfter"),
		.init_errno = get(env, object, "initErrno"),
		.map_errno = get(env, object, "mapErrno"),
		.probe_errno = get(env, object, "probeErrno"),
		.enter_result = get(env, object, "enterResult"),
		.over_count = get(env, object, "overCount"),
		.interrupt_open = get(env, object, "interruptOpen"),
		.interrupt_create = get(env, object, "interruptCreate"),
		.interrupt_add = get(env, object, "interruptAdd"),
		.interrupt_init = get(env, object, "interruptInit"),
		.interrupt_map = get(env, object, "interruptMap"),
		.signal_every = get(env, object, "signalEvery"),
		.epc_full = get(env, object, "epcFull"),
		.restart = get(env, object, "restart"),
		.no_exec = get(env, object, "noExec"),
		.no_vdso = get(env, object, "noVdso"),
		.no_sgx2 = get(env, object, "noSgx2"),
		.xfrm = get(env, object, "xfrm"),
		.size_bits = get(env, object, "sizeBits"),
	};
	tresor_cpu_svn[0] = 1 + (uint8_t)get(env, object, "microcodeUpdates");
	return NULL;
}

/* Since the last call; `open` is what is open now. */
static napi_value js_counters(napi_env env, napi_callback_info info)
{
	const struct {
		const char *name;
		uint32_t value;
	} all[] = {
		{ "open", fake_counters.open },	      { "addCalls", fake_counters.add_calls },
		{ "pages", fake_counters.pages },     { "initCalls", fake_counters.init_calls },
		{ "entries", fake_counters.entries },
	};
	napi_value object;

	(void)info;
	napi_create_object(env, &object);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		js_set_uint32(env, object, all[i].name, all[i].value);
	fake_counters.add_calls = fake_counters.pages = fake_counters.init_calls = fake_counters.entries = 0;
	return object;
}

/* Suspend: every EPC is gone at once, threads inside or not. `true`: after all of it was swapped out. */
static napi_value js_lose(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t argc = 1;
	bool swapped = false;

	napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
	napi_get_value_bool(env, argument, &swapped);
	for (int i = 0; i < FAKE_ENCLAVES; i++) {
		struct fake_enclave *enclave = &fake_enclaves[i];

		if (!enclave->open || !enclave->initialised)
			continue;
		__atomic_store_n(&enclave->lost, swapped ? FAKE_LOST_SWAPPED : FAKE_LOST, __ATOMIC_RELEASE);
		mprotect((void *)(uintptr_t)enclave->image.secs.base, enclave->image.secs.size, PROT_NONE);
	}
	return NULL;
}

/*
 * Keeps the page at an address from being given back, whatever becomes of the
 * mapping: a pipe's file descriptor, which will read as what is in the page then.
 * -1 when the kernel does not lend the page (memfd_secret).
 */
static napi_value js_hold(napi_env env, napi_callback_info info)
{
	napi_value argument, result;
	uint64_t address = 0;
	size_t argc = 1;
	bool lossless;
	int ends[2];

	napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
	napi_get_value_bigint_uint64(env, argument, &address, &lossless);
	if (pipe2(ends, O_CLOEXEC) == 0) {
		const struct iovec page = { (void *)(uintptr_t)address, SGX_PAGE_SIZE };

		if (vmsplice(ends[1], &page, 1, 0) != (ssize_t)SGX_PAGE_SIZE) {
			close(ends[0]);
			ends[0] = -1;
		}
		close(ends[1]);
	} else {
		ends[0] = -1;
	}
	napi_create_int32(env, ends[0], &result);
	return result;
}

/* Whether tresor_vdso_symbol finds a function in the kernel's own vDSO. */
static napi_value js_vdso_has(napi_env env, napi_callback_info info)
{
	napi_value argument, result;
	size_t argc = 1, length;
	char name[64] = "";

	napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
	napi_get_value_string_utf8(env, argument, name, sizeof(name), &length);
	napi_get_boolean(env, tresor_vdso_symbol((const void *)getauxval(AT_SYSINFO_EHDR), name) != NULL, &result);
	return result;
}

static napi_value register_all(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "configure", .method = js_configure }, { .utf8name = "counters", .method = js_counters },
		{ .utf8name = "lose", .method = js_lose },	     { .utf8name = "hold", .method = js_hold },
		{ .utf8name = "vdsoHas", .method = js_vdso_has },
	};

	fake_catch_faults();
	tresor_sgx_system = &fake_system;
	tresor_enclave_register(env, exports);
	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
	return exports;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, register_all)
