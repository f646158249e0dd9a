"""The best model within a budget: `fit_to_budget` trains a teacher, and small students that learn from it.

candidates   the budget, a model that was tried, and the front of those that no other model beats
teacher      the probabilities of a classifier of any library
students     training rows with the teacher's probabilities, and the training of one student
latencies    which sizes are fast and small enough, measured before they are trained
store        the folder from which an interrupted search continues
result       what the search found
search       `fit_to_budget`: successive halving over those sizes
"""

from __future__ import annotations

from tinyrs.budget.candidates import Budget as Budget
from tinyrs.budget.candidates import Candidate as Candidate
from tinyrs.budget.result import BudgetSearch as BudgetSearch
from tinyrs.budget.search import fit_to_budget as fit_to_budget
