/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only: what the driver and the CPU of fake.h have in common. */
#include <string.h>

#include "addon/test/fake.h"

struct fake_enclave fake_enclaves[FAKE_ENCLAVES];
struct fake_faults fake_faults;
struct fake_counters fake_counters;
struct tresor_machine fake_machine = { .secret = { 0x5a } };

void fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
	memset(registers, 0, 4 * sizeof(registers[0]));
	if (leaf != 0x12)
		return;
	if (subleaf == 0)
		registers[3] = (uint32_t)(fake_faults.size_bits != 0 ? fake_faults.size_bits : 36) << 8 | 31;
	else if (subleaf == 1)
		registers[2] = fake_faults.xfrm != 0 ? (uint32_t)fake_faults.xfrm : 0xe7;
}
