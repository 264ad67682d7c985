# Sourced by tests that run an installed erl. Where QEMU emulates the processor the JIT has to map its code once: QEMU (before
# 8.1) does not see what is written through another mapping, and hangs (erl(1), +JMsingle, since OTP 26). QEMU of that age
# shows the host's own /proc/cpuinfo.
if test "$(uname -m)" = aarch64 && grep -q '^vendor_id' /proc/cpuinfo &&
	erl +JMsingle true -noshell -s erlang halt >/dev/null 2>&1; then
	export ERL_AFLAGS='+JMsingle true'
fi
