# Erlang/OTP with everything but jinterface (javac), or without the applications named in OTP_WITHOUT.
# For another machine than this one where OTP_HOST names it (aarch64-linux-gnu); then OTP of the same version, built for
# this machine, is at /opt/erlang.
# In: /forge/work/src (source), SOURCE_DATE_EPOCH, FORGE_JOBS, OTP_WITHOUT, OTP_CXX_OPTIMIZE, OTP_HOST. Out: $OUT/root
umask 022
cd /forge/work/src
R=$OUT/root
export ERL_TOP=/forge/work/src
OTP_HOST=${OTP_HOST:-}
tools=${OTP_HOST:+$OTP_HOST-}

# A compiler wrapper, not CFLAGS: OTP stores CFLAGS inside beam.smp (erlang:system_info(compile_info)), so a
# -ffile-prefix-map there would itself carry the build path. -g0: no debug symbols to write and strip.
mkdir -p /tmp/cc
for c in gcc g++ ${tools:+"${tools}gcc" "${tools}g++"}; do
	printf '#!/bin/sh\nexec /usr/bin/%s "$@" -g0 -ffile-prefix-map=/forge/work/src=.\n' $c >/tmp/cc/$c
	chmod 755 /tmp/cc/$c
done
export PATH=/tmp/cc:$PATH
# The same record holds the -I flags of the build: take the build path out of it as it is written.
sed -i 's|^    my $value = $constants{$_};$|&  $value =~ s{\\Q$ENV{ERL_TOP}\\E}{.}g;|' erts/emulator/utils/make_compiler_flags
grep -q 'ENV{ERL_TOP}' erts/emulator/utils/make_compiler_flags

# One resident compiler instead of one start of erl per module (it ends by itself, after 10 idle seconds).
# erlc finds it by the host's name, which the runner makes resolve.
export ERLC_USE_SERVER=yes
# Idle schedulers do not spin: on few cores, beside gcc, that is time lost. S: the server's parallelism.
export ERL_AFLAGS="+sbwt none +sbwtdcpu none +sbwtdio none +S $FORGE_JOBS"
# The hardening of Debian's own builds.
H='-fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wformat -Werror=format-security'
# C++ is the JIT's assembler (asmjit), which takes long to optimise.
export CFLAGS="-O2 $H" CXXFLAGS="$OTP_CXX_OPTIMIZE $H" LDFLAGS='-Wl,-z,relro -Wl,-z,now'

# Debian's source archive is without the two minified jquery files that common_test copies beside its logs (and it
# stops when they are missing). Real copies from Debian's packages, not links: the tree goes into other formats too.
jquery() { test -e "lib/common_test/priv/$2" || test ! -e "$1" || cp -L "$1" "lib/common_test/priv/$2"; }
jquery /usr/share/javascript/jquery/jquery.min.js jquery-latest.js
jquery /usr/share/javascript/jquery-tablesorter/jquery.tablesorter.min.js jquery.tablesorter.min.js

set --
escript=bin/escript
if [ -n "$OTP_HOST" ]; then
	# OTP's scripts name the place it is installed at.
	ln -s /opt/erlang/usr/lib/erlang /usr/lib/erlang
	export PATH=/tmp/cc:/usr/lib/erlang/bin:$PATH
	escript=/usr/lib/erlang/bin/escript
	# Where the libraries for it are; and what configure finds out by running a program there: the answers of glibc.
	set -- --host="$OTP_HOST" --build="$(gcc -dumpmachine)" erl_xcomp_sysroot=/ \
		--with-ssl=/usr --with-ssl-incl=/usr --with-ssl-lib-subdir="lib/$OTP_HOST" \
		erl_xcomp_getaddrinfo=yes erl_xcomp_clock_gettime_cpu_time=yes \
		ac_cv_c_double_middle_endian=no i_cv_posix_fallocate_works=yes
fi
without=
for application in $OTP_WITHOUT; do without="$without --without-$application"; done
# deterministic-build: erlc +deterministic (no source path and no options in the beams, literals in one order).
# ssl-rpath=no: crypto.so would carry a run path with every directory in which OpenSSL could be.
# shellcheck disable=SC2086
./configure --prefix=/usr --enable-deterministic-build --disable-pgo --without-javac --with-ssl-rpath=no $without "$@"
make -j"$FORGE_JOBS"
make install DESTDIR="$R"

E=$R/usr/lib/erlang
# Programs of applications that are left out.
for application in $OTP_WITHOUT; do
	case $application in
	common_test) rm -f "$R/usr/bin/ct_run" "$E/bin/ct_run" "$E"/erts-*/bin/ct_run ;;
	dialyzer) rm -f "$R"/usr/bin/dialyzer "$R"/usr/bin/typer "$E"/bin/dialyzer "$E"/bin/typer "$E"/erts-*/bin/dialyzer "$E"/erts-*/bin/typer ;;
	esac
done
# Not for an installed tree: the relocation script, the man page formatter, the engine of crypto's
# tests, and the examples (lintian: national encodings, broken shell; they are for reading). erts-*/bin/yielding_c_fun
# stays: a cross build of OTP takes it from the native tree (erts/emulator/utils/find_cross_ycf).
rm -rf "$E/Install" "$E/misc" "$E"/lib/crypto-*/priv/lib/otp_test_engine.so "$E"/lib/*/examples

# Man pages of the programs that are in /usr/bin (or that users call by that name). Before 27 their source is
# XML for a formatter of its own, with the whole manual: there are none of those.
if test -e make/markdown_to_man.escript; then
	mkdir -p "$R/usr/share/man/man1"
	for p in erts/epmd erts/erl erts/erlc erts/escript erts/run_erl lib/common_test/ct_run lib/dialyzer/typer; do
		page=${p%/*}/doc/references/${p##*/}_cmd.md
		case " $OTP_WITHOUT " in *" $(basename "${p%/*}") "*) continue ;; esac
		$escript make/markdown_to_man.escript -o "$R/usr/share/man/man1" "$page"
	done
	# The converter leaves lines that begin with an apostrophe, which groff takes for a macro.
	sed -i "s/^'/\\\\\&'/" "$R"/usr/share/man/man1/*.1
	ln -s run_erl.1.gz "$R/usr/share/man/man1/to_erl.1.gz"
	gzip -9n "$R"/usr/share/man/man1/*.1 # n: no name, no time
fi

# Strip as dh_strip does; the archives with D (no times, no owners).
find "$E" -type f \( -perm /111 -o -name '*.so' -o -name '*.a' \) | LC_ALL=C sort | while read -r f; do
	case $f in
	*.a) "${tools}strip" --strip-debug --remove-section=.comment --remove-section=.note --enable-deterministic-archives "$f" ;;
	*) test "$(head -c4 "$f" | tail -c3)" = ELF || continue
		case $f in
		*.so) "${tools}strip" --strip-unneeded --remove-section=.comment --remove-section=.note "$f" ;;
		*) "${tools}strip" --remove-section=.comment --remove-section=.note "$f" ;;
		esac ;;
	esac
done
# Some modes are those of the source tree (group-writable): make them plain. Empty directories serve nothing.
find "$R" -depth -type d -empty -delete
find "$R" -type d -exec chmod 755 {} +
find "$R" -type f -perm /111 -exec chmod 755 {} +
find "$R" -type f ! -perm /111 -exec chmod 644 {} +
