// athanor semantic train-teacher, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "athanor/cli/cli_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(TrainTeacherTest, LearnsFromRoomsAndKeepsHeldOutOnesApart) {
  const fs::path folder = TestFolder("teacher");
  const auto room = [&](const char* seed, const fs::path& out) {
    return std::vector<std::string>{"sim",      "room",     "--images", "2",         "--width",
                                    "96",       "--height", "96",       "--seed",    seed,
                                    "--points", "0",        "-o",       out.string()};
  };
  ASSERT_EQ(Execute(room("1000000", folder / "train")).status, 0);
  ASSERT_EQ(Execute(room("3", folder / "test")).status, 0);
  const auto train = [&](const char* worlds, const char* score, const char* out) {
    return std::vector<std::string>{"semantic",
                                    "train-teacher",
                                    (folder / worlds).string(),
                                    "--score",
                                    (folder / score).string(),
                                    "-o",
                                    (folder / out).string(),
                                    "--steps",
                                    "2",
                                    "--pictures",
                                    "1",
                                    "--crop",
                                    "96",
                                    "--wordnet",
                                    ""};
  };
  const Outcome done = Execute(train("train", "test", "run"));
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("teacher.safetensors"), HasSubstr("2 steps"), HasSubstr("card.md")));
  EXPECT_THAT(ReadFile(folder / "run" / "card.md"), HasSubstr("2 pictures of 1 simulated rooms"));
  EXPECT_TRUE(fs::exists(folder / "run" / "teacher.safetensors"));

  const auto failed = ExecuteAll({train("test", "train", "other"),
                                  train("train", "train", "other"),
                                  {"semantic", "train-teacher", "-o", "x"}});
  EXPECT_EQ(failed[0].status, 1);
  EXPECT_THAT(LastLine(failed[0].err), HasSubstr("seed 3 is held out"));
  EXPECT_EQ(failed[1].status, 1);
  EXPECT_THAT(LastLine(failed[1].err), HasSubstr("is of a training world"));
  EXPECT_EQ(failed[2].status, 2);
}

}  // namespace
}  // namespace athanor
