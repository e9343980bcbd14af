# Google Benchmark: an installed copy, or a download if that is wished.

option(RELPOS_DOWNLOAD_BENCHMARK "Download Google Benchmark if it is not installed" OFF)

find_package(benchmark CONFIG QUIET)
if(RELPOS_DOWNLOAD_BENCHMARK AND NOT benchmark_FOUND)
  include(FetchContent)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  set(BENCHMARK_ENABLE_WERROR OFF)
  FetchContent_Declare(benchmark
    GIT_REPOSITORY https://github.com/google/benchmark.git
    GIT_TAG v1.7.1
    GIT_SHALLOW ON
    SYSTEM)
  FetchContent_MakeAvailable(benchmark)
endif()
