#pragma once
// The version of relpos, for C++ and for C. It stands only here: CMakeLists.txt and conanfile.py
// read it. docs/stability.md says what a version promises.

#define RELPOS_VERSION_MAJOR 0
#define RELPOS_VERSION_MINOR 1
#define RELPOS_VERSION_PATCH 0

/// For comparisons, also by the preprocessor: 10000 major + 100 minor + patch.
#define RELPOS_VERSION \
  (10000 * RELPOS_VERSION_MAJOR + 100 * RELPOS_VERSION_MINOR + RELPOS_VERSION_PATCH)
