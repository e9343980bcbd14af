# GoogleTest: an installed copy, or else a download.

include(FetchContent)

set(INSTALL_GTEST OFF)
FetchContent_Declare(googletest
  GIT_REPOSITORY https://github.com/google/googletest.git
  GIT_TAG v1.14.0
  GIT_SHALLOW ON
  SYSTEM
  FIND_PACKAGE_ARGS NAMES GTest)
FetchContent_MakeAvailable(googletest)
