# relpos_add_program(name source...): a program of this project, with its warnings.

find_package(Threads REQUIRED)

set(relpos_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  # clang counts sign conversions among -Wconversion, g++ does not
  $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wno-sign-conversion>)

function(relpos_add_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE relpos::relpos Threads::Threads)
  target_compile_options(${name} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${relpos_warnings}>")
endfunction()
