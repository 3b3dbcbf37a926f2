/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that writes to a file for another one, which waits for it for a short
 * time only. A write to the page cache mostly takes microseconds; on a frozen file
 * system or a disk that hangs it takes for ever, and no flag of pwritev2(2) tells before.
 */
#ifndef TRESOR_IO_WRITER_H
#define TRESOR_IO_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/enclave.h"

#define WRITER_MEMORY	(256u << 10)
#define WRITER_ROWS	TRESOR_RANGES

struct writer_row {
	uint64_t offset;	/* bytes of the file */
	uint32_t at, length;	/* of the memory */
	int result;		/* 0, an errno, or EAGAIN: not all was written, or it lies past the end of a regular file */
};

struct writer;

/* All is called by one thread. */

/* The descriptor is duplicated. NULL with errno. */
struct writer *writer_open(int fd);
/* A write that has not ended keeps the thread, the memory and the duplicate until it does. */
void writer_close(struct writer *writer);
/* Neither busy nor told to pause: writes had to wait for a disk a while ago. */
bool writer_ready(const struct writer *writer);
/* A write was late and has not ended. Until it has, the memory and the rows are not to be touched. */
bool writer_busy(const struct writer *writer);
/* WRITER_MEMORY bytes, 8-byte aligned, and the rows, for the caller to fill. */
uint8_t *writer_memory(const struct writer *writer);
struct writer_row *writer_rows(struct writer *writer);
/* Of a writer that is ready. True: the rows have results. False: it is late, and goes on. */
bool writer_write(struct writer *writer, uint32_t count);

#endif
