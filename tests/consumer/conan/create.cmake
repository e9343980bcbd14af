# cmake -D conan= -D eigen_folder= -D output= -P create.cmake
# Creates the Conan package of this source tree, and in `output` the files by which a CMake project finds it.

cmake_minimum_required(VERSION 3.25)

get_filename_component(source ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
file(REMOVE_RECURSE ${output})
set(ENV{CONAN_HOME} ${output}/home)

function(run_conan)
  execute_process(COMMAND ${conan} ${ARGN} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()
set(options --no-remote --settings compiler.cppstd=20 --options "eigen/*:folder=${eigen_folder}")
run_conan(profile detect)
run_conan(create ${CMAKE_CURRENT_LIST_DIR}/eigen --version 3.4.0 ${options})
run_conan(create ${source} ${options})
run_conan(install --requires "relpos/[*]" --generator CMakeDeps --generator CMakeToolchain --output-folder ${output} ${options})
