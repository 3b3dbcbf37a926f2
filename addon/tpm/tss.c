/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/tpm/tss.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define ESYS_LIBRARY "libtss2-esys.so.0"
#define MU_LIBRARY "libtss2-mu.so.0"

static void *library(const char *name, const char **missing)
{
	/* From the system's directories: the launcher removes LD_LIBRARY_PATH and its kin. */
	void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (handle == NULL)
		*missing = name;
	return handle;
}

const struct tss *tss_load(const char **missing)
{
	static struct tss loaded;
	static bool done;
	void *esys, *mu;

	if (done)
		return &loaded;
	esys = library(ESYS_LIBRARY, missing);
	mu = library(MU_LIBRARY, missing);
	if (esys == NULL || mu == NULL)
		return NULL;
#define X(from, result, name, parameters) \
	loaded.name = (result(*) parameters)dlsym(from, #name); \
	if (loaded.name == NULL) { \
		*missing = #name; \
		return NULL; \
	}
	TSS_FUNCTIONS(X)
#undef X
	done = true;
	return &loaded;
}

/* TSS2_TCTI_CONTEXT_COMMON_V1 of the TCG's TCTI specification, as far as it is used. */
struct tcti_common {
	uint64_t magic;
	uint32_t version;
	void (*transmit)(void);
	void (*receive)(void);
	void (*finalize)(void *context);
};

typedef tss_rc tcti_init(void *context, size_t *size, const char *configuration);

struct tss_tcti {
	/* First, as aligned as malloc(3) has it; the library's from here on. */
	struct tcti_common common;
};

static const struct {
	const char *library, *init, *prefix;
} kinds[] = {
	[TSS_DEVICE] = { "libtss2-tcti-device.so.0", "Tss2_Tcti_Device_Init", "" },
	[TSS_SWTPM] = { "libtss2-tcti-swtpm.so.0", "Tss2_Tcti_Swtpm_Init", "path=" },
};

struct tss_tcti *tss_tcti_open(enum tss_kind kind, const char *path, tss_rc *rc, const char **missing)
{
	void *handle = library(kinds[kind].library, missing);
	tcti_init *init;
	struct tss_tcti *tcti = NULL;
	char *configuration;
	size_t size = 0;

	*rc = 0;
	if (handle == NULL)
		return NULL;
	init = (tcti_init *)dlsym(handle, kinds[kind].init);
	if (init == NULL) {
		*missing = kinds[kind].init;
		return NULL;
	}
	if (asprintf(&configuration, "%s%s", kinds[kind].prefix, path) < 0) {
		*missing = "memory";
		return NULL;
	}
	*rc = init(NULL, &size, NULL);
	if (*rc == 0 && (tcti = calloc(1, size < sizeof(*tcti) ? sizeof(*tcti) : size)) == NULL)
		*missing = "memory";
	if (tcti != NULL && (*rc = init(tcti, &size, configuration)) != 0) {
		free(tcti);
		tcti = NULL;
	}
	free(configuration);
	return tcti;
}

void *tss_tcti_context(struct tss_tcti *tcti)
{
	return tcti;
}

void tss_tcti_close(struct tss_tcti *tcti)
{
	if (tcti->common.finalize != NULL)
		tcti->common.finalize(tcti);
	free(tcti);
}
