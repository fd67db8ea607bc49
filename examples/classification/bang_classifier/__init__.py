"""Text classification with BANG in fairseq: ``--user-dir examples/classification/bang_classifier``.

fairseq's task and criterion ``sentence_prediction``, with BANG's dictionaries, and BANG with a classification head on
the decoder's last state: of the mask that would predict what follows the whole text.
"""

from dataclasses import dataclass

import torch
from fairseq.models import register_model
from fairseq.models.roberta import RobertaClassificationHead
from fairseq.tasks import register_task
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from omegaconf import II

import bang_plugin  # noqa: F401  (registers the rest)
from bang_plugin.data.dictionary import load_dictionary
from bang_plugin.models.bang import BangModel, BangModelConfig


@dataclass
class BangClassificationConfig(SentencePredictionConfig):
    max_source_positions: int = II("task.max_positions")
    max_target_positions: int = II("task.max_positions")


@register_task("bang_classification", dataclass=BangClassificationConfig)
class BangClassificationTask(SentencePredictionTask):
    """fairseq's ``sentence_prediction``, reading BERT vocabularies too and adding no symbol to a dictionary."""

    @classmethod
    def load_dictionary(cls, filename):
        return load_dictionary(filename)


@register_model("bang_classifier", dataclass=BangModelConfig)
class BangClassifier(BangModel):
    """BANG whose decoder reads the text again and hands its last state to a head."""

    def __init__(self, cfg, encoder, decoder):
        super().__init__(cfg, encoder, decoder)
        self.classification_heads = torch.nn.ModuleDict()

    def register_classification_head(self, name: str, num_classes: int) -> None:
        """Called by the task once the model is built (and a pretrained checkpoint, which has no head, loaded)."""
        dim, dropout = self.cfg.decoder_embed_dim, self.cfg.dropout
        self.classification_heads[name] = RobertaClassificationHead(dim, dim, num_classes, "tanh", dropout)

    def forward(self, src_tokens, src_lengths, prev_output_tokens, classification_head_name, features_only=True):
        """
        Args:
            src_tokens: the text, ``(batch, src_len)``.
            prev_output_tokens: the same behind its end symbol, as ``--add-prev-output-tokens`` makes it.
            classification_head_name: a registered head.
            features_only: what fairseq's criterion passes; the head always takes features.

        Returns:
            scores ``(batch, num_classes)`` and None.
        """
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths)
        slots = torch.arange(prev_output_tokens.size(1), device=prev_output_tokens.device)
        last = slots == src_lengths.unsqueeze(1) - 1
        streams = self.decoder.teacher_forcing(prev_output_tokens, last.long())
        state, _ = self.decoder(prev_output_tokens, encoder_out, features_only=features_only, streams=streams)
        return self.classification_heads[classification_head_name](state), None
