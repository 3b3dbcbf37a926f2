/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on /dev/ublk-control: devices come, go and change (abi/ublk.h). */
#ifndef TRESOR_UBLK_CONTROL_H
#define TRESOR_UBLK_CONTROL_H

#include <stdint.h>

#include "abi/ublk.h"

/*
 * Sends one and waits for its end, which may take as long as a partition table is read, or a device is in use. What
 * the kernel returns, 0 or more; or a negative errno. `command` and what it points to are the kernel's meanwhile.
 */
int ublk_control(uint32_t operation, const struct ublk_control_command *command);

#endif
