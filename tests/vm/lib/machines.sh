# shellcheck shell=bash
# The machines: where the two GPUs and the DMA engine sit, whether there is an
# IOMMU, and which CPU. Each is a function machine_NAME that says it with the
# ones below; vm_start -M NAME calls it. The engine is QEMU's lsi53c895a, the
# one bus master there that copies memory from anywhere to anywhere.

# What a machine function leaves behind.
machine_devices=()	# arguments for QEMU
machine_cpu=		# or "": the usual one
machine_append=		# for the kernel command line
slots=0

# machine_set NAME
machine_set() {
	machine_devices=() machine_cpu='' machine_append='' slots=0
	[ "$(type -t "machine_$1")" = function ] ||
		die "there is no machine '$1'; see tests/vm/lib/machines.sh"
	"machine_$1"
}

device() { machine_devices+=(-device "$1"); }

# slot TYPE ID BUS: a port, with a slot number of its own.
slot() {
	slots=$((slots + 1))
	device "$1,id=$2,bus=$3,chassis=$slots,slot=$slots"
}
root_port() { slot pcie-root-port "$1" "${2:-pcie.0}"; }

# pcie_switch ID BUS PORT...: a root port, a switch below it, and that one's ports.
pcie_switch() {
	local id=$1 port

	root_port "$id-root" "$2"
	shift 2
	device "x3130-upstream,id=$id,bus=$id-root"
	for port in "$@"; do
		slot xio3130-downstream "$port" "$id"
	done
}

# gpu NUMBER BUS: its memory is vm_start's file, which is told from outside.
gpu() { device "ivshmem-plain,memdev=gpu$1,bus=$2"; }
engine() { device "lsi53c895a,bus=$1"; }

# gpus_below_switch [BUS]: both GPUs, and the engine elsewhere.
gpus_below_switch() {
	pcie_switch switch "${1:-pcie.0}" port0 port1
	gpu 0 port0
	gpu 1 port1
}

# All below one switch, which redirects nothing: by bus address.
machine_switch() {
	pcie_switch switch pcie.0 port0 port1 port2
	gpu 0 port0
	gpu 1 port1
	engine port2
}

# The same, with ports that can redirect: QEMU's switches have no ACS, its root
# ports have it, and work as ports of a switch.
machine_acs() {
	pcie_switch switch pcie.0
	root_port port0 switch
	root_port port1 switch
	root_port port2 switch
	gpu 0 port0
	gpu 1 port1
	engine port2
}
machine_acs_redirect() {
	machine_acs
	# Of each port: request and completion redirect on, the rest as it is.
	machine_append="pci=config_acs=xxx11xx@pci:1b36:000c"
}

machine_root_ports() {
	gpus_below_switch
	root_port port2
	engine port2
}

# Not the engine on the second one: QEMU loses INTx there.
machine_host_bridges() {
	device "pxb-pcie,id=host1,bus_nr=0x80,bus=pcie.0"
	gpus_below_switch host1
	root_port port2
	engine port2
}

# Neither the CPU nor the host bridge is known to forward between root ports.
machine_unlisted() {
	machine_root_ports
	machine_cpu=max,vendor=GenuineIntel
}
machine_unlisted_switch() {
	machine_acs
	machine_cpu=max,vendor=GenuineIntel
}

# QEMU takes all that comes from a function through its IOMMU, also below a
# switch that would not, hence another root port for the engine.
machine_iommu() {
	device "intel-iommu,intremap=on"
	machine_root_ports
	machine_append="intel_iommu=on"
}
machine_iommu_strict() {
	machine_iommu
	machine_append+=" iommu.strict=1"
}
machine_iommu_pt() {
	machine_iommu
	machine_append+=" iommu=pt"
}

# QEMU's model takes what is behind a bridge for another function: none there.
machine_amd_iommu() {
	device "amd-iommu,intremap=on"
	gpus_below_switch
	engine pcie.0
}

# The firmware puts BARs above 4 GiB when there is no room for all below.
gpus_above_4g() { device "pcie-root-port,id=ballast,bus=pcie.0,chassis=99,slot=99,pref64-reserve=2G"; }

machine_high() {
	machine_switch
	gpus_above_4g
}
machine_iommu_high() {
	machine_iommu
	gpus_above_4g
}

# With GPUs that the kernel has DRM drivers for, and whose memory QEMU shows
# nobody: small, so that buffers have to move. With an NVMe drive, a function that
# can be reset alone and has memory, its controller memory buffer. And with a disk
# to swap to.
machine_exporters() {
	machine_switch
	device "bochs-display,vgamem=16M"
	device "qxl,vgamem_mb=16,ram_size_mb=64,vram_size_mb=16"
	slot xio3130-downstream port3 switch
	device "nvme,serial=0,cmb_size_mb=8,legacy-cmb=on,bus=port3"
	truncate -s 256M "$vm_gpus/swap"
	machine_devices+=(-drive "if=virtio,format=raw,file=$vm_gpus/swap")
}
