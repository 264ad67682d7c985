# Elixir from source, with the Erlang/OTP whose tree is mounted at /opt/erlang.
# In: /forge/work/src, /opt/erlang, SOURCE_DATE_EPOCH, FORGE_JOBS, OUT. Out: $OUT/root
umask 022
R=$OUT/root
# OTP's scripts name the place it is installed at.
ln -s /opt/erlang/usr/lib/erlang /usr/lib/erlang
export PATH=/usr/lib/erlang/bin:$PATH

# Elixir writes the absolute path of each source file into the debug information of its modules, also with
# "deterministic". So it is built where it will live: the paths recorded are /usr/lib/elixir/lib/..., not those of
# the build. (/usr/lib/elixir is in the throw-away layer of the root.)
test ! -e /usr/lib/elixir
cp -R /forge/work/src /usr/lib/elixir
cd /usr/lib/elixir

# deterministic: no compile options and no time in the beams; Elixir's compiler reads it as erlc does.
export ERL_COMPILER_OPTIONS=deterministic
# The makefile is .NOTPARALLEL; the compiler uses all schedulers (as many as FORGE_JOBS) by itself.
export ERL_FLAGS="+S $FORGE_JOBS"
make compile
make install DESTDIR="$R" PREFIX=/usr
# n: neither name nor time in the gzip header.
gzip -9n "$R"/usr/share/man/man1/*.1
find "$R" -type d -exec chmod 755 {} +
