#include "athanor/base/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::filesystem::path LogPath() {
  return std::filesystem::temp_directory_path() /
         ("athanor program test " + std::to_string(::getpid()));
}

TEST(RunProgramTest, AddsWhatItPrintsAndReturnsItsStatus) {
  const auto log = LogPath();
  std::filesystem::remove(log);
  EXPECT_EQ(RunProgram({"sh", "-c", "echo \"$1\"; echo to stderr >&2; exit 3", "sh", "a 'b' $c"},
                       log, ""),
            3);
  EXPECT_EQ(RunProgram({"sh", "-c", "kill -9 $$"}, log, ""), 128 + 9);
  EXPECT_EQ(RunProgram({"sh", "-c", "echo $HOME-$ATHANOR_TEST"}, log, "",
                       {{"ATHANOR_TEST", "x"}, {"HOME", "y"}}),
            0);
  EXPECT_EQ(ReadFile(log), "a 'b' $c\nto stderr\ny-x\n");
  std::filesystem::remove(log);
}

TEST(ShellWordTest, AShellReadsTheWordBack) {
  const auto log = LogPath();
  std::filesystem::remove(log);
  std::string line = "printf '%s;'", expected;
  for (const char* word : {"plain-1.5,x", "", "two words", "it's", "$HOME", "a\nb", "*;&|<>"}) {
    line += " " + ShellWord(word);
    expected += std::string(word) + ";";
  }
  EXPECT_EQ(RunProgram({"sh", "-c", line}, log, ""), 0);
  EXPECT_EQ(ReadFile(log), expected);
  EXPECT_EQ(ShellWord("plain-1.5,x"), "plain-1.5,x");
  std::filesystem::remove(log);
}

TEST(RunProgramTest, SaysWhatToDoWhenThereIsNoSuchProgram) {
  EXPECT_THAT(ErrorOf([] { RunProgram({"no-such-program"}, LogPath(), "install it"); }),
              AllOf(HasSubstr("'no-such-program'"), HasSubstr("install it")));
  std::filesystem::remove(LogPath());
}

}  // namespace
}  // namespace athanor
