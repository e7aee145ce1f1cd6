#include "athanor/lake/http_store.h"

#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

namespace athanor {
namespace {

constexpr double kLongestPause_s = 5;
constexpr int64_t kLargestIndex_bytes = int64_t{1} << 28;

bool IsPassing(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
         status == 504;
}

std::optional<int64_t> ParseCount(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// Everything but unreserved characters and '/' as %XX (RFC 3986).
std::string EncodePath(std::string_view path) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 128 && std::isalnum(byte) != 0) ||
        std::string_view("-._~/").find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

std::string VersionOf(const httplib::Response& response) {
  for (const char* header : {"ETag", "Last-Modified"}) {
    if (response.has_header(header)) return response.get_header_value(header);
  }
  return "unversioned";
}

// "bytes 0-99/1234", or "bytes */1234" of a range behind the end.
struct ContentRange {
  std::string_view range;
  int64_t size_bytes = 0;
};
std::optional<ContentRange> ParseContentRange(std::string_view header) {
  const size_t slash = header.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto size = ParseCount(header.substr(slash + 1));
  if (!size) return std::nullopt;
  return ContentRange{header.substr(0, slash), *size};
}

// Whether an answer to "bytes=0-99" is short because the object ends before that.
bool EndsBefore(const httplib::Response& response, std::string_view range) {
  const std::string header = response.get_header_value("Content-Range");
  const auto content = ParseContentRange(header);
  const auto last = ParseCount(range.substr(range.rfind('-') + 1));
  return content && last && content->size_bytes <= *last;
}

}  // namespace

// Connections that nobody uses now. One serves one request at a time.
struct HttpStore::Connections {
  std::mutex mutex;
  std::vector<std::unique_ptr<httplib::Client>> idle;

  std::unique_ptr<httplib::Client> Take() {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return nullptr;
    auto client = std::move(idle.back());
    idle.pop_back();
    return client;
  }
  void Give(std::unique_ptr<httplib::Client> client) {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(client));
  }
};

struct HttpStore::Answer {
  httplib::Response response;
  std::string body;
};

HttpStore::HttpStore(const std::string& base_url, const HttpStoreOptions& options)
    : options_(options), connections_(std::make_unique<Connections>()) {
  const size_t host = base_url.find("://");
  const std::string scheme = base_url.substr(0, std::min(host, base_url.size()));
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
  const bool is_known = scheme == "http" || scheme == "https";
#else
  const bool is_known = scheme == "http";
#endif
  ATHANOR_CHECK(host != std::string::npos && is_known && host + 3 < base_url.size(),
                "expected a URL like http://host:8080/lake, found \"", base_url, "\"");
  ATHANOR_CHECK(options.attempts >= 1 && options.timeout_s > 0 && options.first_pause_s >= 0,
                base_url, ": expected one attempt or more and times above 0, found ",
                options.attempts, " attempts, ", options.timeout_s, " s, ", options.first_pause_s,
                " s");
  const size_t path = std::min(base_url.find('/', host + 3), base_url.size());
  origin_ = base_url.substr(0, path);
  folder_ = base_url.substr(path);
  while (folder_.ends_with('/')) folder_.pop_back();
}

HttpStore::~HttpStore() = default;

std::string HttpStore::Path(const std::string& object) const {
  return folder_ + "/" + EncodePath(object);
}

HttpStore::Answer HttpStore::Request(const std::string& object, const std::string& range,
                                     int64_t body_bytes) const {
  const bool is_head = range.empty() && body_bytes == 0;
  httplib::Headers headers = {{"Accept-Encoding", "identity"}};
  if (!range.empty()) headers.emplace("Range", range);
  double pause_s = options_.first_pause_s;
  for (int attempt = 1;; ++attempt) {
    auto client = connections_->Take();
    if (client == nullptr) {
      client = std::make_unique<httplib::Client>(origin_);
      ATHANOR_CHECK(client->is_valid(), origin_, ": expected a URL like http://host:8080");
      const auto timeout =
          std::chrono::microseconds(static_cast<int64_t>(options_.timeout_s * 1e6));
      client->set_connection_timeout(timeout);
      client->set_read_timeout(timeout);
      client->set_write_timeout(timeout);
      client->set_keep_alive(true);
      client->set_tcp_nodelay(true);
      client->set_follow_location(true);
      client->set_url_encode(false);  // it would leave some characters as they are
      client->set_decompress(false);
    }
    Answer answer;
    std::string fault;
    bool is_too_long = false;
    const auto keep = [&](const char* bytes, size_t count) {
      if (static_cast<int64_t>(answer.body.size() + count) > body_bytes) {
        is_too_long = true;
        return false;
      }
      answer.body.append(bytes, count);
      return true;
    };
    // The body of an answer that is none is not worth reading.
    const auto judge = [&](const httplib::Response& response) {
      answer.response.status = response.status;
      answer.response.headers = response.headers;
      return response.status < 300;
    };
    const httplib::Result result = is_head ? client->Head(Path(object), headers)
                                           : client->Get(Path(object), headers, judge, keep);
    if (result) {
      answer.response.status = result->status;
      answer.response.headers = result->headers;
      connections_->Give(std::move(client));
    }
    const int status = answer.response.status;
    if (status >= 300 && !IsPassing(status)) return answer;
    if (is_too_long) {
      throw Error(StrCat(Url(object), ": expected ", range.empty() ? "at most " : "", body_bytes,
                         " bytes, the answer of status ", status, " is longer",
                         status == 200 && !range.empty() ? ": the server serves no ranges" : ""));
    }
    if (result && status > 0 && status < 300) {
      if (is_head || range.empty() || status != 206 ||
          static_cast<int64_t>(answer.body.size()) == body_bytes ||
          EndsBefore(answer.response, range)) {
        return answer;
      }
      fault = StrCat("expected ", body_bytes, " bytes, the answer ends after ", answer.body.size());
    } else if (status >= 300) {
      fault = StrCat("the server answers with status ", status);
    } else if (!answer.body.empty()) {
      fault = StrCat("expected ", body_bytes, " bytes, the connection breaks off after ",
                     answer.body.size());
    } else {
      fault = StrCat("no answer: ", httplib::to_string(result.error()));
    }
    ATHANOR_CHECK(attempt < options_.attempts, Url(object), ": ", fault, ", at ", attempt,
                  attempt == 1 ? " attempt" : " attempts");
    ++retries_;
    std::this_thread::sleep_for(std::chrono::duration<double>(pause_s));
    pause_s = std::min(2 * pause_s, kLongestPause_s);
  }
}

std::string HttpStore::ReadVersion(const std::string& object, int64_t offset, int64_t length,
                                   const ObjectInfo* expected) const {
  CheckObjectRange(object, offset, length);
  if (length == 0) return {};
  Answer answer = Request(object, StrCat("bytes=", offset, "-", offset + length - 1), length);
  const std::string url = Url(object);
  const auto& response = answer.response;
  ObjectInfo now = {0, VersionOf(response)};
  if (response.status == 200) {
    // The whole object, which is as good when that was asked for.
    ATHANOR_CHECK(offset == 0 && static_cast<int64_t>(answer.body.size()) == length, url,
                  ": expected ", length, " bytes from byte ", offset,
                  " with status 206, found 200: the server serves no ranges");
    now.size_bytes = length;
  } else {
    const std::string header = response.get_header_value("Content-Range");
    const auto content = ParseContentRange(header);
    // An object that has become shorter is another one, which the range may not fit.
    if (content && (response.status == 206 || response.status == 416)) {
      now.size_bytes = content->size_bytes;
      CheckVersion(expected, now, url);
    }
    ATHANOR_CHECK(response.status == 206, url, ": expected status 206 for ", length,
                  " bytes from byte ", offset, ", found ", response.status);
    ATHANOR_CHECK(!content || offset + length <= content->size_bytes, url, ": expected ", length,
                  " bytes from byte ", offset, ", found an object of ", content->size_bytes);
    ATHANOR_CHECK(content && content->range == StrCat("bytes ", offset, "-", offset + length - 1),
                  url, ": expected a Content-Range of bytes ", offset, "-", offset + length - 1,
                  "/SIZE, found \"", header, "\"");
  }
  CheckVersion(expected, now, url);
  return std::move(answer.body);
}

ObjectInfo HttpStore::Info(const std::string& object) const {
  CheckObjectRange(object, 0, 0);
  const Answer answer = Request(object, "", 0);
  ATHANOR_CHECK(answer.response.status == 200, Url(object), ": expected status 200, found ",
                answer.response.status);
  const auto size = ParseCount(answer.response.get_header_value("Content-Length"));
  ATHANOR_CHECK(size, Url(object), ": expected a Content-Length, found \"",
                answer.response.get_header_value("Content-Length"), "\"");
  return {*size, VersionOf(answer.response)};
}

std::vector<std::string> HttpStore::List(const std::string& prefix) const {
  const Answer answer = Request("index.txt", "", kLargestIndex_bytes);
  ATHANOR_CHECK(answer.response.status == 200, Url("index.txt"),
                ": expected the list of objects, one name a line, found status ",
                answer.response.status);
  std::vector<std::string> names;
  std::istringstream lines(answer.body);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty() && line.starts_with(prefix)) names.push_back(line);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace athanor
