# Prints sections, each begun by a line "@@name". Whatever is missing leaves its section empty.
# Cheap parts first: a hung file system must not cost the rest.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
echo @@begin
echo @@uname; uname -srm 2>/dev/null
echo @@hostname; cat /proc/sys/kernel/hostname 2>/dev/null || uname -n
echo @@boot_id; cat /proc/sys/kernel/random/boot_id 2>/dev/null
echo @@uptime; cat /proc/uptime 2>/dev/null
echo @@loadavg; cat /proc/loadavg 2>/dev/null || uptime 2>/dev/null
echo @@cpus; getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null
echo @@meminfo; head -n 30 /proc/meminfo 2>/dev/null
echo @@os; cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null
echo @@dmi; cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name 2>/dev/null
echo @@addresses; ip -o addr show scope global 2>/dev/null || hostname -I 2>/dev/null
T=; command -v timeout >/dev/null 2>&1 && T="timeout 5"
echo @@gpu
command -v nvidia-smi >/dev/null 2>&1 && $T nvidia-smi --query-gpu=index,name,utilization.gpu,memory.used,temperature.gpu,power.draw --format=csv,noheader,nounits 2>/dev/null
echo @@df; $T df -P -k -l 2>/dev/null || $T df -P -k 2>/dev/null
echo @@end
exit 0
