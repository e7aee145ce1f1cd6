#include "athanor/simulation/traffic/xml.h"

#include <expat.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr int kMaxDepth = 64;

struct Visit {
  XML_Parser parser;
  std::string_view file;
  const std::function<void(const XmlElement&)>* visit;
  int depth = 0;
  // Exceptions must not fly through expat's C frames.
  std::exception_ptr failure;
};

void Stop(Visit* visit) {
  visit->failure = std::current_exception();
  XML_StopParser(visit->parser, XML_FALSE);
}

int Line(const Visit& visit) { return static_cast<int>(XML_GetCurrentLineNumber(visit.parser)); }

void OnStart(void* data, const char* name, const char** attributes) {
  auto* visit = static_cast<Visit*>(data);
  if (visit->failure) return;
  try {
    ATHANOR_CHECK(visit->depth < kMaxDepth, visit->file, ": line ", Line(*visit),
                  ": elements nest deeper than ", kMaxDepth);
    (*visit->visit)(XmlElement(visit->file, name, attributes, Line(*visit), visit->depth));
  } catch (...) {
    Stop(visit);
  }
  ++visit->depth;
}

void OnEnd(void* data, const char*) { --static_cast<Visit*>(data)->depth; }

void OnEntity(void* data, const char* name, int, const char*, int, const char*, const char*,
              const char*, const char*) {
  auto* visit = static_cast<Visit*>(data);
  try {
    throw Error(StrCat(visit->file, ": line ", Line(*visit), ": defines an entity '", name,
                       "'; expected plain XML"));
  } catch (...) {
    Stop(visit);
  }
}

}  // namespace

XmlElement::XmlElement(std::string_view file, std::string_view name, const char** attributes,
                       int line, int depth)
    : file_(file), name_(name), attributes_(attributes), line_(line), depth_(depth) {}

const char* XmlElement::Find(std::string_view attribute) const {
  for (const char** entry = attributes_; *entry != nullptr; entry += 2) {
    if (attribute == entry[0]) return entry[1];
  }
  return nullptr;
}

std::string XmlElement::Text(std::string_view attribute, std::string_view fallback) const {
  const char* value = Find(attribute);
  return value != nullptr ? value : std::string(fallback);
}

std::string XmlElement::Text(std::string_view attribute) const {
  const char* value = Find(attribute);
  if (value == nullptr) Fail(StrCat("has no attribute '", attribute, "'"));
  return value;
}

double XmlElement::Number(std::string_view attribute, double low, double high) const {
  const std::string text = Text(attribute);
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || !(value >= low && value <= high)) {
    Fail(StrCat(attribute, "=\"", text.substr(0, 40), "\": expected a number from ", low, " to ",
                high));
  }
  return value;
}

double XmlElement::Number(std::string_view attribute, double low, double high,
                          double fallback) const {
  return Has(attribute) ? Number(attribute, low, high) : fallback;
}

int XmlElement::Integer(std::string_view attribute, int low, int high) const {
  const double value = Number(attribute, low, high);
  if (value != std::floor(value)) Fail(StrCat(attribute, ": expected a whole number"));
  return static_cast<int>(value);
}

void XmlElement::Fail(std::string_view message) const {
  throw Error(StrCat(file_, ": line ", line_, ": <", name_, "> ", message));
}

void VisitXml(std::string_view text, std::string_view file,
              const std::function<void(const XmlElement&)>& visit) {
  ATHANOR_CHECK(text.size() <= static_cast<size_t>(std::numeric_limits<int>::max()), file,
                ": too large: ", text.size(), " bytes of XML");
  const std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)> parser(
      XML_ParserCreate(nullptr), &XML_ParserFree);
  ATHANOR_CHECK(parser != nullptr, file, ": out of memory");
  Visit state{parser.get(), file, &visit};
  XML_SetUserData(parser.get(), &state);
  XML_SetElementHandler(parser.get(), OnStart, OnEnd);
  XML_SetEntityDeclHandler(parser.get(), OnEntity);
  const auto status = XML_Parse(parser.get(), text.data(), static_cast<int>(text.size()), 1);
  if (state.failure) std::rethrow_exception(state.failure);
  ATHANOR_CHECK(status == XML_STATUS_OK, file, ": line ", Line(state),
                ": not XML: ", XML_ErrorString(XML_GetErrorCode(parser.get())));
}

std::string XmlEscape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace athanor
