# cmake -D prefix= -D pkg_config= -D compiler= -D language= -D source= -D package= -D program= -P compile.cmake
# Compiles and runs a program with what pkg-config says of a package below `prefix`.

cmake_minimum_required(VERSION 3.25)

file(GLOB_RECURSE files ${prefix}/*/pkgconfig/relpos*.pc)
list(TRANSFORM files REPLACE "/[^/]+$" "")
list(REMOVE_DUPLICATES files)
list(JOIN files ":" folders)
set(ENV{PKG_CONFIG_PATH} "${folders}:$ENV{PKG_CONFIG_PATH}")

execute_process(COMMAND ${pkg_config} --cflags --libs ${package} OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
get_filename_component(folder ${program} DIRECTORY)
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND ${compiler} -std=${language} ${source} -o ${program} ${flags} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${program} COMMAND_ERROR_IS_FATAL ANY)
