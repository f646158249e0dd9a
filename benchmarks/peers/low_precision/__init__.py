"""Forward passes in low precision: tinyrs in each of its formats, and other libraries at their own.

engines     each library and format, and what a right answer in this format may differ from f64
running     the checks, and the fastest engine with at most a given error
report      the table of one workload

A faster wrong answer is not faster: every time stands next to its error, and tinyrs is compared with the
fastest library whose error is not larger.
"""
