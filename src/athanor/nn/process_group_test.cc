#include "athanor/nn/process_group.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

#ifdef ATHANOR_HAS_GLOO

ProcessGroupOptions GroupThat(const std::string& what, int processes) {
  ProcessGroupOptions options;
  options.processes = processes;
  options.follower = [what](const std::string& address) {
    return std::vector<std::string>{ATHANOR_FOLLOWER, address, what};
  };
  options.log = TestFolder("process group " + what) / "log.txt";
  return options;
}

TEST(ProcessGroupTest, SumsAreTheSameBitsInAllProcesses) {
  const auto group = ProcessGroup::Lead(GroupThat("works", 3));
  EXPECT_EQ(group->rank(), 0);
  EXPECT_EQ(group->size(), 3);
  const at::Tensor x = at::arange(1000).div(3.0f);
  at::Tensor values = x.pow(0.0);
  const at::Tensor expected = x.to(at::kDouble).pow(1.5) + x.to(at::kDouble).pow(3) + 1;
  group->Sum(values);
  EXPECT_TRUE(at::allclose(values.to(at::kDouble), expected, 1e-5));
  at::Tensor shared = at::tensor({1.0, 2.0, 4.5});
  group->Share(shared);
  EXPECT_EQ(group->Tell(""), "");
  EXPECT_EQ(group->Tell("the leader", 0), "the leader");
  EXPECT_EQ(group->Tell("not heard", 1), "I am 1");
  EXPECT_EQ(group->Tell("not heard", 2), "I am 2");
  EXPECT_EQ(group->Tell("", 2),
            std::string(static_cast<const char*>(values.data_ptr()), values.nbytes()));
  EXPECT_EQ(group->Tell("", 2), "7.500000");
}

TEST(ProcessGroupTest, ALostProcessIsNoticedAtOnce) {
  for (const auto& [what, expected] :
       {std::pair("is killed", "ended by signal 9"),
        std::pair("gives up", "ended with status 1: out of memory")}) {
    const auto group = ProcessGroup::Lead(GroupThat(what, 2));
    try {
      group->Sum(at::zeros({1000}));
      FAIL() << what;
    } catch (const GroupLost& error) {
      EXPECT_THAT(error.what(), HasSubstr(expected));
    }
  }
}

TEST(ProcessGroupTest, SaysWhoDoesNotCome) {
  try {
    ProcessGroup::Lead(GroupThat("never comes", 2));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("expected 2 processes"), HasSubstr("no disk")));
  }
  ProcessGroupOptions alone;
  alone.wait_s = 0.1;
  EXPECT_THAT(
      [&] { ProcessGroup::Lead(alone); },
      testing::ThrowsMessage<Error>(HasSubstr("expected 1 other processes within 0.1 s, found 0")));
  EXPECT_THAT([&] { ProcessGroup::Follow("nowhere"); },
              testing::ThrowsMessage<Error>(HasSubstr("expected HOST:PORT")));
}

#else

TEST(ProcessGroupTest, SaysThatItIsNotThere) {
  EXPECT_THAT([] { ProcessGroup::Lead({}); }, testing::ThrowsMessage<Error>(HasSubstr("Gloo")));
}

#endif

}  // namespace
}  // namespace athanor
