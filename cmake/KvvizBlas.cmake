# OpenBLAS with its own threads. The reference BLAS computes the same products about 17 times slower, so it is refused.
find_library(KVVIZ_OPENBLAS NAMES openblas PATH_SUFFIXES openblas-pthread)
find_path(KVVIZ_CBLAS_INCLUDE NAMES cblas.h PATH_SUFFIXES openblas-pthread x86_64-linux-gnu/openblas-pthread
                                                         ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-pthread)
if(NOT KVVIZ_OPENBLAS OR NOT KVVIZ_CBLAS_INCLUDE)
  message(FATAL_ERROR "OpenBLAS was not found. kvviz needs it: the reference BLAS is about 17 times slower.\n"
                      "Install it: apt-get install libopenblas0-pthread libopenblas-pthread-dev")
endif()
# libtorch of Debian loads whatever libblas.so.3 is selected; a reference BLAS there slows every product of libtorch.
find_file(KVVIZ_SYSTEM_BLAS NAMES libblas.so.3 PATHS /usr/lib /lib PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE} NO_DEFAULT_PATH)
if(KVVIZ_SYSTEM_BLAS)
  file(REAL_PATH ${KVVIZ_SYSTEM_BLAS} real_blas)
  if(NOT real_blas MATCHES "openblas")
    message(FATAL_ERROR "The system BLAS is ${real_blas}: not OpenBLAS, and about 17 times slower.\n"
                        "Install libopenblas0-pthread, or select it: update-alternatives --config libblas.so.3-${CMAKE_LIBRARY_ARCHITECTURE}")
  endif()
endif()
add_library(kvviz_blas INTERFACE)
target_include_directories(kvviz_blas SYSTEM INTERFACE ${KVVIZ_CBLAS_INCLUDE})
target_link_libraries(kvviz_blas INTERFACE ${KVVIZ_OPENBLAS})
