#include "athanor/datasets/colmap_program.h"

#include <sqlite3.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iomanip>
#include <map>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/log.h"
#include "athanor/base/program.h"
#include "athanor/datasets/colmap_reader.h"
#include "athanor/datasets/colmap_writer.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

uint64_t FileSize(const fs::path& path) {
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  ATHANOR_CHECK(!error, path.string(), ": cannot read: ", error.message());
  return size;
}

void Remove(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  ATHANOR_CHECK(!error, path.string(), ": cannot remove: ", error.message());
}

// What the program said last, before a stack trace.
std::string LastLine(const fs::path& log_path) {
  const std::string log = ReadFile(log_path);
  TextLines lines(log, "");
  std::string last = "nothing";
  while (lines.NextRecord()) {
    const std::string line(lines.rest());
    const std::string_view first = lines.Field();
    if (first != "@" && first != "***") last = line;
  }
  return last.substr(0, 300);
}

// The steps of one run in `folder`. Each step's marker holds a hash of its command line and of all
// that came before, so that a step is done again when anything it depends on has changed.
class Steps {
 public:
  // Throws Error when the folder holds such files as a run writes that none has written.
  Steps(const fs::path& folder, std::string_view inputs)
      : folder_(folder), hash_(HashBytes(inputs)) {
    for (const char* name : {"database.db", "models", "sparse"}) {
      ATHANOR_CHECK(Exists(folder_ / "steps") || !Exists(folder_ / name), folder_.string(),
                    ": expected an empty folder or that of an earlier run, found another's ", name);
    }
    MakeFolder(folder_ / "steps");
  }

  fs::path log_path() const { return folder_ / "colmap.log"; }

  // Runs the command, which makes `output`, unless it was finished before. `prepare` undoes what an
  // interrupted or outdated run left.
  template <typename F>
  void Run(const std::string& what, const std::vector<std::string>& command, const fs::path& output,
           F&& prepare) {
    for (const std::string& argument : command) hash_ = HashBytes(argument, hash_);
    const fs::path marker = folder_ / "steps" / command[1];
    if (Exists(output) && Exists(marker) && ReadFile(marker) == HexDigits(hash_)) {
      LogInfo(StrCat("colmap: ", what, " is already done"));
      return;
    }
    Remove(marker);
    prepare();
    LogInfo(StrCat("colmap: ", what, " (log: ", log_path().string(), ")"));
    const int status =
        RunProgram(command, log_path(),
                   "COLMAP must be installed to find camera poses (apt-get install colmap)",
                   // COLMAP is linked with Qt, which looks for a display otherwise.
                   {{"QT_QPA_PLATFORM", "offscreen"}});
    ATHANOR_CHECK(status == 0, "colmap ", command[1], ": ", what, " failed with exit status ",
                  status, "; it said: ", LastLine(log_path()), "; log: ", log_path().string());
    WriteFile(marker, HexDigits(hash_));
  }

 private:
  fs::path folder_;
  uint64_t hash_;
};

void CheckOptions(const ColmapOptions& options) {
  ATHANOR_CHECK(options.matcher == "exhaustive" || options.matcher == "sequential",
                "matcher: expected exhaustive or sequential, found ", Quoted(options.matcher));
  ATHANOR_CHECK(CameraModelFromName(options.camera_model),
                "camera model: ", Quoted(options.camera_model), " is not one that Athanor reads");
  ATHANOR_CHECK(options.max_image_side_px >= 64, "max_image_side_px: expected at least 64, found ",
                options.max_image_side_px);
}

// Paths below the folder, sorted.
std::vector<fs::path> FindPhotographs(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> folders = {folder};
  fs::recursive_directory_iterator entries(folder, error);
  ATHANOR_CHECK(!error, folder.string(), ": cannot list the folder: ", error.message());
  for (; entries != fs::end(entries); entries.increment(error)) {
    // Links to folders are not followed: one may lead back here.
    if (entries->is_directory(error) && !entries->is_symlink(error)) {
      folders.push_back(entries->path());
    }
  }
  std::vector<fs::path> found;
  for (const fs::path& place : folders) {
    for (const fs::path& path : ListFiles(place, {".png", ".jpg", ".jpeg"})) {
      found.push_back(path.lexically_relative(folder));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Finds and matches features into database.db. `camera_arguments` says what is known of the
// cameras.
void FindMatches(Steps& steps, const fs::path& folder, const fs::path& images_folder,
                 const std::vector<std::string>& camera_arguments, const ColmapOptions& options) {
  const std::string database = (folder / "database.db").string();
  std::vector<std::string> extract = {options.program,
                                      "feature_extractor",
                                      "--database_path",
                                      database,
                                      "--image_path",
                                      images_folder.string(),
                                      "--image_list_path",
                                      (folder / "image_list.txt").string(),
                                      "--SiftExtraction.use_gpu",
                                      "0",
                                      "--SiftExtraction.max_image_size",
                                      StrCat(options.max_image_side_px)};
  extract.insert(extract.end(), camera_arguments.begin(), camera_arguments.end());
  steps.Run("finding features", extract, database, [&] {
    for (const char* suffix : {"", "-shm", "-wal"}) Remove(database + suffix);
  });
  // Pairs that an interrupted run matched are in the database and are not matched again.
  steps.Run("matching features",
            {options.program, options.matcher + "_matcher", "--database_path", database,
             "--SiftMatching.use_gpu", "0"},
            database, [] {});
}

// The numbers that COLMAP gave the images, by name. They are not in the order of the names:
// features are found on several threads.
std::map<std::string, int64_t> ReadImageIds(const fs::path& database_path) {
  sqlite3* database = nullptr;
  sqlite3_stmt* query = nullptr;
  std::map<std::string, int64_t> ids;
  int status = sqlite3_open_v2(database_path.c_str(), &database, SQLITE_OPEN_READONLY, nullptr);
  if (status == SQLITE_OK) {
    status = sqlite3_prepare_v2(database, "SELECT name, image_id FROM images", -1, &query, nullptr);
  }
  if (status == SQLITE_OK) {
    while ((status = sqlite3_step(query)) == SQLITE_ROW) {
      const auto* name = reinterpret_cast<const char*>(sqlite3_column_text(query, 0));
      if (name != nullptr) ids[name] = sqlite3_column_int64(query, 1);
    }
  }
  const std::string reason = sqlite3_errmsg(database);
  sqlite3_finalize(query);
  sqlite3_close(database);
  ATHANOR_CHECK(status == SQLITE_DONE, database_path.string(),
                ": cannot read COLMAP's images: ", reason);
  return ids;
}

// The model folder with the most images; empty when there is none.
fs::path LargestModel(const fs::path& models_folder, size_t* num_images) {
  fs::path largest;
  *num_images = 0;
  for (const auto& entry : fs::directory_iterator(models_folder)) {
    if (!IsColmapModel(entry.path())) continue;
    const fs::path images = entry.path() / "images.bin";
    const size_t count =
        ParseColmapImages(ReadFile(images), images.string(), ColmapEncoding::kBinary).size();
    if (count > *num_images || (count == *num_images && entry.path() < largest)) {
      *num_images = count;
      largest = entry.path();
    }
  }
  return largest;
}

void LinkTo(const fs::path& link, const fs::path& target) {
  std::error_code error;
  if (fs::equivalent(link, target, error)) return;
  ATHANOR_CHECK(!fs::exists(link, error) || fs::is_symlink(link, error), link.string(),
                ": expected a link to ", target.string(), " or nothing, found other files");
  Remove(link);
  fs::create_symlink(target, link, error);
  ATHANOR_CHECK(!error, link.string(), ": cannot link to ", target.string(), ": ", error.message());
}

}  // namespace

PosedImages ImportImages(const fs::path& images_folder, const fs::path& out_folder,
                         const ColmapOptions& options) {
  CheckOptions(options);
  const fs::path images = fs::absolute(images_folder).lexically_normal();
  const fs::path out = fs::absolute(out_folder).lexically_normal();
  const std::vector<fs::path> photographs = FindPhotographs(images);
  ATHANOR_CHECK(photographs.size() >= 2, images_folder.string(),
                ": expected at least 2 PNG or JPEG files, found ", photographs.size());
  MakeFolder(out);
  std::string list;
  std::string inputs;
  for (const fs::path& path : photographs) {
    list += path.string() + "\n";
    inputs += StrCat(path.string(), "\n", FileSize(images / path), "\n");
  }
  WriteFile(out / "image_list.txt", list);

  Steps steps(out, inputs);
  FindMatches(steps, out, images,
              {"--ImageReader.camera_model", options.camera_model, "--ImageReader.single_camera",
               options.single_camera ? "1" : "0"},
              options);
  const fs::path models = out / "models";
  // Captures of a few photographs are models too.
  steps.Run(
      "finding poses",
      {options.program, "mapper", "--database_path", (out / "database.db").string(), "--image_path",
       images.string(), "--output_path", models.string(), "--Mapper.min_model_size", "3"},
      models, [&] {
        Remove(models);
        MakeFolder(models);
      });
  size_t placed = 0;
  const fs::path largest = LargestModel(models, &placed);
  ATHANOR_CHECK(!largest.empty(), images_folder.string(),
                ": COLMAP could not place the photographs; log: ", steps.log_path().string());
  if (placed < photographs.size()) {
    LogWarning(StrCat("colmap: ", placed, " of ", photographs.size(),
                      " photographs could be placed; the others are left out"));
  }
  LinkTo(out / "images", images);
  Remove(out / "sparse");
  MakeFolder(out / "sparse");
  std::error_code error;
  fs::copy(largest, out / "sparse" / "0", error);
  ATHANOR_CHECK(!error, (out / "sparse" / "0").string(),
                ": cannot copy the model: ", error.message());
  return ReadPosedImages(out);
}

PosedImages TriangulateFromPoses(const PosedImages& posed, const fs::path& out_folder,
                                 const ColmapOptions& options) {
  CheckOptions(options);
  ATHANOR_CHECK(posed.images.size() >= 2, posed.source,
                ": expected at least 2 images to triangulate points, found ", posed.images.size());
  const fs::path out = fs::absolute(out_folder).lexically_normal();
  // COLMAP wants all photographs in one folder; links with plain names serve whatever the names and
  // places of the photographs.
  const fs::path images = out / "linked_images";
  MakeFolder(images);
  PosedImages known = posed;
  known.points.clear();
  std::string list;
  std::string inputs;
  for (const Camera& camera : known.cameras) {
    inputs += CameraModelName(camera.model);
    for (const double value : camera.parameters)
      inputs += StrCat(HexDigits(std::bit_cast<uint64_t>(value)), "\n");
  }
  for (size_t i = 0; i < known.images.size(); ++i) {
    PosedImage& image = known.images[i];
    inputs +=
        StrCat(image.image_path.string(), "\n", FileSize(image.image_path), "\n", image.camera);
    for (const double value : image.camera_from_world.ToMatrix().reshaped()) {
      inputs += HexDigits(std::bit_cast<uint64_t>(value));
    }
    std::ostringstream name;
    name << std::setw(6) << std::setfill('0') << i << image.image_path.extension().string();
    image.name = name.str();
    LinkTo(images / image.name, fs::absolute(image.image_path).lexically_normal());
    list += image.name + "\n";
  }
  WriteFile(out / "image_list.txt", list);

  Steps steps(out, inputs);
  std::vector<std::string> camera_arguments;
  if (posed.cameras.size() == 1) {
    std::ostringstream parameters;
    parameters << std::setprecision(17);
    const Camera& camera = posed.cameras[0];
    for (int k = 0; k < NumCameraParameters(camera.model); ++k) {
      parameters << (k == 0 ? "" : ",") << camera.parameters[k];
    }
    camera_arguments = {"--ImageReader.single_camera", "1",
                        "--ImageReader.camera_model",  std::string(CameraModelName(camera.model)),
                        "--ImageReader.camera_params", parameters.str()};
  }
  FindMatches(steps, out, images, camera_arguments, options);

  // The model must number the images as the database does: from 1, without gaps.
  const std::map<std::string, int64_t> ids = ReadImageIds(out / "database.db");
  std::vector<PosedImage> ordered(known.images.size());
  for (PosedImage& image : known.images) {
    const auto id = ids.find(image.name);
    ATHANOR_CHECK(id != ids.end() && ids.size() == ordered.size() && id->second >= 1 &&
                      id->second <= static_cast<int64_t>(ordered.size()),
                  image.image_path.string(),
                  ": COLMAP could not read the photograph; log: ", steps.log_path().string());
    ordered[id->second - 1] = std::move(image);
  }
  known.images = std::move(ordered);
  const fs::path known_folder = out / "known_poses";
  WriteColmapModel(known_folder, known, ColmapEncoding::kText);
  const fs::path model = out / "sparse" / "0";
  steps.Run("triangulating points",
            {options.program, "point_triangulator", "--database_path",
             (out / "database.db").string(), "--image_path", images.string(), "--input_path",
             known_folder.string(), "--output_path", model.string()},
            model, [&] {
              Remove(model);
              MakeFolder(model);
            });
  PosedImages with_points = posed;
  with_points.points = ReadColmap(model, images).points;
  ATHANOR_CHECK(!with_points.points.empty(), posed.source,
                ": COLMAP triangulated no point; log: ", steps.log_path().string());
  return with_points;
}

}  // namespace athanor
