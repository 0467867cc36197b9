# shellcheck shell=bash
# Boots a kernel over the host's own root file system (9p, read-only), with two
# "GPUs": ivshmem devices whose BAR 2 is a file on the host, so that what the
# guest wrote can be checked from outside. Where they are is in machines.sh.

packages_vm=(qemu-system-x86 iproute2 rdma-core ibverbs-providers
	ibverbs-utils perftest pciutils kmod)
# qxl, a part of qemu-system-x86 before.
[ "$(debian_release)" -lt 13 ] || packages_vm+=(qemu-system-modules-spice)

gpu_sizes=(256 64)	# MiB, GPU0 and GPU1

# What EPYC has and QEMU's TCG lacks: without this it warns about each.
tcg_lacks="rdseed sha-ni fxsr-opt misalignsse 3dnowprefetch osvw topoext nrip-save xsavec"

kernel_args="console=ttyS0 log_buf_len=8M panic=-1 oops=panic"
# Debug kernels are slow under emulation; a CPU that stalls, or a timer that is
# late while the machine boots, is not news there.
kernel_args+=" no_timer_check"
kernel_args+=" rcupdate.rcu_cpu_stall_suppress=1 workqueue.watchdog_thresh=0"
kernel_args+=" root=rootfs rootfstype=9p ro"
kernel_args+=" rootflags=trans=virtio,version=9p2000.L,cache=loose,msize=512000"

# qemu_accel: $accel, the arguments for it, from vm_start's $icount and $threads.
# /dev/kvm alone proves nothing: there are machines where it opens and never runs a
# guest.
qemu_accel() {
	if [ -n "$icount" ]; then
		accel=(-accel "tcg,thread=single" -icount "shift=0,sleep=on")
	elif grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
		# Split, as an IOMMU that remaps interrupts wants it.
		accel=(-accel "kvm,kernel-irqchip=split" -cpu "${machine_cpu:-EPYC}")
		return
	else
		accel=(-accel "tcg,thread=$threads")
	fi
	accel+=(-cpu "${machine_cpu:-EPYC,-${tcg_lacks// /,-}}")
}

# gpu_fill DIR SEED: files gpu0 and gpu1 with the pattern of fill-pattern.c.
gpu_fill() {
	local i

	# Others may be at it too.
	if [ ! "$build/fill-pattern" -nt "$top/tests/vm/fill-pattern.c" ]; then
		cc -O2 -Wall -o "$build/fill-pattern.$$" "$top/tests/vm/fill-pattern.c"
		mv "$build/fill-pattern.$$" "$build/fill-pattern"
	fi
	for i in 0 1; do
		"$build/fill-pattern" "$1/gpu$i" $((gpu_sizes[i] << 20)) "$2"
	done
}

# gpu_memory DIR: $gpus, arguments for the memory of the two GPUs.
gpu_memory() {
	local i

	gpus=()
	for i in 0 1; do
		gpus+=(-object "memory-backend-file,id=gpu$i,size=${gpu_sizes[i]}M,mem-path=$1/gpu$i,share=on")
	done
}

# qemu_aborts_on_removal: QEMU 10, in iotlb_to_section(), when the memory map
# changes while another thread emulates a CPU. 7.2 was not seen to.
qemu_aborts_on_removal() {
	local version

	version=$(qemu-system-x86_64 --version | sed -nE '1s/.* version ([0-9]+)\..*/\1/p')
	[ "${version:-0}" -ge 10 ]
}

# vm_start [OPTIONS] BZIMAGE DIR COMMAND...: boot and run COMMAND in the guest.
#   -a ARGS     more for the kernel command line
#   -d ARG      one more argument for QEMU (repeat it)
#   -e VAR=VAL  in the environment of COMMAND (repeat it)
#   -I          one CPU that counts instructions: a nanosecond each, so that
#               times repeat, which wall time under emulation does not
#   -i          console on the terminal, returns when the guest has ended
#   -M NAME     the machine, a function machine_NAME of machines.sh (switch)
#   -r ROOT     not over the host's root but this one, which has an init of its own and
#               /opt/bench/guest to run COMMAND
#   -s          the CPUs are emulated by a single thread, in turns
#   -c CPUS, -m MEGABYTES, -t SECONDS
# From 2816 MiB on, some of the memory lies above 4 GiB, where the engine does
# not reach without an IOMMU.
# DIR is made anew and holds console.log, qemu.log and out/, which the guest sees
# as $OUT. The process is $vm_pid, its GPUs' files lie in $vm_gpus. The guest's name
# and MAC address, and with it the GUIDs of its RDMA devices, are its own, and the
# same each time.
vm_start() {
	local opt append='' args=() env=() interactive='' icount='' cpus=2 memory=2800 seconds=1800
	local patience=400 OPTIND=1 bzimage dir accel gpus console machine=switch threads=multi name mac
	local below=/ init="init=$top/tests/vm/guest-init"

	while getopts a:d:e:Iic:m:M:r:st: opt; do
		case $opt in
		a) append+=" $OPTARG" ;;
		d) args+=("$OPTARG") ;;
		e) env+=("$OPTARG") ;;
		I) icount=1 cpus=1 ;;
		i) interactive=1 ;;
		c) cpus=$OPTARG ;;
		m) memory=$OPTARG ;;
		M) machine=$OPTARG ;;
		r) below=$OPTARG init="systemd.run=/opt/bench/guest" ;;
		s) threads=single ;;
		t) seconds=$OPTARG ;;
		*) die "vm_start: bad option" ;;
		esac
	done
	shift $((OPTIND - 1))
	bzimage=$1 dir=$2
	shift 2

	case $top$dir in
	*[[:space:],]*) die "the path $top has a space or a comma, which neither" \
		"QEMU nor a kernel command line can take: move the checkout" ;;
	esac

	rm -rf "$dir"
	mkdir -p "$dir/out"
	scratch gpus 400
	vm_gpus=$scratch_dir
	vm_seed=$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')
	vm_dir=$dir vm_seconds=$seconds
	gpu_fill "$vm_gpus" "$vm_seed"
	gpu_memory "$vm_gpus"
	machine_set "$machine"
	qemu_accel
	name=${dir#"$build/vm/"}
	name=${name//[^a-zA-Z0-9]/-}
	mac=$(sha256sum <<<"$name" | sed -E 's/^(..)(..)(..)(..).*/52:54:\1:\2:\3:\4/')

	# Built along with the kernel, so it lies next to it.
	[ ! -e "${bzimage%/*}/p2p_sample.ko" ] ||
		env+=("P2P_SAMPLE=$(realpath "${bzimage%/*}/p2p_sample.ko")")
	# One of Debian's: see stock.sh. 6.1 was seen to stop early in its boot, once in ten.
	if [ -e "${bzimage%/*}/initrd" ]; then
		args+=(-initrd "${bzimage%/*}/initrd")
		patience=200
		[ "$below" != / ] || env+=("STOCK_ROOT=${bzimage%/*}/root"
			"STOCK_MODULES=$build/stock/$(basename "${bzimage%/*}")")
	fi
	{
		echo "export TOP=$top GPU_SEED=$vm_seed HOSTNAME=$name"
		[ ${#env[@]} -eq 0 ] || printf 'export %q\n' "${env[@]}"
		[ -z "$interactive" ] || echo "interactive='$(stty size 2>/dev/null || echo 24 80)'"
		printf 'command=('
		printf '%q ' "$@"
		echo ')'
	} >"$dir/out/.guest"

	console="-serial file:$dir/console.log"
	[ -z "$interactive" ] || console='-serial mon:stdio'
	# shellcheck disable=SC2206 # two words
	args=(-machine q35 "${accel[@]}" -smp "$cpus" -m "$memory"
		-nodefaults -no-user-config -display none -no-reboot $console
		-kernel "$bzimage"
		-fsdev "local,id=root,path=$below,security_model=none,readonly=on,multidevs=remap"
		-device "virtio-9p-pci,fsdev=root,mount_tag=rootfs"
		-fsdev "local,id=out,path=$dir/out,security_model=none,multidevs=remap"
		-device "virtio-9p-pci,fsdev=out,mount_tag=out"
		-netdev "user,id=net0,restrict=on,ipv6=off"
		-device "virtio-net-pci,netdev=net0,romfile=,mac=$mac"
		"${gpus[@]}" "${machine_devices[@]}" "${args[@]}"
		-append "$kernel_args $init $machine_append$append")
	printf '%q ' qemu-system-x86_64 "${args[@]}" >"$dir/command"

	if [ -n "$interactive" ]; then
		qemu-system-x86_64 "${args[@]}"
	else
		BOOT_PATIENCE=${BOOT_PATIENCE:-$patience} spawn "$top/tests/vm/run-qemu" "$dir" "$seconds" "${args[@]}" \
			>"$dir/qemu.log" 2>&1 </dev/null
		vm_pid=$spawned
	fi
}

# vm_wait: until the guest has ended. Fails, with the reason in $vm_why, unless it
# ended by itself and its command's status, $vm_status, was 0.
vm_wait() {
	local rc=0

	wait "$vm_pid" || rc=$?
	vm_status=$(cat "$vm_dir/out/.status" 2>/dev/null) || vm_status=
	vm_why=
	if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
		vm_why="stopped after $vm_seconds s"
	elif [ "$rc" -ne 0 ]; then
		vm_why="QEMU ended with status $rc: $(tail -1 "$vm_dir/qemu.log")"
	elif [ -z "$vm_status" ]; then
		vm_why="the guest crashed: $(tr -d '\r' <"$vm_dir/console.log" |
			grep -m1 -E 'Kernel panic|BUG|Oops|KASAN' || tail -1 "$vm_dir/console.log")"
	elif [ "$vm_status" -ne 0 ]; then
		vm_why="the command in the guest ended with status $vm_status"
	fi
	[ -z "$vm_why" ]
}

# vm_dmesg_complaints: what the kernel of the last run should not have said. What
# KCSAN says is looked at by who asked for it.
vm_dmesg_complaints() {
	cat "$vm_dir/console.log" "$vm_dir/out/dmesg" 2>/dev/null | tr -d '\r' |
		sed 's/^\[[^]]*\] //' |
		grep -E "$dmesg_bad" | grep -vE 'BUG: KCSAN|WARNING: See .*hw-vuln' | sort -u
}
dmesg_bad='BUG:|kernel BUG|WARNING:|UBSAN:|Oops|possible circular|inconsistent lock'
dmesg_bad+='|possible recursive locking|sleeping function|suspicious RCU|held lock freed'
dmesg_bad+='|INFO: task .* blocked|detected stall|soft lockup|hard LOCKUP'
dmesg_bad+='|kmemleak: [0-9]+ new|Kernel panic|general protection|list_(add|del) corruption'
dmesg_bad+='|refcount_t:|Bad page|page allocation failure|KASAN:'
# Not what the two say of themselves at boot.
dmesg_bad+='|ODEBUG: [^s]|DMA-API: .*device driver'
