/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer over one operation, named by TRESOR_FUZZ_OP. Input: the request's
 * bytes, then the bytes of the array it points to. Addresses in either are taken
 * as a choice of mutation_address, so that the fuzzer can find each kind of
 * pointer but no unmapped page, which a host may have and an enclave may not.
 *
 * fuzz --seeds DIR writes the corpus: the valid request of each operation.
 */
#include "mutation.h"
#include "requests.h"
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t op;

static void write_seeds(const char *directory)
{
	for (op = 1; op < OPERATIONS; op++) {
		const struct operation *o = &operations[op];
		uint8_t request[REQUEST_MAX] = { 0 };
		uint64_t valid = 15, array = 0;
		char path[4096];
		FILE *file;

		requests_template(op, false, request);
		memcpy(&array, request + o->array_at, 8);
		for (const uint16_t *a = o->addresses; *a; a++)
			memcpy(request + *a - 1, &valid, 8);
		snprintf(path, sizeof(path), "%s/%s", directory, o->name);
		mkdir(path, 0777);
		strcat(path, "/valid");
		file = fopen(path, "wb");
		ASSERT(file && fwrite(request, 1, o->size, file) == o->size);
		if (o->array) {
			for (const uint16_t *a = o->element_addresses; *a; a++)
				memcpy((uint8_t *)array + *a - 1, &valid, 8);
			ASSERT(fwrite((void *)array, 1, o->array, file) == o->array);
		}
		fclose(file);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = getenv("TRESOR_FUZZ_OP");

	machine_start();
	requests_prepare();
	if (*argc == 3 && strcmp((*argv)[1], "--seeds") == 0) {
		write_seeds((*argv)[2]);
		exit(0);
	}
	for (op = 1; op < OPERATIONS; op++) {
		if (name && strcmp(operations[op].name, name) == 0)
			return 0;
	}
	fprintf(stderr, "TRESOR_FUZZ_OP must name an operation\n");
	exit(2);
}

static void resolve(uint8_t *base, const uint16_t *addresses)
{
	for (; *addresses; addresses++) {
		uint64_t choice;

		memcpy(&choice, base + *addresses - 1, 8);
		choice = choice ? mutation_address(choice) : 0;
		memcpy(base + *addresses - 1, &choice, 8);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct operation *o = &operations[op];
	uint8_t request[REQUEST_MAX] = { 0 };
	uint8_t *array = place(2);	/* where requests_template has it */
	size_t elements;

	if (size < o->size)
		return -1;
	/* Message, area and macs of the template stay what they are. */
	requests_template(op, false, request);
	memcpy(request, data, o->size);
	((struct tresor_head *)request)->op = op;
	resolve(request, o->addresses);
	if (o->array) {
		uint64_t address = (uint64_t)array;

		elements = (size - o->size) / o->array;
		for (size_t i = 0; i < elements && i < 8; i++) {
			memcpy(array + i * o->array, data + o->size + i * o->array, o->array);
			resolve(array + i * o->array, o->element_addresses);
		}
		if (elements)
			memcpy(request + o->array_at, &address, 8);
	}
	mutation_limit(op, request);
	if (data[size - 1] == 's')
		mutation_seal_again(op, request);
	requests_enter(request, false);
	return 0;
}
