"""All feasible models, from the largest down."""

from catransformers.search.problem import Proposal


class Ladder:
    def __init__(self, problem, seed):
        self.problem = problem

    def ask(self, observed, pending, number):
        taken = {one.index for one in observed} | set(pending)
        for index in reversed(range(self.problem.space.size)):
            if index not in taken and self.problem.cost[index] < float("inf"):
                return Proposal(index, "ladder")
        return None
