# Volumes and the flow of 2016 through tresor.ko, with the enclave in the EPC.
cd "$root" || return
modprobe -a loop dm_mod dm_crypt brd || say "not ok modprobe"
[ "$(word modules)" -ef kernel ] || cp "$(word modules)"/*.ko kernel/
insmod kernel/tresor.ko grace_seconds=30 || say "not ok insmod"
printf 'correct horse' >$work/module-key
truncate -s 64M $work/module.img

map() {
	tresor create $work/module.img --size 64M --backend sgx --key-file $work/module-key --no-recovery --force "${cheap[@]}" &&
		tresor open $work/module.img mapped --kernel --backend sgx --key-file $work/module-key
}
fio_verify() { # DEVICE
	fio --name=v "--filename=$1" --rw=randrw --bsrange=4k-64k --iodepth=32 --numjobs=4 --ioengine=libaio \
		--direct=1 --size=8M --offset_increment=8M --verify=crc32c --verify_fatal=1 --group_reporting --minimal >/dev/null
}
lost_below_dm() { # what is written waits in the kernel until the passphrase
	lose_epc && (head -c 8M /dev/urandom | tee $work/written | dd of=/dev/mapper/mapped bs=1M oflag=direct iflag=fullblock status=none) &
	local writer=$!
	sleep 2
	tresor setkey mapped --key-file $work/module-key && wait $writer &&
		dd if=/dev/mapper/mapped bs=1M count=8 iflag=direct status=none | cmp - $work/written
}
tresortest() { # loads the module itself, and takes it away again
	rmmod tresor && scripts/run-tresortest && says '^backend: +sgx$' tresor status legacy &&
		scripts/shutdown-tresortest && [ ! -e /sys/module/tresor ]
}

check "open --kernel maps a volume whose keys are in the EPC" map
check "four writers through dm-crypt and the enclave read back what they wrote" fio_verify /dev/mapper/mapped
check "the EPC is lost below dm-crypt: writes wait for the passphrase" lost_below_dm
check "close unmaps it" tresor close mapped
check "the flow of 2016 runs in SGX: scripts/run-tresortest" tresortest
