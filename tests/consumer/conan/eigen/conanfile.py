"""The Eigen of this machine under the name that it has on Conan's server, which no test reaches."""

from conan import ConanFile


class Eigen(ConanFile):
    name = "eigen"
    package_type = "header-library"
    options = {"folder": ["ANY"]}

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "Eigen3")
        self.cpp_info.set_property("cmake_target_name", "Eigen3::Eigen")
        self.cpp_info.includedirs = [str(self.options.folder)]
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
