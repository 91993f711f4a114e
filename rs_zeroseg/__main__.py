"""`python -m rs_zeroseg ...` is the console script, so that `accelerate launch -m rs_zeroseg finetune ...` works."""
from .use.cli import main

if __name__ == "__main__":
    main(prog_name="rs_zeroseg")
