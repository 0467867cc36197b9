# shellcheck shell=bash
# The packages as a new user meets them: in a root of Debian's with its own kernel,
# booted by itself, with nothing of this checkout in it.
#
#   $cache/roots/packages-CODENAME-KEY/   the root as it comes
#   $build/newcomer/CODENAME/             a copy of it, for one run
#   tests/packages/                       what runs in it

# What people have who need the packages.
packages_newcomer=(linux-image-amd64 linux-headers-amd64 dkms systemd-sysv udev kmod iproute2
	gcc libc6-dev pciutils rdma-core ibverbs-utils ibverbs-providers libibverbs-dev perftest
	libjson-c5 libnl-3-200 busybox-static)

# newcomer_base CODENAME: $newcomer_base, the root as it comes, made unless it is there.
# Needs the lock.
newcomer_base() {
	local key other

	key=$(echo "${packages_newcomer[@]}" | cat - "$lib/roots.sh" | sha256sum | cut -c1-16)
	newcomer_base=$cache/roots/packages-$1-$key
	[ ! -e "$newcomer_base" ] || return 0
	for other in "$cache/roots/packages-$1"-*; do
		"${as_root[@]}" rm -rf "$other"
	done
	roots_make "$1" "$newcomer_base.made" &&
		newcomer_in "$newcomer_base.made" env INITRD=No sh -c 'apt-get -q update &&
			apt-get -q install -y --no-install-recommends "$@" &&
			useradd -m alice && apt-get clean' - "${packages_newcomer[@]}" &&
		"${as_root[@]}" mv "$newcomer_base.made" "$newcomer_base"
}

# newcomer_in ROOT COMMAND...: as root, there.
newcomer_in() { spawn_wait "${as_root[@]}" "$top/tests/vm/enter-root" "$@"; }

# newcomer_root CODENAME: $newcomer_root, a fresh copy; $newcomer_kernel, its kernel's version.
newcomer_root() {
	newcomer_root=$build/newcomer/$1
	"${as_root[@]}" rm -rf "$newcomer_root"
	mkdir -p "$build/newcomer" "$cache/roots" || return 1
	exec 5>"$cache/roots/lock-packages"
	flock 5
	newcomer_base "$1" &&
		"${as_root[@]}" cp -a --reflink=auto "$newcomer_base" "$newcomer_root" || return 1
	exec 5>&-
	newcomer_kernel=$(basename "$newcomer_root"/boot/vmlinuz-*)
	newcomer_kernel=${newcomer_kernel#vmlinuz-}
}

# newcomer_install PACKAGES: the packages of that folder, as apt does it.
newcomer_install() {
	"${as_root[@]}" rm -rf "$newcomer_root/opt/packages"
	"${as_root[@]}" mkdir -p "$newcomer_root/opt/packages"
	"${as_root[@]}" cp "$1"/*.deb "$newcomer_root/opt/packages"
	newcomer_in "$newcomer_root" sh -c 'apt-get -q install -y /opt/packages/*.deb'
}

# newcomer_dkms: has DKMS installed the modules for the root's kernel?
newcomer_dkms() {
	local said

	said=$(newcomer_in "$newcomer_root" dkms status -m rdma-p2p -k "$newcomer_kernel") || return 1
	echo "dkms status says '$said', for $newcomer_kernel"
	[[ $said == *": installed"* ]]
}

# newcomer_bench: what the VM's hardware needs, and the program of the README, in /opt/bench.
newcomer_bench() {
	local bench=$newcomer_root/opt/bench headers=/lib/modules/$newcomer_kernel/build staged

	scratch newcomer 1
	staged=$scratch_dir/bench
	mkdir "$staged"
	stock_bench_source "$staged"
	cp "$top"/tests/packages/{guest,steps.sh,first-steps,afterwards} \
		"$lib"/{perftest,server}.sh "$staged"
	"$top/tests/apps/readme-example" >"$staged/example.c"
	sed 's/return ibv_dereg_mr/getchar(); &/' "$staged/example.c" >"$staged/example-waits.c"
	"${as_root[@]}" cp -r "$staged" "$bench"
	newcomer_in "$newcomer_root" sh -c "make -C $headers M=/opt/bench modules &&
		gcc -o /opt/bench/example /opt/bench/example.c -libverbs &&
		gcc -o /opt/bench/example-waits /opt/bench/example-waits.c -libverbs"
}

# newcomer_boot GROUP NAME COMMAND...: with the root's own kernel; the command's results
# are cases of GROUP/NAME.
newcomer_boot() {
	local group=$1 name=$2 dir=$build/newcomer/boot line

	shift 2
	mkdir -p "$dir"
	cp "$newcomer_root/boot/vmlinuz-$newcomer_kernel" "$dir/bzImage"
	initrd_make "$newcomer_root" "$newcomer_kernel" "$top/tests/packages/initrd-init" \
		"$dir/initrd" virtio_pci 9pnet_virtio 9p overlay
	# The copy engine is a SCSI controller, which a kernel of Debian's has a driver for.
	vm_start -t 1200 -a "modprobe.blacklist=sym53c8xx" -r "$newcomer_root" "$dir/bzImage" "$build/vm/$group-$name" "$@"
	dd if=/dev/zero "of=$vm_gpus/gpu1" bs=1M "count=${gpu_sizes[1]}" conv=notrunc status=none
	vm_wait || case_fail "$group/$name" "$vm_why (see $vm_dir)"
	while IFS= read -r line; do
		case_line "$group/$name" "$line"
	done < <(cat "$vm_dir/out/results")
	dmesg_case "$group" "-$name"
}

# newcomer_bytes: what perftest wrote from GPU0 is in GPU1, which was zero, seen from the
# host. It writes behind what its own end would send.
newcomer_bytes() {
	local at

	for at in 0 65536; do
		! cmp -s -n 65536 -i "$at:65536" "$vm_gpus/gpu0" "$vm_gpus/gpu1" || return 0
	done
	echo "none of GPU0's first 64 KiB are in GPU1"
	return 1
}

# --- groups ---

# What is built, what the distributions' checkers say of it, and the first steps on the
# host's own release.
test_packages() {
	local why as_root

	need_packages "${packages_packaging[@]}"
	check packages/builds "$build/packages.log" spawn_wait "$top/run" packages
	[ -d "$build/packages" ] || return 0
	! want lintian "$1" || check packages/lintian "$build/lintian.log" packages_lintian
	! want rpmlint "$1" || check packages/rpmlint "$build/rpmlint.log" packages_rpmlint
	want first-steps "$1" || return 0
	if ! why=$(roots_possible); then
		case_skip packages/first-steps "$why"
		return
	fi
	need_packages "${packages_roots[@]}"
	roots_as_root
	newcomer_first_steps packages "$(host_codename)" "$build/packages"
	"${as_root[@]}" rm -rf "$build/newcomer"
}

# Whatever they say that debian/ or redhat/ does not explain.
packages_lintian() {
	local said

	said=$(cd "$build/packages" && lintian --allow-root --display-info --tag-display-limit 0 \
		-- *.changes *.dsc 2>&1)
	[ -z "$said" ] || { echo "$said"; return 1; }
}

packages_rpmlint() {
	rpmlint --strict --ignore-unused-rpmlintrc -r "$top/redhat/rdma-p2p.rpmlintrc" "$build/packages"/*.rpm
}

# newcomer_first_steps GROUP CODENAME PACKAGES: installed there, and booted.
newcomer_first_steps() {
	local group=$1 release=$2 packages=$3 log=$build/newcomer-$2 newcomer_root newcomer_kernel

	newcomer_root "$release" >"$log.root" 2>&1 || {
		case_fail "$group/$release/root" "$(tail -1 "$log.root") (see $log.root)"
		return
	}
	check "$group/$release/apt-install" "$log.install" newcomer_install "$packages"
	check "$group/$release/dkms" "$log.dkms" newcomer_dkms
	check "$group/$release/bench" "$log.bench" newcomer_bench
	newcomer_boot "$group" "$release" /opt/bench/first-steps
	check "$group/$release/perftest (bytes on the host)" "$log.bytes" newcomer_bytes
}
