# cmake -D build= -D prefix= -P install_and_move.cmake
# Installs the project of a build folder elsewhere and moves it to `prefix`. No file of CMake or pkg-config may name a
# folder of this machine.

cmake_minimum_required(VERSION 3.25)

set(first ${prefix}_before_it_is_moved)
file(REMOVE_RECURSE ${first} ${prefix})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${build} --prefix ${first} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${first} ${prefix})

get_filename_component(source ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
file(GLOB_RECURSE files ${prefix}/*.cmake ${prefix}/*.pc)
if(NOT files)
  message(FATAL_ERROR "nothing was installed")
endif()
foreach(file IN LISTS files)
  file(READ ${file} text)
  foreach(folder IN ITEMS ${first} ${build} ${source})
    string(FIND "${text}" "${folder}" position)
    if(NOT position EQUAL -1)
      message(FATAL_ERROR "${file} names ${folder}")
    endif()
  endforeach()
endforeach()
