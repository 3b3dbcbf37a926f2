/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SGX of the software CPU, as the machine sees it. */
#ifndef HW_I386_SGX_PACKAGE_H
#define HW_I386_SGX_PACKAGE_H

#include "exec/memory.h"
#include "qom/object.h"

void sgx_package_add_properties(ObjectClass *machine);
void sgx_package_init(hwaddr base, uint64_t size, MemoryRegion *memory);
void sgx_package_reset(void);

#endif
