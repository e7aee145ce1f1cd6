#include "athanor/lake/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <functional>
#include <thread>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/lake/block_cache.h"
#include "athanor/lake/http_server_test_util.h"
#include "athanor/lake/http_store.h"
#include "athanor/lake/object_store_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(DirectoryStoreTest, ReadsRangesAndLists) {
  const auto folder = TestFolder("store");
  const std::string bytes = RandomBytes(1000, 1);
  WriteFile(folder / "shards/1 é.shard", bytes);
  WriteFile(folder / "shards/2.shard", "");
  WriteFile(folder / "other", "x");
  const DirectoryStore store(folder);
  EXPECT_EQ(store.Read("shards/1 é.shard", 10, 500), bytes.substr(10, 500));
  EXPECT_EQ(store.Read("shards/1 é.shard", 1000, 0), "");
  EXPECT_EQ(store.Size("shards/1 é.shard"), 1000);
  EXPECT_EQ(store.Size("shards/2.shard"), 0);
  EXPECT_THAT(store.List("shards/"), ElementsAre("shards/1 é.shard", "shards/2.shard"));
  EXPECT_THAT(store.List("none"), IsEmpty());
}

TEST(DirectoryStoreTest, BadReadsNameTheFile) {
  const auto folder = TestFolder("store");
  WriteFile(folder / "a", "12345");
  const DirectoryStore store(folder);
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 3, 3); }),
              AllOf(HasSubstr((folder / "a").string()), HasSubstr("3 bytes from byte 3"),
                    HasSubstr("a file of 5")));
  EXPECT_THAT(ErrorOf([&] { store.Read("b", 0, 1); }), HasSubstr("No such file"));
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 0, -1); }), HasSubstr("found -1 bytes"));
  for (const char* name : {"", "/etc/passwd", "../a", "a/../a", "./a", "a//b", "a/"}) {
    EXPECT_THAT(ErrorOf([&] { store.Read(name, 0, 1); }), HasSubstr("expected the name"));
    EXPECT_THAT(ErrorOf([&] { store.Info(name); }), HasSubstr("expected the name"));
  }
  EXPECT_THAT(ErrorOf([&] { DirectoryStore(folder / "none"); }), HasSubstr("none"));
}

TEST(DirectoryStoreTest, AReplacedFileIsNoticed) {
  const auto folder = TestFolder("store");
  WriteFile(folder / "a", "12345");
  const DirectoryStore store(folder);
  const ObjectInfo before = store.Info("a");
  EXPECT_EQ(store.ReadVersion("a", 0, 2, &before), "12");
  WriteFile(folder / "a", "abcde");
  EXPECT_THROW(store.ReadVersion("a", 0, 2, &before), ObjectChanged);
  const ObjectInfo after = store.Info("a");
  EXPECT_EQ(store.ReadVersion("a", 0, 5, &after), "abcde");
}

TEST(ThrottledStoreTest, GivesWhatLiesBehindIt) {
  auto memory = std::make_shared<MemoryStore>();
  memory->Put("a", RandomBytes(100, 1));
  const ThrottledStore store(memory, 1e-4, 1e8);
  EXPECT_EQ(store.Read("a", 20, 30), memory->Content("a").substr(20, 30));
  EXPECT_EQ(store.Info("a"), memory->Info("a"));
  EXPECT_THAT(store.List(""), ElementsAre("a"));
  EXPECT_THAT(ErrorOf([&] { ThrottledStore(memory, -1, 1); }), HasSubstr("-1"));
}

HttpStoreOptions Impatient() { return {10, 3, 0.001}; }

TEST(HttpStoreTest, ReadsRangesAndLists) {
  const std::string bytes = RandomBytes(100000, 1);
  TestServer server;
  server.http.Get("/lake/shards/1 é%.shard", [&](const auto&, auto& response) {
    response.set_header("ETag", "\"one\"");
    response.set_content(bytes, "application/octet-stream");
  });
  server.http.Get("/lake/index.txt", [&](const auto&, auto& response) {
    response.set_content("shards/2\r\nshards/1\nother\n", "text/plain");
  });
  server.Start();
  const HttpStore store(server.Url() + "/lake/", Impatient());
  const std::string name = "shards/1 é%.shard";
  EXPECT_EQ(store.Size(name), 100000);
  EXPECT_EQ(store.Info(name), store.Info(name));
  Random random(1);
  for (int i = 0; i < 50; ++i) {
    const int64_t offset = random.Below(100000);
    const int64_t length = random.Below(static_cast<uint32_t>(100001 - offset));
    ASSERT_EQ(store.Read(name, offset, length),
              bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(length)));
  }
  EXPECT_EQ(store.Read(name, 0, 100000), bytes);
  EXPECT_THAT(store.List("shards/"), ElementsAre("shards/1", "shards/2"));
  EXPECT_EQ(store.retries(), 0);

  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 20; ++j) {
        const int64_t offset = i * 1000 + j;
        right += store.Read(name, offset, 777) == bytes.substr(static_cast<size_t>(offset), 777);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 120);
}

TEST(HttpStoreTest, MissingObjectsFailAtOnce) {
  TestServer server;
  std::atomic<int> calls{0};
  server.http.set_error_handler([&](const auto&, auto&) { ++calls; });
  server.Start();
  const HttpStore store(server.Url(), Impatient());
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 5, 10); }),
              AllOf(HasSubstr(server.Url() + "/a"), HasSubstr("expected status 206"),
                    HasSubstr("10 bytes from byte 5"), HasSubstr("found 404")));
  EXPECT_THAT(ErrorOf([&] { store.Info("a"); }), HasSubstr("found 404"));
  EXPECT_THAT(ErrorOf([&] { store.List(""); }), HasSubstr("index.txt"));
  EXPECT_EQ(calls, 3);
}

TEST(HttpStoreTest, PassingFailuresAreTriedAgain) {
  TestServer server;
  std::atomic<int> calls{0}, failures{2};
  server.http.Get("/a", [&](const auto&, auto& response) {
    if (calls++ < failures) {
      response.status = 500;
      response.set_content("a long page that explains nothing", "text/html");
    } else {
      response.set_content("0123456789", "application/octet-stream");
    }
  });
  server.Start();
  const HttpStore store(server.Url(), Impatient());
  EXPECT_EQ(store.Read("a", 2, 3), "234");
  EXPECT_EQ(store.retries(), 2);
  calls = 0;
  failures = 3;
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 2, 3); }),
              AllOf(HasSubstr("/a: "), HasSubstr("status 500"), HasSubstr("3 attempts")));
  EXPECT_EQ(calls, 3);
}

TEST(HttpStoreTest, TruncatedAnswersAreTriedAgain) {
  const std::string bytes = RandomBytes(10000, 1);
  TestServer server;
  std::atomic<int> calls{0}, failures{1};
  server.http.Get("/a", [&](const auto&, auto& response) {
    const bool breaks_off = calls++ < failures;
    response.set_content_provider(
        bytes.size(), "application/octet-stream",
        [&bytes, breaks_off](size_t offset, size_t length, httplib::DataSink& sink) {
          if (breaks_off && length < 2000) return false;
          sink.write(bytes.data() + offset, std::min<size_t>(length, 1500));
          return true;
        });
  });
  server.Start();
  const HttpStore store(server.Url(), Impatient());
  EXPECT_EQ(store.Read("a", 100, 5000), bytes.substr(100, 5000));
  EXPECT_EQ(store.retries(), 1);
  calls = 0;
  failures = 100;
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 100, 5000); }),
              AllOf(HasSubstr("expected 5000 bytes"), HasSubstr("breaks off after")));
}

TEST(HttpStoreTest, ChangedObjectsAreNoticed) {
  TestServer server;
  std::string etag = "\"one\"", content = "0123456789";
  server.http.Get("/a", [&](const auto&, auto& response) {
    response.set_header("ETag", etag);
    response.set_content(content, "application/octet-stream");
  });
  server.Start();
  const HttpStore store(server.Url(), Impatient());
  ObjectInfo info = store.Info("a");
  EXPECT_EQ(store.ReadVersion("a", 0, 3, &info), "012");
  etag = "\"two\"";
  EXPECT_THROW(store.ReadVersion("a", 0, 3, &info), ObjectChanged);
  EXPECT_THAT(ErrorOf([&] { store.ReadVersion("a", 0, 3, &info); }),
              AllOf(HasSubstr("changed"), HasSubstr("\"one\""), HasSubstr("\"two\"")));
  EXPECT_EQ(store.Read("a", 0, 3), "012");
  info = store.Info("a");
  EXPECT_EQ(store.ReadVersion("a", 0, 3, &info), "012");
  content += "more";
  EXPECT_THROW(store.ReadVersion("a", 0, 3, &info), ObjectChanged);
  EXPECT_EQ(store.Info("a").size_bytes, 14);
  // Shorter than the range, or than its beginning: another object, not a broken answer.
  info = store.Info("a");
  content = "012";
  const int64_t retries = store.retries();
  EXPECT_THROW(store.ReadVersion("a", 1, 5, &info), ObjectChanged);
  EXPECT_THROW(store.ReadVersion("a", 8, 2, &info), ObjectChanged);
  EXPECT_EQ(store.retries(), retries);
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 1, 5); }),
              HasSubstr("5 bytes from byte 1, found an object of 3"));
}

// A cache in front of a server sees that an object became shorter, and reads it anew.
TEST(HttpStoreTest, ACacheFollowsAnObjectThatShrinks) {
  TestServer server;
  std::string etag = "\"one\"", content = RandomBytes(20'000, 1);
  server.http.Get("/a", [&](const auto&, auto& response) {
    response.set_header("ETag", etag);
    response.set_content(content, "application/octet-stream");
  });
  server.Start();
  const BlockCache cache(std::make_shared<HttpStore>(server.Url(), Impatient()),
                         {4096, 16 * 4096, {}, 0});
  EXPECT_EQ(cache.Read("a", 0, 100), content.substr(0, 100));
  etag = "\"two\"";
  content = RandomBytes(9'000, 2);
  EXPECT_EQ(cache.Read("a", 8'200, 500), content.substr(8'200, 500));
  EXPECT_EQ(cache.Read("a", 0, 100), content.substr(0, 100));
}

TEST(HttpStoreTest, AServerWithoutRangesIsRefused) {
  TestServer server;
  // Answers every range with the whole.
  server.http.set_pre_routing_handler([](const auto& request, auto& response) {
    const_cast<httplib::Request&>(request).ranges.clear();
    response.set_content(std::string(5000, 'x'), "application/octet-stream");
    response.status = 200;
    return httplib::Server::HandlerResponse::Handled;
  });
  server.Start();
  const HttpStore store(server.Url(), Impatient());
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 10, 100); }),
              AllOf(HasSubstr("200"), HasSubstr("serves no ranges")));
  EXPECT_EQ(store.Read("a", 0, 5000), std::string(5000, 'x'));  // which is the whole
}

TEST(HttpStoreTest, NoServerIsOneClearLine) {
  std::string url;
  {
    TestServer server;
    server.Start();
    url = server.Url();
  }
  const HttpStore store(url, Impatient());
  EXPECT_THAT(ErrorOf([&] { store.Read("a", 0, 1); }),
              AllOf(HasSubstr(url + "/a: no answer"), HasSubstr("3 attempts")));
  EXPECT_EQ(store.retries(), 2);
  for (const char* bad : {"", "host:80", "ftp://host/", "http://"}) {
    EXPECT_THAT(ErrorOf([&] { HttpStore(std::string(bad)); }), HasSubstr("expected a URL"));
  }
}

}  // namespace
}  // namespace athanor
