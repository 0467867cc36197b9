# shellcheck shell=bash
# Debian packages: each part names what it needs; what is missing is installed.

# debian_release: 12 or 13, say; 99 before it is released; 0 on what is not Debian.
debian_release() {
	# shellcheck source=/dev/null
	(. /etc/os-release; [ "$ID" = debian ] && echo "${VERSION_ID:-99}" || echo 0) 2>/dev/null ||
		echo 0
}

# host_codename: bookworm, say.
# shellcheck source=/dev/null
host_codename() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

# need_packages NAME...: install those that are not there.
need_packages() {
	local name missing=() root=()

	for name in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
			missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	[ -n "$(command -v apt-get)" ] ||
		die "no apt-get here to install ${missing[*]}: install what" \
		    "provides them, or use a Debian 12 or 13 machine"
	if [ "$(id -u)" -ne 0 ]; then
		[ -n "$(command -v sudo)" ] ||
			die "not root and no sudo: as root, run" \
			    "'apt-get install ${missing[*]}', then try again"
		root=(sudo)
	fi
	note "installing ${missing[*]}"
	apt_install || {
		"${root[@]}" apt-get -q update >&2 || true
		apt_install
	} || die "apt-get could not install ${missing[*]} (its messages are" \
		 "above); try 'apt-get update', or look at your apt sources"
}

# Uses need_packages' variables.
apt_install() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
		--no-install-recommends "${missing[@]}" >&2 </dev/null
}

# apt_knows PACKAGE: a fresh machine has no package lists yet.
apt_knows() {
	apt-cache show "$1" >/dev/null 2>&1 && return
	if [ "$(id -u)" -eq 0 ]; then
		apt-get -q update >&2 || true
	else
		sudo apt-get -q update >&2 || true
	fi
	apt-cache show "$1" >/dev/null 2>&1
}
