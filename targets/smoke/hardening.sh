#!/bin/sh
# What is linked in a tree was hardened: hardening.sh DIR. Needs readelf of any architecture.
# Position independent, RELRO with immediate binding, no executable stack; the emulator also has
# stack protection and fortified calls.
set -eu
bad=0 seen=0
fault() { echo "FAILED $1: $2"; bad=1; }

list=$(mktemp)
find "$1" -type f -exec sh -c '
	for file; do head -c 4 "$file" | LC_ALL=C grep -q "^.ELF" && printf "%s\n" "$file"; done; :
' sh {} + | LC_ALL=C sort >"$list"
while IFS= read -r file; do
	name=${file#"$1"}
	type=$(LC_ALL=C readelf -hW "$file" | sed -n 's/^ *Type: *\([A-Z]*\).*/\1/p')
	case $type in
	DYN) ;;
	EXEC) fault "$name" "not position independent" ;;
	*) continue ;; # an object that is linked by others
	esac
	seen=$((seen + 1))
	segments=$(LC_ALL=C readelf -lW "$file")
	dynamic=$(LC_ALL=C readelf -dW "$file")
	case $segments in *GNU_RELRO*) ;; *) fault "$name" "no RELRO" ;; esac
	if echo "$segments" | grep GNU_STACK | grep -q 'RWE'; then fault "$name" "executable stack"; fi
	case $name in
	*/odbcserver) ;; # its makefile takes no linker flags from outside
	*) case $dynamic in *BIND_NOW* | *NOW*) ;; *) fault "$name" "no immediate binding" ;; esac ;;
	esac
	case $name in
	*/beam.smp)
		symbols=$(LC_ALL=C readelf --dyn-syms -W "$file")
		case $symbols in *__stack_chk_fail*) ;; *) fault "$name" "no stack protection" ;; esac
		case $symbols in *_chk@* | *_chk\ *) ;; *) fault "$name" "no fortified calls" ;; esac
		;;
	esac
done <"$list"
test "$seen" -gt 0 || fault "$1" "nothing was linked"
test "$bad" = 0 && echo "hardening: $seen files ok"
