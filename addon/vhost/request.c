/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/vhost/request.h"

#include <linux/virtio_blk.h>
#include <string.h>

#define SECTOR		512u	/* of the protocol, whatever the volume's are */
/* What the enclave wants of addresses. */
#define ALIGNMENT	8u

static uint64_t sum_of(const struct iovec *pieces, uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += pieces[i].iov_len;
	return sum;
}

static void move(const struct request *request, struct request_cursor *cursor, uint8_t *ours, size_t length, bool give)
{
	while (length > 0) {
		const struct iovec *piece = &request->pieces[cursor->piece];
		const size_t left = piece->iov_len - cursor->offset;
		const size_t part = length < left ? length : left;
		uint8_t *theirs = (uint8_t *)piece->iov_base + cursor->offset;

		if (give)
			memcpy(theirs, ours, part);
		else
			memcpy(ours, theirs, part);
		ours += part;
		length -= part;
		cursor->offset += part;
		if (cursor->offset == piece->iov_len)
			*cursor = (struct request_cursor){ .piece = cursor->piece + 1 };
	}
}

void request_give(const struct request *request, struct request_cursor *cursor, const uint8_t *from, size_t length)
{
	move(request, cursor, (uint8_t *)from, length, true);
}

void request_take(const struct request *request, struct request_cursor *cursor, uint8_t *to, size_t length)
{
	move(request, cursor, to, length, false);
}

uint32_t request_whole(const struct request *request, struct request_cursor *cursor, uint32_t sector, uint32_t length,
		       struct iovec *pieces, uint32_t *count, uint32_t room)
{
	uint32_t sum = 0;

	*count = 0;
	while (sum < length && *count < room && cursor->piece < request->piece_count) {
		const struct iovec *piece = &request->pieces[cursor->piece];
		uint8_t *at = (uint8_t *)piece->iov_base + cursor->offset;
		const size_t left = piece->iov_len - cursor->offset;
		size_t part = left < length - sum ? left : length - sum;

		part -= part % sector;
		if (part == 0 || (uintptr_t)at % ALIGNMENT != 0)
			break;
		pieces[(*count)++] = (struct iovec){ at, part };
		sum += (uint32_t)part;
		cursor->offset += part;
		if (cursor->offset == piece->iov_len)
			*cursor = (struct request_cursor){ .piece = cursor->piece + 1 };
	}
	return sum;
}

/* Sectors of the protocol as bytes of the volume. False: they are not in it. */
static bool bytes_of(const struct plain_volume *volume, uint64_t sector, uint64_t length,
		     struct request_segment *segment)
{
	const uint64_t size = __atomic_load_n(&volume->size, __ATOMIC_RELAXED);

	if (sector > size / SECTOR || length > size - sector * SECTOR)
		return false;
	*segment = (struct request_segment){ .offset = sector * SECTOR, .length = length };
	return true;
}

static bool is_whole(const struct plain_volume *volume, const struct request_segment *segment)
{
	return segment->offset % volume->sector_size == 0 && segment->length % volume->sector_size == 0;
}

/* What the two kinds of requests with segments have in common; a request that is not to be served has its outcome. */
static uint8_t read_segments(struct request *request, const struct plain_volume *volume, uint64_t bytes)
{
	const bool zero = request->type == REQUEST_ZERO;
	struct virtio_blk_discard_write_zeroes rows[REQUEST_SEGMENTS];
	struct request_cursor cursor = { 0 };

	if (bytes == 0 || bytes % sizeof(rows[0]) != 0 || bytes > sizeof(rows))
		return VIRTIO_BLK_S_IOERR;
	request_take(request, &cursor, (uint8_t *)rows, bytes);
	request->segment_count = (uint32_t)(bytes / sizeof(rows[0]));
	for (uint32_t i = 0; i < request->segment_count; i++) {
		struct request_segment *segment = &request->segments[i];
		const uint64_t length = (uint64_t)rows[i].num_sectors * SECTOR;
		const uint32_t known = zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

		if (rows[i].flags & ~known)
			return VIRTIO_BLK_S_UNSUPP;
		if (length > (zero ? ZERO_SIZE : DISCARD_SIZE) || !bytes_of(volume, rows[i].sector, length, segment) ||
		    (zero && !is_whole(volume, segment)))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t read_data(struct request *request, const struct plain_volume *volume, uint64_t sector)
{
	const uint64_t length = sum_of(request->pieces, request->piece_count);

	request->segment_count = 1;
	return bytes_of(volume, sector, length, &request->segments[0]) && is_whole(volume, &request->segments[0]) ?
		       VIRTIO_BLK_S_OK :
		       VIRTIO_BLK_S_IOERR;
}

static uint8_t read_type(struct request *request, const struct virtio_blk_outhdr *header,
			 const struct plain_volume *volume, bool discards, struct iovec *out, uint32_t out_count,
			 struct iovec *in, uint32_t in_count)
{
	const bool reads = header->type == VIRTIO_BLK_T_IN || header->type == VIRTIO_BLK_T_GET_ID;

	request->pieces = reads ? in : out;
	request->piece_count = reads ? in_count : out_count;
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		request->type = REQUEST_READ;
		return read_data(request, volume, header->sector);
	case VIRTIO_BLK_T_OUT:
		request->type = REQUEST_WRITE;
		return volume->read_only ? VIRTIO_BLK_S_IOERR : read_data(request, volume, header->sector);
	case VIRTIO_BLK_T_FLUSH:
		request->type = REQUEST_FLUSH;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		request->type = REQUEST_ID;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		request->type = header->type == VIRTIO_BLK_T_DISCARD ? REQUEST_DISCARD : REQUEST_ZERO;
		if (request->type == REQUEST_DISCARD && !discards)
			return VIRTIO_BLK_S_UNSUPP;
		if (volume->read_only)
			return VIRTIO_BLK_S_IOERR;
		return read_segments(request, volume, sum_of(out, out_count));
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

enum virtqueue_fault request_read(struct request *request, const struct virtqueue *queue, uint16_t head,
				  const struct plain_volume *volume, bool discards)
{
	struct chain chain = { .room = REQUEST_PIECES, .pieces = request->storage };
	const enum virtqueue_fault fault = virtqueue_chain(queue, head, &chain);
	struct virtio_blk_outhdr header;
	struct request_cursor cursor = { 0 };
	struct iovec *last;

	if (fault != RING_SOUND)
		return fault;
	if (sum_of(request->storage, chain.readable) < sizeof(header) || chain.count == chain.readable)
		return RING_SHAPE;
	request->pieces = request->storage;
	request->piece_count = chain.readable;
	request->segment_count = 0;
	request_take(request, &cursor, (uint8_t *)&header, sizeof(header));
	/* The last writable byte. */
	last = &request->storage[chain.count - 1];
	last->iov_len--;
	request->status = (uint8_t *)last->iov_base + last->iov_len;
	if (last->iov_len == 0)
		chain.count--;
	if (cursor.piece < chain.readable) {
		struct iovec *rest = &request->storage[cursor.piece];

		rest->iov_base = (uint8_t *)rest->iov_base + cursor.offset;
		rest->iov_len -= cursor.offset;
	}
	request->outcome = read_type(request, &header, volume, discards, request->storage + cursor.piece,
				     chain.readable - cursor.piece, request->storage + chain.readable,
				     chain.count - chain.readable);
	return RING_SOUND;
}
