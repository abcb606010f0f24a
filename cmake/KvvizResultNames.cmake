# The facts and columns that results can have, from the pages of the commands: every name that stands in backticks, but for those
# of the options, which are words that options take. The tests check that a page names all that its command puts out. `*_sd` on a page
# stands for every name on it with _sd behind it. Run as
#   cmake -DDOCS=docs -DCOMMANDS=analyze,sinks -DOUTPUT=result_names.cpp -P KvvizResultNames.cmake
string(REPLACE "," ";" commands "${COMMANDS}")
set(rows "")
foreach(command IN LISTS commands)
  file(READ ${DOCS}/${command}.md page)
  string(REGEX REPLACE "\n## Options\n.*\n## Output\n" "\n" page "${page}")
  string(REGEX MATCHALL "`[A-Za-z][A-Za-z0-9_]*`" names "${page}")
  list(REMOVE_DUPLICATES names)
  string(REGEX MATCHALL "`\\*_[a-z]+`" suffixes "${page}")
  list(REMOVE_DUPLICATES suffixes)
  set(plain ${names})
  foreach(suffix IN LISTS suffixes)
    string(REPLACE "`*" "" suffix "${suffix}")
    set(more ${plain})
    list(TRANSFORM more REPLACE "`$" "${suffix}")
    list(APPEND names ${more})
  endforeach()
  list(REMOVE_DUPLICATES names)
  list(JOIN names " " names)
  string(REPLACE "`" "" names "${names}")
  string(APPEND rows "    {\"${command}\",\n     \"${names}\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
// SPDX-License-Identifier: MIT
// Made by cmake/KvvizResultNames.cmake from the pages of the commands.
#include "kvviz/result_names.hpp"

namespace kvviz {

std::span<const ResultNames> result_names() {
  static constexpr ResultNames all[] = {
@rows@  };
  return all;
}

}  // namespace kvviz
]])
