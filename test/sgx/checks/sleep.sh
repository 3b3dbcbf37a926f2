# S3 takes the EPC. Nothing of 9p, which does not survive it, may be needed afterwards: a root of its own, in memory.
# The last part: it does not come back.
asleep=/run/asleep
mkdir -p $asleep && mount -t tmpfs -o size=600M asleep $asleep

copy_with_libraries() { # PROGRAMS...
	local each
	for each in $(ldd "$@" 2>/dev/null | grep -o '/[^ :]*' | sort -u) "$@"; do
		[ -e "$asleep$each" ] || { mkdir -p "$asleep${each%/*}" && cp -L "$each" "$asleep$each"; }
	done
}
furnish() {
	mkdir -p $asleep/{proc,sys,dev,tmp,run,root,etc} && for each in proc sys dev; do mount --rbind /$each $asleep/$each; done
	cp /etc/passwd /etc/group $asleep/etc/
	mkdir -p $asleep/usr/bin $asleep/usr/lib $asleep/usr/lib64 && for each in bin lib lib64; do ln -s usr/$each $asleep/$each; done
	copy_with_libraries /usr/bin/{bash,cat,cp,cmp,dmesg,grep,head,sed,sleep,tail,nbdcopy,mkdir} "$root/dist/node" \
		"$root/addon/build/Release/tresor.node" "$root/dist/tresor"
	mkdir -p $asleep$root/enclave && cp -r "$root/dist" $asleep$root/ && cp -r "$root/package.json" $asleep$root/ &&
		mkdir -p $asleep$root/enclave/build/vectors && cp "$root/enclave/enclave.conf" $asleep$root/enclave/ &&
		cp "$root"/enclave/build/tresor.{elf,sigstruct} $asleep$root/enclave/build/
	mkdir -p $asleep$root/test/sgx/checks && cp "$root/test/sgx/checks/asleep.bash" $asleep$root/test/sgx/checks/
}

reported "sleep: a volume is open"
reported "sleep: the machine sleeps and wakes up"
reported "sleep: after it a read waits for the passphrase, and nothing is lost"
reported "sleep: the kernel warned of nothing"
check "sleep: a root in memory" furnish
exec chroot $asleep /bin/bash "$root/test/sgx/checks/asleep.bash" "$root"
