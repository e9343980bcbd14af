# The package that find_package(relpos) finds, installed and in the build folder.
#
# A subproject has it too. CMake refuses to export a library that links relpos unless relpos is exported as well, and
# whoever finds that library needs relpos' headers. The author of the library would meet both as errors, and would have
# to know an option of ours. The price is that a program which only uses relpos installs its headers along with itself.
# Who does not want that says so in CMake's own words, add_subdirectory(relpos EXCLUDE_FROM_ALL), or installs other
# components than `relpos`. RELPOS_INSTALL=OFF leaves out the rules, for a project that puts relpos into an export set
# of its own. A second copy in the same project adds no rules: see CMakeLists.txt.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(relpos_compiled "")
foreach(target IN ITEMS relpos_kernels relpos_c)
  if(TARGET ${target})
    list(APPEND relpos_compiled ${target})
  endif()
endforeach()
# Without compiled libraries the package is the same on every machine.
set(relpos_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/relpos)
set(relpos_any_machine ARCH_INDEPENDENT)
if(relpos_compiled)
  set(relpos_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/relpos)
  set(relpos_any_machine "")
endif()
install(TARGETS relpos_core relpos relpos_cuda relpos_mpi ${relpos_compiled} EXPORT relpos COMPONENT relpos
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT relpos)
install(EXPORT relpos NAMESPACE relpos:: FILE relposTargets.cmake DESTINATION ${relpos_package_dir} COMPONENT relpos)

write_basic_package_version_file(${PROJECT_BINARY_DIR}/relposConfigVersion.cmake
  COMPATIBILITY SameMinorVersion ${relpos_any_machine})
foreach(file IN ITEMS relposConfig.cmake same_version.cmake)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${file} ${PROJECT_BINARY_DIR}/${file} COPYONLY)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/relposConfig.cmake ${PROJECT_BINARY_DIR}/relposConfigVersion.cmake
  ${PROJECT_BINARY_DIR}/same_version.cmake
  DESTINATION ${relpos_package_dir} COMPONENT relpos)

include(${CMAKE_CURRENT_LIST_DIR}/pkg_config.cmake)

export(EXPORT relpos NAMESPACE relpos:: FILE ${PROJECT_BINARY_DIR}/relposTargets.cmake)
