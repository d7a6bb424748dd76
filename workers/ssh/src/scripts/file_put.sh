# $1 path, $2 sha256 wanted, $3 mode or "", $4 owner or "", $5 group or ""; content on stdin.
# Prints "@@before sha256 mode owner group" (or "@@before -"), "@@after ..." and "@@changed yes|no".
# A content cut short on the way never gets its name: the digest is checked before the rename.
LC_ALL=C; export LC_ALL
p=$1 h=$2 m=$3 o=$4 g=$5
no() { echo "@@refused $*"; cat >/dev/null; exit 3; }
if command -v sha256sum >/dev/null 2>&1; then sum() { sha256sum <"$1" | cut -c1-64; }
elif command -v shasum >/dev/null 2>&1; then sum() { shasum -a 256 <"$1" | cut -c1-64; }
elif command -v openssl >/dev/null 2>&1; then sum() { openssl dgst -sha256 -r <"$1" | cut -c1-64; }
else no "the host has none of sha256sum, shasum, openssl"; fi
meta() { stat -c "%a %U %G" "$1"; }
d=${p%/*}; b=${p##*/}; [ -n "$d" ] || d=/
[ -n "$b" ] || no "$p ends with a slash"
[ -d "$d" ] || no "no such directory: $d"
[ -L "$p" ] && no "$p is a symbolic link; name the file it points to"
[ -e "$p" ] && [ ! -f "$p" ] && no "$p is no regular file"
s=- a=
if [ -f "$p" ]; then
a=$(meta "$p") || no "stat $p"
s=$(sum "$p") && [ -n "$s" ] || no "$p cannot be read"
echo "@@before $s $a"
[ -n "$m" ] || m=${a%% *}
r=${a#* }
[ -n "$o" ] || o=${r%% *}
[ -n "$g" ] || g=${r##* }
else
echo "@@before -"
[ -n "$m" ] || m=644
fi
m=${m#0}
if [ "$s" = "$h" ] && [ "$a" = "$m $o $g" ]; then cat >/dev/null; echo "@@after $s $a"; echo "@@changed no"; exit 0; fi
umask 077
t=$d/.$b.sengu.$$
trap 'rm -f "$t"' 0
trap 'exit 4' 1 2 13 15
cat >"$t" || no "cannot write in $d"
n=$(sum "$t")
[ "$n" = "$h" ] || { echo "@@short $n"; exit 4; }
if [ -n "$o$g" ] && [ "$(stat -c "%U:%G" "$t")" != "$o:$g" ]; then chown "${o}${g:+:$g}" "$t" || no "chown $o:$g"; fi
chmod "$m" "$t" || no "chmod $m"
sync "$t" 2>/dev/null || sync
mv -f "$t" "$p" || no "rename to $p"
sync "$d" 2>/dev/null || sync
echo "@@after $(sum "$p") $(meta "$p")"
echo "@@changed yes"
