#!/usr/bin/env bash
# Copies the libraries that Athanor builds with, out of this system's packages, into one folder: for
# a host (of the same processor, with the same or a newer libc) that has only a compiler, CMake, CUDA
# and Torch.
#
#   scripts/bundle_headers.sh [FOLDER]    default build-bundle; replaced when it is there
#
# There, configure with the folder first in CMAKE_PREFIX_PATH, as the preset "gpu" does.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build-bundle}
packages=(libeigen3-dev libhwy-dev nlohmann-json3-dev libcli11-dev libtomlplusplus-dev libspdlog-dev
          libfmt-dev libnanoflann-dev libzstd-dev zlib1g-dev libjpeg62-turbo-dev libjpeg-turbo8-dev
          libpng-dev libutf8proc-dev libgtest-dev libgmock-dev googletest libbenchmark-dev)

scripts/setup.sh build
if [[ -e $out && ! -e $out/BUNDLE ]]; then
  echo "bundle: $out is there and is no bundle; name another folder" >&2
  exit 2
fi
rm -rf "$out"
mkdir -p "$out"
out=$(realpath "$out")

# Headers, libraries, and what CMake and pkg-config know of them; /usr/X becomes X.
for package in "${packages[@]}"; do
  # libjpeg's package has another name on Debian than on Ubuntu.
  files=$(dpkg-query -L "$package" 2>/dev/null) || continue
  dpkg-query -W -f='${Package} ${Version}\n' "$package" >>"$out/BUNDLE"
  while read -r file; do
    [[ -f $file && $file =~ ^/usr/(include|lib|share/[^/]*(cmake|pkgconfig|eigen3|nanoflann))/ ]] ||
      continue
    mkdir -p "$out/$(dirname "${file#/usr/}")"
    cp -P "$file" "$out/${file#/usr/}"
    # A shared library's links lead to files of another package.
    if [[ $file == *.so && -L $file ]]; then
      target=$(realpath "$file")
      folder=$out/$(dirname "${file#/usr/}")
      cp "$target" "$folder/"
      soname=$(objdump -p "$target" | awk '$1 == "SONAME" {print $2}')
      ln -sf "$(basename "$target")" "$folder/$(basename "$file")"
      [[ $soname == "$(basename "$target")" ]] || ln -sf "$(basename "$target")" "$folder/$soname"
    fi
  done <<<"$files"
done

find "$out" -name '*.pc' | while read -r file; do
  up=$(realpath --relative-to="$(dirname "$file")" "$out")
  sed -i "s|^prefix=.*|prefix=\${pcfiledir}/$up|" "$file"
done

echo "bundle: $(wc -l <"$out/BUNDLE") packages, $(du -sh "$out" | cut -f1) in $out"
