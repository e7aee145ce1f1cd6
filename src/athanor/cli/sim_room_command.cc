// athanor sim room
#include <iostream>

#include "athanor/base/program.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/simulation/rooms/write_room.h"

namespace athanor {

CommandAction SetUpSimRoom(CLI::App& app) {
  struct Arguments {
    std::filesystem::path out;
    SimRoomOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "-o,--out", &arguments->out, "folder for the rooms")->required();
  OptionFlags flags(app, Describe(arguments->options), true, "Options of the rooms");
  app.footer("The same command goes on where it was stopped: finished images are kept.");
  return [arguments, flags]() mutable {
    flags.Apply();
    const auto& [out, options] = *arguments;
    WriteRoomResult result;
    {
      const StopOnSignal stop;
      result = WriteRooms(out, options, [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped after " << result.images << " images; the same command goes on\n";
      return 128 + StopOnSignal::Received();
    }
    const std::filesystem::path first = options.rooms == 1 ? out : out / "room_0000";
    std::cout << "rooms      " << out.string() << ": " << result.rooms << ", "
              << Grouped(result.images) << " images written";
    if (result.kept > 0) std::cout << ", " << Grouped(result.kept) << " kept";
    if (result.images > 0) {
      std::cout << ", " << Fixed(static_cast<double>(result.images) / result.seconds, 1)
                << " images/s";
    }
    std::cout << "\npictures   " << (first / "contact_sheet.png").string() << "\n           "
              << (first / "floor_plan.png").string() << "\nnext       athanor scene reconstruct "
              << ShellWord(first) << " -o " << ShellWord(first / "run") << "\n";
    return 0;
  };
}

}  // namespace athanor
