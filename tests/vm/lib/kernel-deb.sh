# shellcheck shell=bash
# ./run kernel-deb: Debian's kernel source with the series, as packages that apt installs
# beside the stock kernel.
#
#   $cache/kernel-deb/out/     objects
#   $build/kernel-deb/         the packages

packages_kernel_deb=(cpio debhelper kmod libdw-dev python3 rsync)

# What a distribution's configuration needs beside what it has. Its keys and debug
# information are its own.
kernel_deb_options=(
	--set-str LOCALVERSION -rdma-p2p
	--set-str SYSTEM_TRUSTED_KEYS '' --set-str SYSTEM_REVOCATION_KEYS ''
	--disable DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT --disable DEBUG_INFO_DWARF4
	--disable DEBUG_INFO_DWARF5 --enable DEBUG_INFO_NONE
	--enable PCI_P2PDMA --enable DEVICE_PRIVATE --enable P2P_MAP
	--enable INFINIBAND_ON_DEMAND_PAGING --module INFINIBAND_DMAE --module RDMA_RXE
)

# cmd_kernel_deb [CONFIG]: a configuration's file, or bench; the running kernel's if none
# is named.
cmd_kernel_deb() {
	local config=${1:-/boot/config-$(uname -r)} log=$build/kernel-deb.log dir=$cache/kernel-deb
	local src out=$cache/kernel-deb/out

	[ $# -le 1 ] || die "kernel-deb takes one configuration, not $#"
	[ "$config" = bench ] || [ -r "$config" ] ||
		die "no configuration $config: name another, or 'bench', the bench's own"
	need_packages "${packages_build[@]}" "${packages_kernel_deb[@]}"
	kernel_lock
	kernel_unpack
	kernel_patch_source
	src=$cache/src-$kernel_version
	rm -f "$dir"/*.deb "$dir"/*.buildinfo "$dir"/*.changes
	kernel_deb_configure "$config"
	note "compiling and packaging Linux $kernel_version (log: $log)"
	spawn_wait nice make -C "$src" "O=$out" -j"$(nproc)" bindeb-pkg \
		"KDEB_PKGVERSION=$kernel_version-1+p2p$(cat "$top/VERSION")" >"$log" 2>&1 ||
		die "the packages do not build: $(grep -m1 -iE 'error|unmet' "$log") (all of it: $log)"
	rm -rf "$build/kernel-deb"
	mkdir -p "$build/kernel-deb"
	find "$dir" -maxdepth 1 -name 'linux-*.deb' ! -name 'linux-libc-dev*' ! -name '*-dbg_*' \
		-exec mv -t "$build/kernel-deb" {} +
	kernel_unlock
	note "apt install $build/kernel-deb/*.deb"
	find "$build/kernel-deb" -name '*.deb'
}

# kernel_deb_configure CONFIG: uses cmd_kernel_deb's variables.
kernel_deb_configure() {
	local option

	mkdir -p "$out"
	if [ "$1" = bench ]; then
		kernel_configure "$src" "$out" base
		return
	fi
	cp "$1" "$out/.config"
	"$src/scripts/config" --file "$out/.config" "${kernel_deb_options[@]}"
	spawn_wait make -C "$src" "O=$out" olddefconfig >"$out/configure.log" 2>&1 ||
		die "cannot configure from $1: see $out/configure.log"
	for option in P2P_MAP=y PCI_P2PDMA=y INFINIBAND_ON_DEMAND_PAGING=y INFINIBAND_DMAE=m \
			DEBUG_INFO_NONE=y; do
		grep -qx "CONFIG_$option" "$out/.config" ||
			die "$1 is no configuration for this: it does not take CONFIG_$option;" \
			    "what that depends on is off there"
	done
}

# With the bench's configuration: built, installed beside the stock kernel, and booted.
test_kernel_deb() {
	local why as_root newcomer_root newcomer_kernel release log=$build/kernel-deb-test.log
	local image

	release=$(host_codename)
	check kernel-deb/builds "$log.builds" spawn_wait "$top/run" kernel-deb bench
	[ -d "$build/kernel-deb" ] || return 0
	if ! why=$(roots_possible); then
		case_skip kernel-deb/installs "$why"
		return
	fi
	need_packages "${packages_roots[@]}"
	roots_as_root
	newcomer_root "$release" >"$log.root" 2>&1 || {
		case_fail kernel-deb/root "$(tail -1 "$log.root") (see $log.root)"
		return
	}
	check kernel-deb/installs "$log.installs" kernel_deb_installs
	image=$build/newcomer/kernel-deb/bzImage
	mkdir -p "${image%/*}"
	cp "$newcomer_root"/boot/vmlinuz-*-rdma-p2p "$image"
	vm_start -t 1200 "$image" "$build/vm/kernel-deb" "$top/tests/apps/readme.sh"
	check kernel-deb/boots "$log.boots" vm_wait
	check kernel-deb/registers "$log.registers" grep -qx 'PASS registers-a-bar' "$vm_dir/out/stdout"
	dmesg_case kernel-deb
	"${as_root[@]}" rm -rf "$build/newcomer"
}

# Beside the stock kernel, and with the modules, which it does not need, in the way.
kernel_deb_installs() {
	packages_get && newcomer_install "$build/packages" || return 1
	"${as_root[@]}" cp "$build/kernel-deb"/*.deb "$newcomer_root/opt"
	newcomer_in "$newcomer_root" env INITRD=No sh -c 'apt-get -q install -y /opt/linux-*.deb &&
		ls /boot/vmlinuz-*-rdma-p2p /boot/vmlinuz-*-amd64 &&
		! dkms status -m rdma-p2p | grep -- -rdma-p2p'
}
