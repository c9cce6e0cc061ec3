#!/usr/bin/env bash
# Builds the benchmark guest with the host's gcc alone: a 32-bit program for Linux and a multiboot
# image, neither with a C library. They go to guests/bench/; initrd-bench.cpio.gz is made from them if
# busybox is there (tools/guests busybox).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
dest=${1:-$repo/guests}
cc=${CC:-gcc}

command -v "$cc" >/dev/null || { echo "build.sh: there is no C compiler named $cc" >&2; exit 1; }
mkdir -p "$dest/bench"
dest=$(cd "$dest" && pwd)

flags=(-m32 -march=i686 -O2 -std=gnu11 -ffreestanding -nostdlib -static -no-pie -fno-pic
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fcf-protection=none
    -fno-tree-vectorize -mno-sse -mfpmath=387 -fno-strict-aliasing -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi
    -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,norelro -s)
kernels=("$here"/integer.c "$here"/memory.c "$here"/float.c)

cd "$here"
"$cc" "${flags[@]}" -o "$dest/bench/suite" "${kernels[@]}" "$here/linux.c"
"$cc" "${flags[@]}" -T "$here/bare.ld" -o "$dest/bench/kernels.elf" "${kernels[@]}" "$here/bare.c"

if [[ -f $dest/busybox ]]; then
    "$repo/tools/guests" --dest "$dest" initrd-bench
fi
