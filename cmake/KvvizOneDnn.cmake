# oneDNN multiplies bf16 matrices where the processor has instructions for them; without it they are widened to f32.
# Not from CMAKE_PREFIX_PATH: the libtorch named there brings headers of its own oneDNN, whose library it hides.
find_library(KVVIZ_ONEDNN NAMES dnnl NO_CMAKE_PATH)
find_path(KVVIZ_ONEDNN_INCLUDE NAMES dnnl.hpp NO_CMAKE_PATH)
# Its threads are GNU's OpenMP's, whichever compiler builds kvviz.
find_library(KVVIZ_GOMP NAMES libgomp.so.1 gomp)
add_library(kvviz_onednn INTERFACE)
if(KVVIZ_ONEDNN AND KVVIZ_ONEDNN_INCLUDE AND KVVIZ_GOMP)
  target_include_directories(kvviz_onednn SYSTEM INTERFACE ${KVVIZ_ONEDNN_INCLUDE})
  target_link_libraries(kvviz_onednn INTERFACE ${KVVIZ_ONEDNN} ${KVVIZ_GOMP})
  target_compile_definitions(kvviz_onednn INTERFACE KVVIZ_ONEDNN)
else()
  message(STATUS "oneDNN was not found: products with bf16 weights run at the speed of f32 (apt-get install libdnnl-dev)")
endif()
