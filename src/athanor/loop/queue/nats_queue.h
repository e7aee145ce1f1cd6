// A work queue on a NATS server with JetStream (docs.nats.io), for workers on many machines.
//
// Three streams: athanor-NAME-jobs (work-queue retention: a job leaves it when acknowledged),
// athanor-NAME-done and athanor-NAME-dead (one message per id). A broker that restarts loses
// nothing that was published or acknowledged; calls wait for it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/loop/queue/work_queue.h"

namespace athanor {

struct NatsQueueOptions : WorkQueueOptions {
  double patience_s = 60;  // how long a call waits for a broker that does not answer
};

// All that share a queue should give it the same lease: the broker goes by what it was told last.
// A broker cannot tell a job that waits for its next attempt from one that is leased: both count as
// leased. Jobs are at most as large as the broker allows, 1 MB unless it was configured otherwise.
class NatsQueue : public WorkQueue {
 public:
  // "nats://host:4222"; a name of letters, digits, '-' and '_'. Makes the streams when missing.
  // Throws Error, at once when there is no broker to begin with.
  NatsQueue(const std::string& url, const std::string& name, const NatsQueueOptions& options = {});
  ~NatsQueue() override;

  bool Publish(const std::string& id, std::string_view bytes) override;
  std::optional<LeasedJob> Pull(double wait_s) override;
  bool Extend(const LeasedJob& job) override;
  bool Ack(const LeasedJob& job) override;
  bool Nack(const LeasedJob& job, std::string_view reason) override;
  WorkQueueCounts Counts() override;
  std::vector<DeadJob> DeadJobs() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor
