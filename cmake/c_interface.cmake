# relpos::c, the C interface (include/relpos_c.h): a library with the code of several instruction sets, of which it picks
# the best that the processor has. Static, or shared with BUILD_SHARED_LIBS.
#
# relpos_add_c_library(name set...): that library for baseline, the compiler's own choice, and some of avx2 and avx512.

include(${CMAKE_CURRENT_LIST_DIR}/instruction_set_flags.cmake)

function(relpos_add_c_library name)
  add_library(${name} ${PROJECT_SOURCE_DIR}/src/c/relpos_c.cpp)
  target_compile_features(${name} PRIVATE cxx_std_20)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${PROJECT_SOURCE_DIR}/include/relpos_c.h)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  get_target_property(type ${name} TYPE)
  if(type STREQUAL "SHARED_LIBRARY")
    target_compile_definitions(${name} PRIVATE RELPOS_C_SHARED)
  endif()
  # The baseline comes first: of a function that several sets have, such as one of std::vector, a linker takes the first.
  set(sets baseline ${ARGN})
  list(REMOVE_DUPLICATES sets)
  foreach(set IN LISTS sets)
    if(NOT set MATCHES "^(baseline|avx2|avx512)$")
      message(FATAL_ERROR "relpos::c: unknown instruction set '${set}' (baseline, avx2, avx512)")
    endif()
    set(source ${PROJECT_BINARY_DIR}/${name}/${set}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${PROJECT_SOURCE_DIR}/src/c/instruction_set.cpp\"\n" @ONLY)
    set_source_files_properties(${source} PROPERTIES
      COMPILE_OPTIONS "${relpos_flags_${set}}" COMPILE_DEFINITIONS RELPOS_C_SET=${set})
    target_sources(${name} PRIVATE ${source})
    string(TOUPPER ${set} set_upper)
    target_compile_definitions(${name} PRIVATE RELPOS_C_HAS_${set_upper})
  endforeach()
endfunction()

set(RELPOS_C "" CACHE STRING
  "Instruction sets of relpos::c, the interface for C and C++17: baseline;avx2;avx512 on x86-64, baseline elsewhere; empty: no such target")
if(RELPOS_C)
  relpos_add_c_library(relpos_c ${RELPOS_C})
  # Not without optimisation because nobody has said what build this is.
  if(NOT CMAKE_CXX_FLAGS MATCHES "-O")
    target_compile_options(relpos_c PRIVATE $<$<CONFIG:>:-O3>)
  endif()
  set_target_properties(relpos_c PROPERTIES EXPORT_NAME c)
  # A linker of C programs leaves out the C++ library, which a static relpos_c needs.
  set(relpos_c_runtime "")
  get_target_property(type relpos_c TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    set(relpos_c_runtime ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
    list(FILTER relpos_c_runtime INCLUDE REGEX "^((std)?c\\+\\+|m)$")
    foreach(library IN LISTS relpos_c_runtime)
      target_link_libraries(relpos_c INTERFACE $<$<LINK_LANGUAGE:C>:${library}>)
    endforeach()
  endif()
  add_library(relpos::c ALIAS relpos_c)
endif()
