# weir (BSL-1.0). The headers and the two packages that find them: CMake's and pkg-config's. Nothing depends on the machine
# or on where the prefix finally stands.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS weir EXPORT weirTargets FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(weir_config_dir ${CMAKE_INSTALL_DATADIR}/cmake/weir)
install(EXPORT weirTargets NAMESPACE weir:: DESTINATION ${weir_config_dir})
configure_package_config_file(cmake/weirConfig.cmake.in weirConfig.cmake INSTALL_DESTINATION ${weir_config_dir}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a new minor version may break its users.
write_basic_package_version_file(weirConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake
  DESTINATION ${weir_config_dir})

set(weir_pc_dir ${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${weir_pc_dir} OUTPUT_VARIABLE weir_pc_to_prefix)
cmake_path(APPEND weir_pc_includedir "\${prefix}" ${CMAKE_INSTALL_INCLUDEDIR})  # an absolute folder replaces the prefix
configure_file(cmake/weir.pc.in weir.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/weir.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
