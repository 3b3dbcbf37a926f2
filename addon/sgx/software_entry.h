/* SPDX-License-Identifier: Apache-2.0 */
/* The way into an image that lies in this process, and back: entry, exit, ENCLU, faults. */
#ifndef TRESOR_SOFTWARE_ENTRY_H
#define TRESOR_SOFTWARE_ENTRY_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "addon/sgx/emulator.h"
#include "addon/sgx/image.h"

/* The first four: software_entry.S. */
struct software_thread {
	uint64_t host_rsp;
	uint64_t emulator_stack;	/* its upper end */
	uint64_t tcs;
	uint64_t oentry;
	struct tresor_image *image;
	const struct tresor_emulator *emulator;
	uint32_t half_cycles;	/* TSC cycles burnt on the way in, and on the way out */
	stack_t signal_stack;	/* a frame holds the enclave's registers */
	uint32_t busy;		/* atomic; stays 1 after a fault, as CSSA does */
	/* Of the exception that ended an entry; #GP when it was an ENCLU that the emulator refused. */
	uint16_t vector;
	uint16_t error_code;
	uint64_t fault_address;
};
_Static_assert(offsetof(struct software_thread, oentry) == 24, "software_entry.S");

/* Once; never taken back, since somebody may by then have chained to us. */
void tresor_software_catch_faults(void);
/* enum tresor_status, or TRESOR_ENTER_LOST; then the image knows why. */
uint32_t tresor_software_enter(struct software_thread *thread, void *request);
/* software_entry.S: where the image's ENCLU goes. */
void tresor_software_enclu(void);

#endif
