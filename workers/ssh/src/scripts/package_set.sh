# $1 package, $2 present|absent, $3 version or "", $4 refresh|"". Prints "@@before v", "@@after v" ("-" = absent), "@@changed".
# The tool writes to a file, so that it is not ended by a closed pipe half-way through.
LC_ALL=C DEBIAN_FRONTEND=noninteractive; export LC_ALL DEBIAN_FRONTEND
n=$1 w=$2 v=$3
if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
k=apt
have() { dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$n" 2>/dev/null | { x=-; while read -r s y; do [ "$s" = installed ] && x=$y; done; echo "$x"; }; }
elif command -v rpm >/dev/null 2>&1; then
k=dnf; command -v dnf >/dev/null 2>&1 || k=yum
command -v $k >/dev/null 2>&1 || { echo "@@refused the host has rpm but neither dnf nor yum"; exit 3; }
have() { x=$(rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$n" 2>/dev/null) && echo "$x" | tail -n 1 || echo -; }
else echo "@@refused the host has neither apt nor rpm"; exit 3; fi
b=$(have)
echo "@@before $b"
if [ "$w" = absent ]; then [ "$b" = - ] && y=1; else [ "$b" != - ] && { [ -z "$v" ] || [ "$b" = "$v" ]; } && y=1; fi
if [ -n "$y" ]; then echo "@@after $b"; echo "@@changed no"; exit 0; fi
l=$(mktemp) || { echo "@@refused mktemp"; exit 3; }
trap 'rm -f "$l"' 0
trap '' 1 13 15
if [ $k = apt ]; then
a="apt-get -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
[ "$4$w" = refreshpresent ] && $a update >"$l" 2>&1 </dev/null
if [ "$w" = present ]; then $a --allow-downgrades install "$n${v:+=$v}" >>"$l" 2>&1 </dev/null; r=$?; else $a remove "$n" >>"$l" 2>&1 </dev/null; r=$?; fi
else
[ "$4$w" = refreshpresent ] && $k -y -q makecache >"$l" 2>&1 </dev/null
if [ "$w" = present ]; then $k -y -q install "$n${v:+-$v}" >>"$l" 2>&1 </dev/null; r=$?; else $k -y -q remove "$n" >>"$l" 2>&1 </dev/null; r=$?; fi
fi
tail -c 8000 "$l" >&2
if [ $r != 0 ] && grep -q -i -e "could not get lock" -e "unable to lock" -e "waiting for process" -e "is locked by another" "$l" && ! grep -q -i "permission denied" "$l"; then echo "@@busy"; fi
echo "@@after $(have)"
echo "@@changed yes"
exit $r
