# Checks that every ```cpp block of README.md stands, but for indentation, in a file under examples/,
# where it is compiled.

cmake_minimum_required(VERSION 3.25)

get_filename_component(root ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
if(NOT EXISTS ${root}/README.md)
  return()
endif()

function(read_without_indentation file variable)
  file(READ ${file} text)
  string(REGEX REPLACE "\n[ \t]+" "\n" text "\n${text}\n")
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE examples ${root}/examples/*.cpp ${root}/examples/*.hpp)
read_without_indentation(${root}/README.md rest)

set(failed OFF)
set(opening "\n```cpp\n")
string(FIND "${rest}" "${opening}" begin)
while(NOT begin EQUAL -1)
  string(LENGTH "${opening}" length)
  math(EXPR begin "${begin} + ${length}")
  string(SUBSTRING "${rest}" ${begin} -1 rest)
  string(FIND "${rest}" "\n```\n" end)
  string(SUBSTRING "${rest}" 0 ${end} block)

  set(found OFF)
  foreach(example IN LISTS examples)
    read_without_indentation(${example} text)
    string(FIND "${text}" "\n${block}\n" position)
    if(NOT position EQUAL -1)
      set(found ON)
    endif()
  endforeach()
  if(NOT found)
    message(NOTICE "README.md: this block is in no example:\n${block}\n")
    set(failed ON)
  endif()
  string(FIND "${rest}" "${opening}" begin)
endwhile()

if(failed)
  message(FATAL_ERROR "README.md shows code that no example compiles")
endif()
