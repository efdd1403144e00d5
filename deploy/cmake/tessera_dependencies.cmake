# What the project stands on; README.md gives the reason for each.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
if(TESSERA_GRPC)
  find_package(Protobuf REQUIRED)  # before gRPC: its config file asks for protobuf::libprotobuf
  find_package(gRPC CONFIG REQUIRED)
  find_program(TESSERA_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
endif()
