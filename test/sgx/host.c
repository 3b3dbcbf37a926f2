/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the host that is the addon's own, on Linux's driver, without Node: loads the image that installations.ts
 * has written down, and does what no caller of the addon can.
 *
 *   host hostile IMAGE    enters where and when it may not, and looks at what comes out; a line for each check
 *   host signals IMAGE    loads it while signals come, with SA_RESTART and without
 *   host load IMAGE       loads it again and again until killed: the EPC stays full
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "addon/sgx/backend.h"
#include "addon/sgx/driver.h"
#include "addon/sgx/enclave.h"
#include "addon/sgx/vdso.h"

/* As installations.ts writes it: numbers of 64 bits, then the bytes they announce. */
struct segment {
	uint64_t offset, size, data_size, flags, measured;
};

struct image {
	uint64_t size, ssa_frame_size, misc_select, attributes, xfrm, enclu, dynamic, dynamic_size, segments;
	uint8_t mrenclave[32];
	uint8_t sigstruct[1808];
};

static struct image image;
static struct segment segments[64];
static uint8_t *contents[64];

static void fail(const char *what)
{
	printf("host: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void take(FILE *file, void *to, size_t size)
{
	if (size > 0 && fread(to, size, 1, file) != 1)
		fail("the image ends early");
}

static void read_image(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (file == NULL)
		fail(path);
	take(file, &image, sizeof(image));
	if (image.segments > 64)
		fail("too many segments");
	for (uint64_t i = 0; i < image.segments; i++) {
		take(file, &segments[i], sizeof(segments[i]));
		contents[i] = malloc(segments[i].data_size + 1);
		if (contents[i] == NULL)
			fail("no memory");
		take(file, contents[i], segments[i].data_size);
	}
	fclose(file);
}

/* ECREATE to EINIT. */
static struct tresor_enclave *load(void)
{
	const struct tresor_secs secs = {
		.size = image.size,
		.ssa_frame_size = (uint32_t)image.ssa_frame_size,
		.misc_select = (uint32_t)image.misc_select,
		.attributes = image.attributes,
		.xfrm = image.xfrm,
	};
	const struct tresor_options options = { 0 };
	struct tresor_error error;
	struct tresor_enclave *enclave = tresor_enclave_create(&secs, &tresor_sgx_ops, &options, &error);
	bool done = enclave != NULL;

	for (uint64_t i = 0; done && i < image.segments; i++)
		done = tresor_enclave_add_pages(enclave, segments[i].offset, segments[i].size, contents[i],
						segments[i].data_size, (uint32_t)segments[i].flags,
						segments[i].measured != 0, &error);
	if (done && image.dynamic_size > 0)
		done = tresor_enclave_reserve(enclave, image.dynamic, image.dynamic_size, &error);
	if (!done || !tresor_enclave_init(enclave, image.sigstruct, image.enclu, &error)) {
		printf("host: %s: %s\n", error.code, error.message);
		exit(1);
	}
	return enclave;
}

/* ---- hostile ---- */

static vdso_sgx_enter_enclave_t enter_enclave;

/* What the handler saw in the registers at the exit. */
static struct {
	long rdi, rsi, rdx, r8, r9;
} left;

static int note(long rdi, long rsi, long rdx, long rsp, long r8, long r9, struct sgx_enclave_run *run)
{
	(void)rsp;
	(void)run;
	left.rdi = rdi;
	left.rsi = rsi;
	left.rdx = rdx;
	left.r8 = r8;
	left.r9 = r9;
	return 0;
}

/* host_entry.S. poison: with the direction flag, and every exception of SSE and x87 enabled. */
int host_enter(vdso_sgx_enter_enclave_t enter, void *request, uint32_t function, struct sgx_enclave_run *run,
	       int poison);

static int enter(struct sgx_enclave_run *run, uint64_t tcs, void *request, uint32_t function, bool poison)
{
	memset(run, 0, sizeof(*run));
	run->tcs = tcs;
	run->user_handler = (uintptr_t)note;
	memset(&left, 0xff, sizeof(left));
	return host_enter(enter_enclave, request, function, run, poison);
}

static void report(const char *name, bool good)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
}

static void say_run(const char *what, const struct sgx_enclave_run *run, int result)
{
	printf("# %s: result %d, function %u, vector %u, error %x, address %llx\n", what, result, run->function,
	       run->exception_vector, run->exception_error_code, (unsigned long long)run->exception_addr);
}

/* Bit 15 of a page fault's error code: the EPCM refused it. */
#define PF_SGX		0x8000u
#define PF		14
#define GP		13

static bool faulted(const char *what, const struct sgx_enclave_run *run, int result, uint32_t function, int vector)
{
	const bool good = result == 0 && run->function == function && run->exception_vector == vector;

	if (!good)
		say_run(what, run, result);
	return good;
}

/* The operation 0, which no enclave has: it is copied in, refused, and copied out. */
static struct tresor_head *new_request(void)
{
	struct tresor_head *request =
		mmap(NULL, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (request == MAP_FAILED)
		fail("no memory");
	request->size = sizeof(*request);
	return request;
}

static bool answered(const char *what, const struct sgx_enclave_run *run, int result)
{
	const bool good = result == 0 && run->function == ENCLU_EEXIT && left.rdi == TRESOR_E_REQUEST;

	if (!good)
		say_run(what, run, result);
	return good;
}

/* Whether nothing of the enclave is in the registers that the handler is given. */
static bool clean(void)
{
	const bool good = (left.rsi | left.rdx | left.r8 | left.r9) == 0;

	if (!good)
		printf("# RSI %lx RDX %lx R8 %lx R9 %lx\n", left.rsi, left.rdx, left.r8, left.r9);
	return good;
}

static bool wrong_places(const struct tresor_image *of, struct tresor_head *request)
{
	const uint64_t base = of->secs.base, tcs = base + of->threads[0].tcs;
	struct sgx_enclave_run run;
	bool good = true;
	int result;

	result = enter(&run, base, request, ENCLU_EENTER, false);
	good &= faulted("the code, which is not writable", &run, result, ENCLU_EENTER, PF);
	result = enter(&run, base + of->threads[0].ossa, request, ENCLU_EENTER, false);
	good &= faulted("the SSA", &run, result, ENCLU_EENTER, PF);
	good &= (run.exception_error_code & PF_SGX) != 0;
	result = enter(&run, tcs + 8, request, ENCLU_EENTER, false);
	good &= faulted("a part of a TCS", &run, result, ENCLU_EENTER, GP);
	result = enter(&run, (uintptr_t)request, request, ENCLU_EENTER, false);
	good &= faulted("the host's memory", &run, result, ENCLU_EENTER, PF);
	result = enter(&run, tcs, request, ENCLU_ERESUME, false);
	good &= faulted("ERESUME of no exit", &run, result, ENCLU_ERESUME, GP);
	result = enter(&run, tcs, request, ENCLU_EENTER, false);
	return good && answered("a TCS", &run, result);
}

/* A fault inside, at a request that cannot be read. */
static bool exits(const struct tresor_image *of, struct tresor_head *request)
{
	const uint64_t tcs = of->secs.base + of->threads[1].tcs;
	struct sgx_enclave_run run;
	bool good;
	int result;

	mprotect(request, SGX_PAGE_SIZE, PROT_NONE);
	result = enter(&run, tcs, request, ENCLU_EENTER, false);
	/* The kernel tells the vDSO in RDI, RSI and RDX what happened. */
	good = faulted("a fault inside", &run, result, ENCLU_ERESUME, PF) && run.exception_addr == (uintptr_t)request &&
	       left.rdi == PF && left.rdx == (long)request;
	left.rsi = left.rdx = 0;
	report("hostile: an asynchronous exit leaves nothing in the registers", good && clean());

	result = enter(&run, tcs, request, ENCLU_EENTER, false);
	report("hostile: nobody enters on top of an asynchronous exit",
	       faulted("an entry with CSSA 1", &run, result, ENCLU_EENTER, GP));

	mprotect(request, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE);
	result = enter(&run, tcs, NULL, ENCLU_ERESUME, false);
	good = answered("ERESUME", &run, result);
	result = enter(&run, tcs, request, ENCLU_EENTER, false);
	return good && answered("an entry after it", &run, result);
}

static void hostile(void)
{
	struct tresor_enclave *enclave = load();
	const struct tresor_image *of = tresor_enclave_image(enclave);
	const uint64_t tcs = of->secs.base + of->threads[0].tcs;
	struct tresor_head *request = new_request();
	struct sgx_enclave_run run;
	bool good = true;
	int result;

	enter_enclave = (vdso_sgx_enter_enclave_t)tresor_vdso_symbol((const void *)getauxval(AT_SYSINFO_EHDR),
								     "__vdso_sgx_enter_enclave");
	report("hostile: an entry at anything but an idle TCS is refused by the processor", wrong_places(of, request));
	report("hostile: an interrupted entry goes on where it was, and its thread serves again", exits(of, request));

	for (uint32_t i = 0; i < of->thread_count; i++) {
		result = enter(&run, of->secs.base + of->threads[i].tcs, request, ENCLU_EENTER, true);
		good &= answered("a poisoned entry", &run, result) && clean();
	}
	report("hostile: an entry with the caller's flags and control registers astray ends as any other", good);

	good = true;
	for (uint64_t offset = 0; offset < 0x1000000; offset += 0x1000 - 8) {
		result = enter(&run, tcs, (void *)(of->secs.base + offset), ENCLU_EENTER, false);
		good = good && answered("a request inside", &run, result);
	}
	result = enter(&run, tcs, (void *)(of->secs.base - 8), ENCLU_EENTER, false);
	good &= answered("a request that reaches in", &run, result);
	report("hostile: a request inside the enclave, or reaching into it, is refused", good);
	tresor_enclave_unref(enclave);
}

/* ---- signals ---- */

static volatile sig_atomic_t signals;

static void on_alarm(int number)
{
	(void)number;
	signals++;
}

static void load_under_signals(int flags)
{
	const struct itimerval often = { { .tv_usec = 700 }, { .tv_usec = 700 } }, never = { { 0 }, { 0 } };
	const struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
	struct tresor_enclave *enclave;

	signals = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	enclave = load();
	setitimer(ITIMER_REAL, &never, NULL);
	if (memcmp(tresor_enclave_image(enclave)->secs.mrenclave, image.mrenclave, 32) != 0)
		fail("another MRENCLAVE");
	printf("# %d signals\n", (int)signals);
	if (signals < 100)
		fail("too few signals came to show anything");
	tresor_enclave_unref(enclave);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 3)
		return 1;
	read_image(argv[2]);
	if (strcmp(argv[1], "hostile") == 0)
		hostile();
	else if (strcmp(argv[1], "signals") == 0) {
		load_under_signals(0);
		load_under_signals(SA_RESTART);
	} else if (strcmp(argv[1], "load") == 0) {
		for (;;)
			tresor_enclave_unref(load());
	}
	return 0;
}
