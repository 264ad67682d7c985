#!/bin/sh
# otp-smoke.sh: the installed Erlang/OTP does real work. Needs /usr/lib/erlang in place and a loopback interface.
# Optional: SMOKE_OTP (expected OTP_VERSION), SMOKE_APPS (applications that must load; default: the quick variant's).
set -eu
PATH=/usr/lib/erlang/bin:$PATH; export PATH
apps=${SMOKE_APPS:-kernel stdlib compiler sasl crypto asn1 public_key ssl inets xmerl parsetools tools runtime_tools syntax_tools mnesia eunit os_mon}
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
HOME=$d; export HOME
cat >"$d/smoke.erl" <<'ERL'
-module(smoke).
-export([main/1]).

main([Want | Apps]) ->
    try run(Want, [list_to_atom(A) || A <- Apps]), halt(0)
    catch C:R:S -> io:format("FAILED ~p:~p~n~p~n", [C, R, S]), halt(1)
    end.

run(Want, Apps) ->
    Rel = filename:join([code:root_dir(), "releases", erlang:system_info(otp_release), "OTP_VERSION"]),
    {ok, B} = file:read_file(Rel),
    Vsn = string:trim(binary_to_list(B)),
    true = Want =:= "" orelse Want =:= Vsn,
    io:format("otp ~s erts ~s ~s~n", [Vsn, erlang:system_info(version), erlang:system_info(emu_flavor)]),
    jit = erlang:system_info(emu_flavor),
    lists:foreach(fun(A) ->
        case application:load(A) of ok -> ok; {error, {already_loaded, A}} -> ok end,
        {ok, V} = application:get_key(A, vsn),
        {ok, Ms} = application:get_key(A, modules),
        %% every module the .app file names is there and loads in this emulator
        [case code:ensure_loaded(M) of
             {module, M} -> ok;
             {error, on_load_failure} when A =:= wx; A =:= megaco -> ok
         end || M <- Ms, not lists:member(M, [user_default])],
        io:format(" ~s ~s (~w modules)~n", [A, V, length(Ms)])
    end, Apps),
    %% the documentation (-doc) that the shell's h/1 shows
    {ok, {docs_v1, _, erlang, _, _, _, _}} = code:get_doc(lists),
    %% crypto: known answer, and bytes that differ
    <<16#ba7816bf:32, _:28/binary>> = crypto:hash(sha256, <<"abc">>),
    X = crypto:strong_rand_bytes(32), Y = crypto:strong_rand_bytes(32),
    32 = byte_size(X), true = X =/= Y,
    io:format(" openssl ~s~n", [element(3, hd(crypto:info_lib()))]),
    {ok, _} = application:ensure_all_started(ssl),
    tls(['tlsv1.3']), tls(['tlsv1.2']),
    mnesia(lists:member(mnesia, Apps)),
    ok.

tls(Vs) ->
    Opts = fun(Host) -> #{root => [{key, {namedCurve, secp256r1}}, {digest, sha256}], intermediates => [],
        peer => [{key, {namedCurve, secp256r1}}, {digest, sha256}, {extensions, [{'Extension', {2,5,29,17}, false, [{dNSName, Host}]}]}]} end,
    #{server_config := S, client_config := C} =
        public_key:pkix_test_data(#{server_chain => Opts("localhost"), client_chain => Opts("client")}),
    {ok, L} = ssl:listen(0, [{versions, Vs}, {reuseaddr, true}, {ip, {127,0,0,1}}, {active, false}, binary | S]),
    {ok, {_, Port}} = ssl:sockname(L),
    Me = self(),
    spawn_link(fun() ->
        {ok, T} = ssl:transport_accept(L, 20000),
        {ok, K} = ssl:handshake(T, 20000),
        {ok, D} = ssl:recv(K, 4, 20000),
        ok = ssl:send(K, [D, D]), Me ! done, receive stop -> ok end end),
    {ok, K} = ssl:connect({127,0,0,1}, Port, [{versions, Vs}, {verify, verify_peer}, {active, false}, binary,
        {server_name_indication, "localhost"} | C], 20000),
    ok = ssl:send(K, <<"ping">>),
    {ok, <<"pingping">>} = ssl:recv(K, 8, 20000),
    receive done -> ok after 20000 -> exit(no_server) end,
    {ok, [{protocol, P}, {selected_cipher_suite, _}]} = ssl:connection_information(K, [protocol, selected_cipher_suite]),
    [P] = Vs,
    io:format(" handshake ~s~n", [P]).

mnesia(false) -> ok;
mnesia(true) ->
    ok = mnesia:create_schema([node()]), ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(t, [{disc_copies, [node()]}]),
    {atomic, ok} = mnesia:transaction(fun() -> mnesia:write({t, a, 1}) end),
    {atomic, [{t, a, 1}]} = mnesia:transaction(fun() -> mnesia:read(t, a) end),
    stopped = mnesia:stop(), io:format(" mnesia~n").
ERL
cd "$d"
erlc smoke.erl
erl -noinput -mnesia dir "\"$d/mn\"" -eval "smoke:main([\"${SMOKE_OTP:-}\" | string:lexemes(\"$apps\", \" \")])" </dev/null
# escript, and distribution through epmd
printf '#!/usr/bin/env escript\nmain([A]) -> io:format("escript ~s~n", [A]).\n' >"$d/e"; chmod 755 "$d/e"
test "$(escript "$d/e" ok)" = 'escript ok'
echo 'otp-smoke: ok'
