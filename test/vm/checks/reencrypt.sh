# Reencrypts copies of one file in memory, by tresor and by cryptsetup, in turn. "bench SECTOR TOOL MIB SECONDS"
rounds=$(sed -n 's/.*tresor\.rounds=\([0-9]*\).*/\1/p' /proc/cmdline)
sizes=$(sed -n 's/.*tresor\.sizes=\([0-9,]*\).*/\1/p' /proc/cmdline | tr , ' ')
kdf=(--pbkdf pbkdf2 --pbkdf-force-iterations 1000)
volume=/dev/shm/volume copy=/dev/shm/copy
modprobe loop && modprobe dm-crypt

pass_of() { # TOOL
	local key=(--key-file "$work/pass-key")
	case $1 in
	tresor) tresor reencrypt -q "${kdf[@]}" "${key[@]}" $copy ;;
	cryptsetup) cryptsetup reencrypt -q --force-offline-reencrypt "${kdf[@]}" "${key[@]}" $copy ;;
	esac
}
timed() { # SECTOR TOOL MIB
	local began
	cp $volume $copy || return
	began=$EPOCHREALTIME
	pass_of "$2" || return
	say "bench $1 $2 $3 $(python3 -c "print($EPOCHREALTIME - $began)")"
	cryptsetup open --test-passphrase --key-file "$work/pass-key" $copy
}
reencrypt_round() {
	local sector size tool
	for sector in 4096 512; do
		for size in $sizes; do
			head -c "${size}M" /dev/urandom >$volume && format $volume "$work/pass-key" $sector || return
			for tool in tresor cryptsetup; do timed $sector $tool $size || return; done
		done
	done
}
printf 'a passphrase' >"$work/pass-key"
for ((round = 1; round <= rounds; round++)); do check "reencrypt: round $round" reencrypt_round; done
