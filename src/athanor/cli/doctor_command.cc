// athanor doctor
#include <ATen/Context.h>
#include <torch/version.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "athanor/base/parallel.h"
#include "athanor/cli/blas.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/kernels/simd_level.h"
#include "athanor/ops/device.h"
#include "athanor/ops/self_test.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

bool IsSlowBlas(const std::string& library) {
  // The reference implementation of Netlib lies in a folder named after it.
  return library.find("/blas/") != std::string::npos;
}

// Where `program` is, in PATH or one of `more` folders; empty when it is in none.
std::string FindProgram(const std::string& program, const std::vector<fs::path>& more = {}) {
  std::vector<fs::path> folders;
  const char* path = std::getenv("PATH");
  std::istringstream parts(path == nullptr ? "" : path);
  for (std::string part; std::getline(parts, part, ':');) folders.emplace_back(part);
  folders.insert(folders.end(), more.begin(), more.end());
  for (const fs::path& folder : folders) {
    const fs::path file = folder / program;
    std::error_code error;
    if (fs::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0) {
      return file.string();
    }
  }
  return {};
}

std::string FoundOr(const std::string& found, const std::string& otherwise) {
  return found.empty() ? otherwise : found;
}

std::string MegaBytes(uint64_t bytes) { return StrCat(bytes >> 20, " MiB"); }

void PrintMachine() {
  const std::string blas = BlasLibrary();
  const auto pages = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
#ifdef ATHANOR_HAS_CUDA
  const std::string gpu = at::hasCUDA() ? StrCat(at::getNumGPUs(), " NVIDIA GPUs")
                                        : "this build can use one, but found none";
#else
  const std::string gpu = "this build has no CUDA (ATHANOR_WITH_CUDA is off)";
#endif
  std::cout << "athanor    " << ATHANOR_VERSION << "\ncompiler   " << ATHANOR_COMPILER
            << "\nTorch      " << TORCH_VERSION << "\nBLAS       " << blas
            << (IsSlowBlas(blas)        ? "  <- the slow reference: install libopenblas0-pthread"
                : BlasKernels().empty() ? ""
                                        : StrCat("  (", BlasKernels(), ")"))
            << "\nthreads    " << NumThreads() << " of " << std::thread::hardware_concurrency()
            << "\nmemory     " << MegaBytes(pages * page_bytes) << "\nSIMD       "
            << SimdLevelName() << "\nGPU        " << gpu << "\ncolmap     "
            << FoundOr(FindProgram("colmap"), "not found (needed for photographs without poses)")
            << "\nnvcc       "
            << FoundOr(FindProgram("nvcc", {"/usr/local/cuda/bin"}),
                       "not found (needed to build for a GPU)")
            << "\n";
}

// Prints a line per kernel; returns how many fail.
int TestKernels(const c10::Device& device) {
  std::vector<std::vector<std::string>> rows = {{"kernel", "", "error", "allowed"}};
  int failed = 0;
  for (const KernelCheck& check : CheckKernels(device)) {
    failed += !check.passed();
    const auto number = [](double value) {
      char text[32];
      std::snprintf(text, sizeof text, "%.2g", value);
      return std::string(text);
    };
    rows.push_back({check.name, check.passed() ? "ok" : "FAILED", number(check.max_error),
                    number(check.tolerance)});
  }
  std::cout << "\nKernels on " << device.str() << " against their oracles:\n" << Table(rows);
  return failed;
}

}  // namespace

CommandAction SetUpDoctor(CLI::App& app) {
  auto device = std::make_shared<std::string>();
  app.add_option("--device", *device, "test this device only (default: all that there are)")
      ->type_name("TEXT");
  return [device] {
    std::vector<c10::Device> devices;
    if (!device->empty()) {
      devices.push_back(ParseDevice(*device));
    } else {
      devices.emplace_back(c10::kCPU);
#ifdef ATHANOR_HAS_CUDA
      for (int i = 0; at::hasCUDA() && i < static_cast<int>(at::getNumGPUs()); ++i) {
        devices.push_back(ParseDevice(StrCat("cuda:", i)));
      }
#endif
    }
    PrintMachine();
    int failed = 0;
    for (const c10::Device& each : devices) failed += TestKernels(each);
    std::cout.flush();
    ATHANOR_CHECK(failed == 0, failed, " kernels differ from their oracles: results on this ",
                  "machine cannot be trusted");
    return 0;
  };
}

}  // namespace athanor
