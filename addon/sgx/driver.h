/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hardware backend asks of Linux. Everything goes through this table,
 * so that a driver made for tests can stand in: the machines Tresor is built on
 * have no SGX.
 */
#ifndef TRESOR_DRIVER_H
#define TRESOR_DRIVER_H

#include <asm/sgx.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/sgx.h"

struct tresor_sgx_system {
	int (*open_device)(void);	/* errno as open(2) */
	int (*ioctl)(int device, unsigned long request, void *argument);
	void *(*mmap)(void *address, size_t size, int protection, int flags, int device, off_t offset);
	int (*close)(int device);
	/* __vdso_sgx_enter_enclave; NULL: this kernel has none. */
	vdso_sgx_enter_enclave_t (*find_enter)(void);
	/* EAX to EDX; zeros when the CPU has no such leaf. */
	void (*cpuid)(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
};

/* Linux; a test may point it elsewhere before the first enclave is made. */
extern const struct tresor_sgx_system *tresor_sgx_system;

/*
 * driver_entry.S: one EENTER by way of `enter`. Low half of the result: what `enter`
 * returned; high half: EDI, the enclave's status, meaningful after EEXIT only.
 */
uint64_t tresor_sgx_call(vdso_sgx_enter_enclave_t enter, void *request, struct sgx_enclave_run *run);

#endif
