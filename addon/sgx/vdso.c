/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a function in the vDSO: its dynamic symbols by DT_GNU_HASH or DT_HASH, whichever there is. */
#include "addon/sgx/vdso.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

/* How many symbols the table has; DT_GNU_HASH tells only where the last chain ends. */
static uint32_t gnu_symbol_count(const uint32_t *table)
{
	const uint32_t bucket_count = table[0], first = table[1], bloom_words = table[2];
	const uint32_t *buckets = table + 4 + 2 * bloom_words;
	const uint32_t *chains = buckets + bucket_count;
	uint32_t last = 0;

	for (uint32_t i = 0; i < bucket_count; i++) {
		if (buckets[i] > last)
			last = buckets[i];
	}
	if (last < first)
		return first;
	while (!(chains[last - first] & 1))
		last++;
	return last + 1;
}

void *tresor_vdso_symbol(const void *image, const char *name)
{
	const Elf64_Ehdr *header = image;
	const uint8_t *bytes = image;
	const Elf64_Phdr *segments;
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const char *strings = NULL;
	uint64_t bias = 0;
	uint32_t count = 0;

	if (image == NULL || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64)
		return NULL;
	segments = (const Elf64_Phdr *)(bytes + header->e_phoff);
	for (int i = header->e_phnum - 1; i >= 0; i--) {
		if (segments[i].p_type == PT_LOAD)
			bias = (uintptr_t)bytes + segments[i].p_offset - segments[i].p_vaddr;
		else if (segments[i].p_type == PT_DYNAMIC)
			dynamic = (const Elf64_Dyn *)(bytes + segments[i].p_offset);
	}
	for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++) {
		const void *at = (const void *)(uintptr_t)(bias + dynamic->d_un.d_ptr);

		if (dynamic->d_tag == DT_SYMTAB)
			symbols = at;
		else if (dynamic->d_tag == DT_STRTAB)
			strings = at;
		else if (dynamic->d_tag == DT_HASH)
			count = ((const uint32_t *)at)[1];
		else if (dynamic->d_tag == DT_GNU_HASH && count == 0)
			count = gnu_symbol_count(at);
	}
	if (symbols == NULL || strings == NULL)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		if (symbols[i].st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC &&
		    strcmp(strings + symbols[i].st_name, name) == 0)
			return (void *)(uintptr_t)(bias + symbols[i].st_value);
	}
	return NULL;
}
