# shellcheck shell=bash
# What script/test, script/demo, script/bench and .ci/run share; sourced by them, it needs bash.
#
#   setup [test] [clang] [valgrind] [chart]
#                            finds PostgreSQL and the tools, installs what is missing (Debian, Ubuntu)
#   copy_tree DIR            copies the sources into the new folder DIR, from now on $src
#   compile ARGUMENT...      runs make in $src
#   build                    compiles a copy of the tree and installs it for start_cluster
#   start_cluster [LINE...]  starts a throw-away server, with these lines added to its configuration
#   as_server COMMAND...     runs a command as the server's operating system user
#
# Afterwards: $root is the tree, $src the compiled copy of it, $work the folder that goes away at
# exit, $bindir the server's programs, and PGHOST, PGPORT, PGUSER and PGDATABASE lead to the server.
# The server listens on a socket inside $work only, so that others on the machine are not met.
# PG_CONFIG chooses the server version; the highest installed one is the default.
# SERVER_PRELOAD is a library that servers are to be started with (LD_PRELOAD), SERVER_PROGRAM a program
# in place of postgres.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# For TAP tests, which run in a copy of the tree and look for data beside the tree itself.
export CUSTOMER_GROUPS_TREE=$root
umask 022

# Nothing of the caller's make or PostgreSQL environment may lead to another server or other flags.
unset MAKEFLAGS MFLAGS MAKELEVEL
for name in "${!PG@}"; do
	case $name in PG_CONFIG) ;; *) unset "$name" ;; esac
done
unset name LANGUAGE
export LANG=C.UTF-8 LC_ALL=C.UTF-8

say()
{
	printf '== %s\n' "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# By root itself, or by sudo; without a terminal sudo must not ask for a password.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 0 ] && [ -t 2 ] && [ -z "${CI:-}" ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

# ---------------------------------------------------------------------------------------------
# The folder for everything that this run makes
# ---------------------------------------------------------------------------------------------

# make cannot work in a path with blanks, and a socket's path has at most 107 bytes.
make_work()
{
	local base=${TMPDIR:-/tmp}
	case $base in
		*[[:space:]]*) base=/tmp ;;
	esac
	[ ${#base} -le 40 ] || base=/tmp
	work=$(mktemp -d "$base/customer_groups.XXXXXX")
	trap cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

cleanup()
{
	[ -n "${work:-}" ] || return 0
	stop_servers
	rm -rf "$work"
	work=
}

# Stops every server whose data folder is below $work, those of an interrupted TAP test included.
# The signal is sent by the server's user, lest an outdated process id belongs to somebody else.
stop_servers()
{
	local file pid
	while IFS= read -r file; do
		pid=$(head -n 1 "$file")
		as_server bash -c "kill -QUIT $pid" 2>/dev/null || continue
		timeout 10 tail --pid="$pid" -f /dev/null || as_server bash -c "kill -KILL $pid"
	done < <(find "$work" -name postmaster.pid 2>/dev/null)
}

# ---------------------------------------------------------------------------------------------
# What must be installed
# ---------------------------------------------------------------------------------------------

# The highest version below /usr/lib/postgresql that has the given file.
installed_version()
{
	local file
	for file in /usr/lib/postgresql/*/"$1"; do
		[ ! -e "$file" ] || printf '%s\n' "$file"
	done | sed 's,^/usr/lib/postgresql/\([^/]*\)/.*,\1,' | sort -V | tail -n 1
}

# Sets $version, and $bindir and the like as far as they can be known yet; $version stays empty
# when there is neither a server nor its headers.
find_postgresql()
{
	local config=${PG_CONFIG:-}

	if [ -z "$config" ]; then
		version=$(installed_version lib/pgxs/src/makefiles/pgxs.mk)
		[ -n "$version" ] || version=$(installed_version bin/postgres)
		config=/usr/lib/postgresql/$version/bin/pg_config
	else
		config=$(command -v "$config") || die "PG_CONFIG=$PG_CONFIG cannot be run"
	fi
	if [ -x "$config" ]; then
		version=$("$config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
		bindir=$("$config" --bindir)
		sharedir=$("$config" --sharedir)
		pkglibdir=$("$config" --pkglibdir)
		includedir=$("$config" --includedir-server)
		pgxs=$("$config" --pgxs)
	else
		bindir='' sharedir='' pkglibdir='' includedir='' pgxs=''
	fi
	pg_config=$config
}

# Prints the Debian packages that are missing. It looks for the files themselves, not for packages,
# so that a PostgreSQL built from source will do as well. NN stands for a version not known yet.
missing_packages()
{
	local v=${version:-NN}

	command -v gcc >/dev/null || echo gcc
	[ -e /usr/include/stdio.h ] || echo libc6-dev
	command -v make >/dev/null || echo make
	command -v flex >/dev/null || echo flex
	command -v bison >/dev/null || echo bison
	command -v gzip >/dev/null || echo gzip
	[ -x "$bindir/postgres" ] || echo "postgresql-$v"
	[ -e "$includedir/postgres.h" ] && [ -e "$pgxs" ] || echo "postgresql-server-dev-$v"
	case " $* " in *' clang '*)
		command -v clang >/dev/null || echo clang
	esac
	case " $* " in *' chart '*)
		command -v gnuplot >/dev/null || echo gnuplot-nox
	esac
	case " $* " in *' valgrind '*)
		command -v valgrind >/dev/null || echo valgrind
		command -v dpkg-source >/dev/null || echo dpkg-dev
		command -v pkg-config >/dev/null || echo pkg-config
		[ -e /usr/include/unicode/ucol.h ] || echo libicu-dev
	esac
	case " $* " in *' test '*)
		[ -e "$sharedir/extension/pgtap.control" ] || echo "postgresql-$v-pgtap"
		# Without it one test is skipped, so that a server from elsewhere will do.
		case $bindir in '' | /usr/lib/postgresql/*)
			[ -e "$pkglibdir/pg_cron.so" ] || echo "postgresql-$v-cron"
		esac
		perl -MTAP::Harness -MTest::More -e 1 2>/dev/null || echo perl
		perl -MIPC::Run -e 1 2>/dev/null || echo libipc-run-perl
		perl -MTAP::Parser::SourceHandler::pgTAP -e 1 2>/dev/null ||
			echo libtap-parser-sourcehandler-pgtap-perl
	esac
}

apt_get()
{
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null >"$work/apt.log" 2>&1 || {
		tail -n 20 "$work/apt.log" >&2
		return 1
	}
}

# A new server package would make and start a cluster 'main'. The setting that prevents it is in a
# file of its own while apt-get runs, and taken away afterwards.
no_main_cluster=/etc/postgresql-common/createcluster.d/customer_groups-setup.conf

install_packages()
{
	local status=0
	local dir=${no_main_cluster%/*}

	as_root mkdir -p "$dir"
	echo 'create_main_cluster = false' | as_root tee "$no_main_cluster" >/dev/null
	apt_get install --no-install-recommends "$@" || status=1
	as_root rm -f "$no_main_cluster"
	as_root rmdir --ignore-fail-on-non-empty "$dir" 2>/dev/null
	return $status
}

setup()
{
	local packages

	[ -n "${work:-}" ] || make_work
	find_postgresql
	packages=$(missing_packages "$@")
	if [ -n "$packages" ]; then
		packages=${packages//$'\n'/ }
		command -v apt-get >/dev/null ||
			die "missing: $packages (Debian's names); this is no Debian or Ubuntu: install them by hand"
		[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
			die "missing: $packages; run as root or install sudo or these packages"
		say "updating the package lists"
		apt_get update || die "missing: $packages; apt-get update failed"
		if [ -z "$version" ]; then
			version=$(apt-cache depends postgresql |
				sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
			[ -n "$version" ] || die "missing: $packages; no PostgreSQL server found in the package lists"
			packages=$(missing_packages "$@")
			packages=${packages//$'\n'/ }
		fi
		say "installing $packages"
		# The names must be split.
		# shellcheck disable=SC2086
		install_packages $packages || die "apt-get could not install $packages"
		find_postgresql
		packages=$(missing_packages "$@")
		[ -z "$packages" ] || die "still missing after the installation: ${packages//$'\n'/ }"
	fi
	export PG_CONFIG=$pg_config PATH=$bindir:$PATH

	# The server refuses to run as root.
	server_user=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		server_user=postgres
		id -u postgres >/dev/null 2>&1 || server_user=nobody
		chgrp "$(id -gn "$server_user")" "$work"
		chmod 750 "$work"
		as_server test -x "$work" ||
			die "$server_user, who runs the server, cannot reach $work: set TMPDIR to a folder that it can reach"
	fi
	say "using PostgreSQL $version in $bindir"
}

# ---------------------------------------------------------------------------------------------
# Building and installing
# ---------------------------------------------------------------------------------------------

# Building in a copy leaves the tree alone, which may belong to somebody else or have blanks in its
# path. What an earlier build left in it may be for another server version.
copy_tree()
{
	src=$1
	mkdir -p "$src"
	tar -C "$root" --exclude=./.git --exclude=./tmp_check -cf - . | tar -C "$src" --no-same-owner -xf -
	chmod -R a+rX "$src"
	pgxs_make clean >/dev/null || die "make clean failed"
}

# Without bitcode, which is for inlining only and takes as long as all the rest.
# CC and COPT, the compiler and flags to add, may be in the environment.
pgxs_make()
{
	make -s -C "$src" PG_CONFIG="$PG_CONFIG" with_llvm=no ${CC:+"CC=$CC"} "$@"
}

# Shows warnings and errors, the first hundred lines of them.
compile()
{
	local status=0
	pgxs_make -j "$(nproc)" "$@" >"$work/build.log" 2>&1 || status=$?
	head -n 100 "$work/build.log" >&2
	return $status
}

# The extension goes into a folder below $work where the server can load it from there: by Debian's
# extension_destdir (until 17) or by extension_control_path (from 18), else among the server's own.
build()
{
	local sample=$sharedir/postgresql.conf.sample

	say "building the extension"
	copy_tree "$work/src"
	compile all || die "the build failed"
	server_conf=$work/server.conf
	: >"$server_conf"
	if grep -q extension_destdir "$sample"; then
		pgxs_make DESTDIR="$work/inst" install >/dev/null || die "make install failed"
		cat >>"$server_conf" <<-EOF
			extension_destdir = '$work/inst'
			dynamic_library_path = '$work/inst$pkglibdir:\$libdir'
		EOF
	elif grep -q extension_control_path "$sample"; then
		pgxs_make DESTDIR="$work/inst" install >/dev/null || die "make install failed"
		cat >>"$server_conf" <<-EOF
			extension_control_path = '$work/inst$sharedir:\$system'
			dynamic_library_path = '$work/inst$pkglibdir:\$libdir'
		EOF
	else
		say "installing the extension into $sharedir and $pkglibdir"
		if [ -w "$sharedir/extension" ] && [ -w "$pkglibdir" ]; then
			pgxs_make install >/dev/null || die "make install failed"
		else
			as_root env PATH="$PATH" make -s -C "$src" with_llvm=no PG_CONFIG="$PG_CONFIG" install >/dev/null ||
				die "this server can load extensions from its own folders only, and installing there needs root"
		fi
	fi
}

# ---------------------------------------------------------------------------------------------
# The throw-away server
# ---------------------------------------------------------------------------------------------

as_server()
{
	(exec_as_server "$@")
}

# The same in place of the shell, so that what is started in the background can be killed.
exec_as_server()
{
	cd "$work" || exit
	[ "$(id -u)" != 0 ] || set -- setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" \
		--init-groups -- env HOME="$work" "$@"
	exec "$@"
}

# Makes a folder that belongs to the server's user.
server_dir()
{
	mkdir -p "$1"
	[ "$(id -u)" != 0 ] || chown "$server_user" "$1"
	chmod 700 "$1"
}

start_cluster()
{
	server_dir "$work/data"
	server_dir "$work/socket"
	server_dir "$work/log"
	say "starting a throw-away server"
	as_server initdb -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
		>"$work/initdb.log" 2>&1 || {
		cat "$work/initdb.log" >&2
		die "initdb failed"
	}
	{
		cat "$server_conf"
		cat <<-EOF
			listen_addresses = ''
			unix_socket_directories = '$work/socket'
			fsync = off
			timezone = 'UTC'
			log_timezone = 'UTC'
		EOF
		[ $# = 0 ] || printf '%s\n' "$@"
	} >>"$work/data/postgresql.conf"
	export PGHOST=$work/socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	start_server
}

start_server()
{
	as_server env ${SERVER_PRELOAD:+"LD_PRELOAD=$SERVER_PRELOAD"} pg_ctl ${SERVER_PROGRAM:+-p "$SERVER_PROGRAM"} -s -w -t 60 \
		-D "$work/data" -l "$work/log/server.log" start </dev/null >/dev/null || {
		tail -n 20 "$work/log/server.log" >&2
		die "the server did not start"
	}
}
