"""The Conan 2 package relpos: the headers, as the components core and relpos."""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout


class Relpos(ConanFile):
    name = "relpos"
    description = "Attention with positional encodings for Transformer inference"
    license = "MIT"
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    exports_sources = "include/*.hpp", "LICENSE"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include", "relpos", "version.hpp"))
        self.version = ".".join(re.findall(r"define RELPOS_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))

    def layout(self):
        basic_layout(self)

    def requirements(self):
        self.requires("eigen/[>=3.4.0 <6]", transitive_headers=True)

    def validate(self):
        if self.settings.get_safe("compiler.cppstd"):
            check_min_cppstd(self, 20)
        if str(self.settings.compiler) not in ("gcc", "clang", "apple-clang"):
            raise ConanInvalidConfiguration("relpos needs the vector extensions of GCC or clang")

    def package(self):
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"), os.path.join(self.package_folder, "include"))
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "relpos")
        self.cpp_info.set_property("cmake_config_version_compat", "SameMinorVersion")
        # The target of all components; without a name it is relpos::relpos, which is one of them.
        self.cpp_info.set_property("cmake_target_name", "relpos::all")
        for component in ("core", "relpos"):
            self.cpp_info.components[component].bindirs = []
            self.cpp_info.components[component].libdirs = []
            self.cpp_info.components[component].set_property("cmake_target_name", f"relpos::{component}")
        self.cpp_info.components["core"].set_property("pkg_config_name", "relpos-core")
        self.cpp_info.components["relpos"].set_property("pkg_config_name", "relpos")
        self.cpp_info.components["relpos"].includedirs = []
        self.cpp_info.components["relpos"].requires = ["core", "eigen::eigen"]
