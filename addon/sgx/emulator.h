/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU does for ENCLU, for the software backend. SDM vol. 3D. */
#ifndef TRESOR_EMULATOR_H
#define TRESOR_EMULATOR_H

#include <stdint.h>

#include "addon/sgx/image.h"

/* Where the hardware raises #GP, #PF or #UD. No error code has this value. */
#define TRESOR_EMULATOR_FAULT	UINT64_MAX

/* In secret memory. */
struct tresor_machine {
	uint8_t secret[32];	/* what fuses and OWNEREPOCH are to a CPU */
	uint8_t report_key_id[32];	/* CR_REPORT_KEYID: fresh per start */
};

struct tresor_emulator {
	const struct tresor_image *image;
	struct tresor_machine *machine;
	uint8_t *accepted;	/* bit per page of the dynamic range; atomic */
};

/* The version of this emulation: byte 0 grows with it. Tests play a microcode update. */
extern uint8_t tresor_cpu_svn[16];

/*
 * One leaf but EEXIT, on the registers it takes. Runs on a stack in secret
 * memory and leaves no secret on it. Returns RAX or TRESOR_EMULATOR_FAULT.
 */
uint64_t tresor_emulate(const struct tresor_emulator *emulator, uint32_t leaf, uint64_t rbx, uint64_t rcx,
			uint64_t rdx);

#endif
