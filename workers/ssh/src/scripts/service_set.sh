# $1 unit, $2 started|stopped|"", $3 enabled|disabled|"". Prints "@@before" and "@@after" with systemd's own words.
LC_ALL=C; export LC_ALL
command -v systemctl >/dev/null 2>&1 || { echo "@@refused the host has no systemctl"; exit 3; }
show() { systemctl show -p LoadState -p ActiveState -p SubState -p UnitFileState -p Result -- "$1"; }
echo @@before
b=$(show "$1") || { echo "$b"; exit 4; }
echo "$b"
case $b in *LoadState=not-found*) echo "@@refused no unit named $1"; exit 3;; esac
case $b in *LoadState=masked*) [ "$2$3" = stopped ] || { echo "@@refused unit $1 is masked"; exit 3; };; esac
case $3 in
enabled) case $b in *UnitFileState=enabled|*UnitFileState=enabled[!-]*) ;; *) systemctl -q --no-ask-password enable -- "$1" || exit 4;; esac;;
disabled) case $b in *UnitFileState=enabled*) systemctl -q --no-ask-password disable -- "$1" || exit 4;; esac;;
esac
case $2 in
started) case $b in *ActiveState=active*) ;; *) systemctl -q --no-ask-password start -- "$1" || r=$?;; esac;;
stopped) case $b in *ActiveState=inactive*|*ActiveState=failed*) ;; *) systemctl -q --no-ask-password stop -- "$1" || r=$?;; esac;;
esac
echo @@after
show "$1"
exit ${r:-0}
