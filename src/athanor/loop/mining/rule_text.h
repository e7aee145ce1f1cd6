// Reads just enough SQL to explain a rule: which names it uses, and the conditions of its WHERE.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace athanor {

struct RuleClause {
  std::string text;                       // one of the conditions joined by AND, in one line
  std::vector<std::string> alternatives;  // joined by OR in it; the condition itself when there are
                                          // none
};

struct RuleText {
  // Identifiers where a table may stand (behind FROM, JOIN, IN or a comma), quotes taken off; each
  // once, in order.
  std::vector<std::string> names;
  // Of the outermost SELECT; empty when it has no WHERE or is not a plain SELECT (DISTINCT, GROUP
  // BY, UNION...), whose rows do not come from one row of the tables each.
  std::vector<RuleClause> clauses;
  size_t statement_end = 0;  // before the semicolons and comments behind it
  size_t columns_end = 0;    // where more columns may be added: before FROM
  bool has_limit = false;    // outermost LIMIT: which rows are hits depends on the others
  bool has_order = false;    // outermost ORDER BY
};

RuleText ReadRuleText(std::string_view sql);

// Whether there is more than white space, comments and semicolons.
bool HasStatement(std::string_view sql);

}  // namespace athanor
