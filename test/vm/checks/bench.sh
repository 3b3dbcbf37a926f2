# Measures mappings in turn, round by round, so that what else the machine does
# hits all of them. "bench VARIANT TEST VALUE": MB/s, or bytes/s for netlink.
rounds=$(sed -n 's/.*tresor\.rounds=\([0-9]*\).*/\1/p' /proc/cmdline)
fresh_module
rmmod brd
modprobe brd rd_nr=8 rd_size=49152

variants="loop null-4096 aes-512 aes-4096 copy-4096 tresor-512 tresor-4096 nbd-4096 ublk-4096"

measure() { # VARIANT TEST FIO-ARGUMENTS...
	local variant=$1 test=$2 result
	shift 2
	result=$(fio --name=b --filename="/dev/mapper/$variant" --ioengine=libaio --direct=1 --time_based --runtime=1 \
		--norandommap --randrepeat=0 --size=40M --output-format=json "$@" |
		python3 -c 'import json,sys; j=json.load(sys.stdin)["jobs"][0]; print((j["read"]["bw_bytes"]+j["write"]["bw_bytes"])/1e6)')
	say "bench $variant $test $result"
}
bench_set_up() {
	# Linear mappings give the devices without dm-crypt the same path.
	truncate -s 48M /dev/shm/loop && losetup /dev/loop6 /dev/shm/loop &&
		echo "0 98304 linear /dev/loop6 0" | dmsetup create loop &&
		echo "0 98304 crypt cipher_null-ecb - 0 /dev/ram0 0 1 sector_size:4096" | dmsetup create null-4096 &&
		aes_table 512 /dev/ram1 | dmsetup create aes-512 && aes_table 4096 /dev/ram2 | dmsetup create aes-4096 || return
	local copy
	copy=$(random_hex 32)
	start_ringd --key "$copy:$(random_hex 64)" --copy || return
	tresor_table "$copy" 4096 /dev/ram3 | dmsetup create copy-4096 || return
	bench_daemon && bench_volumes
}
aes_table() { echo "0 98304 crypt aes-xts-plain64 $(random_hex 64) 0 $2 0 1 sector_size:$1"; }
tresor_table() { echo "0 98304 crypt capi:xts(tresor)-plain64 $1 0 $3 0 1 sector_size:$2"; }
# The product: enclave, tresord and all; the passphrase's key file is 64 random bytes.
bench_daemon() {
	head -c 64 /dev/urandom >"$work/bench-key"
	start_legacy --pbkdf pbkdf2 || return
	local sector device=4
	for sector in 512 4096; do
		cryptsetup open --type plain --cipher tresor-xts-plain64 --key-size 512 --sector-size $sector \
			--key-file "$work/bench-key" /dev/ram$device tresor-$sector || return
		device=$((device + 1))
	done
}
# The same without a module of ours: the kernel's NBD client, and ublk.
bench_volumes() {
	local pass="$work/bench-key" device
	for device in 6 7; do format /dev/ram$device "$pass" 4096 || return; done
	modprobe nbd && tresor open /dev/ram6 nbd --key-file "$pass" && nbd-client -unix /run/tresor/nbd/nbd.sock /dev/nbd0 -C 2 &&
		ln -s /dev/nbd0 /dev/mapper/nbd-4096 &&
		tresor open /dev/ram7 ublk --block --key-file "$pass" && ln -s /dev/tresor/ublk /dev/mapper/ublk-4096
}
bench_rounds() {
	local round variant
	for round in $(seq "$rounds"); do
		for variant in $variants; do
			measure $variant write-128k --rw=write --bs=128k --iodepth=8
			measure $variant read-128k --rw=read --bs=128k --iodepth=8
			measure $variant write-4k-qd32 --rw=randwrite --bs=4k --iodepth=32
			measure $variant read-4k-qd32 --rw=randread --bs=4k --iodepth=32
			measure $variant read-4k-qd1 --rw=randread --bs=4k --iodepth=1
			measure $variant write-4k-qd1 --rw=randwrite --bs=4k --iodepth=1
		done
		netlink_round
	done
}
netlink_round() {
	build/vm/blocks &
	local peer=$!
	insmod bench/netlink/netlink_blocks.ko peer=$peer blocks=1000
	# Its socket holds the module.
	kill $peer
	wait $peer
	rmmod netlink_blocks
	say "bench netlink blocks $(dmesg | sed -n 's/.*netlink_blocks: \([0-9]*\) blocks in \([0-9]*\) ns/\1 \2/p' | tail -n 1)"
}
# What the original's docu/performance_analysis.md ran.
bench_original() {
	local variant
	for variant in loop aes-4096 tresor-512 tresor-4096 nbd-4096 ublk-4096; do
		say "bench $variant dd-write $(dd if=/dev/zero of=/dev/mapper/$variant bs=1M count=40 conv=fdatasync 2>&1 |
			awk '/copied/ { print $1 / $(NF-3) / 1e6 }')"
		hdparm -tT /dev/mapper/$variant | awk -v v=$variant '
			/cached/ { print "bench", v, "hdparm-T", $(NF-1) } /disk/ { print "bench", v, "hdparm-t", $(NF-1) }' >&3
	done
}
bench_clean_up() {
	local variant
	rm /dev/mapper/nbd-4096 /dev/mapper/ublk-4096
	nbd-client -d /dev/nbd0 && tresor close nbd && tresor close ublk || return
	for variant in $variants; do [[ $variant = @(nbd|ublk)-* ]] || dmsetup remove --retry $variant || return; done
	stop_ringd && stop_legacy && losetup -d /dev/loop6
}
check "bench: mappings" bench_set_up
check_seconds=1500
check "bench: rounds" bench_rounds
check "bench: the original's commands" bench_original
check "bench: clean up" bench_clean_up
check "bench: the log is clean" clean_log
