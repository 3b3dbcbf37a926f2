/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/fake_ublk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/faults.h"

#define QUEUES_MOST	4u
#define DEPTH_MOST	128u
#define PATIENCE_S	30

enum tag_state { UNFETCHED, FETCHED, ASKED, COMMITTED };

struct tag {
	enum tag_state state;
	bool taken;	/* by a request of the test's, until its result was seen */
	int event;	/* what its command waits for */
	uint64_t read;	/* by the ring */
	int ends;	/* result of the command */
	int32_t result;	/* committed */
	pthread_t owner;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* Under the lock, but for what fake_ublk_open sets. */
static struct {
	int device;
	uint32_t queues, depth;
	struct ublk_descriptor *descriptors[QUEUES_MOST];
	struct tag tags[QUEUES_MOST][DEPTH_MOST];
	int rings[QUEUES_MOST];
	int refuse_fetch;
	bool stopped, short_copies;
	uint64_t copied;
	int control_ring, control_result;
	uint8_t control_fill;
	uint32_t control_operation;
	struct ublk_control_command control;
} fake = { .device = -1, .control_ring = -1 };

static void end(struct tag *tag, int result)
{
	const uint64_t one = 1;

	tag->ends = result;
	CHECK_EQUAL(write(tag->event, &one, sizeof(one)), sizeof(one));
}

static bool is_device(int fd)
{
	struct stat theirs, ours;

	return fake.device >= 0 && fstat(fd, &theirs) == 0 && fstat(fake.device, &ours) == 0 &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

static void take_queue_command(struct uring *ring, struct io_uring_sqe *entry)
{
	struct ublk_queue_command command;
	struct tag *tag;

	CHECK(ring->wide);
	CHECK(is_device(entry->fd));
	memcpy(&command, entry->cmd, sizeof(command));
	CHECK(command.q_id < fake.queues && command.tag < fake.depth);
	/* With USER_COPY there is no buffer. */
	CHECK_EQUAL(command.addr, 0);
	fake.rings[command.q_id] = ring->fd;
	tag = &fake.tags[command.q_id][command.tag];
	if (entry->cmd_op == UBLK_FETCH_REQ) {
		CHECK_EQUAL(tag->state, UNFETCHED);
		tag->owner = pthread_self();
		tag->state = FETCHED;
	} else {
		CHECK_EQUAL(entry->cmd_op, UBLK_COMMIT_AND_FETCH_REQ);
		CHECK_EQUAL(tag->state, ASKED);
		CHECK(pthread_equal(tag->owner, pthread_self()));
		tag->result = command.result;
		tag->state = COMMITTED;
	}
	entry->opcode = IORING_OP_READ;
	entry->fd = tag->event;
	entry->off = 0;
	entry->addr = (uintptr_t)&tag->read;
	entry->len = sizeof(tag->read);
	if (fake.refuse_fetch != 0)
		end(tag, -fake.refuse_fetch);
	else if (fake.stopped)
		end(tag, -ENODEV);
	pthread_cond_broadcast(&changed);
}

static void take_control_command(struct uring *ring, struct io_uring_sqe *entry)
{
	CHECK(ring->wide);
	memcpy(&fake.control, entry->cmd, sizeof(fake.control));
	CHECK_EQUAL(fake.control.queue_id, UBLK_NO_QUEUE);
	fake.control_operation = entry->cmd_op;
	fake.control_ring = ring->fd;
	if (fake.control.len > 0)
		memset((void *)(uintptr_t)fake.control.addr, fake.control_fill, fake.control.len);
	entry->opcode = IORING_OP_NOP;
	entry->fd = -1;
	entry->off = 0;
}

static void take_command(struct uring *ring, struct io_uring_sqe *entry)
{
	pthread_mutex_lock(&lock);
	if ((entry->cmd_op & 0xff) >= (UBLK_FETCH_REQ & 0xff))
		take_queue_command(ring, entry);
	else
		take_control_command(ring, entry);
	pthread_mutex_unlock(&lock);
}

static int32_t end_command(const struct uring *ring, uint64_t user_data, int32_t result)
{
	const uint64_t tag = user_data >> 1;

	pthread_mutex_lock(&lock);
	if (user_data == 0 && ring->fd == fake.control_ring)
		result = fake.control_result;
	for (uint32_t queue = 0; (user_data & 1) && queue < fake.queues; queue++)
		if (fake.rings[queue] == ring->fd && tag < fake.depth)
			result = fake.tags[queue][tag].ends;
	pthread_mutex_unlock(&lock);
	return result;
}

/* 0: all of it is copied. */
static size_t cut(int fd, off_t offset, size_t size, bool in)
{
	size_t less = 0;

	pthread_mutex_lock(&lock);
	if (offset >= (off_t)UBLK_DATA_OFFSET(0, 0) && is_device(fd)) {
		less = fake.short_copies ? 512 : 0;
		fake.copied += in ? size : 0;
	}
	pthread_mutex_unlock(&lock);
	return less;
}

ssize_t __real_pread(int fd, void *memory, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *memory, size_t size, off_t offset);
ssize_t __real_pwrite(int fd, const void *memory, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *memory, size_t size, off_t offset);

ssize_t __wrap_pread(int fd, void *memory, size_t size, off_t offset)
{
	return __real_pread(fd, memory, size - cut(fd, offset, size, true), offset);
}

ssize_t __wrap_pwrite(int fd, const void *memory, size_t size, off_t offset)
{
	return __real_pwrite(fd, memory, size - cut(fd, offset, size, false), offset);
}

void fake_ublk_open(uint32_t queues, uint32_t depth)
{
	fake.device = memfd_create("ublkc", MFD_CLOEXEC);
	CHECK(fake.device >= 0 && queues <= QUEUES_MOST && depth <= DEPTH_MOST);
	CHECK_EQUAL(ftruncate(fake.device, (off_t)queues * UBLK_DESCRIPTORS_STRIDE), 0);
	fake.queues = queues;
	fake.depth = depth;
	fake.stopped = fake.short_copies = false;
	fake.refuse_fetch = 0;
	memset(fake.tags, 0, sizeof(fake.tags));
	for (uint32_t queue = 0; queue < queues; queue++) {
		fake.rings[queue] = -1;
		fake.descriptors[queue] = mmap(NULL, UBLK_DESCRIPTORS_STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED,
					       fake.device, (off_t)queue * UBLK_DESCRIPTORS_STRIDE);
		CHECK(fake.descriptors[queue] != MAP_FAILED);
		for (uint32_t tag = 0; tag < depth; tag++)
			fake.tags[queue][tag].event = eventfd(0, EFD_CLOEXEC);
	}
	faults_command = take_command;
	faults_commanded = end_command;
}

void fake_ublk_close(void)
{
	faults_command = NULL;
	faults_commanded = NULL;
	for (uint32_t queue = 0; queue < fake.queues; queue++) {
		munmap(fake.descriptors[queue], UBLK_DESCRIPTORS_STRIDE);
		for (uint32_t tag = 0; tag < fake.depth; tag++)
			close(fake.tags[queue][tag].event);
	}
	close(fake.device);
	fake.device = -1;
	fake.queues = 0;
}

int fake_ublk_device(void)
{
	return fake.device;
}

unsigned fake_ublk_open_files(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += is_device(fd);
	return count;
}

unsigned fake_ublk_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	char line[512];

	CHECK(maps != NULL);
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, "/memfd:ublkc") != NULL;
	fclose(maps);
	return count;
}

void fake_ublk_refuse_fetch(int error)
{
	pthread_mutex_lock(&lock);
	fake.refuse_fetch = error;
	pthread_mutex_unlock(&lock);
}

void fake_ublk_short_copies(bool are)
{
	pthread_mutex_lock(&lock);
	fake.short_copies = are;
	pthread_mutex_unlock(&lock);
}

static struct timespec soon(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	return until;
}

uint16_t fake_ublk_ask(uint32_t queue, uint32_t op_flags, uint64_t offset, uint32_t length, const uint8_t *data)
{
	const struct timespec until = soon();
	struct tag *free = NULL;
	uint16_t tag = 0;

	pthread_mutex_lock(&lock);
	while (free == NULL) {
		for (tag = 0; tag < fake.depth; tag++) {
			struct tag *each = &fake.tags[queue][tag];

			if (!each->taken && (each->state == FETCHED || each->state == COMMITTED)) {
				free = each;
				break;
			}
		}
		if (free == NULL)
			CHECK_EQUAL(pthread_cond_timedwait(&changed, &lock, &until), 0);
	}
	fake.descriptors[queue][tag] = (struct ublk_descriptor){
		.op_flags = op_flags,
		.nr_sectors = length / 512,
		.start_sector = offset / 512,
	};
	if (data != NULL)
		CHECK_EQUAL(__real_pwrite(fake.device, data, length, (off_t)UBLK_DATA_OFFSET(queue, tag)), length);
	free->taken = true;
	free->state = ASKED;
	end(free, 0);
	pthread_mutex_unlock(&lock);
	return tag;
}

bool fake_ublk_committed(uint32_t queue, uint16_t tag)
{
	bool is;

	pthread_mutex_lock(&lock);
	is = fake.tags[queue][tag].state == COMMITTED;
	pthread_mutex_unlock(&lock);
	return is;
}

int32_t fake_ublk_result(uint32_t queue, uint16_t tag)
{
	const struct timespec until = soon();
	struct tag *asked = &fake.tags[queue][tag];
	int32_t result;

	pthread_mutex_lock(&lock);
	while (asked->state != COMMITTED)
		CHECK_EQUAL(pthread_cond_timedwait(&changed, &lock, &until), 0);
	asked->taken = false;
	result = asked->result;
	pthread_mutex_unlock(&lock);
	return result;
}

void fake_ublk_data(uint32_t queue, uint16_t tag, uint8_t *data, uint32_t length)
{
	CHECK_EQUAL(__real_pread(fake.device, data, length, (off_t)UBLK_DATA_OFFSET(queue, tag)), length);
}

uint64_t fake_ublk_copied(void)
{
	uint64_t copied;

	pthread_mutex_lock(&lock);
	copied = fake.copied;
	fake.copied = 0;
	pthread_mutex_unlock(&lock);
	return copied;
}

void fake_ublk_stop(void)
{
	pthread_mutex_lock(&lock);
	fake.stopped = true;
	for (uint32_t queue = 0; queue < fake.queues; queue++)
		for (uint32_t tag = 0; tag < fake.depth; tag++)
			if (fake.tags[queue][tag].state == FETCHED || fake.tags[queue][tag].state == COMMITTED)
				end(&fake.tags[queue][tag], -ENODEV);
	pthread_mutex_unlock(&lock);
}

void fake_ublk_control(int result, uint8_t fill)
{
	pthread_mutex_lock(&lock);
	fake.control_result = result;
	fake.control_fill = fill;
	pthread_mutex_unlock(&lock);
	faults_command = take_command;
	faults_commanded = end_command;
}

struct ublk_control_command fake_ublk_command(uint32_t *operation)
{
	*operation = fake.control_operation;
	return fake.control;
}
