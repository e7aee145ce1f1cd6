// athanor edit ...
#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/semantic_scene.h"
#include "athanor/media/image.h"
#include "athanor/scenes/editing/edit.h"
#include "athanor/scenes/editing/edit_picture.h"
#include "athanor/scenes/editing/selection.h"
#include "athanor/scenes/gaussians/open_scene.h"
#include "athanor/scenes/semantics/query/objects.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// "1,2.5,-3": as many numbers as `count`.
std::vector<double> ParseNumbers(const std::string& flag, std::string_view text, size_t count) {
  std::vector<double> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    double value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    const bool more = stop != end && *stop == ',' && stop + 1 != end;
    if (error != std::errc() || (stop != end && !more)) break;
    numbers.push_back(value);
    at = more ? stop + 1 : stop;
  }
  if (at != end || numbers.size() != count) {
    throw UsageError(
        StrCat(flag, ": expected ", count, " numbers with commas between, found '", text, "'"));
  }
  return numbers;
}

Eigen::Vector3d ParseVector(const std::string& flag, std::string_view text) {
  const std::vector<double> v = ParseNumbers(flag, text, 3);
  return {v[0], v[1], v[2]};
}

// The Gaussians of the objects that a phrase finds, as `semantic query` lists them: the K-th, or
// all for 0.
Rows RowsOfPhrase(const fs::path& scene_path, int64_t time, const std::string& phrase, int object) {
  const SemanticScene scene = OpenSemanticScene(scene_path, {}, {}, "max", time);
  const std::vector<std::string> prompts = {phrase};
  const ScoredPrompts scored =
      ScorePrompts(*scene.fields, scene.encoder.get(), prompts,
                   ChooseNegatives("", scene.fields->first(), scene.encoder.get()));
  const at::Tensor scores = scored.scores.select(1, 0).contiguous();
  ObjectOptions options;
  options.threshold = scored.neutral;
  options.max_objects = std::numeric_limits<int>::max();  // all, as the phrase says
  const std::vector<FoundObject> objects = FindObjects(
      scene.opened.cloud, {scores.data_ptr<float>(), static_cast<size_t>(scores.numel())}, options);
  ATHANOR_CHECK(!objects.empty(), scene.opened.file.string(), ": nothing is '", phrase,
                "': no object is above ", scored.neutral, ", the best Gaussian has ",
                Fixed(scores.max().item<float>(), 3));
  ATHANOR_CHECK(object <= static_cast<int>(objects.size()), scene.opened.file.string(), ": '",
                phrase, "' finds ", objects.size(), " objects, there is no number ", object);
  Rows rows;
  for (size_t k = 0; k < objects.size(); ++k) {
    if (object > 0 && static_cast<size_t>(object) != k + 1) continue;
    rows.insert(rows.end(), objects[k].gaussians.begin(), objects[k].gaussians.end());
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

struct Selector {
  std::string phrase, box, rows_file;
  int object = 0;
  bool hull = false;

  void AddFlags(CLI::App& app) {
    const char* group = "Which Gaussians";
    app.add_option("WHAT", phrase, "what is meant, in words; the scene has to have features")
        ->type_name("TEXT");
    app.add_option("--object", object,
                   "only this one of the objects that the words find, from 1 (default: all)")
        ->check(CLI::Range(1, 1 << 20).description(""))
        ->type_name("N")
        ->group(group);
    app.add_option("--box", box, "those in the box between two corners: X,Y,Z,X,Y,Z")
        ->type_name("NUMBERS")
        ->group(group);
    app.add_option("--rows", rows_file, "those whose numbers stand in this file, one a line")
        ->type_name("PATH")
        ->group(group);
    app.add_flag("--hull", hull, "also what lies within the convex hull of the selection")
        ->group(group);
  }

  Rows Select(const fs::path& path, int64_t time, const OpenedScene& scene) const {
    if (int(!phrase.empty()) + int(!box.empty()) + int(!rows_file.empty()) != 1) {
      throw UsageError("expected one of WHAT, --box and --rows, to say which Gaussians are meant");
    }
    if (object > 0 && phrase.empty()) {
      throw UsageError("--object: expected WHAT, whose objects it numbers");
    }
    Rows rows;
    if (!phrase.empty()) {
      rows = RowsOfPhrase(path, time, phrase, object);
    } else if (!box.empty()) {
      const std::vector<double> v = ParseNumbers("--box", box, 6);
      const Eigen::Vector3d a(v[0], v[1], v[2]), b(v[3], v[4], v[5]);
      rows = RowsInBox(scene.cloud, MakeBox3((a + b) / 2, (a - b).cwiseAbs(), 0));
      ATHANOR_CHECK(!rows.empty(), scene.file.string(), ": no Gaussian lies in ", box);
    } else {
      rows = ReadRows(rows_file, scene.cloud.size());
    }
    return hull ? GrowIntoHull(scene.cloud, rows) : rows;
  }
};

// The features beside a scene; none, with a warning, when they belong to another state of it.
std::optional<SemanticField> FieldOf(const OpenedScene& scene, const char* tag) {
  const fs::path path = SemanticFieldPath(scene.file, tag);
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  try {
    SemanticField field = ReadSemanticField(path);
    field.CheckScene(scene.file, scene.cloud.size(), path.string());
    return field;
  } catch (const Error& problem) {
    LogWarning(StrCat(problem.what(), "; the edited scene gets no features"));
    return std::nullopt;
  }
}

// .splat files have an order of their own, in which rows of features would belong to others.
bool KeepsOrder(const fs::path& scene) {
  if (GaussianFormatFromPath(scene) != GaussianFormat::kSplat) return true;
  LogWarning(StrCat(scene.string(),
                    ": a .splat file reorders Gaussians and gets no features; "
                    ".ply and .spz do"));
  return false;
}

// Gives the edited scene the features of the old one: its Gaussian i was number sources[i].
void WriteFields(const OpenedScene& old_scene, const fs::path& new_scene, const Rows& sources) {
  std::error_code error;
  for (const char* tag : {"", "3d"}) {
    fs::remove(SemanticFieldPath(new_scene, tag), error);  // of an earlier edit
    const std::optional<SemanticField> old_field = FieldOf(old_scene, tag);
    if (!old_field || !KeepsOrder(new_scene)) continue;
    SemanticField field = old_field->TakeRows(at::tensor(sources));
    field.scene_hash = SceneFileHash(new_scene);
    WriteSemanticField(SemanticFieldPath(new_scene, tag), field);
  }
}

// Gives a scene with another one behind it the features of both, as far as they have any.
void WriteFieldsOfBoth(const OpenedScene& scene, const OpenedScene& other,
                       const fs::path& new_scene) {
  std::error_code error;
  for (const char* tag : {"", "3d"}) {
    fs::remove(SemanticFieldPath(new_scene, tag), error);  // of an earlier edit
    const std::optional<SemanticField> first = FieldOf(scene, tag), second = FieldOf(other, tag);
    if ((!first && !second) || !KeepsOrder(new_scene)) continue;
    SemanticField field;
    if (!first) {
      field = second->PrependUnseen(scene.cloud.size());
    } else if (!second) {
      field = first->AppendUnseen(other.cloud.size());
    } else {
      try {
        field = first->Append(*second);
      } catch (const Error& problem) {
        LogWarning(StrCat(problem.what(), "; what was inserted gets no features"));
        field = first->AppendUnseen(other.cloud.size());
      }
    }
    field.scene_hash = SceneFileHash(new_scene);
    WriteSemanticField(SemanticFieldPath(new_scene, tag), field);
  }
}

Rows AllRows(int64_t n) {
  Rows rows(n);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// What all edits share: a scene in, a scene and a picture out.
struct EditArguments {
  fs::path scene, out;
  int64_t time = 0;
  std::string up = "-y";
  Selector selector;

  void AddFlags(CLI::App& app, bool with_selection) {
    AddPath(app, "SCENE", &scene, "folder of a run, or a file (.ply, .splat, .spz)")->required();
    AddPath(app, "-o,--out", &out, "file for the edited scene (.ply, .splat, .spz)")->required();
    if (with_selection) selector.AddFlags(app);
    app.add_option("--time", time, "which time of a scene that moves (params.npz), from 0")
        ->type_name("N");
    app.add_option("--up", up, "which way is up in a bare file, for the picture (default: -y)")
        ->check(CLI::IsMember({"x", "y", "z", "-x", "-y", "-z"}).description(""))
        ->type_name("x|y|z|-x|-y|-z");
  }

  Eigen::Vector3d UpVector() const {
    const char axis = up.back();
    return (up[0] == '-' ? -1 : 1) * Eigen::Vector3d(axis == 'x', axis == 'y', axis == 'z');
  }

  // Writes the scene, and beside it a picture from where `shown`, rows of `shown_in`, are seen
  // best.
  void Write(const OpenedScene& before, const GaussianCloud& after, const GaussianCloud& shown_in,
             const Rows& shown, std::string_view what) const {
    ATHANOR_CHECK(after.size() > 0, out.string(), ": nothing would be left of the scene");
    ATHANOR_CHECK(fs::weakly_canonical(SemanticFieldPath(out)) !=
                      fs::weakly_canonical(SemanticFieldPath(before.file)),
                  out.string(),
                  ": would replace the original, or its features; expected another "
                  "name or folder");
    WriteGaussians(out, after, GaussianFormatFromPath(out));
    const PathView view = FindBestView(shown_in, shown, ViewsOf(before, UpVector()));
    fs::path picture = out;
    picture.replace_extension(".png");
    WriteImage(picture, BeforeAndAfter(before.cloud, after, view, RenderOptionsOf(before.options)));
    std::cout << what << "\nwritten    " << out.string() << ": " << Grouped(after.size())
              << " Gaussians\npicture    " << picture.string() << "\n";
  }
};

std::string CountText(std::string_view done, size_t rows, int64_t all) {
  return StrCat(done, std::string(11 - done.size(), ' '), Grouped(static_cast<int64_t>(rows)),
                " of ", Grouped(all), " Gaussians");
}

// What an edit does with a selection. Returns, for every Gaussian of the changed cloud, which one
// of the old it was.
using Change = std::function<Rows(const Rows& rows, GaussianCloud* cloud)>;

CommandAction SetUpChange(CLI::App& app, std::shared_ptr<EditArguments> arguments, const char* done,
                          Change change) {
  arguments->AddFlags(app, /*with_selection=*/true);
  return [arguments, done, change = std::move(change)] {
    GaussianFormatFromPath(arguments->out);
    const OpenedScene scene = OpenScene(arguments->scene, true, arguments->time);
    const Rows rows = arguments->selector.Select(arguments->scene, arguments->time, scene);
    GaussianCloud edited = scene.cloud;
    const Rows sources = change(rows, &edited);
    arguments->Write(scene, edited, scene.cloud, rows,
                     CountText(done, rows.size(), scene.cloud.size()));
    WriteFields(scene, arguments->out, sources);
    return 0;
  };
}

const std::map<std::string, std::array<float, 3>> kColors = {
    {"black", {0.05f, 0.05f, 0.05f}}, {"white", {0.95f, 0.95f, 0.95f}},
    {"grey", {0.5f, 0.5f, 0.5f}},     {"red", {0.8f, 0.1f, 0.1f}},
    {"orange", {0.95f, 0.5f, 0.1f}},  {"yellow", {0.9f, 0.8f, 0.1f}},
    {"green", {0.15f, 0.6f, 0.2f}},   {"turquoise", {0.2f, 0.75f, 0.75f}},
    {"blue", {0.15f, 0.3f, 0.8f}},    {"purple", {0.5f, 0.2f, 0.7f}},
    {"pink", {0.95f, 0.55f, 0.7f}},   {"brown", {0.45f, 0.28f, 0.15f}},
    {"beige", {0.85f, 0.78f, 0.65f}},
};

// A name, or #rrggbb in hexadecimal digits.
Eigen::Vector3f ParseColor(const std::string& text) {
  const auto named = kColors.find(text);
  if (named != kColors.end()) return Eigen::Vector3f(named->second.data());
  unsigned value = 0;
  const char* end = text.data() + text.size();
  const bool is_hex = text.size() == 7 && text[0] == '#';
  const auto [stop, error] = std::from_chars(text.data() + (is_hex ? 1 : 0), end, value, 16);
  if (!is_hex || error != std::errc() || stop != end) {
    std::string names;
    for (const auto& [name, color] : kColors) names += name + ", ";
    throw UsageError(StrCat("--color: expected ", names, "or #rrggbb, found '", text, "'"));
  }
  const auto channel = [&](int shift) { return static_cast<float>((value >> shift) & 255) / 255; };
  return {channel(16), channel(8), channel(0)};
}

}  // namespace

CommandAction SetUpEditRemove(CLI::App& app) {
  return SetUpChange(app, std::make_shared<EditArguments>(), "removed",
                     [](const Rows& rows, GaussianCloud* cloud) {
                       const Rows others = OtherRows(rows, cloud->size());
                       *cloud = TakeRows(*cloud, others);
                       return others;
                     });
}

CommandAction SetUpEditIsolate(CLI::App& app) {
  return SetUpChange(app, std::make_shared<EditArguments>(), "kept",
                     [](const Rows& rows, GaussianCloud* cloud) {
                       *cloud = TakeRows(*cloud, rows);
                       return rows;
                     });
}

CommandAction SetUpEditRecolor(CLI::App& app) {
  auto color = std::make_shared<std::string>();
  app.add_option("--color", *color, "name of a colour, or #rrggbb")->required();
  return SetUpChange(app, std::make_shared<EditArguments>(), "recoloured",
                     [color](const Rows& rows, GaussianCloud* cloud) {
                       Recolor(ParseColor(*color), rows, cloud);
                       return AllRows(cloud->size());
                     });
}

CommandAction SetUpEditTransform(CLI::App& app) {
  struct Options {
    std::string by = "0,0,0", axis = "0,-1,0";
    double degrees = 0, scale = 1;
    bool copy = false;
  };
  auto options = std::make_shared<Options>();
  OptionList list;
  list.Add("by", &options->by, "how far to move it: X,Y,Z in the scene's units");
  list.Add("degrees", &options->degrees, "how far to turn it about its centre");
  list.Add("axis", &options->axis, "what to turn it about: X,Y,Z of the axis");
  list.Add("scale", &options->scale, "how many times as large to make it, about its centre",
           {.min = 1e-6, .max = 1e6});
  list.Add("copy", &options->copy, "leave the original where it is and change a copy");
  OptionFlags flags(app, std::move(list), false, "Options of the change");
  return SetUpChange(
      app, std::make_shared<EditArguments>(), "moved",
      [options, flags](const Rows& rows, GaussianCloud* cloud) mutable {
        flags.Apply();
        const Eigen::Vector3d axis = ParseVector("--axis", options->axis);
        if (axis.norm() == 0) throw UsageError("--axis: expected a direction, found 0,0,0");
        const Similarity3 change = AboutCenter(
            CenterOf(*cloud, rows),
            Eigen::Quaterniond(Eigen::AngleAxisd(options->degrees * M_PI / 180, axis.normalized())),
            options->scale, ParseVector("--by", options->by));
        Rows changed = rows, sources = AllRows(cloud->size());
        if (options->copy) {
          std::iota(changed.begin(), changed.end(), cloud->size());
          AppendScene(TakeRows(*cloud, rows), cloud);
          sources.insert(sources.end(), rows.begin(), rows.end());
        }
        TransformGaussians(change, changed, cloud);
        return sources;
      });
}

CommandAction SetUpEditInsert(CLI::App& app) {
  struct Options {
    std::string at = "0,0,0", axis = "0,-1,0";
    double degrees = 0, scale = 1;
  };
  auto arguments = std::make_shared<EditArguments>();
  auto other = std::make_shared<fs::path>();
  auto options = std::make_shared<Options>();
  arguments->AddFlags(app, /*with_selection=*/false);
  AddPath(app, "OTHER", other.get(), "the scene to insert: a run or a file")->required();
  OptionList list;
  list.Add("at", &options->at, "where its origin goes: X,Y,Z");
  list.Add("degrees", &options->degrees, "how far to turn it about its origin");
  list.Add("axis", &options->axis, "what to turn it about: X,Y,Z of the axis");
  list.Add("scale", &options->scale, "how many times as large to make it",
           {.min = 1e-6, .max = 1e6});
  OptionFlags flags(app, std::move(list), false, "Options of the insertion");
  return [=]() mutable {
    flags.Apply();
    GaussianFormatFromPath(arguments->out);
    const Eigen::Vector3d axis = ParseVector("--axis", options->axis);
    if (axis.norm() == 0) throw UsageError("--axis: expected a direction, found 0,0,0");
    const OpenedScene scene = OpenScene(arguments->scene, true, arguments->time);
    const OpenedScene added = OpenScene(*other, false);
    GaussianCloud inserted = added.cloud;
    Rows rows = AllRows(inserted.size());
    TransformGaussians(
        {options->scale,
         Eigen::AngleAxisd(options->degrees * M_PI / 180, axis.normalized()).toRotationMatrix(),
         ParseVector("--at", options->at)},
        &inserted);
    GaussianCloud edited = scene.cloud;
    AppendScene(inserted, &edited);
    std::iota(rows.begin(), rows.end(), scene.cloud.size());
    arguments->Write(scene, edited, edited, rows,
                     CountText("inserted", rows.size(), edited.size()));
    WriteFieldsOfBoth(scene, added, arguments->out);
    return 0;
  };
}

}  // namespace athanor
