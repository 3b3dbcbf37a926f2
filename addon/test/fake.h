/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a driver and a CPU for the hardware backend, on machines without
 * either. The driver (fake_driver.c) takes every argument as <asm/sgx.h>
 * declares it, answers with the errno Linux answers with, measures what it was
 * given itself, and maps pages with no more rights than they have. The image runs
 * unchanged: its ENCLU faults and is done by the CPU (fake_cpu.c), which is
 * the emulator of the software backend.
 *
 * It is fast, and does wrong what a test asks for: errnos, signals, lost memory.
 * It shows nothing about hardware that we did not put into it: EINIT's checks and
 * key derivation are the software backend's, the enclave's memory is readable and
 * its FS and GS are the host's, nothing is paged, and a fault is known by this
 * process's own signal. What Linux's own driver and a CPU after the SDM do, test/sgx
 * shows; src/testing/contract.ts is asked of both.
 */
#ifndef TRESOR_FAKE_H
#define TRESOR_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/sgx/driver.h"
#include "addon/sgx/emulator.h"
#include "addon/sgx/image.h"
#include "addon/sgx/sha256.h"

#define FAKE_ENCLAVES		8
#define FAKE_SIGNAL_STACK	65536u

struct fake_enclave {
	bool open;
	bool created;
	bool initialised;
	bool tied;		/* to its process, by the first mapping */
	uint32_t lost;		/* atomic; enum fake_loss */
	int device;		/* a memfd, which is its EPC */
	struct tresor_image image;
	struct tresor_sha256 measurement;
	struct tresor_emulator emulator;
	uint32_t cssa[TRESOR_THREADS];	/* atomic; 1 also while a thread is inside */
	uint8_t stacks[TRESOR_THREADS][FAKE_SIGNAL_STACK];
};
extern struct fake_enclave fake_enclaves[FAKE_ENCLAVES];

/* Where a page was when a suspend took the EPC: in it, or swapped out, which faults like any absent page. */
enum fake_loss { FAKE_KEPT, FAKE_LOST, FAKE_LOST_SWAPPED };

/* What to do wrong; errno values, or counts. */
struct fake_faults {
	int32_t open_errno, create_errno, add_errno, init_errno, map_errno, probe_errno, enter_result;
	int32_t add_after;	/* ADD_PAGES calls that succeed before add_errno */
	int32_t over_count;	/* pages by which ADD_PAGES counts wrong */
	/* Calls that end in EINTR or EAGAIN by turns, with nothing done. */
	int32_t interrupt_open, interrupt_create, interrupt_add, interrupt_init, interrupt_map;
	int32_t signal_every;	/* ADD_PAGES: a signal comes at every so many pages; 0: none */
	int32_t epc_full;	/* it comes while a page is waited for */
	int32_t restart;	/* its handler has SA_RESTART */
	int32_t no_exec, no_vdso, no_sgx2;
	int32_t xfrm;		/* CPUID.(12H,1); 0: all of AVX-512 */
	int32_t size_bits;	/* CPUID.(12H,0), largest enclave; 0: 36 */
};
extern struct fake_faults fake_faults;

struct fake_counters {
	uint32_t open, add_calls, pages, init_calls, entries;
};
extern struct fake_counters fake_counters;

extern struct tresor_machine fake_machine;
void fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);

/* The driver. */
int fake_open(void);
int fake_ioctl(int device, unsigned long request, void *argument);
void *fake_mmap(void *address, size_t size, int protection, int flags, int device, off_t offset);
int fake_close(int device);

/* The CPU: its handler of its own faults; what it does not know goes to whom it was before. */
void fake_catch_faults(void);
vdso_sgx_enter_enclave_t fake_find_enter(void);

#endif
