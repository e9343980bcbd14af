# Finds Eigen for relpos::relpos: the caller's own target Eigen3::Eigen, an installed copy, or else a download.
# Sets relpos_eigen to what relpos::relpos links.
#
# A project that uses views alone has to configure without Eigen. So there is no error where there is none: a program
# that links relpos::relpos and includes relpos/relpos.hpp then lacks Eigen's headers.

set(RELPOS_EIGEN AUTO CACHE STRING
  "Eigen for relpos::relpos: AUTO (installed, or else downloaded if it can be), ON (the same, or an error) or OFF")
set_property(CACHE RELPOS_EIGEN PROPERTY STRINGS AUTO ON OFF)

# A generator expression, because the name of a target would have to be in an export set with relpos, where it is the
# caller's own.
set(relpos_eigen $<$<TARGET_EXISTS:Eigen3::Eigen>:Eigen3::Eigen>)

if(TARGET Eigen3::Eigen OR NOT RELPOS_EIGEN)
  return()
endif()

set(relpos_eigen_required OFF)
if(RELPOS_EIGEN STREQUAL "ON" OR RELPOS_TESTS OR RELPOS_EXAMPLES OR RELPOS_BENCH)
  set(relpos_eigen_required ON)
endif()

# Asked for without a version: the package of 3.4.0 refuses a version range, and 5.x refuses "3.4".
find_package(Eigen3 CONFIG QUIET)
if(Eigen3_FOUND)
  if(Eigen3_VERSION VERSION_LESS 3.4.0)
    if(relpos_eigen_required)
      message(FATAL_ERROR "relpos needs Eigen 3.4.0 or newer; ${Eigen3_DIR} has ${Eigen3_VERSION}")
    endif()
    message(STATUS "relpos: ${Eigen3_DIR} has Eigen ${Eigen3_VERSION}; relpos::relpos needs 3.4.0, relpos::core none")
    list(APPEND relpos_eigen $<BUILD_INTERFACE:Eigen3::Eigen_3.4.0_or_newer>)  # not found, where it is linked
  endif()
  return()
endif()

include(FetchContent)
set(relpos_eigen_url https://gitlab.com/libeigen/eigen.git)

# FetchContent ends the configuration where it cannot download: ask first.
set(relpos_eigen_reachable OFF)
if(FETCHCONTENT_SOURCE_DIR_EIGEN OR EXISTS ${FETCHCONTENT_BASE_DIR}/eigen-src/unsupported/Eigen/CXX11/Tensor)
  set(relpos_eigen_reachable ON)
elseif(NOT FETCHCONTENT_FULLY_DISCONNECTED)
  find_package(Git QUIET)
  if(GIT_FOUND)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env GIT_TERMINAL_PROMPT=0
        ${GIT_EXECUTABLE} ls-remote --exit-code --tags ${relpos_eigen_url} 3.4.0
      RESULT_VARIABLE relpos_eigen_status OUTPUT_QUIET ERROR_QUIET TIMEOUT 10)
    if(relpos_eigen_status EQUAL 0)
      set(relpos_eigen_reachable ON)
    endif()
  endif()
endif()
if(NOT relpos_eigen_reachable)
  set(text "Eigen 3.4.0 or newer is not installed, and ${relpos_eigen_url} cannot be reached")
  if(relpos_eigen_required)
    message(FATAL_ERROR "relpos: ${text}: set Eigen3_DIR")
  endif()
  message(STATUS "relpos: ${text}: only the headers that views need can be used")
  return()
endif()

message(STATUS "relpos: Eigen is not installed; downloading 3.4.0")
FetchContent_Declare(eigen
  GIT_REPOSITORY ${relpos_eigen_url}
  GIT_TAG 3.4.0
  GIT_SHALLOW ON
  SOURCE_SUBDIR headers_only)  # no such folder: Eigen's own build, with its tests and BLAS, stays out
FetchContent_MakeAvailable(eigen)

# Imported, so that Eigen counts as a system header.
add_library(Eigen3::Eigen INTERFACE IMPORTED GLOBAL)
target_include_directories(Eigen3::Eigen INTERFACE ${eigen_SOURCE_DIR})
