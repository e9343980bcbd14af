# relpos::kernels, the kernels that most calls share, compiled once. Headers alone are enough; who links this target
# compiles less in each translation unit.
#
# relpos_add_kernels(name flags...): a static library of them, for each of `flags`: a string like "-march=x86-64-v3", or
# "baseline" for a compiler's own choice. A translation unit that is compiled for another instruction set compiles its
# kernels itself.

# The namespace that config.hpp chooses for these flags: the name of an instruction set.
function(relpos_find_abi flags result)
  separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_COMPILER_ARG1} ${CMAKE_CXX_FLAGS} ${flags}")
  set(source ${PROJECT_BINARY_DIR}/relpos_abi.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"relpos/config.hpp\"\nabi: RELPOS_ABI\n" @ONLY)
  execute_process(
    COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 ${flags} -I ${PROJECT_SOURCE_DIR}/include -E -P ${source}
    OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "abi: ([a-z0-9_]+)" found "${text}")
  set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
endfunction()

function(relpos_add_kernels name)
  add_library(${name} STATIC)
  target_link_libraries(${name} PUBLIC relpos_core)
  # Shared libraries link it too.
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  set(abis "")
  foreach(flags IN LISTS ARGN)
    if(flags STREQUAL "baseline")
      set(flags "")
    endif()
    relpos_find_abi("${flags}" abi)
    if(abi IN_LIST abis)
      message(FATAL_ERROR "relpos::kernels: '${flags}' is the instruction set ${abi}, which other flags name already")
    endif()
    list(APPEND abis ${abi})
    set(source ${PROJECT_BINARY_DIR}/${name}/${abi}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${PROJECT_SOURCE_DIR}/src/kernels.cpp\"\n" @ONLY)
    separate_arguments(options UNIX_COMMAND "${flags}")
    # Of this source too: flags from elsewhere that change the instruction set are refused by the compiler.
    set_source_files_properties(${source} PROPERTIES
      COMPILE_OPTIONS "${options}" COMPILE_DEFINITIONS RELPOS_KERNELS_${abi}=1)
    target_sources(${name} PRIVATE ${source})
    target_compile_definitions(${name} INTERFACE RELPOS_KERNELS_${abi}=1)
  endforeach()
endfunction()

set(RELPOS_KERNELS "" CACHE STRING
  "Flags of the instruction sets that relpos::kernels is compiled for, as \"-march=native;-march=x86-64-v3;baseline\"; empty: no such target")
if(RELPOS_KERNELS)
  relpos_add_kernels(relpos_kernels ${RELPOS_KERNELS})
  # Not without optimisation because nobody has said what build this is.
  target_compile_options(relpos_kernels PRIVATE $<$<CONFIG:>:-O3>)
  set_target_properties(relpos_kernels PROPERTIES EXPORT_NAME kernels)
  add_library(relpos::kernels ALIAS relpos_kernels)
endif()
