# libtorch: Debian's 1.13, or a newer one through CMAKE_PREFIX_PATH.
if(NOT DEFINED TORCH_CUDA_ARCH_LIST)
  # A libtorch built for CUDA asks the machine for its GPU at configure time; kvviz compiles no CUDA code.
  set(TORCH_CUDA_ARCH_LIST 9.0)
endif()
find_package(Torch REQUIRED)
if(TORCH_CXX_FLAGS MATCHES "CXX11_ABI=0")
  message(FATAL_ERROR "This libtorch (${TORCH_INSTALL_PREFIX}) was built with the old C++ ABI; the other libraries were not.\n"
                      "Take a build with the new one (\"cxx11 ABI\").")
endif()
add_library(kvviz_torch INTERFACE)
target_include_directories(kvviz_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(kvviz_torch INTERFACE ${TORCH_LIBRARIES})
target_compile_definitions(kvviz_torch INTERFACE KVVIZ_TORCH)
separate_arguments(kvviz_torch_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(kvviz_torch INTERFACE ${kvviz_torch_flags})
if(CMAKE_CXX_COMPILER_ID MATCHES Clang AND Torch_VERSION VERSION_LESS 2)
  # Clang asks for the whole of IValue where List.h of libtorch 1.13 has a vector of it; this header brings it in first.
  target_compile_options(kvviz_torch INTERFACE "SHELL:-include ATen/core/ivalue.h")
endif()
if(NOT Torch_VERSION VERSION_LESS 2)
  # A newer libtorch has the headers of its own fmt among its headers, but not the library.
  target_compile_definitions(kvviz_torch INTERFACE FMT_HEADER_ONLY)
  # It also shows templates of a oneDNN of its own: whichever library is named first gives them to both, and the system's
  # fails with those of libtorch. Options stand before all libraries.
  if(KVVIZ_ONEDNN)
    target_link_options(kvviz_torch INTERFACE ${KVVIZ_ONEDNN})
  endif()
endif()
