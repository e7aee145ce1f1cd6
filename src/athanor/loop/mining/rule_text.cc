#include "athanor/loop/mining/rule_text.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace athanor {
namespace {

struct Token {
  enum Kind { kWord, kQuoted, kOther } kind;
  size_t begin, end;
  int depth;         // of parentheses and CASE ... END around it
  std::string word;  // upper case, of kWord
};

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '@' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

std::vector<Token> Tokenize(std::string_view sql) {
  std::vector<Token> tokens;
  int depth = 0;
  for (size_t i = 0; i < sql.size();) {
    const char c = sql[i];
    const size_t begin = i;
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++i;
    } else if (sql.substr(i, 2) == "--") {
      i = std::min(sql.find('\n', i), sql.size());
    } else if (sql.substr(i, 2) == "/*") {
      const size_t close = sql.find("*/", i + 2);
      i = close == std::string_view::npos ? sql.size() : close + 2;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
      const char close = c == '[' ? ']' : c;
      for (++i; i < sql.size(); ++i) {
        if (sql[i] != close) continue;
        if (close == ']' || i + 1 == sql.size() || sql[i + 1] != close) break;
        ++i;  // a doubled quote
      }
      i = std::min(i + 1, sql.size());
      tokens.push_back({c == '\'' ? Token::kOther : Token::kQuoted, begin, i, depth, {}});
    } else if (IsWordCharacter(c)) {
      while (i < sql.size() && IsWordCharacter(sql[i])) ++i;
      std::string word(sql.substr(begin, i - begin));
      std::transform(word.begin(), word.end(), word.begin(),
                     [](unsigned char x) { return static_cast<char>(std::toupper(x)); });
      if (word == "END") --depth;
      tokens.push_back({Token::kWord, begin, i, depth, word});
      if (word == "CASE") ++depth;
    } else {
      ++i;
      if (c == ')') --depth;
      tokens.push_back({Token::kOther, begin, i, depth, {}});
      if (c == '(') ++depth;
    }
  }
  return tokens;
}

std::string OneLine(std::string_view sql, size_t begin, size_t end) {
  std::string line;
  for (const char c : sql.substr(begin, end - begin)) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// Takes off parentheses around the whole of [first, last).
void Unwrap(std::string_view sql, const std::vector<Token>& tokens, size_t* first, size_t* last) {
  while (*last - *first >= 2 && sql[tokens[*first].begin] == '(' &&
         sql[tokens[*last - 1].begin] == ')') {
    const int depth = tokens[*first].depth;
    for (size_t t = *first + 1; t + 1 < *last; ++t) {
      if (tokens[t].depth <= depth) return;
    }
    ++*first, --*last;
  }
}

// Splits [first, last) at `word` where it stands at the depth of the first token. The AND of a
// BETWEEN splits nothing.
std::vector<std::pair<size_t, size_t>> SplitAt(const std::vector<Token>& tokens, size_t first,
                                               size_t last, std::string_view word) {
  std::vector<std::pair<size_t, size_t>> parts;
  if (first >= last) return parts;
  const int depth = tokens[first].depth;
  size_t begin = first;
  int betweens = 0;
  for (size_t t = first; t < last; ++t) {
    if (tokens[t].kind != Token::kWord || tokens[t].depth != depth) continue;
    if (tokens[t].word == "BETWEEN") ++betweens;
    if (tokens[t].word == "AND" && betweens > 0) {
      --betweens;
      continue;
    }
    if (tokens[t].word != word) continue;
    parts.emplace_back(begin, t);
    begin = t + 1;
  }
  parts.emplace_back(begin, last);
  return parts;
}

}  // namespace

RuleText ReadRuleText(std::string_view sql) {
  const std::vector<Token> tokens = Tokenize(sql);
  RuleText text;
  std::set<std::string> seen;
  size_t select = tokens.size(), from = select, where = select, end = select;
  bool plain = true;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const Token& token = tokens[t];
    const bool may_be_table =
        t > 0 && (tokens[t - 1].word == "FROM" || tokens[t - 1].word == "JOIN" ||
                  tokens[t - 1].word == "IN" || sql[tokens[t - 1].begin] == ',');
    if (sql[token.begin] != ';') text.statement_end = token.end;
    if (token.kind != Token::kOther && may_be_table) {
      const size_t quote = token.kind == Token::kQuoted ? 1 : 0;
      if (token.end - token.begin >= 2 * quote) {
        std::string name(sql.substr(token.begin + quote, token.end - token.begin - 2 * quote));
        if (seen.insert(name).second) text.names.push_back(name);
      }
    }
    if (token.depth != 0) continue;
    const std::string& word = token.word;
    if (word == "SELECT" && select == tokens.size()) {
      select = t;
    } else if (word == "FROM" && from == tokens.size()) {
      from = t;
    } else if (word == "WHERE" && where == tokens.size()) {
      where = t;
    } else if (word == "DISTINCT" || word == "GROUP" || word == "HAVING" || word == "UNION" ||
               word == "INTERSECT" || word == "EXCEPT" || word == "VALUES") {
      // "IS DISTINCT FROM" is a comparison.
      if (word != "DISTINCT" || t == select + 1) plain = false;
    } else if (word == "LIMIT") {
      text.has_limit = true;
    } else if (word == "ORDER") {
      text.has_order = true;
    }
    const bool ends =
        word == "ORDER" || word == "LIMIT" || word == "WINDOW" || sql[token.begin] == ';';
    if (ends && where < t && end == tokens.size()) end = t;
  }
  const RuleText unexplained = text;
  if (!plain || select >= from || from >= where || where + 1 >= end) return text;
  text.columns_end = tokens[from].begin;
  const auto line = [&](size_t first, size_t last) {
    return OneLine(sql, tokens[first].begin, tokens[last - 1].end);
  };
  size_t first = where + 1, last = end;
  Unwrap(sql, tokens, &first, &last);
  if (first >= last) return text;
  // OR binds less than AND: with one outside, the whole is a single condition.
  const bool is_or = SplitAt(tokens, first, last, "OR").size() > 1;
  const auto conditions = is_or ? std::vector<std::pair<size_t, size_t>>{{first, last}}
                                : SplitAt(tokens, first, last, "AND");
  for (auto [begin, stop] : conditions) {
    if (begin >= stop) return unexplained;  // SQLite will say what is wrong
    RuleClause clause = {line(begin, stop), {}};
    Unwrap(sql, tokens, &begin, &stop);
    for (const auto& [b, s] : SplitAt(tokens, begin, stop, "OR")) {
      if (b >= s) return unexplained;
      clause.alternatives.push_back(line(b, s));
    }
    text.clauses.push_back(std::move(clause));
  }
  return text;
}

bool HasStatement(std::string_view sql) {
  const std::vector<Token> tokens = Tokenize(sql);
  return std::any_of(tokens.begin(), tokens.end(),
                     [&](const Token& token) { return sql[token.begin] != ';'; });
}

}  // namespace athanor
