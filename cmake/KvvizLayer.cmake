# One folder of lib/kvviz is one static library is one arrow downwards (checked by scripts/check_layers).

add_library(kvviz_warnings INTERFACE)
# A designated initialiser names what differs from the defaults; that is no missing field.
target_compile_options(kvviz_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                                -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(kvviz_warnings INTERFACE -Wno-restrict)  # false alarm of GCC 12 on "literal" + string
endif()
if(KVVIZ_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(kvviz_warnings INTERFACE -Wno-maybe-uninitialized)  # false alarms in code that sanitizers have grown
endif()
if(KVVIZ_WERROR)
  target_compile_options(kvviz_warnings INTERFACE -Werror)
endif()

# kvviz_layer(<name> SOURCES a.cpp ... [DEPENDS layer ...] [LINK target ...])
#   DEPENDS: layers below this one. LINK: outside libraries, public because headers may name their types.
function(kvviz_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(kvviz_${name} STATIC ${ARG_SOURCES})
  add_library(kvviz::${name} ALIAS kvviz_${name})
  target_include_directories(kvviz_${name} PUBLIC ${PROJECT_SOURCE_DIR}/lib)
  list(TRANSFORM ARG_DEPENDS PREPEND kvviz::)
  target_link_libraries(kvviz_${name} PUBLIC ${ARG_DEPENDS} ${ARG_LINK} PRIVATE kvviz_warnings)
endfunction()

# kvviz_test(<name> SOURCES a_test.cpp ... LINK target ... [BY_FILE]): one doctest executable, one ctest entry; BY_FILE: one for
# each a_test.cpp, named <name>/a, so that long ones can run side by side.
function(kvviz_test name)
  cmake_parse_arguments(ARG "BY_FILE" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/support/doctest_main.cpp ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/lib)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} doctest::doctest kvviz_warnings)
  target_compile_options(${name} PRIVATE -include ${PROJECT_SOURCE_DIR}/tests/support/before_doctest.hpp)
  target_compile_definitions(${name} PRIVATE
    KVVIZ_FIXTURES="${PROJECT_SOURCE_DIR}/tests/fixtures" KVVIZ_DATA="${PROJECT_SOURCE_DIR}/data"
    KVVIZ_REFDATA="${KVVIZ_REFDATA}")
  # Tests in the suite "refdata" compare with real models and tokenizers that are not part of this repository.
  if(NOT KVVIZ_REFDATA)
    set(without_refdata --test-suite-exclude=refdata)
  endif()
  if(NOT ARG_BY_FILE)
    add_test(NAME ${name} COMMAND ${name} ${without_refdata})
    return()
  endif()
  list(FILTER ARG_SOURCES INCLUDE REGEX "_test\\.cpp$")
  foreach(source ${ARG_SOURCES})
    string(REGEX REPLACE "_test\\.cpp$" "" part ${source})
    add_test(NAME ${name}/${part} COMMAND ${name} ${without_refdata} --source-file=*/${source})
  endforeach()
endfunction()
