#include "athanor/cli/blas.h"

#include <dlfcn.h>

#include <filesystem>

namespace athanor {

std::string BlasLibrary() {
  void* function = ::dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info = {};
  if (function == nullptr || ::dladdr(function, &info) == 0 || info.dli_fname == nullptr) {
    return "inside Torch";
  }
  std::error_code error;
  const auto real = std::filesystem::canonical(info.dli_fname, error);
  return error ? std::string(info.dli_fname) : real.string();
}

std::string BlasKernels() {
  using Getter = const char* (*)();
  void* getter = ::dlsym(RTLD_DEFAULT, "openblas_get_corename");
  return getter == nullptr ? "" : reinterpret_cast<Getter>(getter)();
}

std::string BetterBlasKernels() {
#ifdef __x86_64__
  if (BlasKernels() == "Prescott") {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return "SkylakeX";
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
  }
#endif
  return "";
}

void SetBlasThreads(int threads) {
  using Setter = void (*)(int);
  if (void* setter = ::dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<Setter>(setter)(threads);
  }
}

}  // namespace athanor
