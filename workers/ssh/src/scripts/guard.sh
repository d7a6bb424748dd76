# exec with guards and environment. $1 mark, $2 creates, $3 unless, $4 command, then NAME=value ...
m=$1 c=$2 u=$3 x=$4; shift 4
for e do export "$e"; done
if [ -n "$c" ] && [ -e "$c" ]; then echo "$m creates" >&2; exit 0; fi
if [ -n "$u" ] && /bin/sh -c "$u" </dev/null >/dev/null 2>&1; then echo "$m unless" >&2; exit 0; fi
exec /bin/sh -c "$x"
