#include "athanor/loop/training/population_options.h"

#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/loop/training/toml_section.h"

namespace athanor {
namespace {

std::vector<std::string> SplitWords(const std::string& text) {
  std::vector<std::string> words;
  if (text.empty()) return words;
  words.emplace_back();
  for (const char c : text) {
    if (c == ',') {
      words.emplace_back();
    } else if (c != ' ') {
      words.back() += c;
    }
  }
  return words;
}

}  // namespace

OptionList Describe(PopulationOptions& o) {
  OptionList list;
  list.Add("trainable", &o.trainable, "what is trained; a table of this name says more",
           {.choices = {"stream", "detector"}});
  list.Add("objectives", &o.objectives, "one to three, NAME,NAME,...; empty: all");
  list.Add("strategy", &o.strategy, "who is trained next, with which hyper-parameters",
           {.choices = {"pareto", "pbt", "asha", "random"}});
  list.Add("population", &o.population, "members that are trained further",
           {.min = 2, .max = 4096});
  list.Add("budget", &o.budget, "short steps in all", {.min = 1, .max = 1e7});
  list.Add("updates", &o.updates, "of the parameters in a short step", {.min = 1, .max = 1e9});
  list.Add("synchronous", &o.synchronous,
           "generation by generation: the same front whatever is killed; else nobody waits");
  list.Add("seed", &o.seed, "of everything random", {.min = 0, .max = 2147483647});
  list.Add("explore", &o.explore, "how often a first child changes hyper-parameters",
           {.min = 0, .max = 1});
  list.Add("resample", &o.resample, "how often a hyper-parameter that changes is drawn anew",
           {.min = 0, .max = 1});
  list.Add("cross", &o.cross, "how often a child that explores has two parents",
           {.min = 0, .max = 1});
  list.Add("newborn", &o.newborn, "how often a member is a new network", {.min = 0, .max = 1});
  list.Add("mutate", &o.mutate,
           "how often parameters are shrunk and perturbed, or units begun anew",
           {.min = 0, .max = 1});
  list.Add("shrink", &o.shrink, "of parameters, at most", {.min = 0, .max = 1});
  list.Add("perturb", &o.perturb, "of a new network, at most", {.min = 0, .max = 1});
  list.Add("replace", &o.replace, "share of units begun anew, at most", {.min = 0, .max = 1});
  list.Add("weights", &o.weights, "of the scaled objectives' sum, for pbt; empty: all the same");
  list.Add("eta", &o.eta, "one of so many is promoted by asha", {.min = 2, .max = 100});
  list.Add("epsilon", &o.epsilon, "boxes of the front in scaled objectives; 0: all of it",
           {.min = 0, .max = 1});
  list.Add("keep-all", &o.keep_all, "checkpoints that nothing needs any more stay");
  list.Add("lease", &o.lease_s, "a worker that is silent for so long has lost its work, seconds",
           {.min = 0.5, .max = 86400});
  list.Add("limit", &o.limit_s, "that a short step or an evaluation may take, seconds",
           {.min = 0.1, .max = 1e7});
  return list;
}

PopulationConfig ParsePopulationConfig(std::string toml, const std::string& name) {
  PopulationConfig config;
  CheckTomlTables(toml, name, {"space", "stream", "detector"});
  Describe(config.options).ParseToml(TomlSection(toml, name, ""), name);
  config.space = SearchSpace::FromToml(toml, name);
  config.toml = std::move(toml), config.name = name;
  return config;
}

std::vector<Objective> ChooseObjectives(const std::vector<Objective>& all,
                                        const std::string& names) {
  std::vector<Objective> chosen;
  std::string known;
  for (const Objective& objective : all) {
    known += StrCat(known.empty() ? "" : ", ", objective.name);
  }
  for (const std::string& word : SplitWords(names)) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Objective& o) { return o.name == word; });
    ATHANOR_CHECK(found != all.end(), "objectives: there is no '", word, "' (there are: ", known,
                  ")");
    ATHANOR_CHECK(std::find(chosen.begin(), chosen.end(), *found) == chosen.end(), "objectives: '",
                  word, "' comes twice");
    chosen.push_back(*found);
  }
  if (chosen.empty()) chosen = all;
  ATHANOR_CHECK(chosen.size() <= 3, "objectives: expected one to three of ", known, ", found ",
                chosen.size());
  return chosen;
}

std::vector<double> ParseWeights(const std::string& text, size_t count) {
  std::vector<double> weights;
  for (const std::string& word : SplitWords(text)) {
    weights.push_back(HyperNumber({{"weights", word}}, "weights"));
  }
  if (weights.empty()) weights.assign(count, 1);
  ATHANOR_CHECK(weights.size() == count, "weights: expected ", count,
                ", one for each objective, found ", weights.size());
  return weights;
}

}  // namespace athanor
