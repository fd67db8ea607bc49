"""Keeps parameters and dictionary together."""

from ..data.dictionary import fingerprint
from ..errors import BangError


class DictionaryCheck:
    """Task mix-in: checkpoints remember their dictionary, and loading one with another is an error."""

    def state_dict(self):
        """fairseq's task state and the dictionary that the parameters belong to."""
        return {**super().state_dict(), "dictionary": self._dictionary_state()}

    def load_state_dict(self, state_dict):
        """
        Raises:
            BangError: if the checkpoint was trained with another dictionary.
        """
        state_dict = dict(state_dict)
        theirs, ours = state_dict.pop("dictionary", None), self._dictionary_state()
        if theirs is not None and theirs != ours:
            raise BangError(
                f"the checkpoint was trained with another dictionary ({theirs['types']} types; the data folder's has "
                f"{ours['types']}, or another order): binarise with the model's own (fairseq-preprocess --srcdict)"
            )
        super().load_state_dict(state_dict)

    def _dictionary_state(self) -> dict:
        return {"types": len(self.source_dictionary), "sha256": fingerprint(self.source_dictionary)}
