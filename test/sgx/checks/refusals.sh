# What the driver, the processor and the machine refuse, in Tresor's words.
cd $work && have_disk || return

noexec_dev() {
	mount -o remount,noexec /dev || return
	refused 4 'mount -o remount,exec /dev' open_work
	local status=$?
	mount -o remount,exec /dev && return $status
}
as_nobody() {
	chmod 755 /run $work && chmod 666 disk.img key && mkdir -p -m 700 /run/nobody && chown nobody /run/nobody &&
		refused 4 'may not be opened|group' setpriv --reuid nobody --clear-groups env HOME=/run/nobody XDG_RUNTIME_DIR=/run/nobody \
			TRESOR_STATE_DIR=/run/nobody XDG_CONFIG_HOME=/run/nobody "$root/dist/tresor" open disk.img theirs --backend sgx --key-file key
}
# An enclave that the host may read: another key's domain, and the words say what it is.
debug_of() { "$(word given)/debug/dist/tresor" "$@"; }
host_reads() { # PID: whether root reads the enclave's code in its memory
	python3 - "$1" "$root/enclave/build/tresor.elf" <<'PY'
import struct, sys
pid, elf = sys.argv[1:]
image = open(elf, "rb").read()
start = image[0x1000:0x1040]
with open(f"/proc/{pid}/maps") as maps:
    bases = [int(line.split("-")[0], 16) for line in maps if "/dev/sgx_enclave" in line]
try:
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(min(bases))
        found = memory.read(64)
except OSError as error:
    print(error)
    sys.exit(1)
print(found.hex())
sys.exit(0 if found == start else 1)
PY
}
production_unreadable() {
	open_work && ! host_reads "$(pid_of work)" && tresor close work
}
debug_refused() {
	refused 2 'DEBUG enclave, whose memory its host can read' \
		debug_of create debug.img --size 32M --backend sgx --key-file key --no-recovery "${cheap[@]}"
}
debug_readable() {
	debug_of open disk.img debug --backend sgx --locked &&
		says 'root and the kernel: this is a debug enclave' debug_of status debug &&
		host_reads "$(debug_of status debug --json | json '["pid"]')" &&
		refused 2 'DEBUG enclave, whose memory its host can read' debug_of setkey debug --key-file key &&
		debug_of close debug
}

check "/dev mounted noexec: refused, with the command that helps" noexec_dev
check "without permission on /dev/sgx_enclave: refused, with the reason" as_nobody
check "a production enclave is not read by root's debugger" production_unreadable
check "a debug enclave gets no passphrase" debug_refused
check "root's debugger reads a debug enclave, and status says so" debug_readable
