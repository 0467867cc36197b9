# shellcheck shell=bash
# Roots of a Debian release below this one's, made with debootstrap.

packages_roots=(debootstrap debian-archive-keyring)

# roots_possible: or why they are not.
roots_possible() {
	if [ -z "$(command -v apt-get)" ]; then
		echo "no apt-get here, which knows where Debian's packages are"
	elif [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
		echo "not root, and no sudo that asks for no password"
	elif [ "$(id -u)" -eq 0 ] && ! unshare --mount mount -t tmpfs tmpfs /mnt 2>/dev/null; then
		echo "nothing can be mounted here"
	elif [ "$(id -u)" -eq 0 ] && ! unshare --mount sh -c "mount -t tmpfs tmpfs /mnt &&
			mknod /mnt/null c 1 3" 2>/dev/null; then
		echo "device nodes cannot be made here"
	else
		return 0
	fi
	return 1
}

# roots_as_root: $as_root, what to put before a command.
roots_as_root() {
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
}

# roots_sources CODENAME: apt's lines for it, from where this machine's packages come.
roots_sources() {
	local codename

	codename=$(host_codename)
	# shellcheck disable=SC2016 # apt's
	apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) main' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' |
		grep -E " $codename(-updates|-security)? " | sed -E "s/ $codename/ $1/" | sort -u
}

# roots_make CODENAME DIR: the least of it, and apt told where packages are.
roots_make() {
	local codename=$1 dir=$2 sources mirror as_root

	roots_as_root
	sources=$(roots_sources "$codename") || sources=
	mirror=$(awk -v codename="$codename" '$3 == codename { print $2; exit }' <<<"$sources")
	[ -n "$mirror" ] || {
		echo "apt's sources name no Debian to take $codename from; has there been an 'apt-get update'?"
		return 1
	}
	"${as_root[@]}" rm -rf "$dir.new"
	spawn_wait "${as_root[@]}" debootstrap --variant=minbase --include=ca-certificates \
		--keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		"$codename" "$dir.new" "$mirror" || return 1
	"${as_root[@]}" tee "$dir.new/etc/apt/sources.list" <<<"$sources" >/dev/null
	apt-config dump | grep -E '^Acquire::https?::Proxy' |
		"${as_root[@]}" tee "$dir.new/etc/apt/apt.conf.d/proxy" >/dev/null || true
	"${as_root[@]}" mv "$dir.new" "$dir"
}
