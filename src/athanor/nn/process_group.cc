#include "athanor/nn/process_group.h"

#include <ATen/ATen.h>

#include "athanor/base/log.h"
#ifdef ATHANOR_HAS_GLOO
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "athanor/base/files.h"
#include "athanor/base/program.h"
#endif

namespace athanor {

#ifndef ATHANOR_HAS_GLOO

struct ProcessGroup::Impl {};
ProcessGroup::~ProcessGroup() = default;
std::unique_ptr<ProcessGroup> ProcessGroup::Lead(const ProcessGroupOptions&) {
  throw Error("process group: this program was built without Gloo (libgloo-dev)");
}
std::unique_ptr<ProcessGroup> ProcessGroup::Follow(const std::string&) {
  return Lead(ProcessGroupOptions());
}
int ProcessGroup::rank() const { return 0; }
int ProcessGroup::size() const { return 1; }
void ProcessGroup::Sum(at::Tensor) {}
void ProcessGroup::Share(at::Tensor) {}
std::string ProcessGroup::Tell(const std::string& text, int) { return text; }

#else

namespace {

using std::chrono::milliseconds;

constexpr const char* kHere = "127.0.0.1";
// A leader may score for long before its followers hear of it again; one that has ended is
// noticed at once.
constexpr auto kLongest = std::chrono::hours(24 * 7);
constexpr auto kMeeting = std::chrono::seconds(60);  // with a leader that is there
constexpr auto kEndOfFollower = std::chrono::seconds(20);

// libtorch's errors carry a stack behind their first line.
std::string FirstLine(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

std::shared_ptr< ::gloo::transport::Device> DeviceFor(bool is_here) {
  if (is_here) return c10d::ProcessGroupGloo::createDeviceForHostname(kHere);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  return interface != nullptr ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                              : c10d::ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

struct ProcessGroup::Impl {
  int rank = 0, size = 1;
  std::filesystem::path log;
  std::vector<pid_t> followers;
  c10::intrusive_ptr<c10d::TCPStore> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;

  std::string Said() const {
    std::error_code error;
    return std::filesystem::is_regular_file(log, error) ? ReadFile(log) : std::string();
  }
  // How a follower has ended, if one has.
  std::string Ended() {
    for (pid_t& pid : followers) {
      int status = 0;
      if (pid == 0 || ::waitpid(pid, &status, WNOHANG) != pid) continue;
      pid = 0;
      return WIFSIGNALED(status) ? StrCat("one of them was ended by signal ", WTERMSIG(status))
                                 : StrCat("one of them ended with status ", WEXITSTATUS(status),
                                          ": ", LastLine(Said()));
    }
    return "";
  }

  void Connect(bool is_here) {
    const auto options = c10d::ProcessGroupGloo::Options::create(kLongest);
    options->devices.push_back(DeviceFor(is_here));
    options->threads = 2;
    group = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
  }

  template <typename Call>
  void Do(const Call& call) {
    try {
      call()->wait(kLongest);
    } catch (const std::exception& error) {
      // What a process says before it ends comes a little later than the end of its connections.
      std::string ended;
      for (int i = 0; i < 20 && rank == 0 && !followers.empty() && ended.empty(); ++i) {
        ended = Ended();
        if (ended.empty()) std::this_thread::sleep_for(milliseconds(50));
      }
      throw GroupLost(StrCat("the group of ", size,
                             " processes is broken: ", ended.empty() ? FirstLine(error) : ended));
    }
  }
};

ProcessGroup::ProcessGroup(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<ProcessGroup> ProcessGroup::Lead(const ProcessGroupOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->size = options.processes;
  impl->log = options.log;
  const bool is_here = options.port == 0;
  c10d::TCPStoreOptions place;
  place.port = static_cast<uint16_t>(options.port);
  place.isServer = true;
  place.waitWorkers = false;
  place.timeout = kMeeting;
  try {
    impl->store = c10::make_intrusive<c10d::TCPStore>(kHere, place);
    const std::string processes = std::to_string(options.processes);
    impl->store->set("processes", {processes.begin(), processes.end()});
  } catch (const std::exception& error) {
    throw Error(StrCat("port ", options.port,
                       ": cannot wait here for other processes: ", FirstLine(error)));
  }
  std::string host = kHere;
  if (!is_here) {
    char name[256] = "host";
    ::gethostname(name, sizeof name - 1);
    host = name;
  }
  const std::string address = StrCat(host, ":", impl->store->getPort());
  std::unique_ptr<ProcessGroup> group(new ProcessGroup(std::move(impl)));
  Impl& mine = *group->impl_;
  for (int i = 1; options.follower && i < options.processes; ++i) {
    mine.followers.push_back(
        StartProgram(options.follower(address), options.log, "it is this program, started anew"));
  }
  if (!options.follower) {
    LogInfo(StrCat("waiting for ", options.processes - 1, " processes at ", address));
  }
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    const int64_t there = mine.store->add("followers", 0);
    if (there >= options.processes - 1) break;
    const std::string ended = mine.Ended();
    ATHANOR_CHECK(ended.empty(), "expected ", options.processes, " processes: ", ended);
    const auto waited = std::chrono::steady_clock::now() - start;
    ATHANOR_CHECK(std::chrono::duration<double>(waited).count() < options.wait_s, address,
                  ": expected ", options.processes - 1, " other processes within ", options.wait_s,
                  " s, found ", there);
    std::this_thread::sleep_for(milliseconds(20));
  }
  try {
    mine.Connect(is_here);
  } catch (const std::exception& error) {
    const std::string ended = mine.Ended();
    throw GroupLost(
        StrCat("cannot reach the other processes: ", ended.empty() ? FirstLine(error) : ended));
  }
  return group;
}

std::unique_ptr<ProcessGroup> ProcessGroup::Follow(const std::string& address) {
  const size_t colon = address.rfind(':');
  const int port = colon == std::string::npos ? 0 : std::atoi(address.c_str() + colon + 1);
  ATHANOR_CHECK(port > 0 && port < 65536, "'", address, "': expected HOST:PORT of a training");
  const std::string host = address.substr(0, colon);
  auto impl = std::make_unique<Impl>();
  c10d::TCPStoreOptions place;
  place.port = static_cast<uint16_t>(port);
  place.waitWorkers = false;
  place.timeout = kMeeting;
  try {
    impl->store = c10::make_intrusive<c10d::TCPStore>(host, place);
    impl->rank = static_cast<int>(impl->store->add("followers", 1));
    const std::vector<uint8_t> processes = impl->store->get("processes");
    impl->size = std::stoi(std::string(processes.begin(), processes.end()));
  } catch (const std::exception& error) {
    throw Error(StrCat(address, ": no training waits there: ", FirstLine(error)));
  }
  ATHANOR_CHECK(impl->rank < impl->size, address, ": the training has all of its ", impl->size,
                " processes");
  try {
    impl->Connect(host == kHere);
  } catch (const std::exception& error) {
    throw GroupLost(StrCat(address, ": cannot reach the other processes: ", FirstLine(error)));
  }
  return std::unique_ptr<ProcessGroup>(new ProcessGroup(std::move(impl)));
}

ProcessGroup::~ProcessGroup() {
  impl_->group.reset();
  impl_->store.reset();
  const auto start = std::chrono::steady_clock::now();
  for (const pid_t pid : impl_->followers) {
    if (pid == 0) continue;
    while (::waitpid(pid, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() - start > kEndOfFollower) ::kill(pid, SIGKILL);
      std::this_thread::sleep_for(milliseconds(10));
    }
  }
}

int ProcessGroup::rank() const { return impl_->rank; }
int ProcessGroup::size() const { return impl_->size; }

void ProcessGroup::Sum(at::Tensor values) {
  std::vector<at::Tensor> list = {values};
  impl_->Do([&] { return impl_->group->allreduce(list); });
}

void ProcessGroup::Share(at::Tensor values) {
  std::vector<at::Tensor> list = {values};
  impl_->Do([&] { return impl_->group->broadcast(list); });
}

std::string ProcessGroup::Tell(const std::string& text, int rank) {
  c10d::BroadcastOptions from;
  from.rootRank = rank;
  const auto share = [&](at::Tensor values) {
    std::vector<at::Tensor> list = {values};
    impl_->Do([&] { return impl_->group->broadcast(list, from); });
  };
  const at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  share(length);
  const auto size = length.item<int64_t>();
  if (size == 0) return "";
  at::Tensor bytes = at::empty({size}, at::kByte);
  if (this->rank() == rank) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  share(bytes);
  return std::string(static_cast<const char*>(bytes.data_ptr()), size);
}

#endif

}  // namespace athanor
