#include "athanor/nn/model_card.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

const std::set<std::string> kKinds = {"pixel", "closed-vocabulary", "clip", "detector", "sam",
                                      "names"};

class CardReader {
 public:
  CardReader(const toml::table& table, std::string where)
      : table_(table), where_(std::move(where)) {}

  std::string Text(const toml::table& table, std::string_view key, bool required = false) {
    const toml::node* node = table.get(key);
    ATHANOR_CHECK(node != nullptr || !required, where_, ": '", key, "' is missing");
    if (node == nullptr) return {};
    ATHANOR_CHECK(node->is_string(), where_, ":", node->source().begin.line, ": '", key,
                  "' should be text");
    return node->as_string()->get();
  }

  std::map<std::string, std::string> Texts(std::string_view key) {
    std::map<std::string, std::string> texts;
    if (const toml::table* part = Table(key)) {
      for (const auto& entry : *part) {
        const std::string name(entry.first.str());
        texts[name] = Text(*part, name);
      }
    }
    return texts;
  }

  const toml::table* Table(std::string_view key) {
    const toml::node* node = table_.get(key);
    ATHANOR_CHECK(node == nullptr || node->is_table(), where_, ": '", key, "' should be a table");
    return node == nullptr ? nullptr : node->as_table();
  }

  const toml::array* Array(const toml::table& table, std::string_view key) {
    const toml::node* node = table.get(key);
    ATHANOR_CHECK(node == nullptr || node->is_array(), where_, ": '", key, "' should be a list");
    return node == nullptr ? nullptr : node->as_array();
  }

  double Number(const toml::node& node, std::string_view key) {
    const auto value = node.value<double>();
    ATHANOR_CHECK(value.has_value(), where_, ":", node.source().begin.line, ": '", key,
                  "' should be a number");
    return *value;
  }

  void Input(ModelInput* input) {
    const toml::table* part = Table("input");
    if (part == nullptr) return;
    for (const auto& entry : *part) {
      const std::string key(entry.first.str());
      if (key == "width" || key == "height") {
        const double value = Number(entry.second, key);
        ATHANOR_CHECK(value >= 0 && value <= 16384, where_, ": input.", key, " = ", value,
                      ", expected 0 to 16384 pixels");
        (key == "width" ? input->width_px : input->height_px) = static_cast<int>(value);
      } else if (key == "layout") {
        input->layout = Text(*part, key);
        ATHANOR_CHECK(input->layout == "nchw" || input->layout == "nhwc" || input->layout == "hwc",
                      where_, ": input.layout '", input->layout, "', expected nchw, nhwc or hwc");
      } else if (key == "bgr") {
        ATHANOR_CHECK(entry.second.is_boolean(), where_, ": input.bgr should be true or false");
        input->bgr = entry.second.as_boolean()->get();
      } else if (key == "mean" || key == "std") {
        const toml::array* list = Array(*part, key);
        ATHANOR_CHECK(list != nullptr && list->size() == 3, where_, ": input.", key,
                      " should be 3 numbers");
        for (size_t i = 0; i < 3; ++i) {
          const double value = Number((*list)[i], key);
          ATHANOR_CHECK(key == "mean" || value > 0, where_, ": input.std should be above 0");
          (key == "mean" ? input->mean : input->std)[i] = static_cast<float>(value);
        }
      } else {
        throw Error(where_ + ": input." + key + " is unknown");
      }
    }
  }

  void Files(std::vector<ModelFile>* files) {
    const toml::array* list = Array(table_, "file");
    if (list == nullptr) return;
    for (const toml::node& node : *list) {
      const toml::table* part = node.as_table();
      ATHANOR_CHECK(part != nullptr, where_, ": each 'file' should be a table");
      ModelFile file = {Text(*part, "role", true), Text(*part, "name", true), Text(*part, "url"),
                        Text(*part, "sha256")};
      // A card must not lead out of the models folder.
      ATHANOR_CHECK(
          !file.name.empty() && file.name.find('/') == std::string::npos && file.name[0] != '.',
          where_, ": file name '", file.name, "' should be a plain name");
      ATHANOR_CHECK(file.sha256.empty() ||
                        (file.sha256.size() == 64 &&
                         file.sha256.find_first_not_of("0123456789abcdef") == std::string::npos),
                    where_, ": sha256 of ", file.name, " should be 64 hexadecimal digits");
      files->push_back(std::move(file));
    }
  }

 private:
  const toml::table& table_;
  std::string where_;
};

}  // namespace

const ModelFile& ModelCard::File(const std::string& role) const {
  for (const ModelFile& file : files) {
    if (file.role == role) return file;
  }
  throw Error(path.string() + ": has no file of the role '" + role + "'");
}

const std::string& ModelCard::Port(const std::string& ours) const {
  const auto found = ports.find(ours);
  ATHANOR_CHECK(found != ports.end(), path.string(), ": [ports] does not name '", ours, "'");
  return found->second;
}

double ModelCard::Number(const std::string& key, double otherwise) const {
  const auto found = numbers.find(key);
  return found == numbers.end() ? otherwise : found->second;
}

ModelCard ReadModelCard(const fs::path& path) {
  const std::string text = ReadFile(path);
  toml::table table;
  try {
    table = toml::parse(text, path.string());
  } catch (const toml::parse_error& error) {
    throw Error(StrCat(path.string(), ":", error.source().begin.line, ": ", error.description()));
  }
  const std::set<std::string_view> known = {"kind",       "summary", "license", "source", "notes",
                                            "text_space", "input",   "file",    "ports",  "numbers",
                                            "parts",      "labels",  "phrases"};
  for (const auto& entry : table) {
    ATHANOR_CHECK(known.contains(entry.first.str()), path.string(), ":",
                  entry.first.source().begin.line, ": '", entry.first.str(), "' is unknown");
  }
  CardReader reader(table, path.string());
  ModelCard card;
  card.path = path;
  card.name = path.stem().string();
  card.kind = reader.Text(table, "kind", true);
  ATHANOR_CHECK(kKinds.contains(card.kind), path.string(), ": kind '", card.kind,
                "' is unknown; expected pixel, closed-vocabulary, clip, detector, sam or names");
  card.summary = reader.Text(table, "summary", true);
  card.license = reader.Text(table, "license", true);
  card.source = reader.Text(table, "source");
  card.notes = reader.Text(table, "notes");
  card.text_space = reader.Text(table, "text_space");
  reader.Input(&card.input);
  reader.Files(&card.files);
  card.ports = reader.Texts("ports");
  card.parts = reader.Texts("parts");
  card.phrases = reader.Texts("phrases");
  if (const toml::table* numbers = reader.Table("numbers")) {
    for (const auto& entry : *numbers) {
      const std::string key(entry.first.str());
      card.numbers[key] = reader.Number(entry.second, key);
    }
  }
  if (const toml::array* labels = reader.Array(table, "labels")) {
    for (const toml::node& node : *labels) {
      ATHANOR_CHECK(node.is_string(), path.string(), ": 'labels' should be texts");
      card.labels.push_back(node.as_string()->get());
    }
  }
  return card;
}

fs::path CardsFolder() {
  std::error_code error;
  if (const char* chosen = std::getenv("ATHANOR_CARDS")) {
    if (fs::is_directory(chosen, error)) return {chosen};
  }
  return FindShared("models/cards");
}

std::vector<ModelCard> ListModelCards() {
  std::vector<ModelCard> cards;
  for (const fs::path& path : ListFiles(CardsFolder(), {".toml"})) {
    cards.push_back(ReadModelCard(path));
  }
  return cards;
}

ModelCard FindModelCard(const std::string& name_or_path) {
  if (name_or_path.ends_with(".toml")) return ReadModelCard(name_or_path);
  std::string names;
  for (const fs::path& path : ListFiles(CardsFolder(), {".toml"})) {
    if (path.stem() == name_or_path) return ReadModelCard(path);
    names += (names.empty() ? "" : ", ") + path.stem().string();
  }
  throw Error("there is no model card '" + name_or_path + "'; expected a .toml file or one of " +
              names);
}

}  // namespace athanor
