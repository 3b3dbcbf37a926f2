# The whole memory of the machine while a volume is open whose key the host has made, and nothing else here knows.
cd $work || return
modprobe -a brd dm_mod dm_crypt || say "not ok modprobe"
control=$(head -c 64 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
section=$(dmesg | sed -n 's/.*sgx: EPC section 0x\([0-9a-f]*\)-0x\([0-9a-f]*\).*/\1 \2/p')
head -c 4M /dev/urandom >written

set_up() {
	cp "$(word given)/guarded.img" guarded.img && cp "$(word given)/guarded.pass" guarded.pass &&
		tresor open guarded.img guarded --backend sgx --key-file guarded.pass && nbdcopy written "$(uri_of guarded)" &&
		echo "0 8192 crypt aes-xts-plain64 $control 0 /dev/ram0 0" | dmsetup create unguarded &&
		dd if=written of=/dev/mapper/unguarded bs=1M oflag=direct status=none
}
found() { # the host answers with "ok" or says what is wrong
	ask memory "$control" $section
	echo "$REPLY"
	[ "$REPLY" = ok ]
}

check "memory: a volume with a key of the host's is open, and a mapping of dm-crypt's" set_up
check "memory: dm-crypt's key lies in it, the volume's in the EPC and nowhere else" found
check "memory: clean up" bash -c "dmsetup remove unguarded && $root/dist/tresor close guarded"
