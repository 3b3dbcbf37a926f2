/* SPDX-License-Identifier: Apache-2.0 */
/* A split virtqueue in memory that a driver writes to as it likes. */
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/vhost/virtqueue.h"

#define MEMORY	(1u << 20)
#define USER	0x10000u	/* address of the front-end's */

/* Where the parts of a ring of any size lie in the memory. */
#define AVAILABLE	(64u * 1024u)
#define USED		(128u * 1024u)

struct driver {
	int file;
	uint8_t *memory;	/* as the driver sees it */
	struct vring_avail *available;
	struct vring_used *used;
	struct regions *regions;
	uint8_t *record;	/* of requests under way: from malloc(3), so that ASan knows its end */
	struct virtqueue *queue;	/* too */
};

static void driver_open(struct driver *driver, uint16_t size)
{
	const struct region_row row = { .guest = 0, .size = MEMORY, .user = USER };
	const struct virtqueue_place place = {
		.size = size, .descriptors = USER, .available = USER + AVAILABLE, .used = USER + USED
	};
	struct inflight inflight;

	driver->file = memfd_create("guest", MFD_CLOEXEC);
	CHECK_EQUAL(ftruncate(driver->file, MEMORY), 0);
	driver->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, driver->file, 0);
	CHECK(driver->memory != MAP_FAILED);
	driver->available = (void *)(driver->memory + AVAILABLE);
	driver->used = (void *)(driver->memory + USED);
	driver->regions = regions_map(&driver->file, &row, 1);
	CHECK(driver->regions != NULL);
	driver->record = calloc(1, inflight_size(size));
	driver->queue = malloc(sizeof(*driver->queue));
	CHECK(driver->record != NULL && driver->queue != NULL);
	inflight_open(&inflight, driver->record, size);
	CHECK_EQUAL(virtqueue_open(driver->queue, driver->regions, &place, &inflight), RING_SOUND);
}

static void driver_close(struct driver *driver)
{
	free(driver->queue);
	free(driver->record);
	regions_unmap(driver->regions);
	munmap(driver->memory, MEMORY);
	close(driver->file);
}

/* A driver puts a head for each that is answered, although it was shown no answer. */
static void more_answers_than_the_ring_holds(void)
{
	static const uint16_t sizes[] = { 1, 4, VIRTQUEUE_MAX };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const uint16_t size = sizes[i];
		uint16_t heads[VIRTQUEUE_MAX], shown;
		enum virtqueue_fault fault = RING_SOUND;
		struct inflight inflight;
		struct driver driver;

		check_run("%u descriptors", size);
		driver_open(&driver, size);
		for (uint16_t k = 0; k < size; k++)
			driver.available->ring[k] = (uint16_t)(size - 1 - k);
		for (uint32_t answers = 0; answers < 3u * VIRTQUEUE_MAX; answers++) {
			uint16_t head;

			driver.available->idx++;
			CHECK(virtqueue_next(driver.queue, &head, &fault));
			CHECK_EQUAL(head, size - 1 - answers % size);
			virtqueue_answer(driver.queue, head, 1);
			CHECK_EQUAL(driver.used->ring[answers % size].id, head);
			shown = driver.used->idx;
			CHECK((uint16_t)(answers + 1 - shown) <= size);
		}
		virtqueue_publish(driver.queue);
		CHECK_EQUAL(driver.used->idx, 3u * VIRTQUEUE_MAX);
		/* The next back-end finds that all were answered. */
		inflight_open(&inflight, driver.record, size);
		CHECK_EQUAL(inflight_recover(&inflight, driver.used->idx, heads), 0);
		driver_close(&driver);
	}
}

const struct test_case virtqueue_cases[] = {
	{ "more answers than the ring holds are shown at once", more_answers_than_the_ring_holds },
	{ NULL, NULL },
};
