# libtorch: Debian's 1.13, or a newer one through CMAKE_PREFIX_PATH.
find_package(Torch REQUIRED)
add_library(kvviz_torch INTERFACE)
target_include_directories(kvviz_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(kvviz_torch INTERFACE ${TORCH_LIBRARIES})
separate_arguments(kvviz_torch_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(kvviz_torch INTERFACE ${kvviz_torch_flags})
