/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's ublk, in the place of its driver: commands of io_uring are answered here (faults_command), by its
 * rules, and whoever breaks one fails the test. A device is a memory file, which has descriptors and data at the
 * driver's offsets; its requests are asked by the test, which sees what is committed.
 */
#ifndef TRESOR_TEST_DISK_FAKE_UBLK_H
#define TRESOR_TEST_DISK_FAKE_UBLK_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/ublk.h"

/* One at a time, of these. */
void fake_ublk_open(uint32_t queues, uint32_t depth);
/* Nothing of it is open or fetched any more. */
void fake_ublk_close(void);
/* As of /dev/ublkcN. */
int fake_ublk_device(void);

/* Descriptors of it in this process, and mappings; the fake has one, and one a queue. */
unsigned fake_ublk_open_files(void);
unsigned fake_ublk_mappings(void);

/* FETCH commands end with this errno from now on; 0: they wait, as they should. */
void fake_ublk_refuse_fetch(int error);
/* pread(2) and pwrite(2) of data are one block short. */
void fake_ublk_short_copies(bool are);

/* A request, on a tag that is fetched: which. `data`: of a write. */
uint16_t fake_ublk_ask(uint32_t queue, uint32_t op_flags, uint64_t offset, uint32_t length, const uint8_t *data);
/* Waits for its COMMIT, for some seconds: the result. */
int32_t fake_ublk_result(uint32_t queue, uint16_t tag);
bool fake_ublk_committed(uint32_t queue, uint16_t tag);
/* What a read left. */
void fake_ublk_data(uint32_t queue, uint16_t tag, uint8_t *data, uint32_t length);
/* Bytes of data that were copied to the server since the last call. */
uint64_t fake_ublk_copied(void);

/* As STOP_DEV: what is fetched, or will be, ends with ENODEV. */
void fake_ublk_stop(void);

/* The next control command ends with `result`, after its payload was filled with `fill`. */
void fake_ublk_control(int result, uint8_t fill);
/* The last one. */
struct ublk_control_command fake_ublk_command(uint32_t *operation);

#endif
