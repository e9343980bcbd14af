# Checks that vcpkg.json and CHANGELOG.md have the version of include/relpos/version.hpp. CMake and Conan read it there.

cmake_minimum_required(VERSION 3.25)

get_filename_component(root ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
include(${CMAKE_CURRENT_LIST_DIR}/read_version.cmake)
relpos_read_version(${root}/include/relpos/version.hpp version)

file(READ ${root}/packaging/vcpkg/ports/relpos/vcpkg.json manifest)
string(JSON port_version GET "${manifest}" version)
if(NOT port_version STREQUAL version)
  message(FATAL_ERROR "vcpkg.json has version ${port_version}, version.hpp has ${version}")
endif()

# The newest section is the version, or changes for it that are not released: then the next one is older.
file(STRINGS ${root}/CHANGELOG.md sections REGEX "^## \\[")
list(TRANSFORM sections REPLACE "^## .([^]]+).*" "\\1")
list(POP_FRONT sections newest)
list(POP_FRONT sections next)
if(newest STREQUAL "Unreleased" AND NOT version VERSION_GREATER "0${next}")
  message(FATAL_ERROR "CHANGELOG.md has changes since ${next}, but version.hpp still has ${version}")
elseif(NOT newest STREQUAL "Unreleased" AND NOT newest STREQUAL version)
  message(FATAL_ERROR "CHANGELOG.md ends with ${newest}, version.hpp has ${version}")
endif()
