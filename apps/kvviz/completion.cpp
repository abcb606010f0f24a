// SPDX-License-Identifier: MIT
#include "kvviz/completion.hpp"

#include <algorithm>
#include <vector>

#include "kvviz/hub/cache.hpp"
#include "kvviz/hub/environment.hpp"
#include "kvviz/option_values.hpp"

namespace kvviz {
namespace {

const CLI::Option* option_named(const CLI::App& command, const std::string& name) {
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent())
    for (const CLI::Option* option : app->get_options())
      if (option->check_name(name)) return option;
  return nullptr;
}

const CLI::App* subcommand_named(const CLI::App& command, const std::string& name) {
  const auto all = subcommands(command);
  const auto found = std::ranges::find(all, name, [](const CLI::App* app) { return app->get_name(); });
  return found == all.end() ? nullptr : *found;
}

/// Where the word to be completed stands.
struct Place {
  const CLI::App* command;
  const CLI::Option* option = nullptr;  ///< whose value it is
  bool options_ended = false;           ///< behind "--"
};

Place place_behind(const CLI::App& app, std::span<const std::string> words) {
  Place place{.command = &app};
  for (const std::string& word : words) {
    if (place.option != nullptr) {
      place.option = nullptr;
    } else if (word == "--" || place.options_ended) {
      place.options_ended = true;
    } else if (word.starts_with('-')) {
      const CLI::Option* option = option_named(*place.command, word);
      if (option != nullptr && takes_value(*option)) place.option = option;
    } else if (const CLI::App* sub = subcommand_named(*place.command, word)) {
      place.command = sub;
    }
  }
  return place;
}

class Answer {
 public:
  void offer(const std::string& text, const std::string& typed, const std::string& meaning = "") {
    if (!text.starts_with(typed)) return;
    lines_ += text + (meaning.empty() ? "" : '\t' + meaning) + '\n';
  }
  void add_files(ValueKind kind) {
    if (kind == ValueKind::file || kind == ValueKind::model) what_else_ = ":files";
    if (kind == ValueKind::folder) what_else_ = ":folders";
  }
  bool empty() const { return lines_.empty() && what_else_ == ":"; }
  std::string text() const { return lines_ + what_else_ + '\n'; }

 private:
  std::string lines_;
  std::string what_else_ = ":";
};

std::vector<std::string> cached_ids() {
  std::vector<std::string> ids;
  try {
    for (const auto& model : hub::cached_models(hub::cache_folder(hub::process_environment())))
      ids.push_back(model.id);
  } catch (const std::exception&) {
    // Nobody asked for the cache; without one there is nothing to offer.
  }
  return ids;
}

/// `before` is what stands in front of the value in the same word: "--dtype=", or nothing.
void offer_values(Answer& answer, const CLI::Option& option, const std::string& before,
                  const std::string& typed) {
  OptionValues values = values_of(option);
  if (values.kind == ValueKind::model || values.kind == ValueKind::cached_model) values.names = cached_ids();
  if (values.kind == ValueKind::model) values.names.insert(values.names.begin(), "demo");
  answer.add_files(values.kind);
  const size_t comma = values.list ? typed.rfind(',') : std::string::npos;
  const std::string earlier = comma == std::string::npos ? "" : typed.substr(0, comma + 1);
  for (const std::string& name : values.names)
    if ((',' + earlier).find(',' + name + ',') == std::string::npos)
      answer.offer(before + earlier + name, before + typed);
}

void offer_options(Answer& answer, const CLI::App& command, const std::string& typed) {
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent())
    for (const CLI::Option* option : app->get_options()) {
      const bool again = app != &command && option->check_lname("help");
      for (const std::string& name : option->get_lnames()) {
        if (again || option->get_group().empty() || !("--" + name).starts_with(typed)) continue;
        answer.offer("--" + name, typed, option->get_description());
        break;  // of several spellings one is enough
      }
    }
}

}  // namespace

std::string complete(const CLI::App& app, std::span<const std::string> words) {
  const std::string typed = words.empty() ? "" : words.back();
  const Place place = place_behind(app, words.empty() ? words : words.first(words.size() - 1));
  Answer answer;
  if (place.option != nullptr) {
    offer_values(answer, *place.option, "", typed);
    return answer.text();
  }
  if (typed.starts_with('-') && !place.options_ended) {
    const size_t sign = typed.find('=');
    if (sign == std::string::npos) {
      offer_options(answer, *place.command, typed);
    } else if (const CLI::Option* option = option_named(*place.command, typed.substr(0, sign))) {
      offer_values(answer, *option, typed.substr(0, sign + 1), typed.substr(sign + 1));
    }
    return answer.text();
  }
  for (const CLI::App* sub : subcommands(*place.command))
    answer.offer(sub->get_name(), typed, sub->get_description());
  for (const CLI::Option* option :
       place.command->get_options([](const CLI::Option* candidate) { return candidate->get_positional(); }))
    offer_values(answer, *option, "", typed);
  if (answer.empty() && typed.empty()) offer_options(answer, *place.command, typed);
  return answer.text();
}

}  // namespace kvviz
