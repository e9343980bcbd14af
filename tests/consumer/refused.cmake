# cmake -D source= -D binary= -D expected= [-D options=] -P refused.cmake
# Configures a project, which must fail with each of the `expected` words.

file(REMOVE_RECURSE ${binary})
execute_process(COMMAND ${CMAKE_COMMAND} -S ${source} -B ${binary} ${options}
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE error)
string(REGEX REPLACE "[ \n]+" " " error "${error}")  # CMake breaks lines

if(status EQUAL 0)
  message(FATAL_ERROR "configures, where \"${expected}\" was expected")
endif()
foreach(words IN LISTS expected)
  string(FIND "${error}" "${words}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "no \"${words}\" in:\n${error}")
  endif()
endforeach()
