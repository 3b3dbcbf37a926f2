# tresor_test.ko over the daemon with known keys.
fresh_module
no_cipher_before_daemon() { ! grep -q tresor /proc/crypto; }
ciphers_registered() {
	local name
	for name in 'xts(tresor)' 'cbc(tresor)' 'ctr(tresor)' 'ecb(tresor)' 'essiv(cbc(tresor),sha256)'; do
		grep -qF "name         : $name" /proc/crypto || { echo "no $name"; return 1; }
	done
}
kernel_tests() {
	insmod kernel/tresor_test.ko
	local status=$?
	dmesg | grep 'tresor_test: not ok'
	cat /sys/module/tresor_test/parameters/result && rmmod tresor_test && [ $status = 0 ]
}

check "no cipher is registered before a daemon came" no_cipher_before_daemon
check "ringd attaches" start_ringd --raw --queues 2
check "/proc/crypto shows the five ciphers" ciphers_registered
check "tresor_test.ko passes" kernel_tests
check "ringd ends in order" stop_ringd
