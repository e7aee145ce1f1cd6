// athanor models ...
#include <iostream>

#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/nn/foreign_model.h"
#include "athanor/nn/model_store.h"

namespace athanor {

CommandAction SetUpModelsList(CLI::App& app) {
  const auto name = std::make_shared<std::string>();
  app.add_option("MODEL", *name, "one card in full: its name, or a .toml file (default: all)");
  return [name] {
    const ModelStore store = DefaultModelStore();
    if (!name->empty()) {
      const ModelCard card = FindModelCard(*name);
      std::cout << card.name << " (" << card.kind << "): " << card.summary
                << "\nlicence: " << card.license << "\nsource: " << card.source << "\n";
      if (!card.text_space.empty()) std::cout << "text space: " << card.text_space << "\n";
      if (!card.notes.empty()) std::cout << "notes: " << card.notes << "\n";
      for (const ModelFile& file : card.files) {
        const auto path = store.Find(card, file);
        std::cout << file.role << ": " << (path.empty() ? file.name + " (missing)" : path.string())
                  << (file.sha256.empty() ? "" : "\n  sha256 " + file.sha256)
                  << (file.url.empty() ? "" : "\n  " + file.url) << "\n";
      }
      return 0;
    }
    std::vector<std::vector<std::string>> rows = {
        {"model", "kind", "here", "text space", "licence", "what it is"}};
    for (const ModelCard& card : ListModelCards()) {
      rows.push_back({card.name, card.kind, store.HasAll(card) ? "yes" : "no",
                      card.text_space.empty() ? "-" : card.text_space, card.license, card.summary});
    }
    const std::string runtime = OnnxRuntimeInfo();
    std::cout << Table(rows) << "models lie in " << store.folder.string() << "; "
              << (runtime.empty() ? "ONNX Runtime is not at hand" : runtime) << "\n";
    return 0;
  };
}

CommandAction SetUpModelsFetch(CLI::App& app) {
  const auto name = std::make_shared<std::string>();
  const auto from = std::make_shared<std::filesystem::path>();
  app.add_option("MODEL", *name, "a name that 'models list' shows, or a card, a .toml file")
      ->required();
  AddPath(app, "--from", from.get(),
          "copy the files from this folder or one below it (default: download them)");
  return [name, from] {
    const ModelStore store = DefaultModelStore();
    const ModelCard card = FindModelCard(*name);
    FetchModel(card, store, *from);
    for (const ModelFile& file : card.files) {
      std::cout << store.Find(card, file).string() << "\n";
    }
    return 0;
  };
}

}  // namespace athanor
