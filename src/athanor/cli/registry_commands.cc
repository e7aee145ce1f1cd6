// athanor registry ...
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/registry_options.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/loop/registry/model_registry.h"
#include "athanor/nn/model_card.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownDigits = 12;

CLI::Option* AddRegistry(CLI::App& app, fs::path* registry) {
  return AddPath(app, "--registry", registry, kRegistryHelp);
}

double NumberOf(const std::string& text, const std::string& option) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(StrCat(option, ": expected a number, found '", text, "'"));
  }
  return value;
}

// "rain:mAP=0.3"
struct Metric {
  std::string scenario, metric;
  double value = 0;
};
Metric MetricOf(const std::string& text) {
  const size_t middle = text.find(':'), end = text.find('=', middle);
  if (middle == std::string::npos || end == std::string::npos) {
    throw UsageError(StrCat("--metric: expected SCENARIO:METRIC=NUMBER, found '", text, "'"));
  }
  return {text.substr(0, middle), text.substr(middle + 1, end - middle - 1),
          NumberOf(text.substr(end + 1), "--metric")};
}

CLI::Option* AddWords(CLI::App& app, const char* name, std::vector<std::string>* words,
                      const char* help, const char* type) {
  return app.add_option(name, *words, help)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* AddRole(CLI::App& app, std::string* role, const char* help) {
  return app.add_option("--role", *role, help)
      ->check(CLI::IsMember({"cloud_large", "vehicle_small", "candidate", "intermediate"})
                  .description(""))
      ->type_name("ROLE");
}

std::string DateOf(int64_t time_us) {
  const std::time_t seconds = time_us / 1'000'000;
  std::tm parts = {};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  return joined.empty() ? "-" : joined;
}

// A name that a model may have, out of a file's.
std::string NameOfFile(const fs::path& file) {
  std::string name = file.stem().string();
  if (name == "detector" || name == "teacher" || name == "weights") {
    name = fs::absolute(file).parent_path().filename().string();
  }
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '.') c = '-';
  }
  name.erase(0, name.find_first_not_of(".-"));
  return name.empty() ? "model" : name.substr(0, 64);
}

}  // namespace

fs::path RegistryFolder(const fs::path& given) {
  if (!given.empty()) return given;
  const char* chosen = std::getenv("ATHANOR_REGISTRY");
  return chosen == nullptr ? "registry" : chosen;
}

FoundModel FindModelFile(const fs::path& registry, const std::string& model) {
  const fs::path folder = RegistryFolder(registry);
  std::error_code error;
  if (!registry.empty() || ModelRegistry::IsRegistry(folder)) {
    ModelRegistry models(folder);
    if (const auto found = models.Find(model)) {
      return {model, models.FileOf(found->weights)};
    }
  }
  if (fs::is_regular_file(model, error)) return {NameOfFile(model), model};
  if (model == "words") return {model, FindEmbeddedModel()};
  const bool is_name = !model.empty() && model.find('/') == std::string::npos;
  try {
    if (is_name) {
      return {model, FindShared("models/athanor-detect-" + model + "/detector.safetensors")};
    }
  } catch (const Error&) {
    // It is none of these.
  }
  for (const ModelCard& card : ListModelCards()) {
    if (card.name == model) return {model, card.path};
  }
  throw Error(StrCat("model '", model, "': expected a name in the registry ", folder.string(),
                     ModelRegistry::IsRegistry(folder) ? "" : " (there is none)",
                     ", tiny, words, a card of a teacher, or a file of weights"));
}

CommandAction SetUpRegistryAdd(CLI::App& app) {
  struct Arguments {
    fs::path registry;
    NewModel added;
    std::string name, role = "candidate";
    std::vector<std::string> parents, hyper, metrics;
  };
  auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  AddPath(app, "WEIGHTS", &a.added.weights, "file of weights; it is copied")->required();
  app.add_option("--name", a.name, "what it is called, for good (default: the file's name)")
      ->type_name("NAME");
  AddRole(app, &a.role,
          "cloud_large teaches, vehicle_small is deployed, candidate may be next, intermediate is "
          "a snapshot of a training (default: candidate)");
  AddWords(app, "--parent", &a.parents, "a model that it descends from; again for more", "NAME");
  AddPath(app, "--optimizer", &a.added.optimizer, "file with the state of its optimiser");
  AddPath(app, "--data", &a.added.manifest, "file that lists what it was trained on");
  AddWords(app, "--hyper", &a.hyper, "a hyper-parameter; again for more", "NAME=VALUE");
  AddWords(app, "--metric", &a.metrics, "how it did in a scenario; again for more",
           "SCENARIO:METRIC=NUMBER");
  AddRegistry(app, &a.registry);
  return [arguments] {
    Arguments& a = *arguments;
    NewModel added = a.added;
    added.model.name = a.name.empty() ? NameOfFile(added.weights) : a.name;
    added.model.role = ParseModelRole(a.role);
    added.model.parents = a.parents;
    for (const std::string& text : a.hyper) {
      const size_t middle = text.find('=');
      if (middle == std::string::npos) {
        throw UsageError(StrCat("--hyper: expected NAME=VALUE, found '", text, "'"));
      }
      added.model.hyper[text.substr(0, middle)] = text.substr(middle + 1);
    }
    for (const std::string& text : a.metrics) {
      const Metric metric = MetricOf(text);
      added.model.metrics[metric.scenario][metric.metric] = metric.value;
    }
    added.model.kind = SpecOfWeights(added.model.name, added.weights).kind;
    ModelRegistry registry(RegistryFolder(a.registry), ModelRegistry::Mode::kCreate);
    const RegisteredModel model = registry.Add(added);
    std::cout << "added      " << model.name << " (" << model.kind << ", "
              << ModelRoleName(model.role) << ")\nweights    " << model.weights << "\n";
    return 0;
  };
}

CommandAction SetUpRegistryList(CLI::App& app) {
  auto folder = std::make_shared<fs::path>();
  AddRegistry(app, folder.get());
  return [folder] {
    ModelRegistry registry(RegistryFolder(*folder));
    std::vector<std::vector<std::string>> rows = {
        {"model", "role", "kind", "weights", "parents", "added", ""}};
    for (const RegisteredModel& model : registry.List()) {
      rows.push_back({model.name, std::string(ModelRoleName(model.role)), model.kind,
                      model.weights.substr(0, kShownDigits), Joined(model.parents),
                      DateOf(model.added_us), model.is_removed ? "removed, still needed" : ""});
    }
    std::cout << Table(rows);
    return 0;
  };
}

CommandAction SetUpRegistryShow(CLI::App& app) {
  struct Arguments {
    fs::path registry;
    std::string name;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("NAME", arguments->name, "the model")->required()->type_name("NAME");
  AddRegistry(app, &arguments->registry);
  return [arguments] {
    ModelRegistry registry(RegistryFolder(arguments->registry));
    const RegisteredModel model = registry.Get(arguments->name);
    const auto file = [&](const std::string& sha256) {
      return sha256.empty() ? std::string("-") : registry.FileOf(sha256).string();
    };
    std::cout << "model      " << model.name << (model.is_removed ? " (removed, still needed)" : "")
              << "\nrole       " << ModelRoleName(model.role) << "\nkind       " << model.kind
              << "\nadded      " << DateOf(model.added_us) << " UTC\nweights    "
              << file(model.weights) << "\noptimiser  " << file(model.optimizer) << "\ndata       "
              << file(model.manifest) << "\nparents    " << Joined(model.parents) << "\ndescent    "
              << Joined(registry.Ancestors(model.name)) << "\n";
    for (const auto& [name, value] : model.hyper) {
      std::cout << "hyper      " << name << " = " << value << "\n";
    }
    if (!model.metrics.empty()) {
      std::vector<std::vector<std::string>> rows = {{"scenario", "metric", "value"}};
      for (const auto& [scenario, metrics] : model.metrics) {
        for (const auto& [metric, value] : metrics) {
          rows.push_back({scenario, metric, Fixed(value, 4)});
        }
      }
      std::cout << "\n" << Table(rows);
    }
    return 0;
  };
}

CommandAction SetUpRegistrySet(CLI::App& app) {
  struct Arguments {
    fs::path registry;
    std::string name, role;
    std::vector<std::string> metrics;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("NAME", arguments->name, "the model")->required()->type_name("NAME");
  AddRole(app, &arguments->role, "its role from now on");
  AddWords(app, "--metric", &arguments->metrics, "how it did in a scenario; again for more",
           "SCENARIO:METRIC=NUMBER");
  AddRegistry(app, &arguments->registry);
  return [arguments] {
    std::vector<Metric> metrics;
    for (const std::string& text : arguments->metrics) metrics.push_back(MetricOf(text));
    ModelRegistry registry(RegistryFolder(arguments->registry), ModelRegistry::Mode::kWrite);
    if (!arguments->role.empty()) {
      registry.SetRole(arguments->name, ParseModelRole(arguments->role));
    }
    for (const Metric& metric : metrics) {
      registry.SetMetric(arguments->name, metric.scenario, metric.metric, metric.value);
    }
    return 0;
  };
}

CommandAction SetUpRegistryRemove(CLI::App& app) {
  struct Arguments {
    fs::path registry;
    std::vector<std::string> names;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("NAMES", arguments->names, "models that are not needed any more")
      ->required()
      ->type_name("NAME ...");
  AddRegistry(app, &arguments->registry);
  return [arguments] {
    ModelRegistry registry(RegistryFolder(arguments->registry), ModelRegistry::Mode::kWrite);
    for (const std::string& name : arguments->names) registry.Get(name);  // all, before the first
    for (const std::string& name : arguments->names) {
      registry.Remove(name);
      std::cout << "removed    " << name << "\n";
    }
    return 0;
  };
}

CommandAction SetUpRegistryGc(CLI::App& app) {
  struct Arguments {
    fs::path registry;
    bool intermediates = false;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_flag("--intermediates", arguments->intermediates,
               "give up snapshots of trainings, too, that no other model descends from");
  AddRegistry(app, &arguments->registry);
  return [arguments] {
    ModelRegistry registry(RegistryFolder(arguments->registry), ModelRegistry::Mode::kWrite);
    const RegistryGarbage garbage = registry.CollectGarbage(arguments->intermediates);
    std::cout << "models     " << garbage.models << " gone\nfiles      " << garbage.files
              << " gone, " << Fixed(1e-6 * static_cast<double>(garbage.bytes), 1) << " MB\n";
    return 0;
  };
}

}  // namespace athanor
