# relpos_compare_versions(version folder result): whether the relpos that this project already has, relpos::core, is
# another version than `version` in `folder`. Sets result to what is wrong, or to nothing.

function(relpos_compare_versions version folder result)
  get_target_property(present relpos::core RELPOS_VERSION)
  get_target_property(present_folder relpos::core RELPOS_FOLDER)
  if(present STREQUAL version)
    set(${result} "" PARENT_SCOPE)
  else()
    string(CONCAT text "this project has two versions of relpos: ${present} in ${present_folder}, "
      "and ${version} in ${folder}")
    set(${result} "${text}" PARENT_SCOPE)
  endif()
endfunction()
