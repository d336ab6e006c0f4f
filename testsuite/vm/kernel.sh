#!/usr/bin/env bash
# Prepares the kernel that the tests here boot: DIR/vmlinuz, its modules, and DIR/modules, which lists them in the
# order of loading. Debian's kernel has the GPIO character device but not its simulator, gpio-sim and irq_sim: these
# two are built out of tree from the source package of exactly that kernel. Nothing is installed and no root is
# needed: packages are downloaded (224 MB), unpacked in DIR and deleted again; half a minute in all.
#
#   testsuite/vm/kernel.sh bin/vm
#
# Exit status 3, with the reason: this machine cannot do it (not Debian on amd64, no compiler, an archive without all
# of it).
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)

# What a disk with ext4 needs, then the GPIO simulator.
modules=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
  crc16 mbcache crc32c_generic jbd2 ext4 configfs irq_sim gpio-sim)

cannot() { echo "testsuite/vm/kernel.sh: $1" >&2; exit 3; }
for tool in apt-get dpkg-deb gcc make xz; do
  command -v $tool >/dev/null || cannot "$tool is missing: the kernel is Debian's, and built with its tools"
done
[ "$(dpkg --print-architecture)" = amd64 ] || cannot "this machine is $(dpkg --print-architecture), the kernel amd64"

# depends gives the newest package that another stands for.
depends() { apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \(linux-[a-z]*-[0-9].*\)/\1/p' | head -1; }
image=$(depends linux-image-amd64)
source=$(depends linux-source)
[ -n "$image" ] && [ -n "$source" ] ||
  cannot "apt knows no linux-image-amd64 and linux-source: run apt-get update first, on Debian"
release=${image#linux-image-}
series=${source#linux-source-}
headers=linux-headers-$release
common=linux-headers-${release%-amd64}-common
version=$(apt-cache show --no-all-versions "$image" | sed -n 's/^Version: //p')

if [ "$(cat "$dir/version" 2>/dev/null)" = "$image $version" ]; then
  exit 0
fi
work=$(mktemp -d "$dir/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
# The modules must be of the kernel's own version: irq_sim uses what is no stable interface. Only the build tools may
# be newer, as the headers' own dependency says: they stand in the archive in their newest version alone, and a signed
# kernel follows days after it.
apt-get download -qq "$image=$version" "$headers=$version" "$common=$version" "linux-kbuild-$series" \
  "$source=$version" 2>&1 | { grep -v unsandboxed || true; } >&2 ||
  cannot "apt cannot get $image $version with its headers and its source, for the reason above"
for deb in linux-headers-*.deb linux-kbuild-*.deb linux-source-*.deb; do
  dpkg-deb -x "$deb" root
done
dpkg-deb --fsys-tarfile linux-image-*.deb | tar -x -C root --wildcards "./boot/vmlinuz-$release" '*.ko*'
mkdir modules
tar -xJf "root/usr/src/linux-source-$series.tar.xz" -C modules --strip-components=3 --wildcards \
  '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib.h' '*/kernel/irq/irq_sim.c'

# irq_sim is made to be built in: as a module it needs a licence, and irq_to_desc is not exported to modules.
sed -i -e '0,/#include/s//#include <linux\/module.h>\n#include/' \
  -e 's/irq_to_desc(irqnum)/irq_data_to_desc(irq_get_irq_data(irqnum))/' modules/irq_sim.c
echo 'MODULE_LICENSE("GPL");' >>modules/irq_sim.c
echo 'obj-m := irq_sim.o gpio-sim.o' >modules/Makefile
sed -i "s|/usr/src|$work/root/usr/src|" "root/usr/src/$headers/Makefile"
make -s -C "root/usr/src/$headers" M="$work/modules" modules >make.log 2>&1 || { cat make.log >&2; exit 1; }

cp "root/boot/vmlinuz-$release" "$dir/vmlinuz"
: >"$dir/modules"
for module in "${modules[@]}"; do
  found=$(find root modules -name "$module.ko*" | head -1) # one that this kernel has built in is not needed
  case $found in
  *.ko) cp "$found" "$dir/$module.ko" ;;
  *.xz) xz -dc "$found" >"$dir/$module.ko" ;;
  *) continue ;;
  esac
  echo "$module.ko" >>"$dir/modules"
done
echo "$image $version" >"$dir/version"
