#include "athanor/loop/queue/nats_queue.h"

#include <nats/nats.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int64_t kAnswer_ms = 2000;  // after that a request is made again
constexpr double kPause_s = 0.05;

struct MessageDeleter {
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};
using Message = std::unique_ptr<natsMsg, MessageDeleter>;

std::string_view BytesOf(const Message& message) {
  return {natsMsg_GetData(message.get()),
          static_cast<size_t>(natsMsg_GetDataLength(message.get()))};
}

// What a broker that restarts answers, or does not.
bool IsPassing(natsStatus status) {
  switch (status) {
    case NATS_TIMEOUT:
    case NATS_NO_RESPONDERS:
    case NATS_IO_ERROR:
    case NATS_NO_SERVER:
    case NATS_STALE_CONNECTION:
    case NATS_CONNECTION_DISCONNECTED:
    case NATS_INSUFFICIENT_BUFFER:  // of what is sent once it is there again
      return true;
    default:
      return false;
  }
}

// As one token of a subject: anything but letters, digits, '-' and '_' becomes =XX.
std::string EncodeId(std::string_view id) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string token;
  for (const char c : id) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 128 && std::isalnum(byte) != 0) || c == '-' || c == '_') {
      token += c;
    } else {
      token += {'=', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return token;
}

std::string DecodeId(std::string_view token) {
  std::string id;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '=' && i + 2 < token.size()) {
      id += static_cast<char>(std::stoi(std::string(token.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      id += token[i];
    }
  }
  return id;
}

}  // namespace

struct NatsQueue::State {
  std::string name, url;
  NatsQueueOptions options;
  natsOptions* connection_options = nullptr;
  natsConnection* connection = nullptr;
  jsCtx* stream = nullptr;
  natsSubscription* jobs = nullptr;

  struct Lease {
    Message message;
    Clock::time_point until;
  };
  std::timed_mutex pulling;  // a subscription serves one call at a time
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<Lease>> leases;
  int64_t last_lease = 0;
  std::atomic<uint64_t> tokens{0};

  ~State() {
    leases.clear();
    natsSubscription_Destroy(jobs);
    jsCtx_Destroy(stream);
    natsConnection_Destroy(connection);
    natsOptions_Destroy(connection_options);
  }

  std::string Stream(const char* kind) const { return StrCat("athanor-", name, "-", kind); }
  std::string Subject(const char* kind, std::string_view id) const {
    return StrCat("athanor.", name, ".", kind, ".", EncodeId(id));
  }
  // Names one call of one process, so that its repetitions are known for what they are.
  std::string NewToken() {
    return HexDigits(MixBits(tokens++ + MixBits(static_cast<uint64_t>(::getpid()) << 32 ^ salt)));
  }
  const uint64_t salt = std::random_device()();

  [[noreturn]] void Fail(const std::string& what, natsStatus status, jsErrCode code) const {
    const char* reason = nats_GetLastError(nullptr);
    throw Error(StrCat(url, ": queue ", name, ": ", what, ": ",
                       reason != nullptr && *reason != 0 ? reason : natsStatus_GetText(status),
                       code != 0 ? StrCat(" (JetStream ", static_cast<int>(code), ")") : ""));
  }
  // Calls `request` until its status is one that repeating would not change.
  natsStatus Persist(const std::string& what, jsErrCode* code,
                     const std::function<natsStatus(jsErrCode*)>& request) const {
    const auto until = Clock::now() + Seconds(options.patience_s);
    while (true) {
      *code = jsErrCode{};
      const natsStatus status = request(code);
      if (!IsPassing(status)) return status;
      if (Clock::now() >= until) Fail(what, status, *code);
      nats_Sleep(static_cast<int64_t>(kPause_s * 1000));
    }
  }
  void MustPersist(const std::string& what,
                   const std::function<natsStatus(jsErrCode*)>& request) const {
    jsErrCode code{};
    const natsStatus status = Persist(what, &code, request);
    if (status != NATS_OK) Fail(what, status, code);
  }

  // False when there is a message of this subject already; `token` tells ours from another's.
  bool PublishNew(const std::string& subject, std::string_view bytes, const std::string& token) {
    jsPubOptions publish;
    jsPubOptions_Init(&publish);
    publish.MsgId = token.c_str();
    publish.ExpectNoMessage = true;
    jsErrCode code{};
    const natsStatus status = Persist("cannot publish " + subject, &code, [&](jsErrCode* error) {
      return js_Publish(nullptr, stream, subject.c_str(), bytes.data(),
                        static_cast<int>(bytes.size()), &publish, error);
    });
    if (status == NATS_OK) return true;
    if (code != JSStreamWrongLastSequenceErr) Fail("cannot publish " + subject, status, code);
    return false;
  }
  // The message of this subject; null when there is none.
  Message Find(const char* kind, std::string_view id) const {
    const std::string stream_name = Stream(kind), subject = Subject(kind, id);
    natsMsg* found = nullptr;
    jsErrCode code{};
    const natsStatus status = Persist("cannot look up " + subject, &code, [&](jsErrCode* error) {
      return js_GetLastMsg(&found, stream, stream_name.c_str(), subject.c_str(), nullptr, error);
    });
    if (status == NATS_NOT_FOUND || code == JSNoMessageFoundErr) return nullptr;
    if (status != NATS_OK) Fail("cannot look up " + subject, status, code);
    return Message(found);
  }
  bool IsOver(std::string_view id) const {
    return Find("done", id) != nullptr || Find("dead", id) != nullptr;
  }
  void Remove(const Message& message) const {
    MustPersist("cannot acknowledge", [&](jsErrCode* error) {
      const natsStatus status = natsMsg_AckSync(message.get(), nullptr, error);
      // Acknowledged already, by an attempt whose answer was lost.
      return status == NATS_ILLEGAL_STATE ? NATS_OK : status;
    });
  }
  void Bury(std::string_view id, std::string_view reason, const Message& message) {
    std::string letter(reason);
    std::replace(letter.begin(), letter.end(), '\0', ' ');
    letter += '\0';
    letter += BytesOf(message);
    PublishNew(Subject("dead", id), letter, NewToken());
    Remove(message);
  }

  // The lease, if it holds; forgotten when `ends`.
  std::shared_ptr<Lease> FindLease(const LeasedJob& job, bool ends) {
    const std::lock_guard lock(mutex);
    const auto found = leases.find(job.lease);
    if (found == leases.end()) return nullptr;
    std::shared_ptr<Lease> lease = found->second;
    const bool holds = Clock::now() < lease->until;
    if (ends || !holds) leases.erase(found);
    return holds ? lease : nullptr;
  }

  void MakeStream(const char* kind, jsRetentionPolicy retention) const {
    const std::string stream_name = Stream(kind),
                      subject = StrCat("athanor.", name, ".", kind, ".*");
    const char* subjects[] = {subject.c_str()};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = stream_name.c_str();
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Retention = retention;
    config.Storage = js_FileStorage;
    MustPersist("cannot make the stream " + stream_name, [&](jsErrCode* error) {
      natsStatus status = js_AddStream(nullptr, stream, &config, nullptr, error);
      // Another process is making it just now: the broker knows its subjects before its name.
      for (int i = 0; i < 100 && *error == JSStreamSubjectOverlapErr; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        *error = {};
        status = js_AddStream(nullptr, stream, &config, nullptr, error);
      }
      // There, made with other settings by whoever runs the broker.
      return *error == JSStreamNameExistErr ? NATS_OK : status;
    });
  }
  uint64_t CountMessages(const char* kind) const {
    const std::string stream_name = Stream(kind);
    jsStreamInfo* info = nullptr;
    MustPersist("cannot count", [&](jsErrCode* error) {
      return js_GetStreamInfo(&info, stream, stream_name.c_str(), nullptr, error);
    });
    const uint64_t count = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return count;
  }
};

NatsQueue::NatsQueue(const std::string& url, const std::string& name,
                     const NatsQueueOptions& options)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.name = name;
  state.url = url;
  state.options = options;
  CheckWorkQueueOptions(options, url);
  ATHANOR_CHECK(!name.empty() && name.size() <= 64 && EncodeId(name) == name, url,
                ": expected a queue's name of up to 64 letters, digits, '-' and '_', found \"",
                name, "\"");
  const auto must = [&](natsStatus status, const char* what) {
    if (status != NATS_OK) state.Fail(what, status, jsErrCode{});
  };
  must(natsOptions_Create(&state.connection_options), "cannot connect");
  must(natsOptions_SetURL(state.connection_options, url.c_str()), "cannot connect");
  must(natsOptions_SetMaxReconnect(state.connection_options, -1), "cannot connect");
  must(natsOptions_SetReconnectWait(state.connection_options, 100), "cannot connect");
  must(natsConnection_Connect(&state.connection, state.connection_options), "cannot connect");
  jsOptions stream_options;
  jsOptions_Init(&stream_options);
  stream_options.Wait = kAnswer_ms;
  must(natsConnection_JetStream(&state.stream, state.connection, &stream_options),
       "cannot use JetStream");
  state.MakeStream("jobs", js_WorkQueuePolicy);
  state.MakeStream("done", js_LimitsPolicy);
  state.MakeStream("dead", js_LimitsPolicy);

  const std::string jobs = state.Stream("jobs");
  jsConsumerConfig consumer;
  jsConsumerConfig_Init(&consumer);
  consumer.Durable = "workers";
  consumer.AckPolicy = js_AckExplicit;
  consumer.AckWait = static_cast<int64_t>(options.lease_s * 1e9);
  consumer.MaxAckPending = 1 << 16;
  state.MustPersist("cannot make the consumer", [&](jsErrCode* error) {
    return js_AddConsumer(nullptr, state.stream, jobs.c_str(), &consumer, nullptr, error);
  });
  jsSubOptions subscribe;
  jsSubOptions_Init(&subscribe);
  subscribe.Stream = jobs.c_str();
  subscribe.Consumer = "workers";
  state.MustPersist("cannot subscribe", [&](jsErrCode* error) {
    return js_PullSubscribe(&state.jobs, state.stream, nullptr, nullptr, nullptr, &subscribe,
                            error);
  });
}

NatsQueue::~NatsQueue() = default;

bool NatsQueue::Publish(const std::string& id, std::string_view bytes) {
  CheckJobId(id, state_->url);
  if (state_->IsOver(id)) return false;
  return state_->PublishNew(state_->Subject("jobs", id), bytes, state_->NewToken());
}

std::optional<LeasedJob> NatsQueue::Pull(double wait_s) {
  State& state = *state_;
  const auto until =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(std::max(wait_s, 0.02)));
  const std::unique_lock turn(state.pulling, until);
  if (!turn.owns_lock()) return std::nullopt;
  while (true) {
    const auto left_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    natsMsgList list = {};
    jsErrCode code{};
    // The lease counts from before the broker grants it.
    Clock::time_point granted = Clock::now();
    const natsStatus status = natsSubscription_Fetch(
        &list, state.jobs, 1, std::clamp<int64_t>(left_ms, 20, kAnswer_ms), &code);
    if (status != NATS_OK) {
      if (!IsPassing(status)) state.Fail("cannot pull", status, code);
      if (Clock::now() >= until) return std::nullopt;
      if (status != NATS_TIMEOUT) nats_Sleep(static_cast<int64_t>(kPause_s * 1000));
      continue;
    }
    Message message(std::exchange(list.Msgs[0], nullptr));
    natsMsgList_Destroy(&list);
    // It may have come in long ago, after an earlier call had stopped waiting: the lease begins
    // anew.
    if (natsMsg_InProgress(message.get(), nullptr) == NATS_OK) granted = Clock::now();

    jsMsgMetaData* about = nullptr;
    if (natsMsg_GetMetaData(&about, message.get()) != NATS_OK) {
      state.Fail("a job without JetStream's particulars", NATS_ERR, jsErrCode{});
    }
    const auto attempt = static_cast<int>(about->NumDelivered);
    jsMsgMetaData_Destroy(about);
    const std::string_view subject = natsMsg_GetSubject(message.get());
    const std::string id = DecodeId(subject.substr(subject.rfind('.') + 1));
    // Whoever did it died before the job was taken away, or it was published once more meanwhile.
    if (state.IsOver(id)) {
      state.Remove(message);
      continue;
    }
    if (attempt > state.options.attempts) {
      state.Bury(id, StrCat("its lease ran out at attempt ", attempt - 1), message);
      continue;
    }
    LeasedJob job = {id, std::string(BytesOf(message)), attempt, 0};
    const std::lock_guard lock(state.mutex);
    job.lease = ++state.last_lease;
    auto lease = std::make_shared<State::Lease>();
    lease->message = std::move(message);
    lease->until =
        granted + std::chrono::duration_cast<Clock::duration>(Seconds(state.options.lease_s));
    state.leases[job.lease] = std::move(lease);
    return job;
  }
}

bool NatsQueue::Extend(const LeasedJob& job) {
  const auto lease = state_->FindLease(job, /*ends=*/false);
  if (lease == nullptr) return false;
  const auto now = Clock::now();
  const natsStatus status = natsMsg_InProgress(lease->message.get(), nullptr);
  if (status != NATS_OK && !IsPassing(status)) {
    state_->Fail(StrCat("cannot extend the lease of ", job.id), status, jsErrCode{});
  }
  if (status == NATS_OK) {
    const std::lock_guard lock(state_->mutex);
    lease->until =
        now + std::chrono::duration_cast<Clock::duration>(Seconds(state_->options.lease_s));
  }
  return true;
}

bool NatsQueue::Ack(const LeasedJob& job) {
  State& state = *state_;
  const auto lease = state.FindLease(job, /*ends=*/true);
  if (lease == nullptr) return false;
  const std::string token = state.NewToken();
  bool is_ours = state.PublishNew(state.Subject("done", job.id), token, token);
  if (!is_ours) {
    const Message done = state.Find("done", job.id);
    is_ours = done != nullptr && BytesOf(done) == token;
  }
  state.Remove(lease->message);
  return is_ours;
}

bool NatsQueue::Nack(const LeasedJob& job, std::string_view reason) {
  State& state = *state_;
  const auto lease = state.FindLease(job, /*ends=*/true);
  if (lease == nullptr) return false;
  if (job.attempt >= state.options.attempts) {
    state.Bury(job.id, reason, lease->message);
    return true;
  }
  state.MustPersist("cannot give back " + job.id,
                    [&](jsErrCode*) { return natsMsg_Nak(lease->message.get(), nullptr); });
  state.MustPersist("cannot give back " + job.id, [&](jsErrCode*) {
    return natsConnection_FlushTimeout(state.connection, kAnswer_ms);
  });
  return true;
}

WorkQueueCounts NatsQueue::Counts() {
  State& state = *state_;
  const std::string jobs = state.Stream("jobs");
  jsConsumerInfo* info = nullptr;
  state.MustPersist("cannot count", [&](jsErrCode* error) {
    return js_GetConsumerInfo(&info, state.stream, jobs.c_str(), "workers", nullptr, error);
  });
  WorkQueueCounts counts;
  counts.waiting = static_cast<int64_t>(info->NumPending);
  counts.leased = info->NumAckPending;
  jsConsumerInfo_Destroy(info);
  counts.done = static_cast<int64_t>(state.CountMessages("done"));
  counts.dead = static_cast<int64_t>(state.CountMessages("dead"));
  return counts;
}

std::vector<DeadJob> NatsQueue::DeadJobs() {
  State& state = *state_;
  const std::string stream_name = state.Stream("dead");
  std::vector<DeadJob> jobs;
  const auto count = state.CountMessages("dead");
  for (uint64_t sequence = 1; sequence <= count; ++sequence) {
    natsMsg* found = nullptr;
    jsErrCode code{};
    const natsStatus status =
        state.Persist("cannot read the dead letters", &code, [&](jsErrCode* error) {
          return js_GetMsg(&found, state.stream, stream_name.c_str(), sequence, nullptr, error);
        });
    if (status == NATS_NOT_FOUND || code == JSNoMessageFoundErr) continue;
    if (status != NATS_OK) state.Fail("cannot read the dead letters", status, code);
    const Message message(found);
    const std::string_view subject = natsMsg_GetSubject(message.get());
    const std::string_view letter = BytesOf(message);
    const size_t end = std::min(letter.find('\0'), letter.size());
    jobs.push_back({DecodeId(subject.substr(subject.rfind('.') + 1)),
                    std::string(letter.substr(std::min(end + 1, letter.size()))),
                    std::string(letter.substr(0, end))});
  }
  std::sort(jobs.begin(), jobs.end(),
            [](const DeadJob& a, const DeadJob& b) { return a.id < b.id; });
  return jobs;
}

}  // namespace athanor
