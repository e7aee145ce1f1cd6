#!/usr/bin/env bash
# Installs, with apt, the packages that are missing. Debian 12, Debian 13, Ubuntu 24.04.
#
#   scripts/setup.sh [GROUP]...    groups: build (the default), lint, fuzz
#
# Does nothing, and needs no rights, when all are there. Without root or apt it prints the line to
# run and exits 2. ONNX Runtime, where the system has no package of it, goes into
# ~/.cache/athanor/onnxruntime; ATHANOR_WITH_ONNX=OFF leaves it out.
set -euo pipefail

declare -A groups=(
  [build]="cmake ninja-build g++ make pkg-config ccache libtorch-dev libgloo-dev libopenblas-dev
           libopenblas0-pthread libeigen3-dev libhwy-dev nlohmann-json3-dev libcli11-dev
           libtomlplusplus-dev libspdlog-dev libfmt-dev libnanoflann-dev libzstd-dev zlib1g-dev
           liblz4-dev libflatbuffers-dev flatbuffers-compiler
           libjpeg-dev libpng-dev libsqlite3-dev libhnswlib-dev libgtest-dev libgmock-dev libbenchmark-dev
           libexpat1-dev libembree-dev libcurl4-openssl-dev libcpp-httplib-dev libutf8proc-dev sumo
           colmap wordnet-base nats-server libnats-dev"
  [lint]="clang-format-14"
  [fuzz]="clang libclang-rt-dev libomp-dev"
)
# What newer systems no longer carry, and what is lost without it.
declare -A optional=(
  [sumo]="street simulation has no traffic"
  [colmap]="photographs without poses cannot be imported"
  [wordnet-base]="queries know fewer words"
  [libonnxruntime-dev]="ONNX models of others cannot be run"
  [libgloo-dev]="a training runs in one process only"
  [nats-server]="queues over NATS are not tested"
  [libnats-dev]="work is shared by processes of one machine only"
  [clang-format-14]="sources are not checked for their format"
)

[[ $# -gt 0 ]] || set -- build
wanted=()
for group in "$@"; do
  if [[ -z ${groups[$group]:-} ]]; then
    echo "setup: unknown group '$group'; expected one of: ${!groups[*]}" >&2
    exit 2
  fi
  read -r -d '' -a packages <<<"${groups[$group]}" || true
  wanted+=("${packages[@]}")
done

release=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}" || true)
if [[ " $* " == *" build "* ]]; then
  if [[ $release != bookworm ]]; then
    wanted+=(libonnxruntime-dev)
  elif ! command -v npm >/dev/null; then
    wanted+=(npm)
  fi
fi

is_installed() {
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=()
for package in "${wanted[@]}"; do
  is_installed "$package" || missing+=("$package")
done

install_line() { echo "apt-get update && apt-get install -y --no-install-recommends $*"; }

install_missing() {
  local sudo=()
  if ! command -v apt-get >/dev/null; then
    echo "setup: no apt here; install what these Debian packages hold: ${missing[*]}" >&2
    exit 2
  fi
  if [[ $EUID -ne 0 ]]; then
    if command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
      sudo=(sudo)
    else
      echo "setup: packages are missing; as root run: $(install_line "${missing[@]}")" >&2
      exit 2
    fi
  fi
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
             -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  "${apt[@]}" update

  local package found=() unknown=()
  for package in "${missing[@]}"; do
    if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then
      found+=("$package")
    elif [[ -n ${optional[$package]:-} ]]; then
      echo "setup: this system has no package $package: ${optional[$package]}" >&2
    else
      unknown+=("$package")
    fi
  done
  if [[ ${#unknown[@]} -gt 0 ]]; then
    echo "setup: this system has no package ${unknown[*]}. Without libtorch-dev, unpack a libtorch" \
         "and build with cmake -DCMAKE_PREFIX_PATH=ITS_FOLDER, or leave the networks out with" \
         "-DATHANOR_WITH_TORCH=OFF" >&2
    exit 2
  fi
  [[ ${#found[@]} -gt 0 ]] || return 0
  echo "setup: installing ${found[*]}"
  "${apt[@]}" install -y --no-install-recommends "${found[@]}" >/dev/null
}

[[ ${#missing[@]} -eq 0 ]] || install_missing

# libtorch multiplies matrices with whatever libblas.so.3 points to; the reference BLAS is 50 times
# slower than OpenBLAS, which wins unless somebody chose otherwise by hand.
if command -v gcc >/dev/null; then
  triplet=$(gcc -print-multiarch)
  blas=$(readlink -f "/usr/lib/$triplet/libblas.so.3" || true)
  if [[ -n $blas && $blas != *openblas* ]]; then
    echo "setup: libtorch will be slow with $blas; as root run:" \
         "update-alternatives --auto libblas.so.3-$triplet" >&2
  fi
fi

# ONNX Runtime runs other people's networks. Debian 12 has no package of it: the headers come out of
# Debian 13's package, the library out of an npm package, whose later version serves the same
# interface.
onnx_folder=${ATHANOR_ONNXRUNTIME:-${XDG_CACHE_HOME:-$HOME/.cache}/athanor/onnxruntime}
onnx_npm_package=onnxruntime-node@1.30.0

# Through this system's own sources, under the next release's name.
fetch_onnx_headers() {
  local work=$1 file
  mkdir -p "$work"/{parts,lists/partial,cache/archives/partial}
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ ! -e $file ]] || sed -n 's/^\(deb .*\) bookworm /\1 trixie /p' "$file" >>"$work/parts/next.list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    if grep -qsE '^Suites:.* bookworm( |$)' "$file"; then
      sed 's/bookworm/trixie/g' "$file" >"$work/parts/$(basename "$file")"
    fi
  done
  local apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts"
             -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
             -o "APT::Sandbox::User=$(id -un)")
  "${apt[@]}" update &&
    (cd "$work" && "${apt[@]}" download libonnxruntime-dev && dpkg-deb -x libonnxruntime-dev_*.deb root)
}

# Whole or not at all: laid out aside, then renamed.
fetch_onnx() {
  local work=$1 arch
  case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 1 ;; esac
  fetch_onnx_headers "$work" >/dev/null &&
    (cd "$work" && npm pack --silent "$onnx_npm_package" >/dev/null &&
     tar -xzf onnxruntime-node-*.tgz --wildcards "package/bin/*/linux/$arch/libonnxruntime.so.1") &&
    mkdir -p "$work/new/lib" "$(dirname "$onnx_folder")" &&
    mv "$work"/package/bin/*/linux/"$arch"/libonnxruntime.so.1 "$work/new/lib/" &&
    mv "$work/root/usr/include/onnxruntime" "$work/new/include" &&
    rm -rf "$onnx_folder" && mv "$work/new" "$onnx_folder"
}

if [[ " $* " == *" build "* && $release == bookworm && ! -e $onnx_folder/lib/libonnxruntime.so.1 ]]; then
  echo "setup: fetching ONNX Runtime into $onnx_folder"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  fetch_onnx "$work" ||
    echo "setup: no ONNX Runtime (needs npm): ${optional[libonnxruntime-dev]}" >&2
fi
