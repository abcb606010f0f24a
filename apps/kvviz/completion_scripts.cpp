// SPDX-License-Identifier: MIT
#include "kvviz/completion.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {

std::string completion_script(const std::string& shell) {
  if (shell == "bash")
    return R"(# bash completion of kvviz
_kvviz() {
  local word joined= full cur prefix= directive
  local -a words=() lines=() found=()
  # Bash cuts words at = and :, kvviz does not.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ ${#words[@]} -gt 0 && ( -n $joined || $word == [=:]* ) ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
    [[ $word == *[=:] ]] && joined=1 || joined=
  done
  full=${words[-1]}
  [[ $full == *=* && $COMP_WORDBREAKS == *=* ]] && prefix=${full%"${full##*=}"}
  [[ ${full#"$prefix"} == *:* && $COMP_WORDBREAKS == *:* ]] && prefix=${full%"${full##*:}"}
  cur=${full#"$prefix"}
  mapfile -t lines < <("${COMP_WORDS[0]/#\~/$HOME}" --complete "${words[@]}" 2>/dev/null)
  [[ ${#lines[@]} -gt 0 ]] || return
  directive=${lines[-1]}
  unset 'lines[-1]'
  COMPREPLY=()
  for word in "${lines[@]}"; do
    word=${word%%$'\t'*}
    COMPREPLY+=("${word#"$prefix"}")
  done
  case $directive in
    :files) mapfile -t found < <(compgen -f -- "$cur") ;;
    :folders) mapfile -t found < <(compgen -d -- "$cur") ;;
    *) return ;;
  esac
  COMPREPLY+=("${found[@]}")
  compopt -o filenames 2>/dev/null
}
complete -F _kvviz kvviz
)";
  if (shell == "zsh")
    return R"(#compdef kvviz
_kvviz() {
  local line directive
  local -a lines candidates
  lines=("${(@f)$(${(Q)words[1]} --complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
  directive=$lines[-1]
  for line in "${(@)lines[1,-2]}"; do
    candidates+=("${${line%%$'\t'*}//:/\\:}:${${line#*$'\t'}}")
    [[ $line == *$'\t'* ]] || candidates[-1]="${line//:/\\:}"
  done
  (( $#candidates )) && _describe -t values kvviz candidates
  [[ $PREFIX == --*=* ]] && compset -P '*='
  case $directive in
    :files) _files ;;
    :folders) _files -/ ;;
  esac
}
if [[ ${funcstack[1]} == _kvviz ]]; then
  _kvviz "$@"
else
  compdef _kvviz kvviz
fi
)";
  require(shell == "fish", "no completion for ", shell);
  return R"(# fish completion of kvviz
function __kvviz_complete
  set -l words (commandline -opc)
  set -l program $words[1]
  set -e words[1]
  set -l current (commandline -ct)
  set -l lines ($program --complete $words "$current" 2>/dev/null)
  test (count $lines) -gt 0; or return
  set -l directive $lines[-1]
  set -e lines[-1]
  test (count $lines) -gt 0; and printf '%s\n' $lines
  set -l before (string match -r -- '^--[^=]*=' $current)
  set -l value (string replace -r -- '^--[^=]*=' '' $current)
  switch $directive
    case ':files'
      printf '%s\n' "$before"(__fish_complete_path $value)
    case ':folders'
      printf '%s\n' "$before"(__fish_complete_directories $value '')
  end
end
complete -c kvviz -f -a '(__kvviz_complete)'
)";
}

}  // namespace kvviz
