// A web server for tests.
#pragma once

#include <gtest/gtest.h>
#include <httplib.h>

#include <string>
#include <thread>

#include "athanor/base/error.h"

namespace athanor {

// A server on a free port of this machine alone.
class TestServer {
 public:
  httplib::Server http;

  void Start() {
    port_ = http.bind_to_any_port("127.0.0.1");
    ASSERT_GT(port_, 0);
    thread_ = std::thread([this] { http.listen_after_bind(); });
    while (!http.is_running()) std::this_thread::yield();
  }
  std::string Url() const { return StrCat("http://127.0.0.1:", port_); }
  ~TestServer() {
    http.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  int port_ = 0;
  std::thread thread_;
};

}  // namespace athanor
