"""Keeps parameters and dictionary together."""

from typing import Any

from fairseq.tasks import FairseqTask

from ..data.dictionary import check_same, identity


class DictionaryCheck(FairseqTask):
    """Task mix-in: checkpoints remember their dictionary, and loading one with another is an error."""

    def state_dict(self) -> dict[str, Any]:
        """fairseq's task state and the dictionary that the parameters belong to."""
        return {**super().state_dict(), "dictionary": identity(self.source_dictionary)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """fairseq's, with the dictionary compared.

        Raises:
            BangError: if the checkpoint was trained with another dictionary.
        """
        state_dict = dict(state_dict)
        self.check_dictionary(state_dict.pop("dictionary", None), "the checkpoint")
        super().load_state_dict(state_dict)

    def check_dictionary(self, theirs: dict[str, Any] | None, name: str) -> None:
        """See ``bang_plugin.data.dictionary.check_same``."""
        check_same(theirs, self.source_dictionary, name)
