#include "client/cli/json.h"

namespace tessera::client {
namespace {

// A token may be a part of a character: its exact bytes stand beside the text.
Json Bytes(const std::string& bytes) {
  Json out = Json::array();
  for (unsigned char byte : bytes) out.push_back(byte);
  return out;
}

Json Token(uint32_t id, const std::string& bytes) {
  return {{"token_id", id}, {"token", bytes}, {"bytes", Bytes(bytes)}};
}

Json ToJson(const Finished& finished) {
  Json out = {{"finish_reason", std::string(ToString(finished.reason))}};
  if (!finished.stop_string.empty()) out["stop_string"] = finished.stop_string;
  if (finished.stop_token_id) out["stop_token_id"] = *finished.stop_token_id;
  out["usage"] = {{"prompt_tokens", finished.usage.prompt_tokens},
                  {"completion_tokens", finished.usage.completion_tokens},
                  {"cached_tokens", finished.usage.cached_tokens}};
  return out;
}

Json ToJson(const std::vector<TokenLogprobs>& tokens) {
  Json out = Json::array();
  for (const TokenLogprobs& token : tokens) out.push_back(ToJson(token));
  return out;
}

Json ToJson(const RankStatus& rank) {
  return {{"rank", rank.rank},
          {"stage", rank.stage},
          {"tp_index", rank.tp_index},
          {"address", rank.address},
          {"pid", rank.pid},
          {"host", rank.host},
          {"kernels", rank.kernels},
          {"weight_bytes", rank.weight_bytes},
          {"weight_bytes_read", rank.weight_bytes_read},
          {"kv_bytes", rank.kv_bytes},
          {"load_fraction", rank.load_fraction},
          {"busy_seconds", rank.busy_seconds},
          {"idle_seconds", rank.idle_seconds}};
}

Json ToJson(const Loss& loss) {
  Json json = {{"epoch", loss.epoch},
               {"cause", loss.cause},
               {"unix_ms", loss.unix_ms},
               {"requests_replayed", loss.requests_replayed},
               {"tokens_replayed", loss.tokens_replayed},
               {"requests_moved", loss.requests_moved},
               {"was_ready", loss.was_ready}};
  if (loss.rank) json["rank"] = *loss.rank;
  if (loss.pause_seconds) json["pause_seconds"] = *loss.pause_seconds;
  return json;
}

Json ToJson(const LatencyFigures& latency) {
  return {{"count", latency.count}, {"mean", latency.mean}, {"p50", latency.p50},
          {"p90", latency.p90},     {"p99", latency.p99},   {"max", latency.max}};
}

Json ToJson(const EngineFigures& engine) {
  return {{"running", engine.running},
          {"waiting", engine.waiting},
          {"requests_total", engine.requests_total},
          {"requests_failed", engine.requests_failed},
          {"requests_cancelled", engine.requests_cancelled},
          {"prompt_tokens_total", engine.prompt_tokens_total},
          {"completion_tokens_total", engine.completion_tokens_total},
          {"steps_total", engine.steps_total},
          {"kv_blocks_total", engine.kv_blocks_total},
          {"kv_blocks_free", engine.kv_blocks_free},
          {"preemptions_total", engine.preemptions_total},
          {"tokens_replayed_total", engine.tokens_replayed_total},
          {"queued", engine.queued},
          {"cached_tokens_total", engine.cached_tokens_total},
          {"prefill_tokens_total", engine.prefill_tokens_total},
          {"output_tokens_per_second", engine.output_tokens_per_second},
          {"workers_seconds", engine.workers_seconds},
          {"server_seconds", engine.server_seconds},
          {"engine_cpu_seconds", engine.engine_cpu_seconds},
          {"queue_time", ToJson(engine.queue_time)},
          {"time_to_first_token", ToJson(engine.time_to_first_token)},
          {"inter_token", ToJson(engine.inter_token)},
          {"end_to_end", ToJson(engine.end_to_end)},
          {"step_time", ToJson(engine.step_time)},
          {"kv_slots_total", engine.kv_slots_total},
          {"kv_slots_used", engine.kv_slots_used},
          {"blocks_spilled_total", engine.blocks_spilled_total},
          {"blocks_fetched_total", engine.blocks_fetched_total},
          {"fetched_tokens_total", engine.fetched_tokens_total}};
}

Json ToJson(const GroupStatus& group) {
  Json losses = Json::array();
  for (const Loss& loss : group.losses) losses.push_back(ToJson(loss));
  Json ranks = Json::array();
  for (const RankStatus& rank : group.ranks) ranks.push_back(ToJson(rank));
  return {{"state", std::string(ToString(group.state))},
          {"epoch", group.epoch},
          {"tp", group.tp},
          {"pp", group.pp},
          {"comm", group.comm},
          {"restarts", group.restarts},
          {"last_loss", group.last_loss},
          {"losses", std::move(losses)},
          {"engine", ToJson(group.engine)},
          {"ranks", std::move(ranks)}};
}

}  // namespace

Json ToJson(const TokenLogprobs& token) {
  Json out = Token(token.token_id, token.token_bytes);
  out["logprob"] = token.logprob ? Json(*token.logprob) : Json(nullptr);
  Json top = Json::array();
  for (const TopLogprob& other : token.top) {
    Json entry = Token(other.token_id, other.token_bytes);
    entry["logprob"] = other.logprob;
    top.push_back(std::move(entry));
  }
  out["top"] = std::move(top);
  return out;
}

Json ToJson(const Completion& completion) {
  const Accepted& accepted = completion.accepted;
  Json out = {{"request_id", completion.request_id},
              {"seed", accepted.seed},
              {"numerics_id", accepted.numerics_id},
              {"weights_version", accepted.weights_version},
              {"prompt_token_ids", accepted.prompt_token_ids}};
  if (!accepted.prompt_logprobs.empty()) out["prompt_logprobs"] = ToJson(accepted.prompt_logprobs);
  Json sequences = Json::array();
  for (const Sequence& sequence : completion.sequences) {
    Json entry = {
        {"index", sequences.size()}, {"text", sequence.text}, {"token_ids", sequence.token_ids}};
    if (!sequence.logprobs.empty()) entry["logprobs"] = ToJson(sequence.logprobs);
    entry.update(ToJson(sequence.finished));
    sequences.push_back(std::move(entry));
  }
  out["sequences"] = std::move(sequences);
  return out;
}

Json ToJson(const std::vector<TokenPiece>& pieces) {
  Json out = Json::array();
  for (const TokenPiece& piece : pieces) {
    Json entry = Token(piece.id, piece.bytes);
    entry["begin"] = piece.begin;
    entry["end"] = piece.end;
    entry["special"] = piece.special;
    out.push_back(std::move(entry));
  }
  return out;
}

Json ToJson(const ServerStatus& status) {
  Json groups = Json::array();
  for (const GroupStatus& group : status.groups) groups.push_back(ToJson(group));
  return {{"state", std::string(ToString(status.state))},
          {"version", status.version},
          {"model", status.model},
          {"numerics_id", status.numerics_id},
          {"uptime_seconds", status.uptime_seconds},
          {"message", status.message},
          {"groups", std::move(groups)},
          {"engine", ToJson(status.engine)}};
}

std::string Pretty(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string Compact(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tessera::client
