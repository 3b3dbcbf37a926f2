/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front-end of vhost-user-blk without a virtual machine: see usage. Shares nothing with addon/vhost, so that the
 * same mistake is not made on both sides.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "load.h"
#include "mixed.h"

/* Exit codes beside 0. */
enum { FAILED = 1, USAGE = 2, IO_ERROR = 3, UNSUPPORTED = 4 };

/* Of one request of the commands that move bytes. */
#define CHUNK	(1u << 20)

static const char usage[] =
	"usage: frontend [OPTION]... SOCKET COMMAND\n"
	"  info | id | flush | read OFFSET LENGTH | write OFFSET | discard OFFSET LENGTH | zeroes OFFSET LENGTH\n"
	"  load     reads, or writes with --write; prints a line of JSON\n"
	"  mixed    all operations at once on an area, every byte read is checked; prints a line of JSON\n"
	"  watch    waits until the back-end reports another configuration, prints the capacity in bytes\n"
	"  --queues N --queue-size N --regions N --no-event-idx --unsealed --indirect --slots --inflight\n"
	"  --write --random --size N --segment N --depth N --seconds N --count N --area N --seed N --reconnect\n"
	"exits 3 when a request ends in an I/O error, 4 when it is not supported\n";

static int failed(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-error));
	return FAILED;
}

static int status_code(const char *what, int status)
{
	if (status == VIRTIO_BLK_S_OK)
		return 0;
	if (status < 0)
		return failed(what, status);
	fprintf(stderr, "%s: status %d\n", what, status);
	return status == VIRTIO_BLK_S_UNSUPP ? UNSUPPORTED : IO_ERROR;
}

static int info(const struct device *device)
{
	const struct session *session = &device->session;
	const struct virtio_blk_config *config = &session->config;

	printf("{\"features\":\"%#llx\",\"protocol\":\"%#llx\",\"queues\":%llu,\"capacity\":%llu,\"blockSize\":%u,"
	       "\"segMax\":%u,\"sizeMax\":%u,\"wce\":%u,\"maxDiscardSectors\":%u,\"maxDiscardSeg\":%u,"
	       "\"discardAlignment\":%u,\"maxZeroesSectors\":%u,\"maxZeroesSeg\":%u}\n",
	       (unsigned long long)session->offered, (unsigned long long)session->protocol_offered,
	       (unsigned long long)session->queues, (unsigned long long)config->capacity * 512, config->blk_size,
	       config->seg_max, config->size_max, config->wce, config->max_discard_sectors, config->max_discard_seg,
	       config->discard_sector_alignment, config->max_write_zeroes_sectors, config->max_write_zeroes_seg);
	return 0;
}

static int get_id(struct device *device)
{
	char *id = guest_take(&device->guest, VIRTIO_BLK_ID_BYTES, 16);
	const int status = device_request(device, VIRTIO_BLK_T_GET_ID, 0, id, VIRTIO_BLK_ID_BYTES);

	if (status == 0)
		printf("%.*s\n", VIRTIO_BLK_ID_BYTES, id);
	return status_code("id", status);
}

static int read_bytes(struct device *device, uint64_t offset, uint64_t length)
{
	uint8_t *data = guest_take(&device->guest, CHUNK, 4096);

	for (uint64_t at = 0; at < length;) {
		const uint32_t some = length - at < CHUNK ? (uint32_t)(length - at) : CHUNK;
		const int status = device_request(device, VIRTIO_BLK_T_IN, (offset + at) / 512, data, some);

		if (status != 0)
			return status_code("read", status);
		if (fwrite(data, 1, some, stdout) != some)
			return failed("standard output", -errno);
		at += some;
	}
	return fflush(stdout) == 0 ? 0 : failed("standard output", -errno);
}

static int write_bytes(struct device *device, uint64_t offset)
{
	uint8_t *data = guest_take(&device->guest, CHUNK, 4096);
	size_t some;

	while ((some = fread(data, 1, CHUNK, stdin)) > 0) {
		const int status = device_request(device, VIRTIO_BLK_T_OUT, offset / 512, data, (uint32_t)some);

		if (status != 0)
			return status_code("write", status);
		offset += some;
	}
	return 0;
}

static int range(struct device *device, uint32_t type, uint64_t offset, uint64_t length)
{
	struct virtio_blk_discard_write_zeroes *segment = guest_take(&device->guest, sizeof(*segment), 16);

	*segment = (struct virtio_blk_discard_write_zeroes){
		.sector = offset / 512,
		.num_sectors = (uint32_t)(length / 512),
	};
	return status_code(type == VIRTIO_BLK_T_DISCARD ? "discard" : "zeroes",
			   device_request(device, type, 0, segment, sizeof(*segment)));
}

static int watch(struct device *device)
{
	struct head head;

	/* Whoever changes the configuration waits for this line. */
	printf("%llu\n", (unsigned long long)device->session.config.capacity * 512);
	fflush(stdout);
	if (device->session.channel < 0)
		return failed("watch", -EOPNOTSUPP);
	if (read(device->session.channel, &head, sizeof(head)) != sizeof(head) ||
	    head.request != BACKEND_CONFIG_CHANGE || head.size != 0 || (head.flags & VERSION_MASK) != VERSION)
		return failed("watch", -EPROTO);
	if ((head.flags & NEED_REPLY) != 0) {
		const uint64_t ok = 0;
		char reply[sizeof(head) + sizeof(ok)];

		head.flags = VERSION | IS_REPLY;
		head.size = sizeof(ok);
		memcpy(reply, &head, sizeof(head));
		memcpy(reply + sizeof(head), &ok, sizeof(ok));
		if (write(device->session.channel, reply, sizeof(reply)) != sizeof(reply))
			return failed("watch", -errno);
	}
	if (session_read_config(&device->session) != 0)
		return failed("watch", -EPROTO);
	printf("%llu\n", (unsigned long long)device->session.config.capacity * 512);
	return 0;
}

struct command {
	const char *name;
	int arguments;
};

static const struct command commands[] = {
	{ "info", 0 },	  { "id", 0 },	   { "flush", 0 }, { "read", 2 },  { "write", 1 },
	{ "discard", 2 }, { "zeroes", 2 }, { "load", 0 },  { "mixed", 0 }, { "watch", 0 },
};

static bool known(const char *name, int arguments)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].arguments == arguments;
	return false;
}

static int perform(struct device *device, const char *command, const uint64_t *numbers, const struct load *load,
		   const struct mixed *mixed)
{
	int error;

	if (strcmp(command, "info") == 0)
		return info(device);
	if (strcmp(command, "id") == 0)
		return get_id(device);
	if (strcmp(command, "flush") == 0)
		return status_code("flush", device_request(device, VIRTIO_BLK_T_FLUSH, 0, NULL, 0));
	if (strcmp(command, "read") == 0)
		return read_bytes(device, numbers[0], numbers[1]);
	if (strcmp(command, "write") == 0)
		return write_bytes(device, numbers[0]);
	if (strcmp(command, "discard") == 0)
		return range(device, VIRTIO_BLK_T_DISCARD, numbers[0], numbers[1]);
	if (strcmp(command, "zeroes") == 0)
		return range(device, VIRTIO_BLK_T_WRITE_ZEROES, numbers[0], numbers[1]);
	if (strcmp(command, "watch") == 0)
		return watch(device);
	error = strcmp(command, "load") == 0 ? load_run(device, load) : mixed_run(device, mixed);
	return error == 0 ? 0 : failed(command, error);
}

/* The most that is read as a number of the options. */
static bool number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == 0;
}

int main(int count, char **words)
{
	struct device_options options = {
		.queues = 1, .queue_size = 256, .regions = 1, .sealed = true, .event_idx = true
	};
	struct load load = { .size = 4096, .depth = 1, .seconds = 1, .seed = 1 };
	struct mixed mixed = { 0 };
	static struct device device;
	static const struct option names[] = {
		{ "queues", required_argument, NULL, 'q' },  { "queue-size", required_argument, NULL, 'Q' },
		{ "regions", required_argument, NULL, 'r' },

		{ "no-event-idx", no_argument, NULL, 'E' },  { "indirect", no_argument, NULL, 'i' },
		{ "unsealed", no_argument, NULL, 'u' },	     { "slots", no_argument, NULL, 's' },
		{ "inflight", no_argument, NULL, 'f' },	     { "write", no_argument, NULL, 'w' },
		{ "random", no_argument, NULL, 'R' },	     { "size", required_argument, NULL, 'b' },
		{ "segment", required_argument, NULL, 'g' }, { "depth", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 't' }, { "count", required_argument, NULL, 'n' },
		{ "area", required_argument, NULL, 'a' },    { "seed", required_argument, NULL, 'S' },
		{ "reconnect", no_argument, NULL, 'c' },     { NULL, 0, NULL, 0 },
	};
	uint64_t value = 0, numbers[2] = { 0, 0 };
	const char *command;
	int each, error, code;

	while ((each = getopt_long(count, words, "", names, NULL)) != -1) {
		if (each == '?' || (optarg != NULL && each != 't' && !number(optarg, &value)))
			goto misused;
		switch (each) {
		case 'q':
			options.queues = (unsigned)value;
			break;
		case 'Q':
			options.queue_size = (unsigned)value;
			break;
		case 'r':
			options.regions = (unsigned)value;
			break;
		case 'E':
			options.event_idx = false;
			break;
		case 'i':
			options.indirect = true;
			break;
		case 'u':
			options.sealed = false;
			break;
		case 's':
			options.slots = true;
			break;
		case 'f':
			options.inflight = true;
			break;
		case 'w':
			load.write = true;
			break;
		case 'R':
			load.random = true;
			break;
		case 'b':
			load.size = (uint32_t)value;
			break;
		case 'g':
			load.segment = (uint32_t)value;
			break;
		case 'd':
			load.depth = (unsigned)value;
			break;
		case 't':
			load.seconds = atof(optarg);
			break;
		case 'n':
			load.count = value;
			break;
		case 'a':
			load.area = value;
			break;
		case 'S':
			load.seed = value;
			break;
		case 'c':
			mixed.reconnect = true;
			break;
		}
	}
	if (load.segment == 0)
		load.segment = load.size;
	if (count - optind < 2 || options.queues == 0 || options.queues > QUEUES_MAX || options.queue_size == 0 ||
	    options.queue_size > 32768 || options.regions == 0 || options.regions > REGIONS_MAX || load.size == 0 ||
	    load.size % 512 != 0 || load.segment == 0 || load.size / load.segment > PIECES_MAX - 2 || load.depth == 0 ||
	    load.depth > options.queues * options.queue_size)
		goto misused;
	command = words[optind + 1];
	if (!known(command, count - optind - 2))
		goto misused;
	for (int i = 0; i < count - optind - 2; i++)
		if (!number(words[optind + 2 + i], &numbers[i]))
			goto misused;
	mixed.depth = load.depth;
	mixed.count = load.count;
	mixed.area = load.area;
	mixed.seed = load.seed;
	options.path = words[optind];
	options.channel = strcmp(command, "watch") == 0;
	options.memory = strcmp(command, "load") == 0  ? load_memory(&load) :
			 strcmp(command, "mixed") == 0 ? mixed_memory(&mixed) :
							 2 * CHUNK;
	error = device_start(&device, &options);
	code = error != 0 ? failed(options.path, error) : perform(&device, command, numbers, &load, &mixed);
	if (code != FAILED) {
		error = device_stop(&device);
		if (error != 0)
			code = failed("stop", error);
	}
	device_free(&device);
	return code;
misused:
	fputs(usage, stderr);
	return USAGE;
}
