// One suite for both kinds of queue, and what is each kind's own.
#include "athanor/loop/queue/work_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/loop/queue/queue_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class WorkQueueTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = TestFolder("queue");
    if (GetParam() == "sqlite") {
      where_ = "sqlite:" + (folder_ / "queue.sqlite").string();
    } else if (FindNatsServer().empty()) {
      GTEST_SKIP() << "needs the program nats-server";
    } else {
      broker_ = std::make_unique<NatsBroker>(folder_);
      where_ = "nats:" + broker_->Url();
    }
  }
  std::unique_ptr<WorkQueue> Open(const WorkQueueOptions& options = {}) const {
    return OpenTestQueue(where_, options);
  }

  std::filesystem::path folder_;
  std::unique_ptr<NatsBroker> broker_;
  std::string where_;
};

std::string KindName(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

#ifdef ATHANOR_WITH_NATS
INSTANTIATE_TEST_SUITE_P(Queues, WorkQueueTest, ::testing::Values("sqlite", "nats"), KindName);
#else
INSTANTIATE_TEST_SUITE_P(Queues, WorkQueueTest, ::testing::Values("sqlite"), KindName);
#endif

TEST_P(WorkQueueTest, JobsComeBackAsPublishedAndInOrder) {
  const auto queue = Open();
  const std::map<std::string, std::string> jobs = {
      {"1", std::string("\0\xff\n", 3)}, {"2 ä.b*>/c=41", "text"}, {"3", ""}};
  for (const auto& [id, bytes] : jobs) EXPECT_TRUE(queue->Publish(id, bytes));
  for (const auto& [id, bytes] : jobs) {
    const auto job = queue->Pull(5);
    ASSERT_TRUE(job);
    EXPECT_EQ(job->id, id);
    EXPECT_EQ(job->bytes, bytes);
    EXPECT_EQ(job->attempt, 1);
    EXPECT_TRUE(queue->Extend(*job));
    EXPECT_TRUE(queue->Ack(*job));
    EXPECT_FALSE(queue->Ack(*job));
  }
  EXPECT_FALSE(queue->Pull(0));
  EXPECT_EQ(queue->Counts(), (WorkQueueCounts{0, 0, 3, 0}));
}

TEST_P(WorkQueueTest, AnIdIsPublishedOnce) {
  const auto queue = Open({30, 1});
  EXPECT_TRUE(queue->Publish("a", "first"));
  EXPECT_FALSE(queue->Publish("a", "second"));
  EXPECT_FALSE(Open({30, 1})->Publish("a", "third"));
  auto job = queue->Pull(5);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->bytes, "first");
  EXPECT_FALSE(queue->Publish("a", "while it is leased"));
  EXPECT_TRUE(queue->Ack(*job));
  EXPECT_FALSE(queue->Publish("a", "when it is done"));

  EXPECT_TRUE(queue->Publish("b", ""));
  job = queue->Pull(5);
  ASSERT_TRUE(job);
  EXPECT_TRUE(queue->Nack(*job, "no"));
  EXPECT_FALSE(queue->Publish("b", "when it is dead"));
  EXPECT_FALSE(queue->Pull(0));
  EXPECT_EQ(queue->Counts(), (WorkQueueCounts{0, 0, 1, 1}));
}

TEST_P(WorkQueueTest, ASilentWorkerLosesItsJob) {
  const auto silent = Open({0.4, 5});
  const auto other = Open({0.4, 5});
  EXPECT_TRUE(other->Publish("a", "x"));
  const auto lost = silent->Pull(5);
  ASSERT_TRUE(lost);
  const auto job = other->Pull(60);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->id, "a");
  EXPECT_EQ(job->attempt, 2);
  EXPECT_FALSE(silent->Extend(*lost));
  EXPECT_FALSE(silent->Ack(*lost));
  EXPECT_FALSE(silent->Nack(*lost, "late"));
  EXPECT_EQ(other->Counts().done, 0);
  EXPECT_EQ(other->Counts().dead, 0);
}

TEST_P(WorkQueueTest, AKeptLeaseIsNotLost) {
  const WorkQueueOptions options = {1.5, 5};
  const auto busy = Open(options);
  const auto other = Open(options);
  EXPECT_TRUE(other->Publish("a", "x"));
  const auto job = busy->Pull(5);
  ASSERT_TRUE(job);
  const LeaseKeeper keeper(*busy, *job, options);
  EXPECT_FALSE(other->Pull(2.5));  // for longer than a lease
  EXPECT_FALSE(keeper.is_lost());
  EXPECT_TRUE(busy->Ack(*job));
}

TEST_P(WorkQueueTest, AJobThatKeepsFailingIsADeadLetter) {
  const auto queue = Open({30, 3});
  EXPECT_TRUE(queue->Publish("bad", std::string("b\0d", 3)));
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto job = queue->Pull(5);
    ASSERT_TRUE(job);
    EXPECT_EQ(job->attempt, attempt);
    EXPECT_TRUE(queue->Nack(*job, StrCat("reason ", attempt)));
  }
  EXPECT_FALSE(queue->Pull(0.2));
  EXPECT_EQ(queue->Counts(), (WorkQueueCounts{0, 0, 0, 1}));
  const auto dead = queue->DeadJobs();
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].id, "bad");
  EXPECT_EQ(dead[0].bytes, std::string("b\0d", 3));
  EXPECT_EQ(dead[0].reason, "reason 3");
}

TEST_P(WorkQueueTest, AJobThatKillsItsWorkersIsADeadLetter) {
  const auto queue = Open({0.2, 2});
  EXPECT_TRUE(queue->Publish("deadly", "x"));
  EXPECT_TRUE(queue->Pull(5));
  EXPECT_TRUE(queue->Pull(60));
  for (int i = 0; i < 300 && queue->Counts().dead == 0; ++i) EXPECT_FALSE(queue->Pull(0.1));
  const auto dead = queue->DeadJobs();
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].id, "deadly");
  EXPECT_THAT(dead[0].reason, HasSubstr("lease ran out at attempt 2"));
}

TEST_P(WorkQueueTest, ThreadsShareAQueue) {
  const auto queue = Open();
  constexpr int kJobs = 60;
  std::atomic<int> acks{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < kJobs; ++j) queue->Publish(StrCat((i * 20 + j) % kJobs), "x");
    });
    threads.emplace_back([&] {
      while (acks < kJobs) {
        const auto job = queue->Pull(0.05);
        if (job && queue->Ack(*job)) ++acks;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(acks, kJobs);
  EXPECT_EQ(queue->Counts(), (WorkQueueCounts{0, 0, kJobs, 0}));
}

TEST_P(WorkQueueTest, BadJobsAreRefused) {
  const auto queue = Open();
  EXPECT_THAT(ErrorOf([&] { queue->Publish("", "x"); }), HasSubstr("1 to 128 bytes, found 0"));
  EXPECT_THAT(ErrorOf([&] { queue->Publish(std::string(129, 'x'), "x"); }), HasSubstr("found 129"));
  EXPECT_THAT(ErrorOf([&] { Open({0, 1}); }), HasSubstr("found 0 s and 1"));
}

constexpr int kSharedJobs = 200;

// Jobs shared by processes, and what must hold of them afterwards.
class SharedWork {
 public:
  SharedWork(WorkQueue& queue, const std::filesystem::path& folder, std::string where)
      : queue_(queue), folder_(folder), where_(std::move(where)) {
    MakeFolder(folder / "results");
    MakeFolder(folder / "acks");
  }
  void Publish(int begin, int end) {
    for (int i = begin; i < end; ++i) {
      EXPECT_TRUE(queue_.Publish(StrCat("job-", i), StrCat("bytes of ", i)));
    }
  }
  std::unique_ptr<Child> StartWorker() const {
    return std::make_unique<Child>(
        std::vector<std::string>{ATHANOR_QUEUE_TEST_WORKER, where_, folder_.string(), "2", "10"});
  }
  void WaitForResults(int count) const {
    for (int i = 0; i < 6000; ++i) {
      if (static_cast<int>(ListFiles(folder_ / "results").size()) >= count) return;
      ::usleep(10000);
    }
    FAIL() << "the workers are stuck";
  }
  void ExpectAllDoneOnce() {
    EXPECT_EQ(queue_.Counts(), (WorkQueueCounts{0, 0, kSharedJobs, 0}));
    for (int i = 0; i < kSharedJobs; ++i) {
      std::string expected = StrCat("bytes of ", i);
      std::reverse(expected.begin(), expected.end());
      EXPECT_EQ(ReadFile(folder_ / "results" / StrCat("job-", i)), expected);
    }
    std::set<std::string> acked;
    for (const auto& file : ListFiles(folder_ / "acks")) {
      std::ifstream lines(file);
      for (std::string id; std::getline(lines, id);) {
        EXPECT_TRUE(acked.insert(id).second) << id << " was acknowledged twice";
      }
    }
    // A killed worker may have acknowledged one without having noted it.
    EXPECT_GE(acked.size(), static_cast<size_t>(kSharedJobs - 1));
  }

 private:
  WorkQueue& queue_;
  std::filesystem::path folder_;
  std::string where_;
};

TEST_P(WorkQueueTest, SlowWorkersShareJobsAndOneIsKilled) {
  const auto queue = Open({2, 5});
  SharedWork work(*queue, folder_ / "work", where_);
  work.Publish(0, kSharedJobs);
  auto first = work.StartWorker();
  auto second = work.StartWorker();
  auto third = work.StartWorker();
  work.WaitForResults(40);
  EXPECT_EQ(first->End(SIGKILL), 128 + SIGKILL);
  EXPECT_EQ(second->End(0), 0);
  EXPECT_EQ(third->End(0), 0);
  work.ExpectAllDoneOnce();
}

TEST(SqliteQueueTest, LeasesGoByTheTimeSinceTheBootAndEndWithIt) {
  const auto path = TestFolder("queue") / "queue.sqlite";
  BootTime now = {"monday", 1000};
  const auto clock = [&] { return now; };
  SqliteQueue queue(path, {10, 5}, clock);
  queue.Publish("a", "x");
  auto job = queue.Pull(0);
  ASSERT_TRUE(job);
  now.since_ms += 9999;
  EXPECT_FALSE(queue.Pull(0));
  EXPECT_TRUE(queue.Extend(*job));
  now.since_ms += 9999;
  EXPECT_FALSE(queue.Pull(0));
  EXPECT_EQ(queue.Counts(), (WorkQueueCounts{0, 1, 0, 0}));
  now.since_ms += 1;
  EXPECT_EQ(queue.Counts(), (WorkQueueCounts{1, 0, 0, 0}));
  // Late, but nobody has taken the job: it is still this worker's.
  EXPECT_TRUE(queue.Extend(*job));
  now = {"tuesday", 5};  // less time than the lease began at: only the name of the boot tells
  job = queue.Pull(0);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->attempt, 2);
  EXPECT_TRUE(queue.Ack(*job));
}

TEST(SqliteQueueTest, TheBootsClockRunsOn) {
  const BootTime first = SystemBootTime(), second = SystemBootTime();
  EXPECT_EQ(first.boot, second.boot);
  EXPECT_EQ(first.boot.size(), 36u);  // a UUID
  EXPECT_GE(second.since_ms, first.since_ms);
}

TEST(SqliteQueueTest, AFileThatIsNoQueueIsRefused) {
  const auto path = TestFolder("queue") / "queue.sqlite";
  WriteFile(path, std::string(5000, 'x'));
  EXPECT_THAT(ErrorOf([&] { SqliteQueue queue(path); }), HasSubstr(path.string()));
  EXPECT_THAT(ErrorOf([&] { SqliteQueue queue(path.parent_path() / "none/queue.sqlite"); }),
              HasSubstr("none/queue.sqlite"));
}

#ifdef ATHANOR_WITH_NATS
TEST(NatsQueueTest, SlowABrokerThatRestartsLosesNothingAndWorkersGoOn) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs the program nats-server";
  const auto folder = TestFolder("queue");
  NatsBroker broker(folder / "broker");
  const std::string where = "nats:" + broker.Url();
  const auto queue = OpenTestQueue(where, {2, 5});
  SharedWork work(*queue, folder / "work", where);
  work.Publish(0, 120);
  auto first = work.StartWorker();
  auto second = work.StartWorker();
  work.WaitForResults(30);
  broker.Stop(SIGKILL);
  std::thread publisher([&] { work.Publish(120, kSharedJobs); });  // waits for the broker
  ::usleep(300000);
  broker.Start();
  publisher.join();
  work.WaitForResults(150);
  broker.Stop(SIGTERM);
  broker.Start();
  EXPECT_EQ(first->End(0), 0);
  EXPECT_EQ(second->End(0), 0);
  // One that was there before the restarts, and one that comes now.
  EXPECT_FALSE(queue->Pull(0));
  work.ExpectAllDoneOnce();
}

TEST(NatsQueueTest, ManyMayMakeAQueueAtOnce) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs the program nats-server";
  const NatsBroker broker(TestFolder("nats at once"));
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> errors(4);
    std::vector<std::thread> threads;
    for (std::string& error : errors) {
      threads.emplace_back([&] {
        try {
          NatsQueue(broker.Url(), StrCat("queue-", round)).Publish("job", "bytes");
        } catch (const Error& what) {
          error = what.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& error : errors) EXPECT_EQ(error, "") << round;
    EXPECT_EQ(NatsQueue(broker.Url(), StrCat("queue-", round)).Counts().waiting, 1);
  }
}

TEST(NatsQueueTest, NoBrokerAndBadNamesAreOneClearLine) {
  if (FindNatsServer().empty()) GTEST_SKIP() << "needs the program nats-server";
  std::string url;
  {
    NatsBroker broker(TestFolder("queue"));
    url = broker.Url();
    EXPECT_THAT(ErrorOf([&] { NatsQueue(url, "a.b"); }), HasSubstr("found \"a.b\""));
    const NatsQueue queue(url, "big");
    EXPECT_THAT(ErrorOf([&] { NatsQueue(url, "big").Publish("a", std::string(2 << 20, 'x')); }),
                AllOf(HasSubstr(url), HasSubstr("queue big")));
  }
  EXPECT_THAT(ErrorOf([&] { NatsQueue(url, "test"); }),
              AllOf(HasSubstr(url + ": queue test: cannot connect")));
}
#endif

}  // namespace
}  // namespace athanor
