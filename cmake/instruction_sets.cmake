# Which instruction sets tests are built for: sets relpos_isas.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(relpos_known_isas neon)
else()
  set(relpos_known_isas generic avx2 avx512 avx512_bf16 amx)
endif()
set(RELPOS_TEST_ISAS ${relpos_known_isas} CACHE STRING
  "Instruction sets to test; those that this machine cannot run are left out")

include(${CMAKE_CURRENT_LIST_DIR}/instruction_set_flags.cmake)

# Every CPU with AVX2 has F16C, which clang 14 cannot be asked about.
set(relpos_features_avx2 avx2 fma)
set(relpos_features_avx512 ${relpos_features_avx2} avx512f avx512bw avx512vl avx512dq avx512cd)
set(relpos_features_avx512_bf16 ${relpos_features_avx512} avx512bf16 avx512vbmi)
# Tests emulate AMX where it is missing (tests/amx/emulated_amx.hpp).
set(relpos_features_amx ${relpos_features_avx512_bf16})

include(CheckCXXSourceRuns)

# Sets RELPOS_HOST_RUNS_<isa> in the cache.
function(relpos_check_host isa)
  if(isa MATCHES "^(generic|neon)$")
    set(RELPOS_HOST_RUNS_${isa} ON CACHE INTERNAL "")
  elseif(CMAKE_CROSSCOMPILING OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(RELPOS_HOST_RUNS_${isa} OFF CACHE INTERNAL "")
  else()
    list(TRANSFORM relpos_features_${isa} REPLACE "(.+)" "__builtin_cpu_supports(\"\\1\")" OUTPUT_VARIABLE tests)
    list(JOIN tests " && " condition)
    set(CMAKE_REQUIRED_QUIET ON)
    check_cxx_source_runs("int main() { return ${condition} ? 0 : 1; }" RELPOS_HOST_RUNS_${isa})
  endif()
endfunction()

set(relpos_isas "")
foreach(isa IN LISTS RELPOS_TEST_ISAS)
  if(NOT isa IN_LIST relpos_known_isas)
    list(JOIN relpos_known_isas ", " names)
    message(FATAL_ERROR "RELPOS_TEST_ISAS: unknown instruction set '${isa}' (${names})")
  endif()
  relpos_check_host(${isa})
  if(RELPOS_HOST_RUNS_${isa})
    list(APPEND relpos_isas ${isa})
  else()
    message(STATUS "relpos: tests for ${isa} are left out, this machine cannot run them")
  endif()
endforeach()
if(NOT relpos_isas)
  list(GET relpos_known_isas 0 relpos_isas)
endif()
