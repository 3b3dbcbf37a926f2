/* SPDX-License-Identifier: Apache-2.0 */
/* What ended an enclave, in words. Told once, by the first thread to find out; allocates nothing. */
#ifndef TRESOR_FAULT_H
#define TRESOR_FAULT_H

#include <stdint.h>

#include "addon/sgx/image.h"

/* Remembers the first fault. `where`: what faulted; `vector`: the CPU's exception. */
void tresor_image_fault(struct tresor_image *image, const char *where, uint16_t vector, uint16_t error_code,
			uint64_t address);
/* The same of an enclave that answers TRESOR_E_DEAD. */
void tresor_image_dead(struct tresor_image *image);
/* The same when the kernel refused to enter; `error`: an errno. */
void tresor_image_not_entered(struct tresor_image *image, int error);
/* What was remembered, or NULL. Any thread. */
const char *tresor_image_fault_text(const struct tresor_image *image);

#endif
