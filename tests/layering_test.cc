// Reads every source of the tree and checks that its #include lines keep the layers apart: which
// module may use which, where Torch and CUDA may appear, and how a header begins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The modules, each with those right below it; it may also use all that these may use.
const std::map<std::string, std::vector<std::string>>& Modules() {
  static const std::map<std::string, std::vector<std::string>> modules = {
      {"base", {}},
      {"geometry", {"base"}},
      {"media", {"geometry"}},
      {"datasets", {"media"}},
      {"lake", {"datasets"}},
      {"kernels", {"base"}},
      {"ops", {"kernels"}},
      {"nn", {"ops"}},
      {"scenes", {"nn", "datasets"}},
      {"detection", {"nn", "datasets"}},
      {"forecasting", {"nn", "datasets"}},
      {"simulation", {"datasets"}},
      {"loop", {"scenes", "detection", "forecasting", "simulation", "lake"}},
      {"server", {"loop"}},
      {"cli", {"server"}},
      // Outside src/athanor: they may use every library, but not the program's own files.
      {"benchmarks", {"server"}},
      {"tests", {"server"}},
  };
  return modules;
}

// `module` itself and all that it may include.
std::set<std::string> Reachable(const std::string& module) {
  std::set<std::string> reached = {module};
  std::vector<std::string> open = {module};
  while (!open.empty()) {
    const std::string next = open.back();
    open.pop_back();
    for (const std::string& below : Modules().at(next)) {
      if (reached.insert(below).second) open.push_back(below);
    }
  }
  return reached;
}

struct Include {
  int line;  // from 1
  std::string path;
  bool angled;
};

// The #include lines outside comments. (None of our sources hides one in a string.)
std::vector<Include> FindIncludes(std::string_view text) {
  std::vector<Include> includes;
  std::istringstream lines{std::string(text)};
  std::string line;
  bool in_comment = false;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::string code;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string_view rest = std::string_view(line).substr(i);
      if (in_comment) {
        if (rest.starts_with("*/")) in_comment = false, ++i;
      } else if (rest.starts_with("//")) {
        break;
      } else if (rest.starts_with("/*")) {
        in_comment = true, ++i;
      } else {
        code += line[i];
      }
    }
    std::istringstream words(code);
    char hash = 0, open = 0;
    std::string directive, path;
    words >> hash;
    while (words.peek() == ' ') words.get();
    while (std::isalpha(words.peek())) directive += static_cast<char>(words.get());
    words >> open;
    if (hash != '#' || directive != "include" || (open != '"' && open != '<')) continue;
    std::getline(words, path, open == '<' ? '>' : '"');
    includes.push_back({number, path, open == '<'});
  }
  return includes;
}

std::string Join(const std::set<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  return joined;
}

bool IsTorch(std::string_view path) {
  return path.starts_with("torch/") || path.starts_with("ATen/") || path.starts_with("c10/") ||
         path.starts_with("caffe2/");
}

// The C++ standard library, by its naming: <vector>, <cstdint>, but not <png.h> or <fmt/core.h>.
bool IsStandard(const Include& include) {
  return include.angled && include.path.find_first_of("./") == std::string::npos;
}

// Why `module` may not include a header of `other`; empty when it may.
std::string LayerFault(const std::string& module, const std::string& other) {
  if (!Modules().contains(other)) return "there is no module " + other;
  const std::set<std::string> allowed = Reachable(module);
  if (allowed.contains(other)) return "";
  if (other == "cli") return "nothing outside cli/ uses the program's own files";
  const std::set<std::string> peers = {"scenes", "detection", "forecasting"};
  if (peers.contains(module) && peers.contains(other)) {
    return "scenes, detection and forecasting do not know one another: they meet in loop/";
  }
  if (Reachable(other).contains(module)) return other + " is built on top of " + module;
  return module + " uses only: " + Join(allowed);
}

// What is wrong with one file, one "path:line: reason" each. `path` is relative to the root.
std::vector<std::string> CheckFile(const std::string& path, std::string_view text) {
  std::vector<std::string> faults;
  const auto fault = [&](int line, const std::string& message) {
    faults.push_back(path + ":" + std::to_string(line) + ": " + message);
  };

  const std::string library_root = "src/athanor/";
  const bool in_library = path.starts_with(library_root);
  const std::string below = in_library ? path.substr(library_root.size()) : path;
  const std::string module = below.substr(0, below.find('/'));
  if (!Modules().contains(module) || module == below) {
    fault(1, "'" + module + "' is no module: add its folder to the table in layering_test.cc");
    return faults;
  }
  const std::string extension = fs::path(path).extension();

  if (extension == ".h") {
    if (!text.starts_with("//")) {
      fault(1, "a header begins with a comment that says what it is");
    }
    // Highway compiles x-inl.h once per instruction set: there its own guard takes the place.
    const char* guard = path.ends_with("-inl.h") ? "HWY_TARGET_TOGGLE" : "\n#pragma once\n";
    if (text.find(guard) == std::string_view::npos) {
      fault(1, std::string("a header has ") + (path.ends_with("-inl.h") ? guard : "#pragma once"));
    }
  }
  if (extension == ".cu" && in_library && module != "kernels") {
    fault(1, "CUDA files live in kernels/");
  }

  for (const Include& include : FindIncludes(text)) {
    const auto refuse = [&](const std::string& reason) {
      fault(include.line, module + " may not include " + include.path + ": " + reason);
    };
    const std::string project = "athanor/";
    if (include.path.starts_with(project)) {
      const std::string target = include.path.substr(project.size());
      const std::string reason = LayerFault(module, target.substr(0, target.find('/')));
      if (!reason.empty()) refuse(reason);
    } else if (IsTorch(include.path)) {
      if (extension == ".cu") {
        refuse("CUDA files compile without Torch");
      } else if (!Reachable(module).contains("ops")) {
        refuse("Torch appears from ops/ upward only");
      }
    } else if (!include.angled &&
               (include.path.find('/') == std::string::npos || include.path.starts_with("."))) {
      refuse("write it from src/, as \"athanor/...\"");
    } else if (module == "base" && extension == ".h" && !IsStandard(include)) {
      refuse("headers of base/ show standard types only");
    }
  }
  return faults;
}

// Paths of the C++ and CUDA sources under `root`, relative to it, sorted.
std::vector<std::string> ListSources(const fs::path& root) {
  const std::set<std::string> extensions = {".h", ".cc", ".cu"};
  std::vector<std::string> sources;
  for (const char* folder : {"src/athanor", "benchmarks", "tests"}) {
    if (!fs::is_directory(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.is_regular_file() && extensions.contains(entry.path().extension())) {
        sources.push_back(entry.path().lexically_relative(root).generic_string());
      }
    }
  }
  std::sort(sources.begin(), sources.end());
  return sources;
}

TEST(LayeringTest, EveryFileOfTheTreeKeepsItsLayer) {
  const fs::path root = ATHANOR_SOURCE_DIR;
  const std::vector<std::string> sources = ListSources(root);
  // Guards against a search that finds nothing any more.
  EXPECT_THAT(sources,
              ::testing::IsSupersetOf({"src/athanor/base/error.h", "src/athanor/base/files.cc",
                                       "tests/layering_test.cc"}));
  for (const std::string& path : sources) {
    std::ifstream file(root / path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    ASSERT_TRUE(file) << path << ": cannot be read";
    for (const std::string& fault : CheckFile(path, text.str())) ADD_FAILURE() << fault;
  }
}

TEST(LayeringTest, TheTableHasNoCycleAndNamesOnlyItsModules) {
  for (const auto& [module, below] : Modules()) {
    for (const std::string& name : below) {
      ASSERT_TRUE(Modules().contains(name)) << module << " stands on " << name;
      EXPECT_FALSE(Reachable(name).contains(module)) << module << " and " << name;
    }
  }
}

// Below: the checks themselves, on made-up files.

std::vector<std::string> CheckSource(const std::string& path, const std::string& include) {
  return CheckFile(path, "// A file.\n#include " + include + "\n");
}

TEST(LayeringCheckTest, AllowsWhatLiesBelow) {
  EXPECT_THAT(CheckSource("src/athanor/lake/a.cc", "\"athanor/base/error.h\""), IsEmpty());
  EXPECT_THAT(CheckSource("src/athanor/scenes/gaussians/a.cc", "\"athanor/scenes/b/c.h\""),
              IsEmpty());
  EXPECT_THAT(CheckSource("src/athanor/scenes/a.cc", "\"athanor/kernels/rasterize.h\""), IsEmpty());
  EXPECT_THAT(CheckSource("src/athanor/loop/a.cc", "\"athanor/detection/a.h\""), IsEmpty());
  EXPECT_THAT(CheckSource("src/athanor/cli/main.cc", "\"athanor/server/server.h\""), IsEmpty());
  EXPECT_THAT(CheckSource("src/athanor/kernels/a_cpu.cc", "\"hwy/foreach_target.h\""), IsEmpty());
  EXPECT_THAT(CheckSource("benchmarks/kernels/a.cc", "\"athanor/ops/a.h\""), IsEmpty());
}

TEST(LayeringCheckTest, RefusesWhatLiesAboveOrBeside) {
  EXPECT_THAT(CheckSource("src/athanor/base/files.cc", "\"athanor/geometry/rigid3.h\""),
              ElementsAre("src/athanor/base/files.cc:2: base may not include "
                          "athanor/geometry/rigid3.h: geometry is built on top of base"));
  EXPECT_THAT(CheckSource("src/athanor/kernels/a.h", "\"athanor/geometry/camera.h\""),
              ::testing::Contains(HasSubstr("kernels uses only: base, kernels")));
  EXPECT_THAT(CheckSource("src/athanor/scenes/a.cc", "\"athanor/detection/a.h\""),
              ElementsAre(HasSubstr("they meet in loop/")));
  EXPECT_THAT(CheckSource("src/athanor/simulation/a.cc", "\"athanor/ops/a.h\""),
              ElementsAre(HasSubstr("base, datasets, geometry, media, simulation")));
  EXPECT_THAT(CheckSource("src/athanor/scenes/a.cc", "\"athanor/lake/a.h\""),
              ElementsAre(HasSubstr("a.cc:2: scenes may not include athanor/lake/a.h")));
  EXPECT_THAT(CheckSource("src/athanor/server/a.cc", "\"athanor/cli/a.h\""),
              ElementsAre(HasSubstr("program's own files")));
  EXPECT_THAT(CheckSource("benchmarks/a.cc", "\"athanor/cli/a.h\""),
              ElementsAre(HasSubstr("program's own files")));
  EXPECT_THAT(CheckSource("src/athanor/nn/a.cc", "<athanor/scenes/a.h>"),
              ElementsAre(HasSubstr("scenes is built on top of nn")));
  EXPECT_THAT(CheckSource("src/athanor/nn/a.cc", "\"athanor/layers/a.h\""),
              ElementsAre(HasSubstr("no module layers")));
  EXPECT_THAT(CheckSource("src/athanor/nn/a.cc", "\"swin.h\""), ElementsAre(HasSubstr("src/")));
  EXPECT_THAT(CheckSource("src/athanor/nn/a.cc", "\"../ops/a.h\""), ElementsAre(HasSubstr("src/")));
}

TEST(LayeringCheckTest, KeepsTorchAboveOps) {
  for (const char* header : {"<torch/torch.h>", "<ATen/core/Tensor.h>", "<c10/util/Half.h>"}) {
    for (const char* module :
         {"base", "geometry", "media", "datasets", "lake", "kernels", "simulation"}) {
      EXPECT_THAT(CheckSource(std::string("src/athanor/") + module + "/a.cc", header),
                  ElementsAre(HasSubstr("Torch appears from ops/ upward only")));
    }
    for (const char* module : {"ops", "nn", "scenes", "detection", "forecasting", "loop", "cli"}) {
      EXPECT_THAT(CheckSource(std::string("src/athanor/") + module + "/a.cc", header), IsEmpty());
    }
    EXPECT_THAT(CheckSource("src/athanor/kernels/a_cuda.cu", header),
                ElementsAre(HasSubstr("without Torch")));
  }
  EXPECT_THAT(CheckSource("src/athanor/kernels/a_cuda.cu", "<cub/cub.cuh>"), IsEmpty());
  EXPECT_THAT(CheckFile("src/athanor/ops/a.cu", ""), ElementsAre(HasSubstr("live in kernels/")));
}

TEST(LayeringCheckTest, HeadersOfBaseShowStandardTypesOnly) {
  const std::string begin = "// A header.\n#pragma once\n";
  for (const char* header : {"<spdlog/spdlog.h>", "<toml++/toml.h>", "<omp.h>", "\"fmt/core.h\""}) {
    const std::string text = begin + "#include " + header + "\n";
    EXPECT_THAT(CheckFile("src/athanor/base/a.h", text),
                ElementsAre(AllOf(HasSubstr("a.h:3"), HasSubstr("standard types only"))));
    EXPECT_THAT(CheckFile("src/athanor/base/a.cc", text), IsEmpty());
    EXPECT_THAT(CheckFile("src/athanor/media/a.h", text), IsEmpty());
  }
  EXPECT_THAT(CheckFile("src/athanor/base/a.h", begin + "#include <vector>\n"), IsEmpty());
}

TEST(LayeringCheckTest, AHeaderBeginsWithACommentAndHasAGuard) {
  EXPECT_THAT(CheckFile("src/athanor/nn/a.h", "// What it is.\n#pragma once\n"), IsEmpty());
  EXPECT_THAT(CheckFile("src/athanor/nn/a.h", "#pragma once\n"),
              ElementsAre(HasSubstr("begins with a comment"), HasSubstr("#pragma once")));
  EXPECT_THAT(CheckFile("src/athanor/nn/a.h", "// #pragma once\n"),
              ElementsAre(HasSubstr("has #pragma once")));
  EXPECT_THAT(CheckFile("src/athanor/kernels/a-inl.h", "// A.\n#ifdef HWY_TARGET_TOGGLE\n"),
              IsEmpty());
  EXPECT_THAT(CheckFile("src/athanor/kernels/a-inl.h", "// A.\n#pragma once\n"),
              ElementsAre(HasSubstr("has HWY_TARGET_TOGGLE")));
  EXPECT_THAT(CheckFile("src/athanor/nn/a.cc", ""), IsEmpty());
}

TEST(LayeringCheckTest, AFileOutsideTheModulesIsRefused) {
  EXPECT_THAT(CheckFile("src/athanor/stuff/a.cc", ""), ElementsAre(HasSubstr("'stuff'")));
  EXPECT_THAT(CheckFile("src/athanor/a.cc", ""), ElementsAre(HasSubstr("no module")));
}

TEST(FindIncludesTest, SkipsCommentsAndReadsEverySpelling) {
  const auto includes = FindIncludes(
      "#include <a>\n"
      "// #include <b>\n"
      "/* #include <c>\n"
      "#include <d> */ #include \"e/f.h\"  // why\n"
      "  #  include\t<g/h.h>\r\n"
      "#include HWY_TARGET_INCLUDE\n"
      "#define HWY_TARGET_INCLUDE \"i.cc\"\n"
      "#include\"j/k.h\"\n");
  std::vector<std::string> found;
  for (const Include& i : includes) found.push_back(std::to_string(i.line) + i.path);
  EXPECT_THAT(found, ElementsAre("1a", "4e/f.h", "5g/h.h", "8j/k.h"));
  EXPECT_TRUE(includes[0].angled);
  EXPECT_FALSE(includes[1].angled);
}

}  // namespace
}  // namespace athanor
