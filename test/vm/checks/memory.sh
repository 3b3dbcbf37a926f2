# The whole memory of the machine, with filesystems mounted: where are keys?
[ -d /sys/module/tresor ] || insmod kernel/tresor.ko
head -c 64 /dev/urandom >"$work/control"
head -c 64 /dev/urandom >"$work/guarded"
memory_handle=$(random_hex 32)

memory_set_up() {
	start_ringd --key "$memory_handle:$(hex "$work/guarded")" &&
		echo "0 131072 crypt capi:xts(tresor)-plain64 $memory_handle 0 /dev/ram0 0" | dmsetup create guarded &&
		echo "0 131072 crypt aes-xts-plain64 $(hex "$work/control") 0 /dev/ram1 0" | dmsetup create unguarded &&
		local name && for name in guarded unguarded; do
			mkfs.ext4 -q -F /dev/mapper/$name && mkdir -p /mnt-$name && mount /dev/mapper/$name /mnt-$name &&
				cp -r test/vm /mnt-$name/ && sync || return
		done
}
# Physical pages of a process, one hexadecimal number of page per line.
pages_of() {
	python3 - "$1" <<'PY'
import struct, sys
pid = sys.argv[1]
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/pagemap", "rb") as pagemap:
    for line in maps:
        start, end = (int(x, 16) >> 12 for x in line.split()[0].split("-"))
        if start >= 1 << 51: continue
        pagemap.seek(start * 8)
        for (entry,) in struct.iter_unpack("<Q", pagemap.read((end - start) * 8)):
            if entry >> 63: print("page %x" % (entry & (1 << 55) - 1))
PY
}
memory_found() { # the host answers with "ok" or says what is wrong
	pages_of "$ringd_pid" >&3
	ask dump "$(hex "$work/control")" "$(hex "$work/guarded")"
	echo "$REPLY"
	[ "$REPLY" = ok ]
}
memory_clean_up() { umount /mnt-guarded /mnt-unguarded && dmsetup remove guarded && dmsetup remove unguarded && stop_ringd; }
check "memory: two filesystems are mounted" memory_set_up
check "memory: aeskeyfind finds dm-crypt's own key, and ours in pages of the daemon only" memory_found
check "memory: clean up" memory_clean_up
