#!/bin/sh
# elixir-smoke.sh: the installed Elixir does real work, offline. Needs /usr/lib/erlang and /usr/lib/elixir in place.
# Optional: SMOKE_ELIXIR (expected version).
set -eu
command -v erl >/dev/null || { PATH=/usr/lib/erlang/bin:$PATH; export PATH; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
HOME=$d; MIX_ENV=; export HOME; unset MIX_ENV
cd "$d"
v=$(elixir -e 'IO.write(System.version())')
echo "elixir $v on OTP $(elixir -e 'IO.write(System.otp_release())')"
test -z "${SMOKE_ELIXIR:-}" || test "$v" = "$SMOKE_ELIXIR"
test "$(elixir -e 'IO.write(Enum.sum(1..10))')" = 55
test "$(elixir -e 'IO.write(String.upcase("äß") <> inspect(Regex.run(~r/b+/u, "abbc")))')" = 'ÄSS["bb"]'
test "$(elixir -e ':crypto.hash(:sha256, "abc") |> Base.encode16(case: :lower) |> binary_part(0, 8) |> IO.write')" = ba7816bf
test "$(elixir -e '{:docs_v1, _, :elixir, _, %{"en" => _}, _, _} = Code.fetch_docs(Enum); IO.write(:ok)')" = ok
for a in eex ex_unit iex logger mix; do
	elixir -e "Application.load(:$a); ~c\"$v\" = Application.spec(:$a, :vsn)"
done
printf '1 + 41\n' | iex --no-color 2>&1 | grep -q 42
printf 'defmodule Hi do\n  def x, do: 1\nend\n' >hi.ex; elixirc hi.ex; test -s Elixir.Hi.beam
mix new demo >/dev/null
cd demo
mix test --color=false >"$d/log" 2>&1 || { cat "$d/log"; exit 1; }
grep -q '1 doctest, 1 test, 0 failures' "$d/log" || { cat "$d/log"; exit 1; }
sed -i 's/:world/:nobody/' lib/demo.ex # a test that must fail does fail
if mix test >/dev/null 2>&1; then echo 'mix test passed a wrong program'; exit 1; fi
echo 'elixir-smoke: ok'
