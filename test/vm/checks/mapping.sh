# dm-crypt over the module, with ringd: equality with the kernel's aes, the
# flows of 2016, death of a daemon, handles, wiping.
fresh_module
ram=/dev/ram0
key=$work/key
head -c 64 /dev/urandom >"$key"
handle_a=$(random_hex 32)
handle_b=$(random_hex 32)
key_a=$(hex "$key")
head -c 64 /dev/urandom >"$work/key_b"
key_b=$(hex "$work/key_b")
head -c 8M /dev/urandom >"$work/data"

plain() { # NAME CIPHER BITS SECTOR [DEVICE]
	cryptsetup open --type plain --cipher "$2" --key-size "$3" --sector-size "$4" --key-file "$key" "${5:-$ram}" "$1"
}
put() { dd if="$work/data" of="/dev/mapper/$1" bs=1M oflag=direct status=none; }
same() { dd if="/dev/mapper/$1" bs=1M count=8 iflag=direct status=none | cmp - "$work/data"; }

# equality TRESOR AES BITS SECTOR: written by one, read by the other, both ways.
equality() {
	dd if=/dev/zero of=$ram bs=1M count=8 status=none &&
		plain x "$1" "$3" "$4" && put x && cryptsetup close x &&
		plain x "$2" "$3" "$4" && same x && cryptsetup close x &&
		dd if=/dev/zero of=$ram bs=1M count=8 status=none &&
		plain x "$2" "$3" "$4" && put x && cryptsetup close x &&
		plain x "$1" "$3" "$4" && same x && cryptsetup close x
}

flow_2016() { # DEVICE, the container or the partition
	printf 'secret words' | cryptsetup create tresor "$1" --cipher tresor --key-size 128 --hash ripemd160 &&
		mkfs.ext2 -q /dev/mapper/tresor && mount /dev/mapper/tresor /mnt &&
		cp "$work/data" /mnt/data && umount /mnt && cryptsetup remove tresor || return
	# On the mapping, not on the raw device.
	[ -z "$(blkid -p -o value -s TYPE "$1")" ] || { echo "a filesystem shows on the raw device"; return 1; }
	printf 'secret words' | cryptsetup create tresor "$1" --cipher tresor --key-size 128 --hash ripemd160 &&
		mount -o ro /dev/mapper/tresor /mnt && cmp /mnt/data "$work/data" && umount /mnt && cryptsetup remove tresor
}
container_flow() {
	dd if=/dev/zero of="$work/container" bs=1M count=24 status=none &&
		losetup /dev/loop0 "$work/container" && flow_2016 /dev/loop0
}
partition_flow() { flow_2016 /dev/ram1; }
wrong_passphrase() {
	printf 'other words' | cryptsetup create tresor /dev/loop0 --cipher tresor --key-size 128 --hash ripemd160 || return
	! mount -o ro /dev/mapper/tresor /mnt 2>&1
	local status=$?
	cryptsetup remove tresor && losetup -d /dev/loop0 && return $status
}
# Linux 7 may be built without AF_ALG for ciphers: no socket, then nothing to refuse.
af_alg_offered() {
	[ "$(uname -r | cut -d. -f1)" -lt 7 ] || python3 -c 'import socket
socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).bind(("skcipher", "cbc(aes)"))' || { say "# AF_ALG is not offered"; return 1; }
}
unprivileged() {
	af_alg_offered || return 0
	setpriv --reuid 65534 --regid 65534 --clear-groups python3 - <<'PY'
import socket, errno, sys
s = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
s.bind(("skcipher", "xts(tresor)"))
try:
    s.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, bytes(32))
except PermissionError:
    sys.exit(0)
sys.exit("setkey worked for nobody")
PY
}
af_alg_iv() {
	af_alg_offered || return 0
	python3 - <<'PY'
import socket, os
def run(name, key, iv, data, op):
    s = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
    s.bind(("skcipher", name)); s.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, key)
    c, _ = s.accept()
    out = b""
    c.sendmsg_afalg([data[:48]], op=op, iv=iv, flags=socket.MSG_MORE); c.sendall(data[48:])
    while len(out) < len(data): out += c.recv(len(data) - len(out))
    return out
key, iv, data = os.urandom(32), os.urandom(16), os.urandom(16384)
for mode in "cbc", "ctr":
    a = run(mode + "(tresor)", key, iv, data, socket.ALG_OP_ENCRYPT)
    assert a == run(mode + "(aes)", key, iv, data, socket.ALG_OP_ENCRYPT), mode
    assert run(mode + "(tresor)", key, iv, a, socket.ALG_OP_DECRYPT) == data, mode
PY
}
nothing_logged() {
	local bytes
	for bytes in "$key_a" "$key_b" "$handle_a" "$handle_b"; do
		if dmesg | grep -qiF "${bytes:0:24}"; then echo "key bytes in the kernel's log"; return 1; fi
	done
}
rmmod_refused() { ! rmmod tresor 2>&1; }

# map NAME HANDLEHEX DEVICE [SECTOR]
map() {
	local sector=${4:-512}
	echo "0 $(blockdev --getsz "$3") crypt capi:xts(tresor)-plain64 $2 0 $3 0 1 sector_size:$sector" | dmsetup create "$1"
}
aes_map() { echo "0 $(blockdev --getsz "$3") crypt aes-xts-plain64 $2 0 $3 0 1 sector_size:${4:-512}" | dmsetup create "$1"; }

before_daemon() { # no cipher is registered, so there is no table to load
	! map early "$handle_a" $ram 2>"$work/refused" && grep -q 'No such file or directory' "$work/refused" && ! dmsetup info early
}
no_daemon() {
	map early "$handle_a" $ram && head -c 4096 "$work/data" | dd of=$ram bs=4096 status=none &&
		[ -b /dev/mapper/early ] && ! dd if=/dev/zero of=/dev/mapper/early bs=4096 count=1 oflag=direct status=none 2>&1 &&
		dd if=$ram bs=4096 count=1 status=none | cmp - <(head -c 4096 "$work/data") &&
		dmsetup remove early
}
two_daemons() {
	start_ringd --key "$handle_a:$key_a" && pid_a=$ringd_pid && start_ringd --key "$handle_b:$key_b" && pid_b=$ringd_pid &&
		map a "$handle_a" /dev/ram0 4096 && map b "$handle_b" /dev/ram1 && put a && put b && same a && same b &&
		! cmp -s /dev/ram0 /dev/ram1
}
two_keys_on_disk() {
	dmsetup remove a && dmsetup remove b && aes_map a "$key_a" /dev/ram0 4096 && aes_map b "$key_b" /dev/ram1 &&
		same a && same b && dmsetup remove a && dmsetup remove b
}
handle_taken() {
	timeout 20 $ringd --key "$handle_a:$key_a" 2>"$work/refused"
	grep 'File exists' "$work/refused"
}
wipe() {
	map a "$handle_a" /dev/ram0 4096 && same a && dmsetup suspend a && dmsetup message a 0 key wipe &&
		dmsetup message a 0 key set "$handle_a" && dmsetup resume a && same a &&
		dmsetup suspend a && dmsetup message a 0 key wipe && dmsetup message a 0 key set "$(printf '%064d' 7)" &&
		dmsetup resume a && ! same a 2>&1 &&
		dmsetup suspend a && dmsetup message a 0 key set "$handle_a" && dmsetup resume a && same a
}
start_load() { # a checksummed write that spans what happens meanwhile
	fio --name=v --filename=/dev/mapper/a --rw=randwrite --bs=4k --iodepth=32 --ioengine=libaio --direct=1 --size=32M \
		--verify=crc32c --do_verify=0 --randseed=7 --minimal >"$work/fio" 2>&1 &
	fio_pid=$!
	sleep 0.5
}
survives_kill() {
	start_load
	kill -9 $pid_a
	wait $pid_a
	sleep 1
	kill -0 $fio_pid || { echo "the load ended too early"; return 1; }
	start_ringd --key "$handle_a:$key_a" && pid_a=$ringd_pid && wait $fio_pid &&
		fio --name=v --filename=/dev/mapper/a --rw=randwrite --bs=4k --iodepth=32 --ioengine=libaio --direct=1 \
			--size=32M --verify=crc32c --verify_only --randseed=7 --verify_fatal=1 --minimal >/dev/null
}
fails_after_grace() {
	local begin=$SECONDS
	start_load
	kill -9 $pid_a
	wait $pid_a
	! wait $fio_pid || return
	[ $((SECONDS - begin)) -ge 4 ] && [ $((SECONDS - begin)) -le 30 ] || { echo "after $((SECONDS - begin)) s"; return 1; }
	# Then at once.
	! timeout 5 dd if=/dev/mapper/a of=/dev/null bs=4096 count=1 iflag=direct 2>&1 &&
		start_ringd --key "$handle_a:$key_a" && pid_a=$ringd_pid &&
		dd if=/dev/mapper/a of=/dev/null bs=1M count=1 iflag=direct status=none
}
fail_now() {
	kill -9 $pid_a
	wait $pid_a
	echo 600 >/sys/module/tresor/parameters/grace_seconds
	dd if=/dev/mapper/a of=/dev/null bs=4096 count=1 iflag=direct 2>"$work/dd" &
	local dd=$!
	sleep 1
	kill -0 $dd || { echo "did not wait"; return 1; }
	echo 1 >/sys/class/misc/tresor/fail_now
	echo 5 >/sys/module/tresor/parameters/grace_seconds
	! wait $dd && grep -q 'Input/output error' "$work/dd" && start_ringd --key "$handle_a:$key_a" && pid_a=$ringd_pid
}
hung_daemon() {
	echo 2 >/sys/module/tresor/parameters/hang_seconds
	kill -STOP $pid_a
	local old=$pid_a
	dd if=/dev/mapper/a of="$work/back" bs=1M count=8 iflag=direct 2>"$work/dd" &
	local dd=$!
	sleep 4
	kill -0 $dd && start_ringd --key "$handle_a:$key_a" && pid_a=$ringd_pid && wait $dd || return
	echo 60 >/sys/module/tresor/parameters/hang_seconds
	kill -CONT $old
	kill $old
	wait $old
	[ -s "$work/back" ]
}
# Each batch takes longer than the original's time-out, after which it wrote filler.
slow_daemon() {
	kill -9 $pid_a
	wait $pid_a
	start_ringd --key "$handle_a:$key_a" --delay 1300 && pid_a=$ringd_pid &&
		dd if="$work/data" of=/dev/mapper/a bs=128k count=1 oflag=direct status=none &&
		dd if=/dev/mapper/a bs=128k count=1 iflag=direct status=none | cmp - <(head -c 128k "$work/data") || return
	kill -9 $pid_a
	wait $pid_a
	start_ringd --key "$handle_a:$key_a" && pid_a=$ringd_pid
}
memory_pressure() {
	mount /dev/mapper/a /mnt || return
	stress_memory & local stress=$!
	dd if=/dev/zero of=/mnt/fill bs=1M count=40 conv=fsync status=none
	local status=$?
	kill $stress; wait $stress
	rm /mnt/fill && umount /mnt && return $status
}
discards() {
	dmsetup remove a
	truncate -s 32M "$work/thin" && losetup /dev/loop1 "$work/thin" &&
		echo "0 $(blockdev --getsz /dev/loop1) crypt capi:xts(tresor)-plain64 $handle_a 0 /dev/loop1 0 1 allow_discards" |
		dmsetup create a && put a && sync && local before=$(stat -c %b "$work/thin") && blkdiscard /dev/mapper/a &&
		[ "$(stat -c %b "$work/thin")" -lt "$before" ] && dmsetup remove a && losetup -d /dev/loop1 && map a "$handle_a" /dev/ram0 4096
}
counters_count() {
	local c=/sys/class/misc/tresor/counters name
	for name in encrypt decrypt setkey failures batches parked expired; do
		[ "$(cat $c/$name)" -gt 0 ] || { echo "$name is 0"; return 1; }
	done
	[ "$(cat $c/rejected)" = 0 ]
}
all_gone() { dmsetup remove a && kill "$pid_a" "$pid_b" && wait "$pid_a" "$pid_b"; }
parameter_starts_daemon() {
	printf '#!/bin/sh\nexec %s --raw >/run/started 2>&1\n' "$PWD/$ringd" >"$work/helper" && chmod +x "$work/helper" &&
		insmod kernel/tresor.ko daemon="$work/helper" grace_seconds=5 || return
	local i
	for i in $(seq 100); do grep -q legacy /sys/class/misc/tresor/daemons && break; sleep 0.1; done
	grep legacy /sys/class/misc/tresor/daemons && plain x tresor-xts-plain64 512 512 && put x && same x && cryptsetup close x
}

check "no mapping before the first daemon" before_daemon
check "ringd attaches as legacy daemon" start_ringd --raw --queues 2
for sector in 512 4096; do
	check "xts 256 bit, sector $sector, equals aes both ways" equality tresor-xts-plain64 aes-xts-plain64 256 $sector
	check "xts 512 bit, sector $sector, equals aes both ways" equality tresor-xts-plain64 aes-xts-plain64 512 $sector
done
check "cbc-plain 128 bit equals aes both ways" equality tresor-cbc-plain aes-cbc-plain 128 512
check "cbc-essiv 256 bit equals aes both ways" equality tresor-cbc-essiv:sha256 aes-cbc-essiv:sha256 256 512
check "ctr-plain64 256 bit equals aes both ways" equality tresor-ctr-plain64 aes-ctr-plain64 256 512
check "2016: container file (filesystem on the mapping)" container_flow
check "2016: partition (filesystem on the mapping)" partition_flow
check "defect: a wrong passphrase shows no filesystem" wrong_passphrase
check "setkey is refused to unprivileged users" unprivileged
check "AF_ALG: long and split requests, IV written back" af_alg_iv
check "defect: rmmod is refused while a daemon is attached" rmmod_refused
check "ringd ends" stop_ringd
check "defect: without a daemon writes fail and the disk is untouched" no_daemon
check "defect: two volumes, two daemons, two keys" two_daemons
check "a handle in use is not given to a second daemon" handle_taken
check "both volumes read back as plain aes with their own keys" two_keys_on_disk
check "key wipe kills the key, setting the handle brings it back" wipe
check "fio verify, random sizes, depth 32, 4 jobs" fio_verify /dev/mapper/a
check "defect: a slow daemon loses nothing" slow_daemon
check "kill -9 under load: requests wait, a new daemon continues, verify clean" survives_kill
check "kill -9 and no new daemon: clean EIO after grace" fails_after_grace
check "fail_now ends the wait" fail_now
check "a stopped daemon counts as dead, its successor continues" hung_daemon
check "ext4: random churn against a model, fsck clean" ext4_churn /dev/mapper/a
check "writeback under memory pressure" memory_pressure
check "discards reach the device below" discards
check "counters count, nothing was rejected" counters_count
check "defect: no key bytes in the log" nothing_logged
check "the mapping goes, the daemons end" all_gone
check "rmmod works when nothing is in use" rmmod tresor
check "parameter daemon= starts one" parameter_starts_daemon
killall ringd; sleep 0.5
check "the log is clean" clean_log
