#!/usr/bin/env python3
"""Compares our tokenizer with the PyPI library `tokenizers`, component by component.

    run.py PROGRAM [SEED]

Makes a virtual environment beside the program (exit code 77 where it cannot), builds a tokenizer
around each component, and feeds both the same random texts and random ids.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata
import venv

VERSION = "0.23.3"
ALPHABET = list("abcdefgXYZ ''.,!?-_/\\()<>@#%&*+=~^`|\"\t\n\r0123456789") + [
    "  ", "\n\n", "'s", "'LL", " .", " n't", "é", "e\u0301", "ß", "İ", "ſ", "Σ", "ﬁ", "Å", "…", "“", "中", "文", "あ", "ア",
    "ー", "한", "\u1112\u1161\u11ab", "👍", "👨\u200d👩", "🇩🇪", "\u00a0", "\u2028", "\u3000", "\u200b", "\ufeff", "²", "½", "Ⅷ",
    "٣", "ǅ", "▁", "Ġ", "##", "</w>", "<unk>", "[CLS]", "ą\u0308", "\u0344", "ע", "ا", "ก", "क्षि", "\x00", "\x01", "\x7f",
    "\ufffd", "𝔘", "¼", "ℌ", "㎏", "ｱ", "！"]
WORDS = ["the", "quick", "brown", "fox", "don't", "do not", "hello", "world", "lower", "newest", "日本語", "naïve", "ÉCOLE"]


def random_text(rng):
    parts = []
    for _ in range(rng.randint(0, 25)):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(WORDS))
        elif kind < 0.35:
            # Characters that every version of Unicode in question knows.
            c = chr(rng.randint(0, 0x2FFFF))
            parts.append("" if unicodedata.ucd_3_2_0.category(c) in ("Cn", "Cs") else c)
        else:
            parts.append(rng.choice(ALPHABET))
        if rng.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def models(rng):
    """Models trained here on the same kind of text, as JSON."""
    from tokenizers import Tokenizer, decoders, models as m, pre_tokenizers, trainers

    corpus = [random_text(rng) for _ in range(400)]
    found = {}

    def train(name, model, trainer, pre=None):
        tokenizer = Tokenizer(model)
        if pre:
            tokenizer.pre_tokenizer = pre
        tokenizer.train_from_iterator(corpus, trainer)
        found[name] = json.loads(tokenizer.to_str())["model"]

    space = pre_tokenizers.WhitespaceSplit()
    train("bpe", m.BPE(unk_token="<unk>"), trainers.BpeTrainer(show_progress=False, vocab_size=300, special_tokens=["<unk>"]), space)
    train("bpe_suffix", m.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
          trainers.BpeTrainer(show_progress=False, vocab_size=300, special_tokens=["<unk>"], end_of_word_suffix="</w>"), space)
    train("bpe_prefix", m.BPE(unk_token="<unk>", continuing_subword_prefix="##"),
          trainers.BpeTrainer(show_progress=False, vocab_size=300, special_tokens=["<unk>"], continuing_subword_prefix="##"), space)
    train("byte_bpe", m.BPE(), trainers.BpeTrainer(show_progress=False, vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
          pre_tokenizers.ByteLevel(add_prefix_space=False))
    train("unigram", m.Unigram(), trainers.UnigramTrainer(vocab_size=1000, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>"),
          pre_tokenizers.Metaspace())
    train("wordpiece", m.WordPiece(unk_token="[UNK]"),
          trainers.WordPieceTrainer(show_progress=False, vocab_size=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"]), space)
    train("wordlevel", m.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(show_progress=False, vocab_size=200, special_tokens=["<unk>"]),
          pre_tokenizers.Whitespace())
    for name, changes in {"fuse": {"fuse_unk": True}, "ignore": {"ignore_merges": True}}.items():
        found["bpe_" + name] = dict(found["bpe"], **changes)
    vocab = dict(found["bpe"]["vocab"])
    for byte in range(256):
        vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
    found["bpe_bytes"] = dict(found["bpe"], vocab=vocab, byte_fallback=True)
    scores = found["unigram"]["vocab"] + [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    found["unigram_bytes"] = dict(found["unigram"], vocab=scores, byte_fallback=True)
    return found


def precompiled():
    """The character maps of real SentencePiece models: the Precompiled normalizers of the tests' tokenizers."""
    def parts(normalizer):
        kind = (normalizer or {}).get("type")
        return [kept for part in normalizer["normalizers"] for kept in parts(part)] if kind == "Sequence" else [normalizer] * (kind == "Precompiled")

    fixtures = pathlib.Path(__file__).resolve().parents[2] / "fixtures" / "tokenizers"
    found = {f"precompiled_{folder.name}_{i}": part for folder in sorted(fixtures.iterdir())
             for i, part in enumerate(parts(json.loads((folder / "tokenizer.json").read_text())["normalizer"]))}
    assert found, f"no tokenizer in {fixtures} has a Precompiled normalizer"
    return found


def variants(found):
    """(name, tokenizer.json) for each component in turn."""
    split = lambda pattern, behavior, invert=False: {
        "type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    normalizers = {
        **{kind: {"type": kind} for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")},
        **precompiled(),
        "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
        "strip_left": {"type": "Strip", "strip_left": True, "strip_right": False},
        "prepend": {"type": "Prepend", "prepend": "▁x"},
        "replace": {"type": "Replace", "pattern": {"String": "o"}, "content": "0▁0"},
        "replace_regex": {"type": "Replace", "pattern": {"Regex": "[aeiou]+|\\s{2,}"}, "content": ""},
        "sequence": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}}
    for clean in (True, False):
        for accents in (None, True, False):
            normalizers[f"bert_{clean}_{accents}"] = {
                "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": clean,
                "strip_accents": accents, "lowercase": not clean or accents is None}
    pre = {
        **{kind: {"type": kind} for kind in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts")},
        **{f"punctuation_{b}": {"type": "Punctuation", "behavior": b}
           for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")},
        **{f"split_{b}_{i}": split({"Regex": "\\s+|[aeiou]"}, b, i)
           for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (True, False)},
        "split_string": split({"String": "o"}, "Isolated"),
        "digits": {"type": "Digits", "individual_digits": False}, "single_digits": {"type": "Digits", "individual_digits": True},
        "delimiter": {"type": "CharDelimiterSplit", "delimiter": "e"}, "fixed": {"type": "FixedLength", "length": 4},
        **{f"metaspace_{s}_{p}": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": s, "split": p}
           for s in ("always", "first", "never") for p in (True, False)},
        "sequence": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
            {"type": "Digits", "individual_digits": True}]}}
    for prefix in (True, False):
        for regex in (True, False):
            pre[f"bytes_{prefix}_{regex}"] = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
    replace = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    decoders = {
        "none": None, "ByteLevel": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "Fuse": {"type": "Fuse"}, "ByteFallback": {"type": "ByteFallback"},
        "wordpiece": {"type": "WordPiece", "prefix": "##", "cleanup": True}, "wordpiece_plain": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "bpe": {"type": "BPEDecoder", "suffix": "</w>"}, "ctc": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "e", "cleanup": True},
        **{f"metaspace_{s}": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": s, "split": True} for s in ("always", "first", "never")},
        "llama": {"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                   {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "fused": {"type": "Sequence", "decoders": [{"type": "Fuse"}, replace, {"type": "Strip", "content": "a", "start": 2, "stop": 0}]}}
    added = [{"id": 0, "content": content, "single_word": w, "lstrip": l, "rstrip": r, "normalized": n, "special": s}
             for content, w, l, r, n, s in [
                 ("[CLS]", False, False, False, False, True), ("<unk>", False, True, False, False, True),
                 ("hello", True, False, False, True, False), ("ÉCOLE", False, False, True, True, False),
                 ("fox", False, True, True, False, False), ("fo", False, False, False, True, False)]]

    def spec(model, normalizer=None, pre_tokenizer=None, decoder=None, post=None, tokens=()):
        vocab = found[model]["vocab"]
        names = {t[0] for t in vocab} if isinstance(vocab, list) else set(vocab)
        next_id, listed = len(vocab), []
        for token in tokens:
            known = token["content"] in names
            known_id = (vocab[token["content"]] if isinstance(vocab, dict) else
                        [t[0] for t in vocab].index(token["content"])) if known else next_id
            next_id += not known
            listed.append(dict(token, id=known_id))
        listed.sort(key=lambda token: token["id"])
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": listed, "normalizer": normalizer,
                "pre_tokenizer": pre_tokenizer, "post_processor": post, "decoder": decoder, "model": found[model]}

    for name, normalizer in normalizers.items():
        yield f"normalizer {name}", spec("bpe_bytes", normalizer, {"type": "WhitespaceSplit"})
        yield f"normalizer {name} with added tokens", spec("bpe_fuse", normalizer, None, tokens=added)
    for name, pre_tokenizer in pre.items():
        yield f"pre-tokenizer {name}", spec("bpe_bytes", None, pre_tokenizer)
        yield f"pre-tokenizer {name} behind NFKC", spec("wordlevel", {"type": "NFKC"}, pre_tokenizer, tokens=added)
        yield f"pre-tokenizer {name}, bytes", spec("byte_bpe", None, {"type": "Sequence", "pretokenizers": [pre_tokenizer, pre["bytes_False_False"]]})
    for model in found:
        for name in ("WhitespaceSplit", "metaspace_always_True", "bytes_False_True"):
            yield f"model {model} behind {name}", spec(model, None, pre[name])
        yield f"model {model} alone", spec(model)
        for name, decoder in decoders.items():
            yield f"decoder {name} of {model}", spec(model, None, pre["WhitespaceSplit"], decoder, tokens=added)
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1, 1], "tokens": ["[CLS]", "[CLS]"]},
                                   "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}}
    bytes_after = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    posts = {"bert": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}, "template": template, "bytes": bytes_after,
             "bytes_untrimmed": dict(bytes_after, trim_offsets=False),
             "sequence": {"type": "Sequence", "processors": [bytes_after, template]},
             **{f"roberta_{trim}_{space}": {"type": "RobertaProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1],
                                            "trim_offsets": trim, "add_prefix_space": space}
                for trim in (True, False) for space in (True, False)}}
    for name, post in posts.items():
        yield f"post-processor {name}", spec("wordpiece", None, pre["BertPreTokenizer"], None, post)
        yield f"post-processor {name}, bytes", spec("byte_bpe", None, pre["bytes_True_True"], decoders["ByteLevel"], post, added)


def byte_offsets(text, offsets):
    starts = [0]
    for c in text:
        starts.append(starts[-1] + len(c.encode()))
    return [[starts[a], starts[b]] for a, b in offsets]


def compare(program, seed):
    """Runs inside of the virtual environment."""
    import tokenizers

    rng = random.Random(seed)
    found = models(rng)
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wrong = checks = moved = 0
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "tokenizer.json")
        for name, spec in variants(found):
            pathlib.Path(path).write_text(json.dumps(spec))
            theirs = tokenizers.Tokenizer.from_file(path)
            texts = [random_text(rng) for _ in range(120)]
            ids = [[rng.randrange(theirs.get_vocab_size() + 2) for _ in range(rng.randint(1, 12))] for _ in range(60)]
            process.stdin.write(json.dumps({"tokenizer": path, "texts": texts, "ids": ids}) + "\n")
            process.stdin.flush()
            ours = json.loads(process.stdout.readline())
            if "error" in ours:
                print(f"{name}: {ours['error']}")
                wrong += 1
                continue
            for text, result in zip(texts, ours["encoded"]):
                checks += 1
                try:
                    expected = theirs.encode(text)
                except Exception:  # an unknown character without an unknown token
                    expected = None
                if expected is None or "error" in result:
                    same = expected is None and "error" in result
                else:
                    same = result["ids"] == expected.ids
                    moved += same and result["offsets"] != byte_offsets(text, expected.offsets)
                if not same:
                    wrong += 1
                    if wrong < 40:
                        print(f"{name}: {text!r}\n  ours   {result}\n  theirs {expected and expected.ids}")
            for sequence, result in zip(ids, ours["decoded"]):
                checks += 1
                expected = [theirs.decode(sequence, skip_special_tokens=skip) for skip in (False, True)]
                if result != expected + expected[:1]:
                    wrong += 1
                    if wrong < 40:
                        print(f"{name}: {sequence} {[theirs.id_to_token(i) for i in sequence]}\n  ours   {result}\n  theirs {expected}")
    process.stdin.close()
    print(f"{checks} comparisons, {wrong} wrong; offsets differ in {moved}")
    return 1 if wrong else 0


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    folder = pathlib.Path(program).parent / "tokenizers-venv"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"tokenizers=={VERSION}"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"skipped: no virtual environment with tokenizers {VERSION}: {error}")
        return 77
    seed = sys.argv[2] if len(sys.argv) > 2 else "1"
    return subprocess.run([python, __file__, "--compare", program, seed]).returncode


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        sys.exit(compare(sys.argv[2], int(sys.argv[3])))
    sys.exit(main())
