from ..driver import main
from . import RECIPE

main(RECIPE)
