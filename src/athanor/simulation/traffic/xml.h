// Reading XML (expat underneath) and writing it, as far as SUMO's files need it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace athanor {

// The opening tag of an element, with its attributes.
class XmlElement {
 public:
  XmlElement(std::string_view file, std::string_view name, const char** attributes, int line,
             int depth);

  std::string_view name() const { return name_; }
  int depth() const { return depth_; }  // 0: the root
  bool Has(std::string_view attribute) const { return Find(attribute) != nullptr; }
  // Text of an attribute; `fallback` when it is not there.
  std::string Text(std::string_view attribute, std::string_view fallback) const;
  // These throw Error (file, line) when the attribute is not there, or is no finite number within
  // [low, high].
  std::string Text(std::string_view attribute) const;
  double Number(std::string_view attribute, double low, double high) const;
  double Number(std::string_view attribute, double low, double high, double fallback) const;
  int Integer(std::string_view attribute, int low, int high) const;
  [[noreturn]] void Fail(std::string_view message) const;

 private:
  const char* Find(std::string_view attribute) const;

  std::string_view file_, name_;
  const char** attributes_;
  int line_, depth_;
};

// Calls `visit` for the opening tag of every element, from the first to the last. Document types
// with entities of their own are refused. Throws Error (file, line) for text that is no XML or
// nests deeper than 64.
void VisitXml(std::string_view text, std::string_view file,
              const std::function<void(const XmlElement&)>& visit);

// Text as it stands within an attribute: & < > " as entities.
std::string XmlEscape(std::string_view text);

}  // namespace athanor
