// Any decoder-only transformer as data. A family (shard_loader/model/<family>.cc) turns its
// config.json into one of these; worker/model runs it and knows no family names.
#ifndef TESSERA_SHARD_LOADER_MODEL_DECODER_SPEC_H_
#define TESSERA_SHARD_LOADER_MODEL_DECODER_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::shard_loader {

enum class Activation {
  kSilu,           // x * sigmoid(x)
  kGelu,           // x * Phi(x), by erf
  kGeluTanh,       // the tanh form of GELU
  kQuickGelu,      // x * sigmoid(1.702 x)
  kRelu,           // max(x, 0)
  kRelu2,          // max(x, 0)^2
  kClampedSwiglu,  // gated only: with g and u clamped, g * sigmoid(1.702 g) * (u + 1)
};

enum class NormKind {
  kRms,    // x / sqrt(mean(x^2) + epsilon)
  kLayer,  // (x - mean(x)) / sqrt(variance(x) + epsilon)
};

// Rotary position embedding over a whole head, in halves: element i pairs with i + head_size/2
// (Su et al., arXiv:2104.09864, in the layout of GPT-NeoX and Hugging Face).
struct RopeSpec {
  enum class Scaling {
    kNone,
    kLinear,  // every frequency divided by `factor`
    kLlama3,  // Llama 3.1: low frequencies divided, high ones kept, a smooth step between
  };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;     // kLlama3
  double high_freq_factor = 4.0;    // kLlama3
  int64_t original_context = 8192;  // kLlama3: positions of the first training
};

struct AttentionSpec {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_size = 0;
  bool qkv_bias = false;
  bool output_bias = false;
  bool qk_norm = false;  // RMS norm of every head of q and k, before rope
  float scale = 0.0f;    // of the scores; usually 1/sqrt(head_size)
  // Per layer: a query at position p sees keys at positions > p - window; 0: all up to p.
  std::vector<int64_t> windows;
};

struct MlpSpec {
  int64_t intermediate_size = 0;
  Activation activation = Activation::kSilu;
  bool bias = false;  // of gate, up and down
};

struct DecoderSpec {
  std::string family;        // "llama", as SUPPORT.md lists it
  std::string architecture;  // "LlamaForCausalLM", as the checkpoint says
  int64_t num_layers = 0;
  int64_t hidden_size = 0;
  int64_t vocab_size = 0;
  int64_t context_length = 0;  // positions the model was made for
  float norm_epsilon = 1e-5f;  // of every RMS norm
  RopeSpec rope;
  AttentionSpec attention;
  MlpSpec mlp;  // gated: down(act(gate x) * up x)
  bool tied_embeddings = false;
};

// Our name of a weight.
enum class TensorRole {
  kEmbedding,      // [vocab, hidden]
  kAttentionNorm,  // [hidden]
  kQuery,          // [heads * head_size, hidden]
  kKey,            // [kv_heads * head_size, hidden]
  kValue,          // [kv_heads * head_size, hidden]
  kQueryBias,      // [heads * head_size]
  kKeyBias,        // [kv_heads * head_size]
  kValueBias,      // [kv_heads * head_size]
  kQueryNorm,      // [head_size]
  kKeyNorm,        // [head_size]
  kOutput,         // [hidden, heads * head_size]
  kOutputBias,     // [hidden]
  kMlpNorm,        // [hidden]
  kGate,           // [intermediate, hidden]
  kUp,             // [intermediate, hidden]
  kDown,           // [hidden, intermediate]
  kGateBias,       // [intermediate]
  kUpBias,         // [intermediate]
  kDownBias,       // [hidden]
  kFinalNorm,      // [hidden]
  kHead,           // [vocab, hidden]; absent where tied
};

struct TensorId {
  int64_t layer = -1;  // -1 for those outside the layers
  TensorRole role = TensorRole::kEmbedding;

  friend bool operator==(const TensorId&, const TensorId&) = default;
  friend auto operator<=>(const TensorId&, const TensorId&) = default;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_DECODER_SPEC_H_
