# The whole memory of the machine, with filesystems mounted: where are keys? The
# product's volume has a volume key that we know, as any LUKS2 volume may.
fresh_module
head -c 64 /dev/urandom >"$work/control"
head -c 64 /dev/urandom >"$work/guarded"
printf 'a passphrase' >"$work/memory-pass"

memory_set_up() {
	format /dev/ram0 "$work/memory-pass" 4096 --volume-key-file "$work/guarded" &&
		open_kernel /dev/ram0 guarded "$work/memory-pass" &&
		echo "0 131072 crypt aes-xts-plain64 $(hex "$work/control") 0 /dev/ram1 0" | dmsetup create unguarded &&
		local name && for name in guarded unguarded; do
			mkfs.ext4 -q -F /dev/mapper/$name && mkdir -p /mnt-$name && mount /dev/mapper/$name /mnt-$name &&
				cp -r test/vm /mnt-$name/ && sync || return
		done
}
# Physical pages of a process's secret memory, one hexadecimal number of page per line.
enclave_pages() {
	python3 - "$1" <<'PY'
import struct, sys
pid = sys.argv[1]
count = 0
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/pagemap", "rb") as pagemap:
    for line in maps:
        fields = line.split()
        if len(fields) < 6 or fields[5] != "/secretmem": continue
        start, end = (int(x, 16) >> 12 for x in fields[0].split("-"))
        pagemap.seek(start * 8)
        for (entry,) in struct.iter_unpack("<Q", pagemap.read((end - start) * 8)):
            if entry >> 63:
                print("page %x" % (entry & (1 << 55) - 1))
                count += 1
sys.exit(0 if count else "no secret memory")
PY
}
memory_found() { # the host answers with "ok" or says what is wrong
	enclave_pages "$(pid_of guarded)" >&3 || return
	ask dump "$(hex "$work/control")" "$(hex "$work/guarded")"
	echo "$REPLY"
	[ "$REPLY" = ok ]
}
memory_clean_up() { umount /mnt-guarded /mnt-unguarded && tresor close guarded && dmsetup remove unguarded; }
check "memory: two filesystems are mounted" memory_set_up
check "memory: aeskeyfind finds dm-crypt's own key, and the product's in the enclave's pages only" memory_found
check "memory: clean up" memory_clean_up
