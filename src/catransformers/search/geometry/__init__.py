"""Pareto fronts, dominated areas and hypervolumes."""
