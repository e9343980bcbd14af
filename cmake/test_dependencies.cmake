# GoogleTest and nlohmann_json: installed copies, or else downloads.

include(FetchContent)

set(INSTALL_GTEST OFF)
FetchContent_Declare(googletest
  GIT_REPOSITORY https://github.com/google/googletest.git
  GIT_TAG v1.14.0
  GIT_SHALLOW ON
  SYSTEM
  FIND_PACKAGE_ARGS NAMES GTest)
FetchContent_Declare(nlohmann_json
  GIT_REPOSITORY https://github.com/nlohmann/json.git
  GIT_TAG v3.11.3
  GIT_SHALLOW ON
  SYSTEM
  FIND_PACKAGE_ARGS)
FetchContent_MakeAvailable(googletest nlohmann_json)
