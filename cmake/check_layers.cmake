# Checks what docs/design.md says of the folders under include/relpos:
# who may include whom, where Eigen and #if may stand, which layers may name an encoding, how long a header may be.

cmake_minimum_required(VERSION 3.25)

get_filename_component(include_dir ${CMAKE_CURRENT_LIST_DIR}/../include ABSOLUTE)

# What a layer may include, besides itself. Headers directly in include/relpos may include everything.
set(below_config.hpp "")
set(below_core config.hpp)
set(below_simd core config.hpp)
set(below_policy core config.hpp)
set(below_kernel simd core config.hpp)
set(below_cuda kernel core config.hpp)
set(below_eigen attention.hpp kernel core config.hpp)

set(layers_without_encodings core simd kernel)
set(encodings alibi xpos t5 blockwise rotary)
set(longest_header 400)

set(failed OFF)
macro(complain text)
  message(NOTICE "${header}: ${text}")
  set(failed ON)
endmacro()

file(GLOB_RECURSE headers RELATIVE ${include_dir} ${include_dir}/relpos/*.hpp)
foreach(header IN LISTS headers)
  string(REGEX REPLACE "^relpos/([^/]+).*" "\\1" layer ${header})
  file(READ ${include_dir}/${header} text)
  string(PREPEND text "\n")

  if(IS_DIRECTORY ${include_dir}/relpos/${layer} AND NOT DEFINED below_${layer})
    complain("folder ${layer} is no layer of cmake/check_layers.cmake")
  endif()

  string(REGEX MATCHALL "\n[ \t]*#[ \t]*include[ \t]*[<\"][^>\"]+" includes "${text}")
  list(TRANSFORM includes REPLACE "\n[ \t]*#[ \t]*include[ \t]*" "")
  foreach(include IN LISTS includes)
    if(include MATCHES "^[<\"]relpos/([^/]+)")
      if(DEFINED below_${layer} AND NOT CMAKE_MATCH_1 IN_LIST below_${layer} AND NOT CMAKE_MATCH_1 STREQUAL layer)
        complain("${layer} may not include ${CMAKE_MATCH_1}")
      endif()
    elseif(include MATCHES "^\"")
      complain("${include}\" is relative: write the path from relpos/ on")
    elseif(include MATCHES "^<(Eigen|unsupported)/" AND NOT layer STREQUAL "eigen")
      complain("only eigen/ includes Eigen")
    endif()
  endforeach()

  if(layer IN_LIST layers_without_encodings)
    string(TOLOWER "${text}" lower)
    foreach(encoding IN LISTS encodings)
      if(lower MATCHES "[^a-z0-9]${encoding}[^a-z0-9]")
        complain("${layer} names an encoding: ${encoding}")
      endif()
    endforeach()
  endif()

  string(REGEX MATCHALL "\n[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else)[^a-z]" conditions "${text}")
  list(LENGTH conditions count)
  if(header MATCHES "^relpos/simd/(vector128|avx2|avx512|neon)\\.hpp$")
    if(count GREATER 1)
      complain("a backend has one #if, around its body")
    endif()
  elseif(count GREATER 0 AND NOT header MATCHES "^relpos/(config|simd/isa)\\.hpp$")
    complain("#if belongs in config.hpp, simd/isa.hpp or around the body of a backend")
  endif()

  if(NOT text MATCHES "\n#pragma once\n")
    complain("no #pragma once")
  endif()

  string(REGEX REPLACE "[^\n]" "" newlines "${text}")
  string(LENGTH "${newlines}" lines)
  math(EXPR lines "${lines} - 1")
  if(lines GREATER longest_header)
    complain("${lines} lines: split it by stage (at most ${longest_header})")
  endif()
endforeach()

if(failed)
  message(FATAL_ERROR "the layers are not kept")
endif()
