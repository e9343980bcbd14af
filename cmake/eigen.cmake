# Provides Eigen3::Eigen: the caller's own target, an installed copy, or else a download.

if(TARGET Eigen3::Eigen)
  return()
endif()

# Asked for without a version: the package of 3.4.0 refuses a version range, and 5.x refuses "3.4".
find_package(Eigen3 CONFIG QUIET)
if(Eigen3_FOUND)
  if(Eigen3_VERSION VERSION_LESS 3.4.0)
    message(FATAL_ERROR "relpos needs Eigen 3.4.0 or newer; ${Eigen3_DIR} has ${Eigen3_VERSION}")
  endif()
  return()
endif()

message(STATUS "relpos: Eigen is not installed; downloading 3.4.0")
include(FetchContent)
FetchContent_Declare(eigen
  GIT_REPOSITORY https://gitlab.com/libeigen/eigen.git
  GIT_TAG 3.4.0
  GIT_SHALLOW ON
  SOURCE_SUBDIR headers_only)  # no such folder: Eigen's own build, with its tests and BLAS, stays out
FetchContent_MakeAvailable(eigen)

# Imported, so that relpos can be exported without exporting Eigen, and so that Eigen counts as a system header.
add_library(Eigen3::Eigen INTERFACE IMPORTED GLOBAL)
target_include_directories(Eigen3::Eigen INTERFACE ${eigen_SOURCE_DIR})
