# cmake -DFOLDER=... -DFILES="a,b" -DOUTPUT=x.cpp -P KvvizPage.cmake: the files of the page as arrays of bytes in one source file, so that the
# program needs none of them at run time.
string(REPLACE "," ";" FILES "${FILES}")
set(types html "text/html" css "text/css" js "text/javascript" svg "image/svg+xml")
set(arrays "")
set(rows "")
foreach(name ${FILES})
  file(READ ${FOLDER}/${name} bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(MAKE_C_IDENTIFIER ${name} identifier)
  get_filename_component(extension ${name} LAST_EXT)
  string(SUBSTRING "${extension}" 1 -1 extension)
  list(FIND types "${extension}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "${name}: a page has no files of this type")
  endif()
  math(EXPR at "${at} + 1")
  list(GET types ${at} type)
  string(REGEX REPLACE "^index\\.html$" "" path ${name})
  string(APPEND arrays "constexpr unsigned char ${identifier}[] = {${bytes}};\n")
  string(APPEND rows "      {\"/${path}\", \"${type}; charset=utf-8\", {reinterpret_cast<const char*>(${identifier}), ${size}}},\n")
endforeach()
file(WRITE ${OUTPUT} "// Made of apps/kvviz/page.
#include \"kvviz/engine/serve/page.hpp\"

namespace kvviz {
namespace {

${arrays}
}  // namespace

std::vector<serve::PageFile> page_files() {
  return {
${rows}  };
}

}  // namespace kvviz
")
