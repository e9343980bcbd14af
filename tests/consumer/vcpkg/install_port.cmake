# cmake -D packages= -D generator= -D compiler= -P install_port.cmake
# Runs the port in packaging/vcpkg with stand-ins for vcpkg's own functions, which do what vcpkg's documentation says of
# the arguments that the port gives: tests have no network, and vcpkg downloads what it needs.

cmake_minimum_required(VERSION 3.25)

set(PORT relpos)
set(CURRENT_PACKAGES_DIR ${packages})
set(build ${packages}_build)
file(REMOVE_RECURSE ${packages} ${build})

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" SOURCE_PATH OPTIONS)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${build} -G ${generator} -D CMAKE_CXX_COMPILER=${compiler}
      -D CMAKE_BUILD_TYPE=Release -D CMAKE_INSTALL_PREFIX=${packages} ${arg_OPTIONS}
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_cmake_install)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} --target install OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# Moves the files of CMake to share/relpos; the prefix is from there on two folders above them.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" CONFIG_PATH "")
  file(RENAME ${packages}/${arg_CONFIG_PATH} ${packages}/share/${PORT})
  file(REMOVE_RECURSE ${packages}/share/cmake)
  set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
  file(READ ${packages}/share/${PORT}/relposTargets.cmake text)
  string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
  file(WRITE ${packages}/share/${PORT}/relposTargets.cmake "${text}")
endfunction()

function(vcpkg_fixup_pkgconfig)
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" FILE_LIST)
  file(COPY_FILE ${arg_FILE_LIST} ${packages}/share/${PORT}/copyright)
endfunction()

get_filename_component(port ${CMAKE_CURRENT_LIST_DIR}/../../../packaging/vcpkg/ports/relpos ABSOLUTE)
include(${port}/portfile.cmake)

foreach(file IN ITEMS copyright usage relposConfig.cmake)
  if(NOT EXISTS ${packages}/share/relpos/${file})
    message(FATAL_ERROR "the port installs no ${file}")
  endif()
endforeach()
if(EXISTS ${packages}/share/cmake OR EXISTS ${packages}/lib OR EXISTS ${packages}/debug)
  message(FATAL_ERROR "the port installs more than headers")
endif()
