include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(relpos_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/relpos)

install(TARGETS relpos relpos_cuda EXPORT relpos FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT relpos NAMESPACE relpos:: FILE relposTargets.cmake DESTINATION ${relpos_package_dir})

write_basic_package_version_file(${PROJECT_BINARY_DIR}/relposConfigVersion.cmake
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/relposConfig.cmake ${PROJECT_BINARY_DIR}/relposConfigVersion.cmake
  DESTINATION ${relpos_package_dir})
