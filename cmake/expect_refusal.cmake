# Runs `program` with `argument`, which it must refuse with a failure status and one line on stderr.

execute_process(COMMAND ${program} ${argument}
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE error)

if(NOT status MATCHES "^[0-9]+$" OR status EQUAL 0)  # a crash is reported in words
  message(FATAL_ERROR "expected a failure status, got: ${status}")
endif()
if(NOT output STREQUAL "" OR NOT error MATCHES "^[^\n]+\n$")
  message(FATAL_ERROR "expected one line on stderr and nothing else, got:\n${output}${error}")
endif()
