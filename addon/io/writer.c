/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/io/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "addon/io/patience.h"
#include "addon/monotonic.h"
#include "addon/thread.h"

#define RUN		64u	/* rows in one system call */
#define STACK_SIZE	(64u << 10)
/* More than a busy machine takes to run the thread; less than anybody notices. */
#define LATE_MS		20

/* Bits of the word that both threads sleep on: at one time, one of them at most. */
enum { GIVEN = 1, CLOSING = 2 };

struct writer {
	int fd;
	uint8_t *memory;
	/* The thread's, while GIVEN. */
	struct writer_row rows[WRITER_ROWS];
	uint32_t count;
	struct patience patience;
	/* The owner's. */
	pthread_t thread;
	int cpu;		/* where the thread is to run */
	/* Atomic. */
	uint32_t word;
	unsigned references;	/* the owner's and the thread's */
};

static void release(struct writer *writer)
{
	if (__atomic_sub_fetch(&writer->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	explicit_bzero(writer->memory, WRITER_MEMORY);
	munmap(writer->memory, WRITER_MEMORY);
	close(writer->fd);
	free(writer);
}

static uint32_t look(const struct writer *writer)
{
	return __atomic_load_n(&writer->word, __ATOMIC_ACQUIRE);
}

/* Returns at once when the word is another. `until`: CLOCK_MONOTONIC, or NULL. False: it is that late. */
static bool sleep_while(struct writer *writer, uint32_t word, const struct timespec *until)
{
	return syscall(SYS_futex, &writer->word, FUTEX_WAIT_BITSET_PRIVATE, word, until, NULL,
		       FUTEX_BITSET_MATCH_ANY) == 0 ||
	       errno != ETIMEDOUT;
}

static void wake(struct writer *writer)
{
	syscall(SYS_futex, &writer->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Where the file ends now. It may have been cut off: what is past its end is not written (file.c tells why). */
static uint64_t end_of(const struct writer *writer)
{
	struct statx found;

	/* The size alone: once the times are asked for, the next write has a new one, for ext4's journal (Linux 6.13). */
	if (statx(writer->fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &found) != 0)
		return 0;
	return S_ISREG(found.stx_mode) ? found.stx_size : UINT64_MAX;
}

/* Gathers the rows from `first` that follow each other in the file. Returns how many; *total: their bytes. */
static uint32_t gather(const struct writer *writer, uint32_t first, struct iovec iov[RUN], size_t *total)
{
	const struct writer_row *rows = writer->rows + first;
	uint32_t count = 0;

	for (*total = 0; count < RUN && first + count < writer->count; count++) {
		if (count > 0 && rows[count].offset != rows[0].offset + *total)
			break;
		iov[count] = (struct iovec){ writer->memory + rows[count].at, rows[count].length };
		*total += rows[count].length;
	}
	return count;
}

static void write_rows(struct writer *writer)
{
	const uint64_t end = end_of(writer);
	struct iovec iov[RUN];
	struct timing timing;
	size_t total;

	patience_begin(&writer->patience, &timing);
	for (uint32_t row = 0, count; row < writer->count; row += count) {
		const uint64_t offset = writer->rows[row].offset;
		int result = 0;

		count = gather(writer, row, iov, &total);
		if (offset > end || total > end - offset) {
			result = EAGAIN;
		} else {
			ssize_t put;

			do {
				put = pwritev(writer->fd, iov, (int)count, (off_t)offset);
			} while (put < 0 && errno == EINTR);
			/* What was written in part is written again, with the same bytes. */
			if (put != (ssize_t)total)
				result = put < 0 ? errno : EAGAIN;
		}
		for (uint32_t i = 0; i < count; i++)
			writer->rows[row + i].result = result;
	}
	patience_end(&writer->patience, &timing);
}

static void *serve(void *argument)
{
	struct writer *writer = argument;
	uint32_t word;

	while ((word = look(writer)) != CLOSING) {
		if (word & GIVEN) {
			write_rows(writer);
			__atomic_fetch_and(&writer->word, ~(uint32_t)GIVEN, __ATOMIC_RELEASE);
			wake(writer);
		} else {
			sleep_while(writer, word, NULL);
		}
	}
	release(writer);
	return NULL;
}

static bool start(struct writer *writer)
{
	errno = thread_start_detached(&writer->thread, STACK_SIZE, serve, writer);
	return errno == 0;
}

struct writer *writer_open(int fd)
{

	struct writer *writer = calloc(1, sizeof(*writer));
	int cause;

	if (writer == NULL)
		return NULL;
	writer->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	writer->memory = writer->fd < 0 ?
				 MAP_FAILED :
				 mmap(NULL, WRITER_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (writer->memory == MAP_FAILED)
		goto fail;
	/* Plaintext that was not aligned is copied here: not in a core. */
	madvise(writer->memory, WRITER_MEMORY, MADV_DONTDUMP);
	writer->references = 2;
	writer->cpu = -1;
	if (start(writer))
		return writer;
	cause = errno;
	writer->references = 1;
	release(writer);
	errno = cause;
	return NULL;
fail:
	cause = errno;
	if (writer->fd >= 0)
		close(writer->fd);
	free(writer);
	errno = cause;
	return NULL;
}

void writer_close(struct writer *writer)
{
	__atomic_fetch_or(&writer->word, CLOSING, __ATOMIC_RELEASE);
	wake(writer);
	release(writer);
}

bool writer_busy(const struct writer *writer)
{
	return look(writer) & GIVEN;
}

bool writer_ready(const struct writer *writer)
{
	return !writer_busy(writer) && patience_over(&writer->patience);
}

uint8_t *writer_memory(const struct writer *writer)
{
	return writer->memory;
}

struct writer_row *writer_rows(struct writer *writer)
{
	return writer->rows;
}

/*
 * The owner sleeps meanwhile, so its CPU is free, and has what is written in its cache; to wake another CPU takes longer
 * than most writes (docs/decisions/0067).
 */
static void follow(struct writer *writer)
{
	const int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu == writer->cpu || cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	writer->cpu = cpu;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(writer->thread, sizeof(set), &set);
}

bool writer_write(struct writer *writer, uint32_t count)
{
	const struct timespec until = monotonic_after_ms(LATE_MS);

	follow(writer);
	writer->count = count;
	__atomic_fetch_or(&writer->word, GIVEN, __ATOMIC_RELEASE);
	wake(writer);
	while (writer_busy(writer))
		if (!sleep_while(writer, GIVEN, &until))
			return !writer_busy(writer);
	return true;
}
