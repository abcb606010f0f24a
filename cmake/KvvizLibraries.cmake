# cmake -DENGINE=libkvviz_engine.so -DOUTPUT=FILE -P KvvizLibraries.cmake
# The files of all libraries that the engine needs, those first that need the fewest others: kvviz opens them in this order
# (apps/kvviz/engine.cpp says why). Without ldd the list is empty, and they are found all the same.
set(files "")
execute_process(COMMAND ldd ${ENGINE} OUTPUT_VARIABLE lines ERROR_QUIET)
string(REGEX MATCHALL "=> [^\n(]+" lines "${lines}")
list(REVERSE lines)
foreach(line ${lines})
  string(REGEX REPLACE "=> (.*[^ ]) *" "\\1" file "${line}")
  if(IS_ABSOLUTE "${file}")
    string(APPEND files "${file}\n")
  endif()
endforeach()
file(WRITE ${OUTPUT} "${files}")
