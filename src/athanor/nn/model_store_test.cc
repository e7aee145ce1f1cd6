#include "athanor/nn/model_store.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/sha256.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Serves one file on the loopback interface, and hangs up when told to.
class SmallServer {
 public:
  explicit SmallServer(std::string body) : body_(std::move(body)) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ATHANOR_CHECK(::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
                      ::listen(socket_, 8) == 0,
                  "cannot listen on the loopback interface");
    socklen_t size = sizeof(address);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~SmallServer() {
    ::shutdown(socket_, SHUT_RDWR);
    ::close(socket_);
    thread_.join();
  }
  std::string url(const std::string& path = "/model.onnx") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  // Where each request began; -1 for one without a range.
  const std::vector<int64_t>& begins() const { return begins_; }

  std::atomic<size_t> bytes_per_answer{1 << 30};  // then it hangs up
  std::atomic<bool> knows_ranges{true};

 private:
  void Serve() {
    for (int peer; (peer = ::accept(socket_, nullptr, nullptr)) >= 0; ::close(peer)) {
      std::string request;
      char piece[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = ::recv(peer, piece, sizeof(piece), 0);
        if (got <= 0) break;
        request.append(piece, static_cast<size_t>(got));
      }
      Answer(peer, request);
    }
  }
  void Answer(int peer, const std::string& request) {
    std::string head;
    if (request.find("GET /moved") == 0) {
      head = "HTTP/1.1 302 Found\r\nLocation: /model.onnx\r\nContent-Length: 0\r\n\r\n";
    } else if (request.find("GET /model.onnx") != 0) {
      head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    }
    if (!head.empty()) {
      ::send(peer, head.data(), head.size(), MSG_NOSIGNAL);
      return;
    }
    const size_t range = request.find("Range: bytes=");
    const int64_t begin = range == std::string::npos ? -1 : std::stoll(request.substr(range + 13));
    begins_.push_back(begin);
    std::string part = body_;
    if (begin > 0 && knows_ranges) {
      if (begin >= static_cast<int64_t>(body_.size())) {
        head = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n";
        ::send(peer, head.data(), head.size(), MSG_NOSIGNAL);
        return;
      }
      part = body_.substr(static_cast<size_t>(begin));
      head = StrCat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ", begin, "-",
                    body_.size() - 1, "/", body_.size(), "\r\n");
    } else {
      head = "HTTP/1.1 200 OK\r\n";
    }
    head += StrCat("Content-Length: ", part.size(), "\r\nConnection: close\r\n\r\n");
    part = head + part.substr(0, std::min(part.size(), bytes_per_answer.load()));
    ::send(peer, part.data(), part.size(), MSG_NOSIGNAL);
  }

  std::string body_;
  int socket_ = -1, port_ = 0;
  std::thread thread_;
  std::vector<int64_t> begins_;
};

class ModelStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SetLogLevel(LogLevel::kError);
    folder_ = TestFolder("store");
    for (int i = 0; i < 10000; ++i) body_ += static_cast<char>(i * 31 + i / 256);
  }
  void TearDown() override { SetLogLevel(LogLevel::kInfo); }

  ModelCard Card(const std::string& url, const std::string& sha256) {
    WriteFile(
        folder_ / "cards/m.toml",
        "kind = \"clip\"\nsummary = \"s\"\nlicense = \"l\"\n[[file]]\nrole = \"network\"\nname "
        "= \"model.onnx\"\nurl = \"" +
            url + "\"\nsha256 = \"" + sha256 + "\"\n");
    return ReadModelCard(folder_ / "cards/m.toml");
  }
  fs::path Target() const { return folder_ / "models/model.onnx"; }
  ModelStore Store() const { return {folder_ / "models"}; }

  fs::path folder_;
  std::string body_;
};

TEST_F(ModelStoreTest, DownloadsOnceAndFollowsRedirections) {
  SmallServer server(body_);
  const ModelCard card = Card(server.url("/moved"), Sha256Of(body_));
  EXPECT_FALSE(Store().HasAll(card));
  EXPECT_THAT(ErrorOf([&] { Store().Require(card, "network"); }),
              HasSubstr("m: model.onnx is not in"));
  FetchModel(card, Store());
  EXPECT_EQ(ReadFile(Target()), body_);
  EXPECT_TRUE(Store().HasAll(card));
  FetchModel(card, Store());
  EXPECT_THAT(server.begins(), ElementsAre(-1));
  EXPECT_FALSE(fs::exists(Target().string() + ".part"));
}

TEST_F(ModelStoreTest, ContinuesADownloadThatBrokeOff) {
  SmallServer server(body_);
  server.bytes_per_answer = 3000;
  FetchModel(Card(server.url(), Sha256Of(body_)), Store());
  EXPECT_EQ(ReadFile(Target()), body_);
  ASSERT_EQ(server.begins().size(), 4u);
  EXPECT_EQ(server.begins()[0], -1);
  for (size_t i = 1; i < 4; ++i) EXPECT_GT(server.begins()[i], server.begins()[i - 1]);
}

TEST_F(ModelStoreTest, GivesUpAndGoesOnLater) {
  SmallServer server(body_);
  server.bytes_per_answer = 1000;
  const ModelCard card = Card(server.url(), Sha256Of(body_));
  EXPECT_THAT(ErrorOf([&] { FetchModel(card, Store()); }),
              AllOf(HasSubstr(server.url()), HasSubstr("broke off 5 times"),
                    HasSubstr("continues at byte ")));
  EXPECT_FALSE(fs::exists(Target()));
  EXPECT_TRUE(fs::exists(Target().string() + ".part"));
  server.bytes_per_answer = 1 << 30;
  FetchModel(card, Store());
  EXPECT_EQ(ReadFile(Target()), body_);
  EXPECT_GT(server.begins().back(), 0);
}

TEST_F(ModelStoreTest, BeginsAnewWhereRangesAreNotServed) {
  SmallServer server(body_);
  server.knows_ranges = false;
  WriteFile(Target().string() + ".part", "something else that lies there");
  FetchModel(Card(server.url(), Sha256Of(body_)), Store());
  EXPECT_EQ(ReadFile(Target()), body_);
}

TEST_F(ModelStoreTest, APartThatIsTheWholeIsTaken) {
  SmallServer server(body_);
  WriteFile(Target().string() + ".part", body_);
  FetchModel(Card(server.url(), Sha256Of(body_)), Store());
  EXPECT_EQ(ReadFile(Target()), body_);
}

TEST_F(ModelStoreTest, RefusesAnotherFile) {
  SmallServer server(body_);
  const std::string other = Sha256Of("another file");
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card(server.url(), other), Store()); }),
              AllOf(HasSubstr("SHA-256 is " + Sha256Of(body_)), HasSubstr("expected " + other)));
  EXPECT_FALSE(fs::exists(Target()));
  EXPECT_FALSE(fs::exists(Target().string() + ".part"));
  // Damage on the disk is found when the file is fetched again.
  FetchModel(Card(server.url(), Sha256Of(body_)), Store());
  WriteFile(Target(), body_ + "x");
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card(server.url(), Sha256Of(body_)), Store()); }),
              AllOf(HasSubstr(Target().string()), HasSubstr("expected " + Sha256Of(body_))));
}

TEST_F(ModelStoreTest, PinsWhatHasNoDigest) {
  WriteFile(folder_ / "disk/deep/model.onnx", body_);
  FetchModel(Card("", ""), Store(), folder_ / "disk");
  EXPECT_EQ(ReadFile(Target()), body_);
  EXPECT_EQ(ReadFile(Target().string() + ".sha256"), Sha256Of(body_) + "\n");
  fs::remove(Target());
  WriteFile(folder_ / "disk/deep/model.onnx", body_ + "changed");
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card("", ""), Store(), folder_ / "disk"); }),
              HasSubstr("expected " + Sha256Of(body_)));
}

TEST_F(ModelStoreTest, SaysWhyThereIsNothing) {
  SmallServer server(body_);
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card(server.url("/none"), ""), Store()); }),
              AllOf(HasSubstr(server.url("/none")), HasSubstr("404")));
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card("http://127.0.0.1:1/model.onnx", ""), Store()); }),
              HasSubstr("http://127.0.0.1:1/model.onnx: "));
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card("file:///etc/passwd", ""), Store()); }),
              HasSubstr("file:///etc/passwd: "));
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card("", ""), Store()); }), HasSubstr("has no address"));
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card("", ""), Store(), folder_ / "nowhere"); }),
              HasSubstr("no such folder"));
  fs::create_directories(folder_ / "empty");
  EXPECT_THAT(ErrorOf([&] { FetchModel(Card("", ""), Store(), folder_ / "empty"); }),
              HasSubstr("has no file model.onnx"));
}

TEST(ModelCardTest, EveryCardOfTheSourcesReads) {
  const auto cards = ListModelCards();
  EXPECT_GE(cards.size(), 12u);
  for (const ModelCard& card : cards) {
    EXPECT_FALSE(card.license.empty()) << card.name;
    for (const auto& [role, part] : card.parts) EXPECT_NO_THROW(FindModelCard(part)) << card.name;
    for (const ModelFile& file : card.files) {
      // No digest means: say so. No address means: say how the file is made.
      if (file.sha256.empty() && file.url.empty() && !file.name.ends_with(".txt")) {
        EXPECT_THAT(card.notes, AnyOf(HasSubstr("unknown"), HasSubstr("onvert"))) << card.name;
      }
    }
  }
}

TEST(ModelCardTest, FaultsAreNamed) {
  const fs::path path = TestFolder("card") / "bad.toml";
  const auto error_of = [&](const std::string& text) {
    WriteFile(path, text);
    return ErrorOf([&] { ReadModelCard(path); });
  };
  const std::string head = "kind = \"clip\"\nsummary = \"s\"\nlicense = \"l\"\n";
  EXPECT_THAT(error_of("kind = "), HasSubstr("bad.toml:1: "));
  EXPECT_THAT(error_of("kind = \"oracle\"\n"), HasSubstr("kind 'oracle' is unknown"));
  EXPECT_THAT(error_of("kind = \"clip\"\n"), HasSubstr("'summary' is missing"));
  EXPECT_THAT(error_of(head + "colour = 3\n"), HasSubstr("bad.toml:4: 'colour' is unknown"));
  EXPECT_THAT(error_of(head + "[input]\nwidth = -4\n"), HasSubstr("input.width = -4"));
  EXPECT_THAT(error_of(head + "[input]\nlayout = \"chw\"\n"), HasSubstr("'chw', expected nchw"));
  EXPECT_THAT(error_of(head + "[input]\nstd = [1, 0, 1]\n"), HasSubstr("above 0"));
  EXPECT_THAT(error_of(head + "[[file]]\nrole = \"a\"\nname = \"../../etc/passwd\"\n"),
              HasSubstr("should be a plain name"));
  EXPECT_THAT(error_of(head + "[[file]]\nrole = \"a\"\nname = \"b\"\nsha256 = \"12\"\n"),
              HasSubstr("64 hexadecimal digits"));
}

TEST(ModelStore, AnEmptyVariableCountsAsNotSet) {
  const char* names[] = {"ATHANOR_MODELS", "XDG_CACHE_HOME", "HOME"};
  std::vector<std::optional<std::string>> before;
  for (const char* name : names) {
    const char* value = std::getenv(name);
    before.push_back(value == nullptr ? std::nullopt : std::optional<std::string>(value));
  }
  ::setenv("ATHANOR_MODELS", "/models", 1);
  ::setenv("XDG_CACHE_HOME", "/cache", 1);
  ::setenv("HOME", "/home/a", 1);
  EXPECT_EQ(DefaultModelStore().folder, "/models");
  ::setenv("ATHANOR_MODELS", "", 1);
  EXPECT_EQ(DefaultModelStore().folder, "/cache/athanor/models");
  ::setenv("XDG_CACHE_HOME", "", 1);
  EXPECT_EQ(DefaultModelStore().folder, "/home/a/.cache/athanor/models");
  ::setenv("HOME", "", 1);
  EXPECT_THAT(ErrorOf([] { DefaultModelStore(); }), HasSubstr("set ATHANOR_MODELS"));
  for (size_t i = 0; i < before.size(); ++i) {
    before[i] ? ::setenv(names[i], before[i]->c_str(), 1) : ::unsetenv(names[i]);
  }
}

}  // namespace
}  // namespace athanor
