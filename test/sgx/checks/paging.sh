# The EPC is too small for one enclave: everything is paged.
cd "$root" || return
given=$(word given)
modprobe -a loop dm_mod dm_crypt || say "not ok modprobe"
[ "$(word modules)" -ef kernel ] || cp "$(word modules)"/*.ko kernel/
insmod kernel/tresor.ko grace_seconds=30 || say "not ok insmod"
printf 'correct horse' >$work/key

too_much() {
	refused 3 'memory|MiB|KiB' tresor create $work/big.img --size 32M --backend sgx --key-file $work/key --no-recovery \
		--pbkdf argon2id --pbkdf-memory 131072 --pbkdf-force-iterations 4
}
# More memory than the EPC has, by four threads at once.
kdf_paged() {
	local reloaded
	reloaded=$(count_of ELDU)
	tresor create $work/paged.img --size 64M --backend sgx --key-file $work/key --no-recovery \
		--pbkdf argon2id --pbkdf-memory 40960 --pbkdf-parallel 4 --pbkdf-force-iterations 1 && cp $work/paged.img $work/other.img &&
		tresor open $work/paged.img paged --kernel --backend sgx --key-file $work/key || return
	echo "ELDU: $reloaded, then $(count_of ELDU)"
	[ "$(count_of ELDU)" -gt $((reloaded + 5000)) ]
}
fio_verify() { # DEVICE
	fio --name=v "--filename=$1" --rw=randrw --bsrange=4k-64k --iodepth=32 --numjobs=4 --ioengine=libaio \
		--direct=1 --size=8M --offset_increment=8M --verify=crc32c --verify_fatal=1 --group_reporting --minimal >/dev/null
}
under_pressure() { # other enclaves fill the EPC all the time, and work in it
	local reloaded loader kdf status
	reloaded=$(count_of ELDU)
	"$given/host" load "$given/image.bin" &
	loader=$!
	tresor open $work/other.img again --test-passphrase --backend sgx --key-file $work/key &
	kdf=$!
	fio_verify /dev/mapper/paged
	status=$?
	wait $kdf || status=1
	kill $loader
	wait $loader
	echo "ELDU: $reloaded, then $(count_of ELDU)"
	[ "$(count_of ELDU)" -gt $((reloaded + 2500)) ] && return $status
}

check "doctor says that the enclave has its fixed heap only" says '\(SGX2\): the enclave that was just started has 9[0-9](\.[0-9])? MiB' tresor doctor
check "pages are added once each while signals come and the EPC is full" "$given/host" signals "$given/image.bin"
check "Argon2 beyond the fixed heap is refused, with the way out" too_much
check "four threads of Argon2 inside, in more memory than the EPC has" kdf_paged
check "four threads of dm-crypt inside, in an EPC that others fill: what is written is read back" under_pressure
check "lock and setkey work on evicted pages" bash -c "$root/dist/tresor lock paged && $root/dist/tresor setkey paged --key-file $work/key"
check "close" tresor close paged
