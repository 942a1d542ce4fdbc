# Enter the arm64 userland in namespaces of one's own and run a command line there:
#   sh SCRIPT ROOT HOME QEMU LOCK MODE COMMAND    MODE is ro, or rw while the userland is being made
# Nothing of it reaches the machine: the mounts and the table of binary formats are those of the
# namespace, and end with it.
set -e
root=$1 home=$2 qemu=$3 lock=$4 mode=$5 command=$6
formats=/proc/sys/fs/binfmt_misc
# Linux 6.7 and later give each user namespace a table of its own. Before that the machine's own
# one must have an entry for arm64, and has it where binfmt-support or the like is installed.
if mount -t binfmt_misc binfmt_misc "$formats" 2>/dev/null; then
  printf '%s' ":edgeops-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:$qemu:FPC" >"$formats/register"
fi
mount --bind "$root" "$root"
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
mount --bind "$root/etc/edgeops-cpuinfo" "$root/proc/cpuinfo"
for each in null zero full random urandom; do
  mount --bind "/dev/$each" "$root/dev/$each"
done
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/tmp"
# What is measured here would disturb what is measured on this machine, and has its lock.
[ -e "$lock" ] || : >"$lock"
: >"$root/tmp/${lock##*/}"
mount --bind "$lock" "$root/tmp/${lock##*/}"
mount --bind "$home" "$root/home/edgeops"
[ "$mode" = rw ] || mount -o remount,bind,ro "$root"
exec chroot "$root" /usr/bin/env -i $EDGEOPS_VARIABLES sh -c "cd && $command"
