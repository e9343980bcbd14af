# relpos_read_version(header result): the version that include/relpos/version.hpp defines, as major.minor.patch.

function(relpos_read_version header result)
  file(STRINGS ${header} numbers REGEX "define RELPOS_VERSION_(MAJOR|MINOR|PATCH) [0-9]+$")
  list(TRANSFORM numbers REPLACE ".* " "")
  list(JOIN numbers . version)
  set(${result} ${version} PARENT_SCOPE)
endfunction()
