// Other programs, run without a shell, and their words for people who have one.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace athanor {

// Starts arguments[0], found in PATH, and returns its process number. It reads nothing; what it
// prints is added to `log`, or, when that is empty, goes to our standard error. `environment` is
// set for it beside our own variables. Throws Error, ending in `remedy`, when there is no such
// program.
int StartProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log,
                 const std::string& remedy,
                 const std::vector<std::pair<std::string, std::string>>& environment = {});

// Starts it, and waits for it. Returns the exit status; 128 and above for a signal. Throws
// as StartProgram.
int RunProgram(const std::vector<std::string>& arguments, const std::filesystem::path& log,
               const std::string& remedy,
               const std::vector<std::pair<std::string, std::string>>& environment = {});

// What a program said last; "it said nothing".
std::string LastLine(const std::string& text);

// A word as a shell takes it: in quotes when it needs them.
std::string ShellWord(const std::string& word);

}  // namespace athanor
