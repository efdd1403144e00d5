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

// Frequencies of rotary position embedding (Su et al., arXiv:2104.09864), and how they are scaled
// for contexts longer than those of the first training (Hugging Face's modeling_rope_utils.py).
struct RopeSpec {
  enum class Scaling {
    kNone,
    kLinear,    // every frequency divided by `factor`
    kLlama3,    // Llama 3.1: low frequencies divided, high ones kept, a smooth step between
    kYarn,      // Peng et al., arXiv:2309.00071: the same by rotations, and longer vectors
    kLongrope,  // Ding et al., arXiv:2402.13753: a divisor for each frequency
    kDynamic,   // theta grows with the context of the deployment
  };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;     // kLlama3
  double high_freq_factor = 4.0;    // kLlama3
  int64_t original_context = 8192;  // positions of the first training
  double beta_fast = 32.0;          // kYarn: rotations in the original context from which kept,
  double beta_slow = 1.0;           // and up to which divided
  bool truncate = true;             // kYarn: the step begins and ends at whole elements
  // Of cosines and sines. kYarn, kLongrope: 0 takes the scaling's own formula; kYarn: `mscale` and
  // `mscale_all_dim`, where not 0, give the quotient of two such factors (DeepSeek V2, V3).
  double attention_factor = 0.0;
  double mscale = 0.0;
  double mscale_all_dim = 0.0;
  bool scales_scores = false;          // scores are multiplied by the square of the second factor
  std::vector<double> short_divisors;  // kLongrope, up to original_context; [rotary_size / 2]
  std::vector<double> long_divisors;   // kLongrope, beyond it

  // Whether it is fixed only by the deployment's context length.
  bool DependsOnContext() const {
    return scaling == Scaling::kLongrope || scaling == Scaling::kDynamic;
  }
};

enum class RopeUse { kNone, kMain, kLocal };

enum class QkNorm {
  kNone,
  kPerHead,     // one set of weights for all heads: [head_size]
  kOwnPerHead,  // weights for each head: [heads, head_size]
  kAllHeads,    // RMS over all heads together: [heads * head_size]
};

// Multi-head latent attention (DeepSeek V2, arXiv:2405.04434): keys and values are products of one
// latent vector, but for a rotated part of the keys that all heads share. A head's first
// head_size - rotary_size elements are not rotated. The cache holds keys and values, not latents.
struct LatentSpec {
  int64_t query_rank = 0;  // 0: queries are a product of the hidden state
  int64_t kv_rank = 0;     // 0: no latent attention
  float norm_epsilon = 1e-6f;
};

struct AttentionSpec {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_size = 0;     // of queries and keys
  int64_t value_size = 0;    // of values, where it differs; see values()
  bool qkv_bias = false;
  bool output_bias = false;
  QkNorm qk_norm = QkNorm::kNone;  // before rope
  NormKind qk_norm_kind = NormKind::kRms;
  bool qk_norm_bias = false;  // kPerHead
  float scale = 0.0f;         // of the scores; usually 1/sqrt(head_size)
  float soft_cap = 0.0f;      // above 0: a score s becomes cap * tanh(s / cap)
  bool sinks = false;         // every head has a score that takes a share of the weights
  // Per layer: a query at position p sees keys at positions > p - window; 0: all up to p.
  std::vector<int64_t> windows;
  int64_t rotary_begin = 0;       // the elements of a head that are rotated
  int64_t rotary_size = 0;        // see rotary()
  bool rope_interleaved = false;  // element 2i pairs with 2i + 1; else i with i + rotary_size / 2
  // Per layer; empty: kMain on all.
  std::vector<RopeUse> rope_of_layer;
  bool alibi = false;  // Press et al., arXiv:2108.12409; then no layer has rope
  float alibi_max = 8.0f;
  float alibi_scale = 1.0f;  // of the slopes
  LatentSpec latent;

  int64_t values() const { return value_size > 0 ? value_size : head_size; }
  int64_t rotary() const { return rotary_size > 0 ? rotary_size : head_size; }
  RopeUse RopeOf(int64_t layer) const {
    return rope_of_layer.empty() ? RopeUse::kMain : rope_of_layer[layer];
  }
};

struct MlpSpec {
  int64_t intermediate_size = 0;
  Activation activation = Activation::kSilu;
  bool gated = true;              // down(act(gate x) * up x), else down(act(up x))
  bool bias = false;              // of gate, up and down
  float activation_limit = 0.0f;  // kClampedSwiglu
};

// A mixture of experts: each a gated MLP with the activation of MlpSpec.
struct MoeSpec {
  enum class Scores { kSoftmax, kSigmoid };
  int64_t num_experts = 0;  // 0: none
  int64_t experts_per_token = 0;
  int64_t intermediate_size = 0;  // of an expert
  bool bias = false;              // of an expert's gate, up and down
  bool router_bias = false;       // added to the router's product
  Scores scores = Scores::kSoftmax;
  bool correction_bias = false;  // added to scores for the choice alone
  bool renormalise = false;      // the chosen weights are divided by their sum
  float routed_scale = 1.0f;
  int64_t num_groups = 1;  // experts are chosen from the best groups only
  int64_t groups_per_token = 1;
  bool group_by_two = false;   // a group's score: its best two scores' sum, else its best one
  int64_t shared_columns = 0;  // of the experts that every token has, as one MLP; 0: none
  bool shared_gate = false;    // its output is multiplied by sigmoid(a product of the input)
  std::vector<bool> on_layer;  // per layer; the others have the dense MLP
};

enum class Residual {
  kSequential,      // h += attention(norm h); h += mlp(norm h)
  kParallel,        // h += attention(norm h) + mlp(another norm h)
  kParallelOneNorm  // h += attention(norm h) + mlp(the same norm h)
};

struct NormSpec {
  NormKind kind = NormKind::kRms;
  bool weight = true;
  bool bias = false;
  bool one_plus = false;  // the weight is one more than what is stored
};

struct DecoderSpec {
  std::string family;        // "llama", as SUPPORT.md lists it
  std::string architecture;  // "LlamaForCausalLM", as the checkpoint says
  int64_t num_layers = 0;
  int64_t hidden_size = 0;
  int64_t vocab_size = 0;
  int64_t context_length = 0;  // positions the model was made for
  NormSpec norm;               // of every norm outside of attention
  float norm_epsilon = 1e-5f;
  bool pre_norm = true;        // norms of the inputs of attention and MLP
  bool post_norm = false;      // norms of their outputs, before they are added
  bool residual_norm = false;  // pre_norm's norms are applied after the addition instead
  bool final_norm = true;
  Residual residual = Residual::kSequential;
  float residual_scale = 1.0f;  // of what is added
  RopeSpec rope;
  RopeSpec local_rope;  // RopeUse::kLocal
  AttentionSpec attention;
  MlpSpec mlp;
  MoeSpec moe;
  int64_t embedding_size = 0;  // where it is not hidden_size; products lead in and out
  float embedding_scale = 1.0f;
  bool embedding_norm = false;
  int64_t num_position_rows = 0;  // learned positions; 0: none
  int64_t position_offset = 0;    // position p has row p + offset
  bool tied_embeddings = false;
  bool head_bias = false;
  float logit_scale = 1.0f;
  float logit_soft_cap = 0.0f;  // above 0: cap * tanh(logit / cap)

  int64_t embedding() const { return embedding_size > 0 ? embedding_size : hidden_size; }
  bool IsMoe(int64_t layer) const { return moe.num_experts > 0 && moe.on_layer[layer]; }
  bool HasDense() const {
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      if (!IsMoe(layer)) return true;
    }
    return false;
  }
  bool UsesRope(RopeUse use) const {
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      if (attention.RopeOf(layer) == use) return true;
    }
    return false;
  }
  bool DependsOnContext() const {
    return (UsesRope(RopeUse::kMain) && rope.DependsOnContext()) ||
           (UsesRope(RopeUse::kLocal) && local_rope.DependsOnContext());
  }
};

// Our name of a weight. In the shapes: q = heads * head_size, k = kv_heads * head_size, v =
// kv_heads * values, columns = intermediate_size of the MLP or of an expert.
enum class TensorRole {
  kEmbedding,          // [vocab, embedding]
  kEmbeddingProject,   // [hidden, embedding]
  kPositionEmbedding,  // [position rows, hidden]
  kEmbeddingNorm,      // [hidden]
  kEmbeddingNormBias,
  kAttentionNorm,  // [hidden]
  kAttentionNormBias,
  kQueryDown,          // [query_rank, hidden]
  kQueryDownNorm,      // [query_rank]
  kLatentDown,         // [kv_rank, hidden]
  kLatentNorm,         // [kv_rank]
  kKeyRope,            // [rotary_size, hidden]: the part of the keys that all heads share
  kQuery,              // [q, hidden or query_rank]
  kKey,                // [k, hidden]; latent: [heads * (head_size - rotary_size), kv_rank]
  kValue,              // [v, hidden or kv_rank]
  kQueryBias,          // [q]
  kKeyBias,            // [k]
  kValueBias,          // [v]
  kQueryNorm,          // [head_size], or [q]
  kKeyNorm,            // [head_size], or [k]
  kQueryNormBias,      // [head_size]
  kKeyNormBias,        // [head_size]
  kSinks,              // [heads]
  kOutput,             // [hidden, heads * values]
  kOutputBias,         // [hidden]
  kPostAttentionNorm,  // [hidden]
  kMlpNorm,            // [hidden]
  kMlpNormBias,
  kGate,              // [columns, hidden]
  kUp,                // [columns, hidden]
  kDown,              // [hidden, columns]
  kGateBias,          // [columns]
  kUpBias,            // [columns]
  kDownBias,          // [hidden]
  kRouter,            // [experts, hidden]
  kRouterBias,        // [experts]
  kRouterCorrection,  // [experts]
  kExpertDownBias,    // [experts * hidden]
  kExpertGate,        // [columns, hidden]: this and those up to kExpertUpBias of each expert
  kExpertUp,          // [columns, hidden]
  kExpertDown,        // [hidden, columns]
  kExpertGateBias,    // [columns]
  kExpertUpBias,      // [columns]
  kSharedGate,        // [shared columns, hidden]
  kSharedUp,          // [shared columns, hidden]
  kSharedDown,        // [hidden, shared columns]
  kSharedExpertGate,  // [1, hidden]
  kPostMlpNorm,       // [hidden]
  kFinalNorm,         // [hidden]
  kFinalNormBias,     // [hidden]
  kHeadProject,       // [embedding, hidden]
  kHead,              // [vocab, embedding]; absent where tied
  kHeadBias,          // [vocab]
};

constexpr bool IsExpertRole(TensorRole role) {
  return role >= TensorRole::kExpertGate && role <= TensorRole::kExpertUpBias;
}

struct TensorId {
  int64_t layer = -1;  // -1 for those outside the layers
  TensorRole role = TensorRole::kEmbedding;
  int64_t expert = -1;  // of IsExpertRole

  friend bool operator==(const TensorId&, const TensorId&) = default;
  friend auto operator<=>(const TensorId&, const TensorId&) = default;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_DECODER_SPEC_H_
