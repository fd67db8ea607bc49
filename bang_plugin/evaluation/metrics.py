"""The table of metrics: a metric turns hypotheses and references into one or several numbers."""

from . import answers, bleu, chrf, distinct, error_rate, meteor, rouge

METRICS = {
    "bleu": bleu.corpus_bleu,
    "chrf": chrf.chrf,
    "sentence-bleu": bleu.sentence_bleu,
    "glge-bleu": bleu.glge_bleu,
    "rouge": rouge.rouge,
    "rouge-155": rouge.rouge_155,
    "rouge-coco": rouge.rouge_coco,
    "meteor": meteor.meteor,
    "distinct": distinct.distinct,
    "per": error_rate.phoneme_error_rate,
    "wer": error_rate.word_error_rate,
    "exact": error_rate.exact_match,
    "em": answers.em,
    "f1": answers.f1,
}
