#!/usr/bin/env bash
# Checks the sources: format, layers and, with LINT_TIDY=1, clang-tidy on what changed.
#
#   BUILD      folder of a configured build, default build
#   LINT_TIDY  1: clang-tidy on the .cc files that differ from LINT_BASE (default HEAD)
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
failed=0

# Newer versions lay out some lines differently, so only version 14 judges.
format=
for candidate in clang-format-14 clang-format; do
  if command -v "$candidate" >/dev/null && "$candidate" --version | grep -q 'version 14\.'; then
    format=$candidate
    break
  fi
done
# New files count too, before they are added; deleted ones do not.
mapfile -t sources < <(git ls-files -co --exclude-standard -- '*.h' '*.cc' '*.cu' |
                       while read -r path; do [[ ! -e $path ]] || echo "$path"; done)
if [[ ${#sources[@]} -eq 0 ]]; then
  echo "lint: found no sources; run it in a git checkout" >&2
  exit 1
fi
if [[ -z $format ]]; then
  echo "lint: no clang-format 14 here: the format is not checked"
elif "$format" --dry-run -Werror "${sources[@]}"; then
  echo "lint: ${#sources[@]} files keep the format"
else
  echo "lint: run: $format -i FILE" >&2
  failed=1
fi

cmake --build "$build" --target layering_test >/dev/null
if "$build/tests/layering_test" --gtest_brief=1; then
  echo "lint: the layers are kept"
else
  failed=1
fi

if [[ ${LINT_TIDY:-0} == 1 ]]; then
  tidy=$(command -v clang-tidy-14 || command -v clang-tidy) || {
    echo "lint: clang-tidy is not installed" >&2
    exit 2
  }
  mapfile -t changed < <({ git diff --name-only --diff-filter=d "${LINT_BASE:-HEAD}" -- '*.cc'
                           git ls-files -o --exclude-standard -- '*.cc'; } | sort -u)
  checked=()
  for path in "${changed[@]}"; do
    if grep -q "/$path\"" "$build/compile_commands.json"; then
      checked+=("$path")
    else
      echo "lint: $path is not in $build: not tidied"
    fi
  done
  if [[ ${#checked[@]} -eq 0 ]]; then
    echo "lint: no changed .cc file to tidy"
  elif "$tidy" -p "$build" --quiet --warnings-as-errors='*' "${checked[@]}" \
      2> >(grep -v ' warnings generated\.$' >&2); then
    echo "lint: ${#checked[@]} files are tidy"
  else
    failed=1
  fi
fi
exit "$failed"
