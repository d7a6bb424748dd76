# $1 path, $2 most bytes. Prints "@@file bytes mode owner group" and then the bytes themselves.
LC_ALL=C; export LC_ALL
[ -e "$1" ] || { echo "@@refused no such file: $1"; exit 3; }
[ -f "$1" ] || { echo "@@refused $1 is no regular file"; exit 3; }
[ -r "$1" ] || { echo "@@refused $1 may not be read by this user"; exit 3; }
s=$(stat -L -c "%s %a %U %G" "$1") || { echo "@@refused stat $1"; exit 3; }
[ "${s%% *}" -le "$2" ] || { echo "@@refused $1 has ${s%% *} bytes, over maxBytes $2"; exit 3; }
echo "@@file $s"
exec head -c "$2" "$1"
