"""Who takes part in ``peers``: each writes a given number of tokens for every source of a batch."""

import copy
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from fairseq.sequence_generator import SequenceGenerator

from bang_plugin.decoding.confident import confident
from bang_plugin.decoding.speculative import speculative
from bang_plugin.decoding.tree import Tree
from bang_plugin.errors import BangError

from . import models
from .machine import processor
from .release import WAYS, Release


@dataclass
class Contestant:
    """A program that writes.

    Attributes:
        write: ``write(sample, length)`` writes ``length`` tokens, the end symbol included, for every source of a
            fairseq batch; ``max_len_b`` and ``min_len`` force the length.
        encoder: module whose time is told apart; None where it cannot be seen.
        folder: of temporary files that it reads.
    """

    write: Callable
    encoder: object = None
    folder: object = None


def _limits(length: int) -> dict:
    return {"max_len_a": 0, "max_len_b": length - 1, "min_len": length - 1}


def bang_contestants(model, dictionary, block_size: int, kept: int, max_positions: int) -> dict[str, Contestant]:
    """Our five modes.

    Random weights agree with no draft, and a trained model's agreement depends on the data, so what
    confident and speculative keep is prescribed: ``kept`` tokens of every ``block_size``; and of look-ahead how many
    steps of the search each pass answers. The work that they do for it is theirs.
    """

    def contestant(beam=1, script=None, agreeing=False, **task):
        bench = models.make_task(dictionary, max_positions, block_size=block_size, **task)

        @cache
        def generator(length):
            built = bench.build_generator([model], Namespace(beam=beam, **_limits(length)))
            if script:
                built.mode = partial(script, kept=kept, block_size=block_size)
            if agreeing:
                built.model.forward_encoder = partial(_with_agreeing_trees, built.model.forward_encoder, kept)
            return built

        def write(sample, length):
            return bench.inference_step(generator(length), [model], sample)

        return Contestant(write, model.encoder)

    assumption = f"{kept} of {block_size} kept"
    return {
        "bang ar, beam 4": contestant(decoding="ar", beam=4),
        "bang ar, greedy": contestant(decoding="ar"),
        f"bang look-ahead, beam 4, {assumption}": contestant(
            decoding="speculative", beam=4, draft_width=8, agreeing=True
        ),
        f"bang speculative, {assumption}": contestant(decoding="speculative", script=scripted_speculative),
        f"bang confident, {assumption}": contestant(decoding="confident", script=scripted_confident),
        f"bang semi_nar, K={block_size}": contestant(decoding="semi_nar"),
        "bang nar": contestant(decoding="nar"),
    }


def scripted_confident(session, state, kept: int, block_size: int):
    """Confident decoding that is sure of ``kept`` tokens of each block."""
    step = confident(session, state, block_size, confidence=0.0)

    def scripted():
        found = step()
        return found._replace(counts=torch.full_like(found.counts, kept))

    return scripted


def scripted_speculative(session, state, kept: int, block_size: int):
    """Speculative decoding whose verifying pass writes ``kept`` tokens of each draft.

    What the model chose is overwritten by one token everywhere, and by another one behind the prescribed
    disagreement.
    """
    choose = state.choose
    plain = state.eos + 2

    def scripted_choice(logits, normaliser, index=None, drafted=None):
        tokens, scores = choose(logits, normaliser, index, drafted)
        ends = tokens == state.eos
        checks = tokens.size(1) - block_size
        tokens = torch.full_like(tokens, plain)
        tokens[:, kept - 1 : checks] = plain + 1
        return tokens.masked_fill(ends, state.eos), scores

    state.choose = scripted_choice
    return speculative(session, state, block_size)


class AgreeingTree(Tree):
    """A tree of which every pass answers ``kept`` steps of the search, whatever prefixes that asks for.

    A prefix that has not been read is answered for by one of the same length that has.
    """

    def __init__(self, kept: int):
        super().__init__()
        self.kept, self.answered = kept, 0

    def find(self, keys):
        """See ``Tree``."""
        there = [node for node in self.nodes.values() if len(node.key) == len(keys[0])]
        if there and self.answered < self.kept:
            self.answered += 1
            for key in keys:
                if key not in self.nodes:
                    self.nodes[key] = copy.copy(there[0])
                    self.nodes[key].key, self.nodes[key].parent = key, self.nodes[key[:-4]]
            return super().find(keys)
        return None

    def grow(self, keys, growth, never):
        """See ``Tree``; what the search asks for is read for it, although it may have been guessed."""
        self.answered = 1
        self.nodes = {name: node for name, node in self.nodes.items() if not name.startswith(tuple(keys))}
        return super().grow(keys, growth, never)


def _with_agreeing_trees(forward_encoder, kept: int, net_input):
    reader = forward_encoder(net_input)
    reader.trees = reader.all_trees = [AgreeingTree(kept) for _ in reader.trees]
    return reader


def fairseq_transformer(model, dictionary) -> dict[str, Contestant]:
    """fairseq's Transformer under its own search."""

    @cache
    def generator(beam, length):
        return SequenceGenerator([model], dictionary, beam, **_limits(length))

    def write(sample, length, beam):
        return generator(beam, length).generate([model], sample)

    return {
        "fairseq transformer, beam 4": Contestant(partial(write, beam=4), model.encoder),
        "fairseq transformer, greedy": Contestant(partial(write, beam=1), model.encoder),
    }


def fairseq_nat(model, dictionary) -> dict[str, Contestant]:
    """fairseq's one-pass model; its length predictor is computed and then overruled."""
    from fairseq.iterative_refinement_generator import IterativeRefinementGenerator

    generator = IterativeRefinementGenerator(dictionary, max_iter=0, adaptive=False)

    def write(sample, length):
        lengths = torch.full_like(sample["net_input"]["src_lengths"], length)
        model.decoder.forward_length_prediction = lambda *unused, **also: lengths
        return generator.generate([model], sample)

    return {"fairseq nonautoregressive_transformer": Contestant(write, model.encoder)}


def ctranslate2_transformer(
    model, size: models.Size, dictionary, device: str = "cpu", dtype: str = "float32"
) -> dict[str, Contestant]:
    """CTranslate2 on fairseq's Transformer (which is on the CPU in float32), in ``dtype`` and with 8-bit weights.

    Raises:
        BangError: if it is not installed.
    """
    try:
        import ctranslate2
        from ctranslate2.converters import fairseq as reading
        from ctranslate2.specs import common_spec, transformer_spec
    except ImportError as error:
        raise BangError("this contestant needs CTranslate2: pip install ctranslate2") from error

    class Converter(ctranslate2.converters.Converter):
        """Converts the model in memory; CTranslate2's own converter wants a checkpoint file."""

        @torch.no_grad()
        def _load(self):
            spec = transformer_spec.TransformerSpec.from_config(
                (size.layers, size.layers), size.heads, pre_norm=False, activation=common_spec.Activation.RELU
            )
            reading.set_transformer_encoder(spec.encoder, model.encoder)
            reading.set_transformer_decoder(spec.decoder, model.decoder)
            vocabulary = ["<blank>" if symbol == "<pad>" else symbol for symbol in dictionary.symbols]
            spec.register_source_vocabulary(vocabulary)
            spec.register_target_vocabulary(vocabulary)
            spec.config.decoder_start_token, spec.config.add_source_eos = spec.config.eos_token, True
            return spec

    def write(sample, length, translator, beam):
        words = [[dictionary[token] for token in row[:-1]] for row in sample["net_input"]["src_tokens"].tolist()]
        # its limits do not count the end symbol, but neither do they force one
        return translator.translate_batch(
            words, beam_size=beam, max_decoding_length=length, min_decoding_length=length, max_batch_size=len(words)
        )

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        Converter().convert(folder, force=True)
        for kind in (dtype, "int8" if dtype == "float32" else f"int8_{dtype}"):
            translator = ctranslate2.Translator(
                folder, device=device, compute_type=kind, intra_threads=torch.get_num_threads(), inter_threads=1
            )
            for beam, name in ((4, "beam 4"), (1, "greedy")):
                run = partial(write, translator=translator, beam=beam)
                found[f"ctranslate2 {kind}, {name}"] = Contestant(run)
    return found


def release(python: str, folder: str, dictionary, positions: int) -> dict[str, Contestant]:
    """The official release; see ``release``.

    Raises:
        BangError: if it does not start.
    """
    # MKL of 2019 takes its slow path on AMD's processors, unless told that they have AVX2
    environment = {"MKL_DEBUG_CPU_TYPE": "5", **os.environ} if "AMD" in processor() else None
    try:
        other = Release(python, folder, len(dictionary), positions, torch.get_num_threads(), environment)
    except (OSError, RuntimeError) as error:
        raise BangError(f"--release {python} {folder}: {error}") from error
    return {f"release, {way}": Contestant(partial(other.write, way=way)) for way in WAYS}
