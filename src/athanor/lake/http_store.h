// Objects behind a web server, read with range requests (RFC 9110, section 14). https where the
// HTTP library was built with it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "athanor/lake/object_store.h"

namespace athanor {

struct HttpStoreOptions {
  double timeout_s = 30;       // for connecting, and between two pieces of an answer
  int attempts = 5;            // per request, 1 or more
  double first_pause_s = 0.1;  // before the second attempt; doubled each time, to 5 s at most
};

// An object is BASE/NAME. Tried again with growing pauses: connections that fail or break off,
// answers that are too short, and the states 408, 429, 500, 502, 503, 504. Any other answer fails
// at once, for example 404 or a server that does not serve ranges.
//
// The version of an object is its ETag, else its Last-Modified; without either only a change of
// size is noticed. List() reads BASE/index.txt, one name a line, since HTTP itself has no lists.
// Threads have connections of their own, which are kept open.
class HttpStore : public ObjectStore {
 public:
  // "http://host:port/folder". Connects to nothing yet. Throws Error for another kind of URL.
  explicit HttpStore(const std::string& base_url, const HttpStoreOptions& options = {});
  ~HttpStore() override;

  std::string ReadVersion(const std::string& object, int64_t offset, int64_t length,
                          const ObjectInfo* expected) const override;
  ObjectInfo Info(const std::string& object) const override;
  std::vector<std::string> List(const std::string& prefix) const override;

  // Attempts that failed and were made again.
  int64_t retries() const { return retries_; }

 private:
  struct Connections;
  struct Answer;

  std::string Url(const std::string& object) const { return origin_ + Path(object); }
  std::string Path(const std::string& object) const;
  // Attempts until one gives an answer that may stand; `range` is empty for a HEAD request.
  Answer Request(const std::string& object, const std::string& range, int64_t body_bytes) const;

  std::string origin_, folder_;  // "http://host:port" and "/folder", without a slash at the end
  HttpStoreOptions options_;
  std::unique_ptr<Connections> connections_;
  mutable std::atomic<int64_t> retries_{0};
};

}  // namespace athanor
