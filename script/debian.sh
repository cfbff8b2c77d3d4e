# shellcheck shell=bash disable=SC2154
# What scripts share that work in a Debian of their own, in a folder: sourced after lib.sh. That needs root,
# debootstrap, and a Debian mirror among apt's sources.

# Debian's mirror that this machine uses.
mirror()
{
	# What apt-get replaces.
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
		sed -n 's/ Debian Debian$//p' | sort -u | head -n 1
}

# within DIR COMMAND...: runs it as root with DIR as its root, and with what servers need mounted there
# as long as it runs.
within()
{
	local dir=$1
	shift
	# What sh expands.
	# shellcheck disable=SC2016
	unshare --mount sh -c 'mount -t proc proc "$0/proc" && mkdir -p "$0/dev/shm" &&
		mount -t tmpfs tmpfs "$0/dev/shm" && exec chroot "$0" "$@"' "$dir" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive ${COPT:+"COPT=$COPT"} ${TEST_TIMEOUT:+"TEST_TIMEOUT=$TEST_TIMEOUT"} "$@"
}

# debian_root RELEASE DIR: what debootstrap makes of a release, with this machine's way to the mirror.
debian_root()
{
	local release=$1 dir=$2 from proxy=

	[ "$(id -u)" = 0 ] || die "only root can install Debian $release in a folder"
	command -v debootstrap >/dev/null || die "debootstrap is missing, which installs Debian $release in a folder"
	from=$(mirror)
	[ -n "$from" ] || die "no Debian mirror is among apt's sources"
	eval "$(apt-config shell proxy Acquire::http::Proxy)"

	say "installing Debian $release in $dir"
	rm -rf "$dir"
	mkdir -p "$dir"
	env ${proxy:+"http_proxy=$proxy"} debootstrap --variant=minbase "$release" "$dir" "$from" \
		>"$work/debootstrap.log" 2>&1 || die "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
	cp /etc/resolv.conf /etc/hosts "$dir/etc/"
	{
		apt-config dump | grep -i '::proxy'
		# A mirror may stand still for some time.
		echo 'Acquire::Check-Valid-Until "false";'
		# Nobody misses the folder after a crash.
		echo 'DPkg::Options:: "--force-unsafe-io";'
	} >"$dir/etc/apt/apt.conf.d/90customer_groups"
	# No server is started by its package.
	printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"
	chmod 755 "$dir/usr/sbin/policy-rc.d"
}
