include(CMakeFindDependencyMacro)
find_dependency(relpos)
include(${CMAKE_CURRENT_LIST_DIR}/sharpnessTargets.cmake)
