// Which build this is: what --version prints and what status reports carry.
#ifndef TESSERA_PROTO_RPC_VERSION_H_
#define TESSERA_PROTO_RPC_VERSION_H_

#include <string_view>

namespace tessera::rpc {

// "0.1.0 (abc1234)"; without the commit where the sources were no git checkout when CMake
// configured them.
std::string_view Version();

}  // namespace tessera::rpc

#endif  // TESSERA_PROTO_RPC_VERSION_H_
