// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/policy/policy.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;
using test::TemporaryFolder;
using Words = std::vector<std::string>;

namespace {

Words lines_of(const std::string& text) {
  Words lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What is offered for the last word; the last element is what the shell adds (":files").
Words completed(Words words) {
  const TemporaryFolder folder;
  words.insert(words.begin(), "--complete");
  const auto run = run_kvviz(words, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  Words offered = lines_of(run.out);
  for (std::string& line : offered) line = line.substr(0, line.find('\t'));
  return offered;
}

bool offers(const Words& offered, const std::string& word) {
  return std::ranges::find(offered, word) != offered.end();
}

/// An option of a command's help that takes one of some names: "  --dtype TEXT:{auto,f32} [auto]   meaning".
struct NamedValues {
  std::string option;
  Words names;
};

std::vector<NamedValues> named_values(const Words& command) {
  const TemporaryFolder folder;
  Words arguments = command;
  arguments.push_back("--help");
  std::vector<NamedValues> found;
  for (const std::string& line : lines_of(run_kvviz(arguments, folder.path()).out)) {
    const size_t open = line.find(":{"), option = line.find("--");
    if (!line.starts_with("  -") || open == std::string::npos) continue;
    NamedValues values{line.substr(option, line.find_first_of(", ", option) - option), {}};
    std::istringstream names(line.substr(open + 2, line.find('}') - open - 2));
    for (std::string name; std::getline(names, name, ',');) values.names.push_back(name);
    found.push_back(values);
  }
  return found;
}

/// COMPREPLY of bash for a command line cut into words as bash cuts it.
Words bash_reply(const TemporaryFolder& folder, const std::string& words) {
  write_file(folder / "reply.sh", "source <('" KVVIZ_EXECUTABLE
                                  "' --completion bash)\nCOMP_WORDS=('" KVVIZ_EXECUTABLE "' " +
                                      words +
                                      ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_kvviz\n"
                                      "printf '%s\\n' \"${COMPREPLY[@]}\"\n");
  const std::string call = "cd '" + folder.path().string() + "' && bash reply.sh > out 2> err";
  REQUIRE(std::system(call.c_str()) == 0);
  CHECK(read_file(folder / "err").empty());
  return lines_of(read_file(folder / "out"));
}

bool is_installed(const std::string& program) {
  return std::system(("command -v " + program + " > /dev/null").c_str()) == 0;
}

}  // namespace

TEST_CASE("[completion] commands, options of the command and of all commands, values") {
  CHECK(completed({"ana"}) == Words{"analyze", "analyze_generation", "analyze_similarity", ":"});
  CHECK(completed({"models", "p"}) == Words{"pull", ":"});
  CHECK(completed({"analyze", "--prompt"}) == Words{"--prompt", "--prompt-file", "--prompts", ":"});
  CHECK(completed({"analyze", "--thr"}) == Words{"--threads", ":"});
  CHECK(completed({"models", "pull", "--qu"}) == Words{"--quiet", ":"});
  CHECK(completed({"analyze", "--bos", ""}) == Words{"auto", "on", "off", ":"});
  CHECK(completed({"analyze", "--bos=o"}) == Words{"--bos=on", "--bos=off", ":"});
  CHECK(completed({"--threads", "2", "anal", ""}) == completed({""}));
  CHECK(offers(completed({"list-samples", ""}), "--wikitext-dir"));
  CHECK(completed({"analyze", "--seq_l"}) == Words{"--seq-len", ":"});
  CHECK(completed({"analyze", "--sequence"}) == Words{"--sequence-length", ":"});
}

TEST_CASE("[completion] values of options are not taken for commands, nor words behind --") {
  CHECK(completed({"--config", "models", "pu"}) == Words{":"});
  CHECK(completed({"analyze", "--prompt", "--bos", "--no-pl"}) == Words{"--no-plots", ":"});
  CHECK(completed({"compare", "--", "--no-pl"}) == Words{":files"});
  CHECK(completed({"analyze", "--seq-len", ""}) == Words{":"});
}

TEST_CASE("[completion] lists go on behind a comma, without what they have") {
  CHECK(completed({"analyze", "--focus", "layers,he"}) == Words{"layers,heads", ":"});
  CHECK_FALSE(offers(completed({"analyze", "--focus", "layers,"}), "layers,layers"));
  CHECK(completed({"analyze", "--bos", "on,"}) == Words{":"});
}

TEST_CASE("[completion] files, folders and models") {
  CHECK(completed({"compare", ""}) == Words{":files"});
  CHECK(completed({"analyze", "--prompt-file", ""}) == Words{":files"});
  CHECK(completed({"simulate", "--budget-table", ""}) == Words{":files"});
  CHECK(completed({"--config", ""}) == Words{":files"});
  CHECK(completed({"analyze", "--out", ""}) == Words{":folders"});
  const TemporaryFolder cache;
  std::filesystem::create_directories(cache / "models--some--model/snapshots/0123");
  setenv("HF_HUB_CACHE", cache.path().c_str(), 1);
  CHECK(completed({"analyze", "--model", ""}) == Words{"demo", "some/model", ":files"});
  CHECK(completed({"models", "rm", "so"}) == Words{"some/model", ":"});
  setenv("HF_HUB_CACHE", (cache / "missing").c_str(), 1);
  CHECK(completed({"models", "rm", "s"}) == Words{":"});
  unsetenv("HF_HUB_CACHE");
}

TEST_CASE("[completion] every set of names in the help is what is offered") {
  size_t sets = 0;
  for (const std::string& command : completed({""})) {
    if (command.starts_with(':')) continue;
    for (const NamedValues& values : named_values({command})) {
      CAPTURE(command);
      CAPTURE(values.option);
      Words offered = completed({command, values.option, ""});
      offered.pop_back();
      CHECK(offered == values.names);
      ++sets;
    }
  }
  CHECK(sets > 50);
}

TEST_CASE("[completion] --policies offers every policy of the library and no other name") {
  const Words offered = completed({"simulate", "--policies", ""});
  for (const auto& policy : policy::policies())
    CHECK_MESSAGE(offers(offered, std::string(policy.name)), policy.name);
  for (const std::string& name : offered) {
    CAPTURE(name);
    if (name != "all" && name != "full" && !name.starts_with(':')) CHECK_NOTHROW(policy::find_policy(name));
  }
}

TEST_CASE("[completion] bash completes commands, options, values, lists and files") {
  const TemporaryFolder folder;
  write_file(folder / "a text.txt", "");
  std::filesystem::create_directory(folder / "a folder");
  CHECK(bash_reply(folder, "comp") == Words{"compress", "compare"});
  CHECK(bash_reply(folder, "analyze --no-p") == Words{"--no-plots"});
  CHECK(bash_reply(folder, "analyze --bos o") == Words{"on", "off"});
  CHECK(bash_reply(folder, "analyze --bos = o") == Words{"on", "off"});
  CHECK(bash_reply(folder, "analyze --bos =") == Words{"auto", "on", "off"});
  CHECK(bash_reply(folder, "simulate --policies h2o : m") == Words{"mask"});
  CHECK(bash_reply(folder, "simulate --policies = tova,h2o : m") == Words{"mask"});
  CHECK(bash_reply(folder, "analyze --prompt-file a") == Words{"a text.txt", "a folder"});
  CHECK(bash_reply(folder, "analyze --prompt-file = 'a t'") == Words{"a text.txt"});
  CHECK(bash_reply(folder, "analyze --out a") == Words{"a folder"});
  CHECK(bash_reply(folder, "analyze --seq-len ''") == Words{""});
}

TEST_CASE("[completion] fish completes values, lists and files") {
  if (!is_installed("fish")) {
    MESSAGE("fish is not installed: completion in it was not tried");
    return;
  }
  const TemporaryFolder folder;
  write_file(folder / "a text.txt", "");
  const auto fish_reply = [&](const std::string& line) {
    const std::string call =
        "cd '" + folder.path().string() +
        "' && PATH=\"$(dirname '" KVVIZ_EXECUTABLE
        "'):$PATH\" fish --no-config -c \"kvviz --completion fish | source; complete -C '" +
        line + "'\" > out 2> err";
    CHECK(std::system(call.c_str()) == 0);
    Words offered = lines_of(read_file(folder / "out"));
    for (std::string& word : offered) word = word.substr(0, word.find('\t'));
    return offered;
  };
  CHECK(fish_reply("kvviz analyze --bos o") == Words{"off", "on"});
  CHECK(fish_reply("kvviz analyze --bos=o") == Words{"--bos=off", "--bos=on"});
  CHECK(fish_reply("kvviz simulate --policies tova,h2o:m") == Words{"tova,h2o:mask"});
  CHECK(fish_reply("kvviz analyze --prompt-file=a") == Words{"--prompt-file=a text.txt"});
}

TEST_CASE("[completion] zsh and fish read their scripts") {
  const TemporaryFolder folder;
  for (const std::string shell : {"zsh", "fish"}) {
    const auto script = run_kvviz({"--completion", shell}, folder.path());
    CHECK(script.code == 0);
    CHECK(script.out.find("--complete") != std::string::npos);
    write_file(folder / shell, script.out);
    if (!is_installed(shell)) {
      MESSAGE(shell << " is not installed: its script was not read by it");
      continue;
    }
    CHECK(std::system((shell + " -n '" + (folder / shell).string() + "'").c_str()) == 0);
  }
  CHECK(run_kvviz({"--completion", "csh"}, folder.path()).code == 2);
}
