# Shortcuts for the common jobs; `make help` lists them. CMake does the building.
#
#   BUILD        folder of the build                      build
#   BUILD_TYPE   Release, Debug, RelWithDebInfo           Release
#   CMAKE_FLAGS  more for cmake: -DATHANOR_WITH_TORCH=OFF
#   JOBS         compilers at a time                      as cores and memory allow
#   SETUP        what installs packages; SETUP=: skips    scripts/setup.sh
BUILD ?= build
BUILD_TYPE ?= Release
CMAKE_FLAGS ?=
JOBS ?= $(shell scripts/jobs.sh)
SETUP ?= scripts/setup.sh
FUZZ_BUILD ?= build-fuzz

NINJA = ninja -j $(JOBS)

.PHONY: help demo test build bench lint fuzz clean configure

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: configure  ## from nothing to a scene to look at and a loop that finds dogs, in runs/demo
	@$(NINJA) -C $(BUILD) athanor
	$(BUILD)/athanor demo -o runs/demo
	$(BUILD)/athanor loop run configs/loop/demo.toml -o runs/demo/loop --rounds 1

test: configure  ## build everything and run the fast tests
	@$(NINJA) -C $(BUILD)
	@ctest --test-dir $(BUILD) --output-on-failure -LE slow -j2 --timeout 600

build: configure  ## build everything
	@$(NINJA) -C $(BUILD)
	@echo "Built in $(BUILD):"; cd $(BUILD) && find . -type f -perm -u+x \
	  \( -name athanor -o -name '*_test' -o -name '*_benchmark' \) | sed 's|^\./|  |' | sort

bench: configure  ## build and run the benchmarks
	@$(NINJA) -C $(BUILD)
	benchmarks/run.sh

lint: configure  ## check format and layers; LINT_TIDY=1: also clang-tidy on changed files
	@$(SETUP) lint
	@BUILD=$(BUILD) scripts/lint.sh

fuzz:  ## feed damaged files to every reader; FUZZ_RUNS cases each (default 200000)
	@$(SETUP) build fuzz
	@cmake -G Ninja -S . -B $(FUZZ_BUILD) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_CXX_COMPILER=clang++ \
	  -DCMAKE_CXX_FLAGS="-fsanitize=fuzzer-no-link -fno-sanitize-recover=all" \
	  -DATHANOR_SANITIZE=address,undefined -DATHANOR_BUILD_FUZZERS=ON -DATHANOR_WITH_TORCH=OFF \
	  -DATHANOR_BUILD_TESTS=OFF -DATHANOR_BUILD_BENCHMARKS=OFF $(CMAKE_FLAGS) >/dev/null
	@$(NINJA) -C $(FUZZ_BUILD)
	@BUILD=$(FUZZ_BUILD) scripts/fuzz.sh

clean:  ## remove what the targets above built; runs/ stays
	rm -rf $(BUILD) $(FUZZ_BUILD)

configure:
	@$(SETUP) build
	@mkdir -p $(BUILD)
	@cmake -G Ninja -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) $(CMAKE_FLAGS) \
	  >$(BUILD)/configure.log || { cat $(BUILD)/configure.log; exit 1; }
