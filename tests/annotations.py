"""The checker of annotations behind jaxtyping's import hook, see conftest.py."""

from beartype import BeartypeConf, beartype

# a whole number is a number
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
