#include "proto/rpc/status.h"

#include <catch2/catch.hpp>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "proto/rpc/deadline.h"

namespace tessera::rpc {
namespace {

TEST_CASE("every code survives the way over the wire and back") {
  for (int code = 1; code <= 16; ++code) {
    absl::Status status(static_cast<absl::StatusCode>(code), "tensor 'a' is too short");
    grpc::Status wire = ToGrpc(status);
    CHECK(wire.error_code() == code);
    CHECK(FromGrpc(wire) == status);
  }
  CHECK(ToGrpc(absl::OkStatus()).ok());
  CHECK(FromGrpc(grpc::Status::OK).ok());
}

TEST_CASE("a retry delay travels as google.rpc.RetryInfo") {
  absl::Status status = absl::ResourceExhaustedError("the queue is full");
  SetRetryDelay(status, absl::Milliseconds(1250));
  grpc::Status wire = ToGrpc(status);

  google::rpc::Status details;
  REQUIRE(details.ParseFromString(wire.error_details()));
  CHECK(details.code() == 8);
  google::rpc::RetryInfo info;
  REQUIRE(details.details_size() == 1);
  REQUIRE(details.details(0).UnpackTo(&info));
  CHECK(info.retry_delay().seconds() == 1);
  CHECK(info.retry_delay().nanos() == 250'000'000);

  CHECK(RetryDelay(FromGrpc(wire)) == absl::Milliseconds(1250));
  CHECK(RetryDelay(absl::InternalError("no hint")) == absl::ZeroDuration());
}

TEST_CASE("a wrong field is named in google.rpc.BadRequest") {
  absl::Status status = absl::InvalidArgumentError("temperature is -1");
  SetFieldViolation(status, "sampling.temperature");
  CHECK(FieldViolation(FromGrpc(ToGrpc(status))) == "sampling.temperature");
  CHECK(FieldViolation(absl::InvalidArgumentError("none")).empty());
}

TEST_CASE("details that are not a google.rpc.Status are left out") {
  absl::Status status = FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "x", "\xff\xff\xff"));
  CHECK(status == absl::InternalError("x"));
}

TEST_CASE("a call without a deadline has an infinite one") {
  CHECK(FromGrpcDeadline(std::chrono::system_clock::time_point::max()) == absl::InfiniteFuture());
  CHECK(ToGrpcDeadline(absl::InfiniteFuture()) == std::chrono::system_clock::time_point::max());
  absl::Time soon = absl::FromUnixSeconds(2'000'000'000);
  CHECK(FromGrpcDeadline(ToGrpcDeadline(soon)) == soon);
}

}  // namespace
}  // namespace tessera::rpc
