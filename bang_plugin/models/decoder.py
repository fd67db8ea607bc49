"""BANG's decoder: one stack of layers for prefix rows and mask rows, in every mode."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder
from fairseq.modules import FairseqDropout, LayerNorm, PositionalEmbedding
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from omegaconf import DictConfig
from torch import Tensor, nn

from ..modules.attention_backends import Backend, FlexAttention, choose_backend
from ..modules.cache import DecodingCache, LayerCache
from ..modules.fused_attention import dropout_rate, fused_attention
from ..modules.nstream_attention import NStreamAttention
from ..modules.packed_linear import PackedLinear, pack_children, pack_feed_forward
from ..modules.streams import Extent, Streams, teacher_forcing, whole_chains
from .encoder import EncoderOut


class CrossAttention(nn.Module):
    """Attention to the encoder's output, whose keys and values are computed once per sentence."""

    def __init__(self, embed_dim: int, encoder_dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.k_proj = nn.Linear(encoder_dim, embed_dim)
        self.v_proj = nn.Linear(encoder_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        for proj in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(proj.weight)
            nn.init.zeros_(proj.bias)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """``(src_len, batch, encoder_dim)`` -> two of ``(batch, heads, src_len, head_dim)``."""
        k, v = self.k_proj(memory), self.v_proj(memory)
        return self._heads(k.transpose(0, 1)), self._heads(v.transpose(0, 1))

    def forward(self, hidden: Tensor, keys_values: tuple[Tensor, Tensor], source_mask: Tensor | None) -> Tensor:
        """Attend to the source.

        Args:
            hidden: ``(batch, rows, embed_dim)``.
            keys_values: from ``keys_values``, of sentences: the beams of one, side by side in the batch, share
                them as if they were more rows of it.
            source_mask: True where a source token may be seen, ``(sentences, 1, 1, src_len)``; None for all.

        Returns:
            ``(batch, rows, embed_dim)``.
        """
        sentences, (rows, _, dim) = keys_values[0].size(0), hidden.shape
        x = hidden if rows == sentences else hidden.reshape(sentences, -1, dim)
        out = fused_attention(self._heads(self.q_proj(x)), *keys_values, source_mask, dropout_rate(self.dropout))
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        return out if rows == sentences else out.view_as(hidden)

    def pack(self, precision: str) -> None:
        """For inference: see ``packed_linear``."""
        pack_children(self, ["q_proj", "k_proj", "v_proj", "out_proj"], precision)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, x.size(2) // self.num_heads)).transpose(1, 2)


class BangDecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each followed by LayerNorm."""

    def __init__(self, cfg: DictConfig):
        super().__init__()
        dim = cfg.decoder_embed_dim
        self.ngram_self_attn = NStreamAttention(
            dim, cfg.decoder_attention_heads, cfg.attention_dropout, cfg.num_buckets, cfg.relative_max_distance
        )
        self.self_attn_layer_norm = LayerNorm(dim)
        self.encoder_attn = CrossAttention(
            dim, cfg.encoder_embed_dim, cfg.decoder_attention_heads, cfg.attention_dropout
        )
        self.encoder_attn_layer_norm = LayerNorm(dim)
        self.fc1 = nn.Linear(dim, cfg.decoder_ffn_embed_dim)
        self.fc2 = nn.Linear(cfg.decoder_ffn_embed_dim, dim)
        self.final_layer_norm = LayerNorm(dim)
        self.activation_fn = utils.get_activation_fn(cfg.activation_fn)
        self.dropout = FairseqDropout(cfg.dropout, module_name=self.__class__.__name__)
        self.activation_dropout = FairseqDropout(cfg.activation_dropout, module_name=self.__class__.__name__)

    def forward(
        self,
        x: Tensor,
        attend: Backend,
        memory: Tensor | tuple[Tensor, Tensor],
        source_mask: Tensor | None,
        cache: LayerCache | None = None,
        skip: int = 0,
    ) -> Tensor:
        """Hidden states of all rows but the first ``skip``.

        Args:
            x: ``(batch, rows, embed_dim)``.
            attend: backend built from this pass's Streams.
            memory: the encoder's output ``(src_len, batch, encoder_dim)``, or the cross-attention keys and values that
                an earlier pass computed from it.
            source_mask: see ``CrossAttention``.
            cache: keys and values of earlier passes, to which those of this pass are written.
            skip: leading rows that only others look at.

        Returns:
            ``(batch, rows - skip, embed_dim)``.
        """
        attended = self.dropout(self.ngram_self_attn(x, attend, cache, skip))
        x = self.self_attn_layer_norm((x[:, skip:] if skip else x) + attended)
        keys_values = memory if isinstance(memory, tuple) else self.encoder_attn.keys_values(memory)
        x = self.encoder_attn_layer_norm(x + self.dropout(self.encoder_attn(x, keys_values, source_mask)))
        h = self.activation_dropout(self.activation_fn(self.fc1(x)))
        return self.final_layer_norm(x + self.dropout(self.fc2(h)))

    def pack(self, precision: str) -> None:
        """For inference: see ``packed_linear``."""
        self.ngram_self_attn.pack(precision)
        self.encoder_attn.pack(precision)
        pack_feed_forward(self, precision)


class BangDecoder(FairseqIncrementalDecoder):
    """Decoder whose rows are real tokens (the prefix) and masks (the chains).

    Positions: slot 0 (y_0) stands at ``padding_idx + 1``; a mask that predicts y_i stands where y_i
    will stand. The table therefore holds one place more than the longest decoder input.
    """

    def __init__(self, cfg: DictConfig, dictionary: Dictionary, embed_tokens: nn.Embedding):
        super().__init__(dictionary)
        dim = cfg.decoder_embed_dim
        self.embed_tokens = embed_tokens
        self.padding_idx: int = dictionary.pad()
        self.max_target_positions = cfg.max_target_positions
        self.attention_backend, self.nar_prefix = cfg.attention_backend, cfg.nar_prefix
        self.num_passes = 0  # of the decoder since construction, for whoever compares modes
        self.embed_positions = PositionalEmbedding(cfg.max_target_positions + 1, dim, self.padding_idx, learned=True)
        self.ngram_input_embed = nn.Embedding(1, dim)
        nn.init.normal_(self.ngram_input_embed.weight, std=dim**-0.5)
        self.emb_layer_norm = LayerNorm(dim)
        self.dropout = FairseqDropout(cfg.dropout, module_name=self.__class__.__name__)
        layers = [BangDecoderLayer(cfg) for _ in range(cfg.decoder_layers)]
        if cfg.checkpoint_activations:
            layers = [checkpoint_wrapper(layer) for layer in layers]
        # type: a ModuleList does not tell of what kind its members are
        self.layers: Sequence[BangDecoderLayer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.packed_output: PackedLinear | None = None

    @property
    def first_position(self) -> int:
        """Position-table index of y_0."""
        return self.padding_idx + 1

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut,
        incremental_state: dict[str, Any] | None = None,
        features_only: bool = False,
        streams: Streams | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, None]]:
        """fairseq's decoder interface: predictions of stream 1 (AR) after every prefix.

        Args:
            prev_output_tokens: y_0 … y_{T-1}, ``(batch, tgt_len)``.
            encoder_out: output of the encoder.
            incremental_state: if given, only what earlier calls have not computed is computed,
                and only the last position's prediction is returned.
            features_only: return hidden states instead of logits.
            streams: compute these rows instead, see ``rows``.

        Returns:
            logits ``(batch, tgt_len, vocab)`` (``tgt_len`` 1 with an incremental state; hidden states
            with ``features_only``) and fairseq's extras (no attention weights).
        """
        if incremental_state is not None:
            features = self._next_token_features(prev_output_tokens, encoder_out, incremental_state)
        else:
            if streams is None:
                streams = self.teacher_forcing(prev_output_tokens, torch.ones_like(prev_output_tokens), full=True)
            prefix = prev_output_tokens[:, : streams.prefix_len]
            features = self.rows(prefix, streams, encoder_out, skip=streams.prefix_len)
        return (features if features_only else self.output_layer(features)), {"attn": None}

    def teacher_forcing(
        self,
        prev_output_tokens: Tensor,
        chain_lengths: Tensor,
        full: bool = False,
        positions: Tensor | None = None,
        extent: Extent | None = None,
    ) -> Streams:
        """Streams with a chain of ``chain_lengths`` masks after every token; all ``(batch, tgt_len)``.

        ``positions``: where the tokens stand, if not one after the other from the beginning; ``extent``: of the
        chains, if it is known already.
        """
        if positions is None:
            positions = utils.make_positions(prev_output_tokens, self.padding_idx)
        pad = prev_output_tokens.eq(self.padding_idx)
        return teacher_forcing(positions, pad, chain_lengths, full, extent)

    def whole_outputs(
        self, prev_output_tokens: Tensor, element: Tensor, positions: Tensor | None = None
    ) -> tuple[Tensor, Streams]:
        """NAR's rows: one chain for every output, after what ``--nar-prefix`` says.

        Args:
            prev_output_tokens: the token before every target, ``(batch, tgt_len)``.
            element: place of every target in its output, 1, 2, …, and 0 at padding, same shape.
            positions: where those tokens stand, if not one after the other from the beginning.

        Returns:
            tokens of which the first columns are the prefix rows, ``(batch, tgt_len)``, and the Streams.
        """
        if positions is None:
            positions = utils.make_positions(prev_output_tokens, self.padding_idx)
        streams, first_slots = whole_chains(positions + 1, element, after_start=self.nar_prefix == "start")
        prefix = prev_output_tokens.gather(1, first_slots)
        return torch.cat([prefix, prev_output_tokens[:, streams.prefix_len :]], dim=1), streams

    def _next_token_features(
        self, prev_output_tokens: Tensor, encoder_out: EncoderOut, incremental_state: dict[str, Any]
    ) -> Tensor:
        cache: DecodingCache | None = incremental_state.get("bang_cache")
        if cache is None:
            cache = incremental_state["bang_cache"] = self.new_cache(prev_output_tokens.size(0))
        new = prev_output_tokens[:, cache.longest :]
        hidden = self.rows(new, cache.plan(new.size(1), 1), encoder_out, cache, skip=new.size(1))
        cache.advance(new.size(1))
        return hidden

    def new_cache(self, batch_size: int) -> DecodingCache:
        """An empty cache for ``batch_size`` sentences."""
        attention = self.layers[0].ngram_self_attn
        sizes = (batch_size, len(self.layers), attention.num_heads, attention.head_dim)
        return DecodingCache(*sizes, self.embed_positions.weight, self.first_position)

    def rows(
        self,
        prefix: Tensor | None,
        streams: Streams,
        encoder_out: EncoderOut,
        cache: DecodingCache | None = None,
        skip: int = 0,
    ) -> Tensor:
        """Hidden states of the rows of one pass.

        Args:
            prefix: tokens of the new prefix rows, ``(batch, prefix_len)``, or fewer, where the others are masks
                (the growing chain of NAR); None if all are.
            streams: what the rows are and see.
            encoder_out: output of the encoder.
            cache: earlier passes' keys and values, written to.
            skip: leading rows whose states are not asked for; the last layer leaves them out.

        Returns:
            ``(batch, prefix_len + chain_len - skip, embed_dim)``, prefix rows first.
        """
        self.num_passes += 1
        attention = self.layers[0].ngram_self_attn
        backend = choose_backend(self.attention_backend, streams, dropout_rate(attention.dropout), attention.head_dim)
        attend = backend(streams, attention.bucket_table)
        if "source_mask" not in encoder_out:  # once for all passes
            source_pad = encoder_out["encoder_padding_mask"]
            encoder_out["source_mask"] = ~source_pad[0][:, None, None] if source_pad else None
        source_mask = encoder_out["source_mask"]
        x = self._embed(prefix, streams)
        late = skip if isinstance(attend, FlexAttention) else 0  # its kernel computes all rows or none
        for i, layer in enumerate(self.layers):
            memory = encoder_out["encoder_out"][0]
            if cache is not None:
                if cache.cross[i] is None:
                    keys, values = layer.encoder_attn.keys_values(memory)
                    cache.cross[i] = keys.contiguous(), values.contiguous()  # which every pass reads
                memory = cache.cross_of(i)
            last = i == len(self.layers) - 1
            x = layer(x, attend, memory, source_mask, cache and cache.layer(i), skip - late if last else 0)
        return x[:, late:]

    def _embed(self, prefix: Tensor | None, streams: Streams) -> Tensor:
        bsz, rows = streams.positions.shape
        known = 0 if prefix is None else prefix.size(1)
        tokens = self.ngram_input_embed.weight[0].expand(bsz, rows - known, -1)
        if prefix is not None:
            tokens = torch.cat([self.embed_tokens(prefix), tokens], dim=1)
        positions = F.embedding(streams.positions, self.embed_positions.weight, self.padding_idx)
        return self.dropout(self.emb_layer_norm(tokens + positions))

    def output_layer(self, features: Tensor) -> Tensor:
        """``(…, embed_dim)`` -> logits ``(…, vocab)``; the output matrix is the embedding."""
        if self.packed_output is not None:
            return self.packed_output(features)
        return F.linear(features, self.embed_tokens.weight)

    def pack(self, precision: str) -> None:
        """For inference: see ``packed_linear``."""
        for layer in self.layers:
            layer.pack(precision)
        self.packed_output = PackedLinear(self.embed_tokens.weight, None, precision)

    def reorder_incremental_state_scripting(self, incremental_state: dict[str, Any], new_order: Tensor) -> None:
        """fairseq's, which looks through all modules of the decoder for some that follow the search too."""
        self.reorder_incremental_state(incremental_state, new_order)

    def reorder_incremental_state(self, incremental_state: dict[str, Any], new_order: Tensor) -> None:
        """Follow fairseq's beam search: keep ``new_order`` of the beams."""
        if "bang_cache" in incremental_state:
            incremental_state["bang_cache"].select(new_order)

    def max_positions(self) -> int:
        """Longest decoder input."""
        return self.max_target_positions
