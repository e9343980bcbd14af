# cmake -D program=PROGRAM -D document=FILE -P expect_shown.cmake
# The document shows what the program prints, as an indented line.

execute_process(COMMAND ${program} OUTPUT_VARIABLE output RESULT_VARIABLE result OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${program}: exit code ${result}")
endif()
file(READ ${document} text)
string(FIND "${text}" "\n    ${output}\n" position)
if(position EQUAL -1)
  message(FATAL_ERROR "${document} does not show what the program prints: ${output}")
endif()
