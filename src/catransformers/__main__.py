"""`python -m catransformers` is `catransformers`; `torchrun -m catransformers train …` runs it on several devices."""

from catransformers.cli import main

if __name__ == "__main__":
    main()
