# Compiles `source` and compares the outcome with `kind`: must_pass or must_fail.

set(command ${compiler} -std=c++20 -fsyntax-only)
foreach(directory IN LISTS includes)
  list(APPEND command -I ${directory})
endforeach()
foreach(directory IN LISTS system_includes)
  list(APPEND command -isystem ${directory})
endforeach()

set(ENV{LC_ALL} C)  # messages in English, with plain quotes
execute_process(COMMAND ${command} ${source} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(kind STREQUAL "must_pass")
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "must compile, but does not:\n${output}")
  endif()
  return()
endif()

file(STRINGS ${source} expectations REGEX "^// expect: ")
if(NOT expectations)
  message(FATAL_ERROR "${source} has no line `// expect: <text of the compiler's message>`")
endif()
if(status EQUAL 0)
  message(FATAL_ERROR "must not compile, but does")
endif()
foreach(expectation IN LISTS expectations)
  string(REPLACE "// expect: " "" text "${expectation}")
  string(FIND "${output}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "the compiler's message lacks \"${text}\":\n${output}")
  endif()
endforeach()
