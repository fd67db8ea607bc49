"""The official release as a contestant, in the old environment that it needs.

``peers --release PYTHON FOLDER`` starts this file with that Python (3.6 or 3.7 with torch 1.3 and fairseq 0.9) and the
release's folder, which fairseq knows as ``--user-dir``. The two processes talk in lines of JSON, so that the old one
may lack everything else of this project; here, then, only syntax that Python 3.6 has.
"""

import argparse
import json
import subprocess
import sys
import types

ARCH = "bang_ar_nar_mixed_base"
# beam sizes; 0 is NAR, for which the release always takes as many masks
WAYS = {"beam 4": 4, "greedy": 1, "nar, a mask per source token": 0}


class Release:
    """The other process; ``write`` asks it for one batch and waits.

    Args:
        python: interpreter of the old environment.
        folder: the release's user module.
        symbols: types of the vocabulary.
        positions: most tokens of a source.
        threads: for it to use.
        environment: variables of its process; default: those of this one.
    """

    def __init__(self, python, folder, symbols, positions, threads, environment=None):
        command = [python, __file__, folder, ARCH, symbols, positions, threads]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "universal_newlines": True}
        self.process = subprocess.Popen(list(map(str, command)), env=environment, **pipes)
        self._expect("ready")

    def write(self, sample, length, way):
        """Let it write ``length`` tokens for every source of a batch."""
        request = {"way": way, "length": length, "tokens": sample["net_input"]["src_tokens"].tolist()}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        self._expect("written")

    def _expect(self, answer):
        line = self.process.stdout.readline().strip()
        if line != answer:
            self.process.kill()
            raise RuntimeError("the release's process ended (see above)" if not line else "it said " + line)


def build(folder, arch, symbols, positions):
    """The release's model with random weights, under fairseq 0.9, and its dictionary."""
    from fairseq import utils
    from fairseq.data import Dictionary
    from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

    if folder:
        utils.import_user_module(types.SimpleNamespace(user_dir=folder))
    dictionary = Dictionary()
    # the release counts positions from padding's number and, in its cache, on that being 0, as in BERT's vocabulary
    dictionary.pad_index, dictionary.bos_index = dictionary.bos_index, dictionary.pad_index
    for number in range(symbols - len(dictionary)):
        dictionary.add_symbol("word" + str(number))
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)  # as fairseq does it: presets fill the gaps
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    args = parser.parse_args(["--share-all-embeddings"])
    args.ngram, args.num_buckets, args.relative_max_distance = 1, 32, 128
    args.max_source_positions = args.max_target_positions = positions
    ARCH_CONFIG_REGISTRY[arch](args)
    task = types.SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, task).eval(), dictionary


def serve(folder, arch, symbols, positions, threads):
    """Answer requests until the input ends. fairseq's own messages go to the error stream."""
    import torch

    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(int(threads))
    model, dictionary = build(folder, arch, int(symbols), int(positions))
    from fairseq.sequence_generator import SequenceGenerator

    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        tokens = torch.tensor(request["tokens"])
        inputs = {"src_tokens": tokens, "src_lengths": torch.full_like(tokens[:, 0], tokens.size(1))}
        beam, most = WAYS[request["way"]], request["length"] - 1
        with torch.no_grad():
            if beam:
                search = SequenceGenerator(dictionary, beam_size=beam, max_len_b=most, min_len=most)
                search.generate([model], {"net_input": inputs})
            else:
                model.decoder(tokens, model.encoder(**inputs), None, flag_AR=False)[0].max(-1)
        print("written", file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
