# cmake --install, and CPack's packages. The program finds its parts from where it stands: ../lib/kvviz, ../share/kvviz.
# The tree can be moved; lib is never lib64 or lib/<architecture>.
find_program(GZIP gzip REQUIRED)

# Manual pages and completion come from the program's own table of commands.
set(kvviz_pages ${PROJECT_BINARY_DIR}/pages)
add_custom_command(OUTPUT ${kvviz_pages}/done
  COMMAND ${CMAKE_COMMAND} -DKVVIZ=$<TARGET_FILE:kvviz> -DGZIP=${GZIP} -DOUT=${kvviz_pages}
          -P ${CMAKE_CURRENT_LIST_DIR}/KvvizPages.cmake
  DEPENDS kvviz ${CMAKE_CURRENT_LIST_DIR}/KvvizPages.cmake
  COMMENT "Manual pages and completion" VERBATIM)
add_custom_target(kvviz_pages ALL DEPENDS ${kvviz_pages}/done)

# The system finds Debian's libraries by itself; a libtorch elsewhere is found where it is now.
cmake_path(GET TORCH_LIBRARY PARENT_PATH torch_folder)
if(NOT torch_folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
  set_target_properties(kvviz_engine PROPERTIES INSTALL_RPATH ${torch_folder})
endif()
install(TARGETS kvviz RUNTIME DESTINATION bin)
install(TARGETS kvviz_engine kvviz_network kvviz_sentencepiece LIBRARY DESTINATION lib/kvviz)
install(FILES $<TARGET_FILE_DIR:kvviz_engine>/libkvviz_engine.libraries DESTINATION lib/kvviz)
install(DIRECTORY data/models data/samples DESTINATION share/kvviz)
install(PROGRAMS scripts/export_hf_cache.py scripts/fetch_wikitext DESTINATION share/kvviz/scripts)
install(DIRECTORY scripts/slurm DESTINATION share/kvviz/scripts USE_SOURCE_PERMISSIONS OPTIONAL)
# The documents keep their places to each other, for their links.
install(FILES README.md CHANGELOG.md LICENSE DESTINATION share/doc/kvviz)
install(FILES config/default.toml DESTINATION share/doc/kvviz/config)
install(FILES data/models/demo/README.md DESTINATION share/doc/kvviz/data/models/demo)
install(FILES LICENSE DESTINATION share/doc/kvviz RENAME copyright)
install(DIRECTORY docs DESTINATION share/doc/kvviz)
install(DIRECTORY graphs/gallery DESTINATION share/doc/kvviz/graphs)
install(DIRECTORY ${kvviz_pages}/man1 DESTINATION share/man)
install(FILES ${kvviz_pages}/kvviz.bash DESTINATION share/bash-completion/completions RENAME kvviz)
install(FILES ${kvviz_pages}/kvviz.fish DESTINATION share/fish/vendor_completions.d)
# zsh looks into /usr/local/share/zsh/site-functions; what packages bring to /usr, Debian wants elsewhere.
install(CODE "
  set(folder site-functions)
  if(CMAKE_INSTALL_PREFIX STREQUAL /usr)
    set(folder vendor-completions)
  endif()
  file(INSTALL \"${kvviz_pages}/_kvviz\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/share/zsh/\${folder}\")")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME kvviz)
set(CPACK_PACKAGE_VENDOR "The kvviz authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "KV caches of language models: measured, evicted from, compressed")
set(CPACK_PACKAGE_DESCRIPTION "kvviz runs a decoder-only language model on real text, captures its keys,
values and attention, measures them per layer, head, token and channel,
evicts keys while it decodes and codes them in fewer bytes, and shows what
that saves and what it does to the predictions: figures, HDF5 files,
machine-readable results. A small model and sample texts are included.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(KVVIZ_PACKAGE_MAINTAINER "The kvviz authors <kvviz@localhost>" CACHE STRING "Maintainer named in the Debian package")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${KVVIZ_PACKAGE_MAINTAINER})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Figures need gnuplot and its font; of the OpenBLAS libraries only this one is as fast as it should be.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "gnuplot-nox | gnuplot, fonts-dejavu-core, libopenblas0-pthread")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bash-completion, jq, parallel, python3-h5py")
include(CPack)
