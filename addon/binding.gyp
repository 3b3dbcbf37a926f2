{
  "target_defaults": {
    "include_dirs": [ ".." ],
    "defines": [ "NAPI_VERSION=9", "_GNU_SOURCE" ],
    "cflags": [ "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fno-strict-aliasing" ],
    "ldflags": [ "-Wl,-z,noexecstack" ]
  },
  "targets": [
    {
      "target_name": "tresor",
      "sources": [ "binding.c", "enclave.c", "enclave_binding.c", "cpu.c", "rules.c", "refuse.c", "fault.c", "software.c", "software_entry.S", "emulator.c", "secret_memory.c", "sgx.c", "sgx_call.S", "sgx_vdso.c", "measure.c", "slab.c", "file.c", "channel.c", "sectors.c", "ring.c", "system.c" ]
    },
    {
      "target_name": "tresor_fake",
      "sources": [ "sgx_fake.c", "sgx_fake_driver.c", "sgx_fake_cpu.c", "sgx_fake_entry.S", "enclave.c", "enclave_binding.c", "rules.c", "refuse.c", "fault.c", "software.c", "software_entry.S", "emulator.c", "secret_memory.c", "sgx.c", "sgx_call.S", "sgx_vdso.c", "measure.c" ]
    }
  ]
}
