// The folder where networks of others lie, and how they get there: downloaded, or copied from a
// folder that the user has.
#pragma once

#include <filesystem>
#include <string>

#include "athanor/nn/model_card.h"

namespace athanor {

struct ModelStore {
  std::filesystem::path folder;

  // Where the file lies: in `folder`, beside the card, or in the models/names of the cards'
  // installation. Empty when it is nowhere.
  std::filesystem::path Find(const ModelCard& card, const ModelFile& file) const;
  // Throws Error saying how to fetch it.
  std::filesystem::path Require(const ModelCard& card, const std::string& role) const;
  bool HasAll(const ModelCard& card) const;
};

// $ATHANOR_MODELS, else $XDG_CACHE_HOME/athanor/models or ~/.cache/athanor/models.
ModelStore DefaultModelStore();

// Brings the missing files of a card into the store: by name from somewhere below `from`, or from
// their URLs when `from` is empty. A download that broke off is resumed. A file that does not have
// the card's SHA-256 is refused and does not stay; where the card has none, the digest of the first
// fetch is kept beside the file (NAME.sha256) and holds from then on. Throws Error.
void FetchModel(const ModelCard& card, const ModelStore& store,
                const std::filesystem::path& from = {});

namespace internal {
// `url` to `path`, through `path`.part: what lies there is continued (HTTP range; from the start
// where the server does not serve ranges). Broken connections are tried again a few times.
// `sha256` may be empty. Returns the digest. Throws Error (URL, reason).
std::string Download(const std::string& url, const std::filesystem::path& path,
                     const std::string& sha256);
}  // namespace internal

}  // namespace athanor
