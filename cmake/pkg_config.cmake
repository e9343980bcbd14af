# The packages that pkg-config finds: relpos-core, relpos with Eigen, and relpos-c where that library is built.

# relpos_install_pkg_config(name folder description line...): <name>.pc of these lines, in the folder `pkgconfig` of
# DATADIR or LIBDIR. Its paths start at the file, so that an installed copy can be moved.
function(relpos_install_pkg_config name folder description)
  file(RELATIVE_PATH includedir ${CMAKE_INSTALL_FULL_${folder}}/pkgconfig ${CMAKE_INSTALL_FULL_INCLUDEDIR})
  list(JOIN ARGN "\n" lines)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${name}.pc @ONLY CONTENT "includedir=\${pcfiledir}/${includedir}

Name: ${name}
Description: ${description}
Version: ${PROJECT_VERSION}
${lines}
")
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_${folder}}/pkgconfig COMPONENT relpos)
endfunction()

relpos_install_pkg_config(relpos-core DATADIR "Attention with positional encodings, over views"
  "Cflags: -I\${includedir}")
relpos_install_pkg_config(relpos DATADIR "Attention with positional encodings, over Eigen tensors"
  "Requires: relpos-core = ${PROJECT_VERSION}, eigen3 >= 3.4.0")

if(TARGET relpos_c)
  list(TRANSFORM relpos_c_runtime PREPEND -l)
  list(JOIN relpos_c_runtime " " libraries)
  relpos_install_pkg_config(relpos-c LIBDIR "Attention with positional encodings, for C"
    "Cflags: -I\${includedir}" "Libs: -L\${pcfiledir}/.. -lrelpos_c ${libraries}")
endif()
